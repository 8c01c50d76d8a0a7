"""What a report that came in does to the message it is about: bounced mail is brought back to whoever wrote it.

Anybody can write a report. What it is about, only an id of ours tells; whether an address is blocked over it depends on
which id that is, and on whose word it is. See DECISIONS.md 24 and 44.
"""

from __future__ import annotations

from contextlib import suppress as ignoring
from dataclasses import dataclass, replace

from sqlmodel import select

from channels.base import DeliveryState, Inbound
from channels.mail.lookalikes import registrable
from channels.reports import Failing, Failure
from config.language import N_
from config.retold import S_, stored
from hub.delivery import move_message
from hub.hub import Opened
from hub.lifecycle import reopen, wake
from hub.recipients import MAIL_KINDS
from hub.suppression import suppress
from hub.tokens import Tokens
from routing.locks import held
from routing.parking import follow_parking
from routing.sla import follow_conversation
from routing.work import assign
from storage import Tx
from storage.access import SYSTEM, Conflict, NotFound
from storage.columns import read_json
from storage.deliveries import Delivery
from storage.facts import DeliveryChanged
from storage.people import Agent

SENT = (
    "SELECT id, conversation_id, channel, to_address, cc, bcc, agent_id FROM message "
    "WHERE kind = 'outbound' AND {column} = ?"
)
# How a report may name a message of ours: by the token in the envelope, by our mark, by its Message-ID. The first two
# are only in the very mail; a Message-ID is in everybody's answers to it, and in archives.
FIRM = ("id", "uuid")
COLUMNS = (*FIRM, "external_id")
WROTE_SINCE = (
    "SELECT 1 FROM message m JOIN identity i ON i.id = m.identity_id WHERE m.conversation_id = ? AND m.id > ? "
    "AND m.kind = 'inbound' AND m.automatic = '' AND i.kind = 'email' AND i.value = ?"
)
INFORM = (
    "UPDATE message SET state_why = ?, state_at = ? WHERE id = ? AND state IN ('sent','delivered','read') "
    "AND state_why <> ? RETURNING state"
)
WAITS_AGAIN = "UPDATE conversation SET last_at = ?, waiting_since = COALESCE(waiting_since, ?) WHERE id = ?"
CAME_BACK = "the reply could not be delivered"
NO_MORE = N_("Nothing more is sent there.")
TOLD = {
    Failing.ADDRESS: S_("{address} takes no mail{said}. Ask the customer for another address."),
    Failing.REFUSED: S_("The mail server of {address} refused this mail{said}. Change it, or try another channel."),
    Failing.FULL: S_("The mailbox of {address} is full{said}. Try again later, or another channel."),
    Failing.TIMEOUT: S_("The mail server of {address} could not be reached{said}. Try again, or another channel."),
    Failing.DELAYED: S_("Not delivered to {address} yet; the mail servers are still trying{said}."),
    Failing.COMPLAINT: S_("{address} reported this mail as spam."),
}
DOUBTED = N_("Nothing shows who sent this report, so the address is not blocked.")


@dataclass(frozen=True, slots=True)
class Sent:
    """The outgoing message that a report is about; `copies` are open and blind ones.

    `firm` is a report that names it by what only this very mail carried.
    """

    id: int
    conversation_id: int
    to: str
    copies: tuple[str, ...]
    agent_id: int | None
    firm: bool


def traced(tokens: Tokens, inbound: Inbound) -> Inbound:
    """A report with the ids in it that only we can have issued: bounce token, our mark, our signed Message-ID.

    The last is not enough for one that its own domain disowns.
    """
    if inbound.report is None:
        return inbound
    numbers = [("id", number) for token in inbound.tokens if (number := tokens.bounced(token)) is not None]
    marks = [("uuid", uuid) for mark in inbound.report.marks if (uuid := tokens.marked(mark)) is not None]
    ids = [("external_id", each) for each in inbound.report.ids if tokens.conversation_of(each) is not None]
    ids = [] if inbound.authenticity.verdict == "fail" else ids
    ours: tuple[tuple[str, str | int], ...] = (*numbers, *marks, *ids)
    return replace(inbound, report=replace(inbound.report, ours=ours))


def reported_on(tx: Tx, inbound: Inbound) -> Sent | None:
    """The message of ours that a report names, if we really sent it."""
    for column, value in inbound.report.ours if inbound.report else ():
        if column in COLUMNS:
            row = tx.sql(SENT.format(column=column), value).fetchone()
            if row is not None and row[2] in MAIL_KINDS:
                copies = [read_json(each) for each in row[4:6]]
                return Sent(row[0], row[1], row[3], (*copies[0], *copies[1]), row[6], column in FIRM)
    return None


