"""One Slack message per conversation: posted when it arrives, updated in place when something becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlmodel import col, select

from channels.base import SendFailed, SendUncertain
from channels.slack import TIMEOUT, SlackClient, escape
from chatops.backlog import why_not_posted
from chatops.blocks import Card, drawn, summary
from config.settings import Settings
from hub import Hub
from hub.delivery import SendResult, deliver
from hub.followers import Follower
from hub.pump import Happened
from routing.ladder import span
from routing.promises import WORDS
from storage import Tx
from storage.clocks import running_clocks
from storage.conversations import Conversation, Message
from storage.deliveries import Delivery, SlackNotice
from storage.desk import Queue
from storage.failpoints import step
from storage.people import Agent, Contact, Identity

OPENING = frozenset(("ConversationQueued", "FirstReplyBreached", "NextReplyBreached", "ResolutionBreached"))
MISSED = OPENING - {"ConversationQueued"}
CHANGING = frozenset(
    (
        "ConversationAssigned",
        "ConversationReleased",
        "ReplyQueued",
        "ReplyUndone",
        "ConversationSnoozed",
        "ConversationWoken",
        "ConversationResolved",
        "ConversationReopened",
    )
)
TOLD = OPENING | CHANGING
ALERTING = frozenset(("ConversationEscalated", "LadderStepTaken"))

BUSY = timedelta(seconds=25)  # longer than two calls may take
BUSY_RETRY = timedelta(seconds=5)
LOOK_AGAIN = timedelta(seconds=8)
LOOK_BACK = timedelta(minutes=10)  # our clock and Slack's may differ
ROUNDS = 5

NEWEST = f"SELECT max(id) FROM fact WHERE conversation_id = ? AND name IN ({','.join('?' * len(TOLD))})"
TAKE = (
    "INSERT INTO slack_notice(conversation_id, channel, ts, fact_id, busy_until, updated_at) VALUES(?, ?, '', 0, ?, ?) "
    "ON CONFLICT (conversation_id) DO UPDATE SET busy_until = excluded.busy_until "
    "WHERE slack_notice.busy_until IS NULL OR slack_notice.busy_until <= ?"
)
SHOWN = "UPDATE slack_notice SET ts = ?, fact_id = ?, busy_until = ?, updated_at = ? WHERE conversation_id = ?"
FREE = "UPDATE slack_notice SET busy_until = NULL WHERE conversation_id = ?"
FORGET = "DELETE FROM slack_notice WHERE conversation_id = ? AND ts = ''"


@dataclass(frozen=True, slots=True)
class Turn:
    """A notice that is ours to write for a moment, and what it has to show.

    `fresh` says that nobody has ever tried to post it.
    """

    channel: str
    ts: str
    since: datetime
    fresh: bool
    fact_id: int
    card: Card


def configured(settings: Settings) -> bool:
    """Whether notices go to Slack at all."""
    return bool(settings.slack_bot_token and settings.slack_channel)


def client_of(settings: Settings, timeout: float = TIMEOUT) -> SlackClient:
    """The desk's own Slack workspace."""
    return SlackClient(settings.slack_bot_token, settings.slack_base_url, timeout)


def wanted(hub: Hub, tx: Tx) -> Collection[str]:
    """What Slack is told, where there is one."""
    return TOLD | ALERTING if configured(hub.settings) else ()


def follow(hub: Hub, tx: Tx, facts: Sequence[Happened]) -> None:
    """Write a delivery for every conversation that something worth telling happened to."""
    newest: dict[int, int] = {}
    opening, missed = set[int](), set[int]()
    for fact in facts:
        if fact.name in TOLD and fact.conversation_id is not None:
            newest[fact.conversation_id] = fact.id
            if fact.name in OPENING:
                opening.add(fact.conversation_id)
            if fact.name in MISSED:
                missed.add(fact.conversation_id)
        if fact.name in ALERTING:
            _alert(hub, tx, fact)
    target = f"slack:{hub.settings.slack_channel}"
    for conversation_id, fact_id in newest.items():
        told = {"conversation": conversation_id, "fact": fact_id, "opens": conversation_id in opening}
        told |= {"missed": True} if conversation_id in missed else {}
        deliver(tx, "slack", target, f"{conversation_id}:{fact_id}", told)


FOLLOWER = Follower(wanted, follow)


