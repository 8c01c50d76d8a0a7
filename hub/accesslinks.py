"""Links by mail with which an agent chooses a password, once: when it is forgotten, and when they are invited.

A link is made from SECRET_KEY and a number in the database, when its mail leaves and again when it comes back, so it is
stored nowhere: who reads the database, or the deliveries in it, can't follow one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import timedelta
from functools import partial
from uuid import uuid4

from sqlmodel import select

from channels.base import Outbound
from config.language import ENGLISH, N_, _, speaking, spoken
from hub.agentmail import carrier, mail_account, reads
from hub.delivery import SendResult, deliver
from hub.hub import Hub, Opened
from hub.people import set_password
from hub.throttle import SignInRefused, forgive, must_wait, note_try, one_at_a_time
from storage import Tx
from storage.access import NotFound
from storage.accountfacts import AgentInvited, PasswordResetAsked
from storage.deliveries import Delivery
from storage.doors import END_LINKS, AccessLink
from storage.people import Agent, agent_by_email

RESET, INVITATION = "reset", "invitation"
LASTS = {RESET: timedelta(hours=1), INVITATION: timedelta(days=7)}
SENDER = "letter"
ENDED = N_("This link has been used, is too old, or was replaced by a newer one.")
SUBJECTS = {RESET: N_("Choose a new password"), INVITATION: N_("Your account at {desk}")}
TEXTS = {
    RESET: (
        N_("Hello {name},"),
        N_("somebody, most likely you, has asked for a new password for {email} at {desk}. Choose it here:"),
        "{link}",
        N_("The link works once, for an hour. Afterwards every browser has to sign in again."),
        N_("If it was not you, you have nothing to do: your password stays as it is."),
    ),
    INVITATION: (
        N_("Hello {name},"),
        N_("{by} has made an account for you at {desk}. Choose your password here:"),
        "{link}",
        N_("The link works once, for seven days. After that ask for another one. You sign in as {email}."),
    ),
}


def ask_reset(hub: Hub, email: str, *, ip: str) -> None:
    """Send a link to an agent's own address; who asks for an unknown one is told the same.

    Raises SignInRefused when there were too many, which says nothing about the address either.
    """
    email = email.strip().lower()[:320]

    with hub.store.write() as tx:
        one_at_a_time(tx, link=email)
        if waiting := must_wait(tx, link=email, ip=ip):
            raise SignInRefused(waiting, wait=True)
        agent = agent_by_email(tx, email)
        note_try(tx, "link", agent.id if agent else None, link=email, ip=ip)
        account = mail_account(hub)
        if agent is not None and account is not None:
            _send_link(tx, account, agent, RESET, f"agent:{agent.id}")
            tx.emit(PasswordResetAsked(agent.id or 0))


def invite(hub: Hub, tx: Tx, agent: Agent, by: str) -> str:
    """Send somebody the link for their first password; those sent before count no more.

    Answers the link where no mail channel can carry it: the admin hands it over then.
    """
    tx.emit(AgentInvited(agent.id or 0, by))
    account = mail_account(hub)
    if account is not None:
        _send_link(tx, account, agent, INVITATION, by)
        return ""
    return address(hub, _made(tx, agent, INVITATION, by))


def agent_of(hub: Hub, tx: Tx, token: str) -> tuple[Agent, AccessLink]:
    """Whose link this is. Raises NotFound once it has been used, has ended or was never ours."""
    number, __, __ = token.partition("-")
    link = tx.get(AccessLink, int(number)) if number.isascii() and number.isdigit() and len(number) < 18 else None
    if link is None or not hmac.compare_digest(token.encode("utf-8", "replace"), _token(hub, link).encode()):
        raise NotFound(_(ENDED))
    agent = tx.get_one(Agent, link.agent_id)
    if link.used_at is not None or link.expires_at <= tx.now or not agent.active:
        raise NotFound(_(ENDED))
    return agent, link


def choose_password(hub: Hub, token: str, password: str) -> Agent:
    """Use a link up: its agent has this password and is signed out everywhere. Raises NotFound and ValueError."""
    with hub.store.write() as tx:
        agent, link = agent_of(hub, tx, token)
        if not tx.sql(END_LINKS, tx.now, agent.id).rowcount:  # somebody else was faster with the same link
            raise NotFound(_(ENDED))
        set_password(tx, agent, password, f"agent:{agent.id}", link.kind)
        forgive(tx, email=agent.email, link=agent.email)
        return agent


def send(hub: Hub, delivery: Delivery) -> SendResult:
    """The sender "letter". Raises SendFailed or SendUncertain; a link that counts no more is skipped."""
    with hub.store.read() as tx:
        link = tx.get(AccessLink, delivery.payload["link"])
        agent = tx.get(Agent, link.agent_id) if link is not None else None
        if link is None or agent is None or link.used_at is not None or link.expires_at <= tx.now or not agent.active:
            return SendResult(response={"skipped": "it counts no more"})
        by = _name(tx, link.by)
    opened, channel = carrier(hub, delivery)
    with speaking(reads(agent, delivery.payload.get("language", ENGLISH))):
        letter = _written(hub, opened, agent, link, by)
    return SendResult(channel.send(letter).external_id)


def address(hub: Hub, link: AccessLink) -> str:
    """What is clicked."""
    return f"{hub.settings.base_url}/sign-in/choose/{_token(hub, link)}"


def _send_link(tx: Tx, account: Opened, agent: Agent, kind: str, by: str) -> None:
    link = _made(tx, agent, kind, by)
    told = {"link": link.id, "to": [agent.email], "language": spoken()}
    deliver(tx, SENDER, f"channel:{account.id}", f"{link.id}", told)


def _made(tx: Tx, agent: Agent, kind: str, by: str) -> AccessLink:
    """A new link; it takes the place of those before of its kind: whoever asks at the door ends no invitation."""
    tx.sql(f"{END_LINKS} AND kind = ?", tx.now, agent.id, kind)
    link = AccessLink(
        agent_id=agent.id or 0, kind=kind, nonce=secrets.token_hex(16), uuid=str(uuid4()), by=by, created_at=tx.now,
        expires_at=tx.now + LASTS[kind],
    )  # fmt: skip
    tx.add(link)
    tx.flush()
    return link


def _token(hub: Hub, link: AccessLink) -> str:
    key = hashlib.sha256(f"switchyard access link {hub.settings.secret_key}".encode()).digest()
    mac = hmac.new(key, f"{link.id} {link.agent_id} {link.kind} {link.nonce}".encode(), hashlib.sha256).digest()
    return f"{link.id}-{base64.urlsafe_b64encode(mac[:20]).decode().rstrip('=')}"


def _written(hub: Hub, opened: Opened, agent: Agent, link: AccessLink, by: str) -> Outbound:
    domain = opened.account.address.partition("@")[2] or "switchyard.invalid"
    desk = hub.settings.base_url.partition("://")[2]
    values = {"name": agent.name, "email": agent.email, "desk": desk, "link": address(hub, link)}
    fill = partial(_, by=by or _("An admin"), **values)
    return Outbound(
        id=link.uuid, to=(agent.email,), subject=fill(SUBJECTS[link.kind]),
        text="\n\n".join(fill(part) for part in TEXTS[link.kind]),
        external_id=f"<letter.{link.uuid}@{domain}>", automatic="auto-generated", mark=hub.tokens.mark(link.uuid),
    )  # fmt: skip


def _name(tx: Tx, by: str) -> str:
    kind, __, number = by.partition(":")
    found = tx.exec(select(Agent.name).where(Agent.id == int(number))).first() if kind == "agent" else None
    return found or ""