def note_report(tx: Tx, sent: Sent, inbound: Inbound, opened: Opened) -> None:
    """Write down what a report says about one of our messages. Reading it a second time changes nothing.

    Only an address that this very message went to is ever suppressed, for good reasons, and on somebody's word.
    """
    for failure in inbound.report.failures if inbound.report else ():
        ours = next((each for each in failure.addresses if each in (sent.to, *sent.copies)), "")
        why = _told(failure, ours or sent.to)
        if ours and failure.kind in (Failing.ADDRESS, Failing.COMPLAINT):
            proved = _proved(inbound, ours, opened.account.address)
            if proved or _plausible(tx, sent, inbound, ours):
                reason = "bounce" if failure.kind is Failing.ADDRESS else "complaint"
                source = f"report on {opened.account.name}: {failure.status} {failure.said}"
                suppress(tx, "email", ours, reason=reason, source=source, proved=proved)
            else:
                why = f"{why.removesuffix(NO_MORE).rstrip()} {DOUBTED}"
        if failure.kind in (Failing.DELAYED, Failing.COMPLAINT):
            _inform(tx, sent, why)
            continue
        if ours:
            _note_returned(tx, sent, ours)
        if ours and ours != sent.to:
            _inform(tx, sent, stored("In copy: {why}", why=why))
        elif ours or not sent.copies:  # one that was forwarded fails under an address that we don't know
            _bring_back(tx, sent, why)


def _proved(inbound: Inbound, address: str, own: str) -> bool:
    """Whether the report is proved to come from the recipient's own mail servers, or from ours."""
    if inbound.authenticity.verdict != "pass":
        return False
    reporter, *others = (registrable(each.rpartition("@")[2]) for each in (_sender(inbound), address, own))
    return bool(reporter) and reporter in others


def _plausible(tx: Tx, sent: Sent, inbound: Inbound, address: str) -> bool:
    """Whether it names our mail by what only the mail itself carried, and nothing speaks against it."""
    if not sent.firm or inbound.authenticity.verdict == "fail":
        return False
    return tx.sql(WROTE_SINCE, sent.conversation_id, sent.id, address).fetchone() is None


def _sender(inbound: Inbound) -> str:
    return inbound.sender.points[0].value if inbound.sender.points else ""


def _note_returned(tx: Tx, sent: Sent, address: str) -> None:
    """Who sends it again sends it to those alone from whom it came back: the others have it."""
    delivery = tx.exec(select(Delivery).where(Delivery.message_id == sent.id, Delivery.sender == "channel")).first()
    if delivery is not None:
        returned = sorted({*delivery.payload.get("returned", ()), address})
        tx.sql("UPDATE delivery SET payload = ? WHERE id = ?", {**delivery.payload, "returned": returned}, delivery.id)
        tx.expire(delivery)


def _inform(tx: Tx, sent: Sent, why: str) -> None:
    row = tx.sql(INFORM, why[:500], tx.now, sent.id, why[:500]).fetchone()
    if row is not None:
        tx.emit(DeliveryChanged(sent.conversation_id, sent.id, row[0]))


def _bring_back(tx: Tx, sent: Sent, why: str) -> None:
    """Failed after all. What an agent wrote to the customer comes back into view, to its author where possible."""
    if not move_message(tx, sent.id, DeliveryState.FAILED, why) or sent.agent_id is None:
        return
    conversation = held(tx, SYSTEM, sent.conversation_id)
    if conversation.state == "snoozed":
        wake(tx, SYSTEM, sent.conversation_id, CAME_BACK)
    elif conversation.state == "resolved":
        reopen(tx, SYSTEM, sent.conversation_id, CAME_BACK)
        author = tx.get(Agent, sent.agent_id)
        if author is not None and author.active and author.status != "offline":
            with ignoring(Conflict, NotFound):
                assign(tx, SYSTEM, sent.conversation_id, sent.agent_id)
    tx.flush()
    tx.sql(WAITS_AGAIN, tx.now, tx.now, sent.conversation_id)
    follow_conversation(tx, sent.conversation_id)
    follow_parking(tx, sent.conversation_id)


def _told(failure: Failure, address: str) -> str:
    said = failure.said if failure.status in failure.said else f"{failure.status} {failure.said}".strip()
    told = stored(TOLD[failure.kind], address=address, said=f" ({said[:200]})" if said else "")
    return f"{told} {NO_MORE}" if failure.kind is Failing.COMPLAINT else told