def _alert(hub: Hub, tx: Tx, fact: Happened) -> None:
    """A message of its own about a target or a wait: a notice that changes in place rings nobody's bell."""
    card = card_of(tx, hub.settings, fact.conversation_id or 0)
    if fact.name == "LadderStepTaken":
        why = f"Nobody has it after {span(fact.data['after'])}"
    else:
        why = f"{WORDS[fact.data['target']]} {'overdue' if fact.data['breached'] else 'nearly due'}"
    text = f"*{why}*: {escape(card.who)}, {escape(card.queue)} <{card.url}|Open in hub>"
    told = {"alert": text, "mark": f"{card.url}#{fact.id}"}
    target = f"slack:{hub.settings.slack_channel}"
    if "slack" in fact.data["actions"]:
        deliver(tx, "slack", target, f"alert:{fact.id}", told)
    if "supervisors" in fact.data["actions"]:
        for agent in tx.exec(select(Agent).where(col(Agent.active), Agent.role == "supervisor")):
            deliver(tx, "slack", target, f"alert:{fact.id}:{agent.id}", told | {"email": agent.email})


def _tell(client: SlackClient, channel: str, delivery: Delivery) -> SendResult:
    """Post an alert once: after a try that broke off we look for it first, except where one person gets it alone."""
    told = delivery.payload
    if "email" in told:
        user = client.user_by_email(told["email"])
        if not user:
            return SendResult(response={"skipped": f"{told['email']} is nobody in this Slack workspace"})
        return SendResult(external_id=client.post(user, told["alert"]))
    if delivery.claims > 1 and (ts := client.find(channel, told["mark"], delivery.created_at - LOOK_BACK)):
        return SendResult(external_id=ts)
    try:
        return SendResult(external_id=client.post(channel, told["alert"], mark=told["mark"]))
    except SendUncertain as lost:
        raise SendFailed(lost.why, retry_after=LOOK_AGAIN) from lost


def whisper(tx: Tx, channel: str, user: str, text: str, dedupe_key: str) -> None:
    """Tell one person something that only that person sees, as soon as Slack takes it."""
    told = {"whisper": text, "channel": channel, "user": user}
    deliver(tx, "slack", f"slack:{channel}"[:64], dedupe_key, told)


def send(hub: Hub, delivery: Delivery) -> SendResult:
    """Show a conversation's present state, or whisper. Raises SendFailed, or SendUncertain when Slack can't be asked.

    A notice shows everything up to now, so a later delivery often finds nothing left to do.
    """
    if not configured(hub.settings):
        raise SendFailed("Slack is not configured; set SLACK_BOT_TOKEN and SLACK_CHANNEL.", permanent=True)
    client, told = client_of(hub.settings), delivery.payload
    if "whisper" in told:
        client.ephemeral(told["channel"], told["user"], told["whisper"])
        return SendResult()
    if "alert" in told:
        return _tell(client, hub.settings.slack_channel, delivery)
    taken = hub.store.submit(partial(_take, settings=hub.settings, told=told, since=delivery.created_at))
    step("notice.taken")
    if isinstance(taken, str):
        return SendResult(response={"skipped": taken})
    return SendResult(external_id=_show(hub, client, told["conversation"], taken))


class Lost(SendFailed):
    """A post that Slack may have taken: the next try looks for it before it posts again."""


def _show(hub: Hub, client: SlackClient, conversation_id: int, turn: Turn) -> str:
    """The message's timestamp, once it shows everything that happened."""
    for _ in range(ROUNDS):
        shown = turn
        try:
            ts = _put(client, shown)
        except BaseException as error:
            never_left = isinstance(error, SendFailed) and not isinstance(error, Lost)
            statement = FORGET if shown.fresh and never_left else FREE
            hub.store.submit(partial(_run, statement=statement, conversation_id=conversation_id))
            raise
        step("notice.put")
        following = hub.store.submit(
            partial(_shown, settings=hub.settings, conversation_id=conversation_id, ts=ts, turn=shown)
        )
        if following is None:
            break
        turn = following
    return ts


