"""Test this channel: its settings, its logins, a message that really leaves, and one that really arrives.

A test has no row of its own. Each step is asked for with what the one before it left: a code that is in what was sent,
and the newest receipt at that time.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import requests
from sqlmodel import col, func, select

from channels.base import (
    Channel,
    Check,
    CheckFailed,
    Checks,
    ChecksInSteps,
    NotConfigured,
    Outbound,
    SendFailed,
    SendUncertain,
)
from channels.mailhook import MailhookChannel
from config.language import N_
from config.retold import S_, stored
from hub.hub import Hub, Opened
from hub.intake import DROPPED
from hub.mailhealth import folder_health
from hub.receipts import raw_bytes
from hub.recipients import MAIL_KINDS
from storage import Tx
from storage.access import SETTINGS, Actor, NotFound
from storage.receipts import Receipt

MAIL_PATIENCE = timedelta(seconds=90)
HUMAN_PATIENCE = timedelta(minutes=10)
LOOKED_THROUGH = 200  # receipts, newest first
ANSWER_SECONDS = 5
ARRIVES = N_("Something arrives")
GOOD, BAD, WAITS, NOTE = "good", "bad", "waits", "note"

SOMEHOW = S_("Have somebody write to {address}.")
UNREAD_MAIL = S_("The mail came back, but it could not be read: {why}")
UNREAD = S_("Something arrived, but it could not be read: {why}")
CAME_MAIL = S_("The mail came back after {seconds} s and is in the ledger.")
CAME = S_("Something arrived after {seconds} s and is in the ledger.")
# What a person has to do so that something arrives, by kind.
DO = {
    "mailhook": S_("Send a mail to {address} from any account of yours."),
    "sms": S_("Send a text to {address} from any phone."),
    "chat": N_("Open the page below, or one of yours with the widget, and write a line."),
    "form": N_("Open the form below, fill it in and send it."),
    "slack": N_("Write a line in one of the customers' channels."),
}


@dataclass(frozen=True, slots=True)
class Done:
    """One step and how it went, in a sentence that says how to mend it where it went wrong."""

    name: str
    state: str
    told: str
    receipt_id: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelTest:
    """What the steps of one test have in common: `code` is in what was sent, `after` the newest receipt before it."""

    code: str
    after: int
    began: float  # seconds since the epoch

    @classmethod
    def begun(cls, tx: Tx) -> ChannelTest:
        newest = tx.exec(select(func.max(Receipt.id))).one() or 0
        return cls(f"swy-{secrets.token_hex(6)}", newest, tx.now.timestamp())


def opened_for_test(hub: Hub, actor: Actor, number: int) -> Opened:
    """The account, read anew. Raises Forbidden and NotFound."""
    actor.must(SETTINGS)
    hub.look_again()
    return hub.channel(number)


def steps_of(hub: Hub, opened: Opened) -> list[str]:
    """The names of all steps, in their order; the last one is the arrival."""
    return [*(name for name, _ in _tries(hub, opened, None)), ARRIVES]


def take_step(hub: Hub, opened: Opened, test: ChannelTest, at: int) -> Done:
    """Do one step of a test and say how it went; the last only looks whether something has arrived."""
    tries = _tries(hub, opened, test)
    if at < len(tries):
        name, run = tries[at]
        try:
            told = run()
        except (CheckFailed, NotConfigured) as wrong:
            return _noted(hub, opened, Done(name, BAD, str(wrong)))
        except _Remark as remark:
            return Done(name, NOTE, str(remark))
        return Done(name, GOOD, told)
    return _noted(hub, opened, _arrival(hub, opened, test))


def logins(channel: Channel) -> list[Done]:
    """What can be tried about an account that is not kept yet. Stops at what goes wrong."""
    found = []
    for each in _checks(channel):
        try:
            found.append(Done(each.name, GOOD, each.run()))
        except CheckFailed as wrong:
            return [*found, Done(each.name, BAD, str(wrong))]
    return found


class _Remark(Exception):
    """Something that is not as it should be, and does not keep the test from going on."""


def _tries(hub: Hub, opened: Opened, test: ChannelTest | None) -> list[tuple[str, Callable[[], str]]]:
    if opened.channel is None:
        return [(N_("The settings"), lambda: str(opened.must()))]
    tries = [(each.name, each.run) for each in _checks(opened.channel)]
    if opened.account.kind != "email":
        tries.append((N_("Our public address"), lambda: _public_address(hub)))
    if sends_to_itself(opened):
        tries.append((N_("A mail leaves"), lambda: _send(hub, opened, test)))
    return tries


def _checks(channel: Channel) -> list[Check]:
    if isinstance(channel, ChecksInSteps):
        return list(channel.checks())
    if isinstance(channel, Checks):
        return [Check(N_("Log in"), lambda: channel.check() or N_("Logged in."))]  # type: ignore[func-returns-value]
    return []


def sends_to_itself(opened: Opened) -> bool:
    """Whether a test can send a mail to the account's own address."""
    channel = opened.channel
    mails = opened.account.kind in MAIL_KINDS and "@" in opened.account.address
    return mails and channel is not None and not (isinstance(channel, MailhookChannel) and not channel.sends)


def _public_address(hub: Hub) -> str:
    """Whether the address that providers and visitors are given leads here."""
    url = hub.settings.base_url
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{url}/healthz", timeout=ANSWER_SECONDS, allow_redirects=False)
        well = answer.status_code == 200 and answer.json().get("status") == "ok"
    except (requests.RequestException, ValueError):
        well = False
    if not hub.settings.public_base_url:
        raise _Remark(
            stored("PUBLIC_BASE_URL is not set: only this machine reaches {url}. Others can't call us.", url=url)
        )
    if not well:
        raise CheckFailed(
            stored(
                "{url} does not lead to this hub: set PUBLIC_BASE_URL to where the outside reaches it, and let the "
                "proxy in front pass everything on.", url=url,
            )
        )  # fmt: skip
    return stored("{url} leads to this hub.", url=url)


