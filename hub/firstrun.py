"""From an empty hub to the first message answered: the first account, and what is still to be done."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from sqlmodel import col, func, select

from channels.text import storable
from config.language import N_, _
from hub.hub import Hub
from hub.people import create_agent
from hub.refusals import FieldRefused
from storage import Tx
from storage.access import SETTINGS, Actor, Conflict, NotFound
from storage.conversations import Conversation, Message
from storage.desk import ChannelAccount, Queue, active_channels, default_queue, touch_desk
from storage.facts import DeskChanged
from storage.people import Agent, AgentQueue, one_change_of_admins

ANSWERED = ("sent", "delivered", "read")
MANY = 1000  # messages of a desk that is past its first one, whatever became of that
GONE = N_("There is an account already: sign in, or ask an admin to invite you.")


def nobody_yet(tx: Tx) -> bool:
    """Whether no account was ever made."""
    return tx.exec(select(Agent.id).limit(1)).first() is None


def first_address(hub: Hub) -> str:
    """Where the first account is made: told to whoever starts the program, and to nobody else."""
    return f"{hub.settings.base_url}/sign-in/first/{_token(hub)}"


def must_be_first(hub: Hub, tx: Tx, token: str) -> None:
    """Raises NotFound once there is an account, or for another token than that of `first_address`."""
    known = hmac.compare_digest(token.encode("utf-8", "replace"), _token(hub).encode())
    if not known or not nobody_yet(tx):
        raise NotFound(_(GONE))


def make_first_admin(hub: Hub, token: str, *, name: str, email: str, password: str) -> Agent:
    """The account with which everything begins: an admin who serves every queue. Raises NotFound and FieldRefused."""
    name = storable(name).strip()[:200]
    local, at, domain = email.strip().partition("@")
    if not name:
        raise FieldRefused("name", _("Customers see this name under answers: type one."))
    if not (local and at and domain) or any(each.isspace() or not each.isprintable() for each in email.strip()):
        raise FieldRefused("email", _("Type a whole e-mail address, such as ines@example.com."))
    with hub.store.write() as tx:
        one_change_of_admins(tx)
        must_be_first(hub, tx, token)
        queues = list(tx.exec(select(Queue.name).where(col(Queue.active)).order_by(col(Queue.id))))
        try:
            return create_agent(
                tx, name=name, email=email[:320], role="admin", password=password, queues=queues, by="operator"
            )
        except ValueError as refused:
            raise FieldRefused("password", str(refused)) from None


@dataclass(frozen=True, slots=True)
class Steps:
    """How far a desk has come. What is missing is None or False."""

    channel: ChannelAccount | None  # the first that works, else the first there is
    proved: bool  # it passed its test, or something came by it
    served: bool  # somebody serves the queue where what no rule claims waits
    serves: bool  # and whoever asks is among them
    first: Conversation | None  # the oldest conversation
    answered: bool


def steps(hub: Hub, tx: Tx, actor: Actor) -> Steps:
    """What is done and what is not. Raises Forbidden."""
    actor.must(SETTINGS)
    channels = active_channels(tx)
    proved = [each for each in channels if not each.problem and each.checked_at is not None]
    first = tx.exec(select(Conversation).order_by(col(Conversation.id)).limit(1)).first()
    queue = default_queue(tx)
    serving = [] if queue is None else _serving(tx, queue)
    return Steps(
        next(iter([*proved, *channels]), None), bool(proved) or (bool(channels) and first is not None), bool(serving),
        actor.agent_id in serving, first, not is_under_way(hub, tx),
    )  # fmt: skip


def serve_all(tx: Tx, actor: Actor) -> None:
    """Whoever asks serves every queue from now on. Raises Forbidden and Conflict."""
    actor.must(SETTINGS)
    if actor.agent_id is None:
        raise Conflict(_("Only somebody with an account can serve queues."))
    has = set(tx.exec(select(AgentQueue.queue_id).where(AgentQueue.agent_id == actor.agent_id)))
    for number in tx.exec(select(Queue.id).where(col(Queue.active))).all():
        if number not in has:
            tx.add(AgentQueue(agent_id=actor.agent_id, queue_id=number or 0))
    tx.flush()
    touch_desk(tx)
    tx.emit(DeskChanged(f"agent {actor.agent_id} serves every queue", by=actor.by))


def is_under_way(hub: Hub, tx: Tx) -> bool:
    """Whether nobody has answered anything yet; once somebody has, nobody asks again."""
    if not hub.answered:
        newest = tx.exec(select(func.max(Message.id))).one() or 0
        sent = select(Message.id).where(Message.kind == "outbound", col(Message.state).in_(ANSWERED)).limit(1)
        hub.answered = newest > MANY or tx.exec(sent).first() is not None
    return not hub.answered


def _serving(tx: Tx, queue: Queue) -> set[int]:
    query = select(Agent.id).join(AgentQueue, col(AgentQueue.agent_id) == col(Agent.id))
    found = tx.exec(query.where(AgentQueue.queue_id == queue.id, col(Agent.active)))
    return {number for number in found if number is not None}


def _token(hub: Hub) -> str:
    key = hashlib.sha256(f"switchyard first account {hub.settings.secret_key}".encode()).digest()
    return base64.urlsafe_b64encode(hmac.new(key, b"first", hashlib.sha256).digest()[:20]).decode().rstrip("=")