def _put(client: SlackClient, turn: Turn) -> str:
    """Post the card, or change the message that is there already."""
    text, blocks, mark = summary(turn.card), drawn(turn.card), turn.card.url
    ts = turn.ts or ("" if turn.fresh else _left_behind(client, turn))
    if ts:
        try:
            if client.update(turn.channel, ts, text, blocks, mark):
                return ts
        except SendUncertain as lost:
            raise SendFailed(lost.why) from lost  # showing the same thing twice does no harm
    try:
        return client.post(turn.channel, text, blocks, mark)
    except SendUncertain as lost:
        raise Lost(lost.why, retry_after=LOOK_AGAIN) from lost


def _left_behind(client: SlackClient, turn: Turn) -> str:
    """What an earlier try posted before it broke off, if it did. Raises SendUncertain when we may not look."""
    try:
        return client.find(turn.channel, turn.card.url, turn.since - LOOK_BACK) or ""
    except SendFailed as refused:
        if refused.permanent:
            raise SendUncertain(f"This notice may be in Slack already, and we can't look: {refused.why}") from refused
        raise


def _take(tx: Tx, settings: Settings, told: dict[str, Any], since: datetime) -> Turn | str:
    """The right to write the notice, or why there is nothing to write. Raises SendFailed while another has it."""
    conversation_id: int = told["conversation"]
    before = tx.get(SlackNotice, conversation_id)
    if before is None and not told["opens"]:
        return "there is no notice"
    if before is not None and before.ts and before.fact_id >= told["fact"]:
        return "it is shown already"
    if before is None and not told.get("missed") and (why := why_not_posted(tx, settings, conversation_id, since)):
        return why
    channel = before.channel if before else settings.slack_channel
    taken = tx.sql(TAKE, conversation_id, channel, tx.now + BUSY, tx.now, tx.now)
    if taken.rowcount == 0:
        raise SendFailed("This notice is being written at the moment.", retry_after=BUSY_RETRY)
    return Turn(
        channel,
        before.ts if before else "",
        before.updated_at if before else tx.now,
        before is None,
        _newest(tx, conversation_id),
        card_of(tx, settings, conversation_id),
    )


def _shown(tx: Tx, settings: Settings, conversation_id: int, ts: str, turn: Turn) -> Turn | None:
    """Note what is shown and give the notice back, or keep it when something newer happened meanwhile."""
    newest = _newest(tx, conversation_id)
    busy_until = tx.now + BUSY if newest > turn.fact_id else None
    tx.sql(SHOWN, ts, turn.fact_id, busy_until, tx.now, conversation_id)
    if busy_until is None:
        return None
    return Turn(turn.channel, ts, tx.now, False, newest, card_of(tx, settings, conversation_id))


def _newest(tx: Tx, conversation_id: int) -> int:
    return int(tx.sql(NEWEST, conversation_id, *sorted(TOLD)).fetchone()[0] or 0)


def _run(tx: Tx, statement: str, conversation_id: int) -> None:
    tx.sql(statement, conversation_id)


def card_of(tx: Tx, settings: Settings, conversation_id: int) -> Card:
    """What there is to say about a conversation now."""
    conversation = tx.get_one(Conversation, conversation_id)
    last = tx.get(Message, conversation.last_inbound_id)
    queue = tx.get(Queue, conversation.queue_id) if conversation.queue_id else None
    owner = tx.get(Agent, conversation.assignee_id) if conversation.assignee_id else None
    clock = next((clock for clock in running_clocks(tx, conversation_id) if clock.due_at is not None), None)
    return Card(
        conversation_id=conversation_id,
        who=_who(tx, conversation, last),
        subject=conversation.subject,
        words=last.visible_text.strip() if last else conversation.preview,
        channel=conversation.channel,
        queue=queue.name if queue else "",
        state=conversation.state,
        owner=owner.name if owner else "",
        due_at=clock.due_at if clock else None,
        breached=clock is not None and clock.breached_at is not None,
        url=f"{settings.base_url}/inbox/c/{conversation_id}",
        target=WORDS[clock.kind] if clock else "",
    )


def _who(tx: Tx, conversation: Conversation, last: Message | None) -> str:
    """The person's name, else the address that was written from; a chat session's key is nobody's address."""
    contact = tx.get_one(Contact, conversation.contact_id)
    person = tx.get(Contact, contact.person_id) or contact
    if person.name:
        return person.name
    identity = tx.get(Identity, last.identity_id) if last and last.identity_id else None
    if identity is None:
        return person.shown
    return "Visitor" if identity.kind == "chat" else identity.shown or identity.value