def _send(hub: Hub, opened: Opened, test: ChannelTest | None) -> str:
    """A mail to the account's own address, which carries our mark and is therefore nobody's work when it comes."""
    code, address = test.code if test else "", opened.account.address
    number = str(uuid.uuid4())
    mail = Outbound(
        id=number, to=(address,), subject=f"Switchyard tests this channel ({code})", automatic="auto-generated",
        text=f"This mail proves that {opened.account.name} sends and receives. Nobody has to answer it.\n\n{code}\n",
        external_id=f"<{number}@{address.rpartition('@')[2]}>", mark=hub.tokens.mark(number),
    )  # fmt: skip
    try:
        accepted = opened.must().send(mail)
    except (SendFailed, SendUncertain) as refused:
        raise CheckFailed(refused.why) from refused
    if trouble := {**accepted.refused, **accepted.waiting}:
        why = next(iter(trouble.values()))
        raise CheckFailed(stored("The server does not take mail for {address}: {why}", address=address, why=why))
    return stored("The server took a mail from {address} to itself.", address=address)


def _arrival(hub: Hub, opened: Opened, test: ChannelTest) -> Done:
    name, mails = ARRIVES, sends_to_itself(opened)
    with hub.store.read() as tx:
        found = _arrived(hub, tx, opened, test)
        waited = timedelta(seconds=tx.now.timestamp() - test.began)
    if found is not None:
        took = max(1, round((found.received_at.timestamp()) - test.began))
        if found.state == "quarantined":
            unread = UNREAD_MAIL if mails else UNREAD
            return Done(name, BAD, stored(unread, why=found.why), found.id)
        return Done(name, GOOD, stored(CAME_MAIL if mails else CAME, seconds=took), found.id)
    if not mails:
        told = stored(DO.get(opened.account.kind, SOMEHOW), address=opened.account.address or N_("this account"))
        if waited < HUMAN_PATIENCE:
            return Done(name, WAITS, told)
        nothing = stored("Nothing arrived within {minutes} minutes.", minutes=HUMAN_PATIENCE.seconds // 60)
        return Done(name, BAD, f"{nothing} {_look_at(opened)}")
    if waited < MAIL_PATIENCE:
        return Done(name, WAITS, N_("Waiting for the mail to come back."))
    late = stored("The mail has not come back within {seconds} s.", seconds=MAIL_PATIENCE.seconds)
    return Done(name, BAD, f"{late} {_why_not(hub, opened)}")


def _look_at(opened: Opened) -> str:
    return {
        "mailhook": N_("Does the provider post to the address below? Its own log tells what we answered."),
        "sms": N_("Is the address below set at the number? Twilio's debugger tells what we answered."),
        "chat": N_("Is the page's site among the origins? The browser's console tells."),
        "form": N_("Is the page's site among the origins? The browser's console tells."),
        "slack": N_(
            "Is the app in that channel, are the event address below and message.channels set, and is the channel's id "
            "among customer_channels?"
        ),
    }.get(opened.account.kind, N_("The other side's log tells what we answered."))


def _why_not(hub: Hub, opened: Opened) -> str:
    if opened.account.kind != "email":
        return f"{N_('The server has it.')} {_look_at(opened)}"
    with hub.store.read() as tx:
        folders = [each for each in folder_health(hub, tx) if each.channel == opened.account.name]
    bad = next((each for each in folders if not each.well), None)
    if bad is not None:
        if bad.problem:
            return stored(
                "Nobody reads {folder}: {why} Does a hub or a worker run?", folder=bad.folder, why=bad.problem
            )
        if bad.silent is None:
            return stored("Nobody reads {folder}: never looked at yet. Does a hub or a worker run?", folder=bad.folder)
        return stored("Nobody reads {folder} any more. Does a hub or a worker run?", folder=bad.folder)
    return stored(
        "The mailbox is read, so that the mail lies elsewhere: is {address} an address of this mailbox, and is the "
        "mail in its spam folder, or sorted into one that is not read?", address=opened.account.address,
    )  # fmt: skip


def _arrived(hub: Hub, tx: Tx, opened: Opened, test: ChannelTest) -> Receipt | None:
    """What came by this account since the test began: the test's own mail, or anything where a person writes."""
    newer = select(Receipt).where(
        Receipt.channel_id == opened.id, col(Receipt.id) > test.after, Receipt.origin == "message"
    )
    for receipt in tx.exec(newer.order_by(col(Receipt.id).desc()).limit(LOOKED_THROUGH)):
        if receipt.state == "received":
            continue  # it is being read
        own = opened.account.kind == "mailhook" and receipt.why == DROPPED["own"]  # some providers encode the mail
        if own or not sends_to_itself(opened) or _has(hub, receipt, test.code):
            return receipt
    return None


def _has(hub: Hub, receipt: Receipt, code: str) -> bool:
    try:
        return code.encode() in raw_bytes(hub, receipt)
    except (NotFound, OSError):
        return False


def _noted(hub: Hub, opened: Opened, done: Done) -> Done:
    """Write down how a test ended, where the list of channels tells it."""
    if done.state in (GOOD, BAD):
        problem = done.told[:500] if done.state == BAD else ""
        sql = "UPDATE channel SET checked_at = ?, problem = ? WHERE id = ?"
        hub.store.submit(lambda tx: tx.sql(sql, tx.now, problem, opened.id) and None)
    return done
