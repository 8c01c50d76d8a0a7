"""The way in: raw bytes become durable, then a message in the right person's history, exactly once."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial

from channels.base import (
    ContactPoint,
    DeliveryUpdate,
    Ignored,
    Inbound,
    Raw,
    Sender,
    SignedRequest,
    Strength,
    Unreadable,
)
from channels.seals import Authenticity
from channels.text import storable
from config.language import N_, _
from hub.arrivals import arrival_of
from hub.attached import StoredFile, attach_file, store_files
from hub.bounces import note_report, reported_on
from hub.copies import copy_key, note_copy
from hub.delivery import settle_update
from hub.history import HISTORY, heard_then, is_history, open_past
from hub.hub import Hub, Opened
from hub.identity import Known, identify
from hub.noticeanswers import NoticeAnswer, Refused, answer_to_notice
from hub.optout import note_command
from hub.participants import is_stranger, note_participants
from hub.reading import ReadingFailed, ReadingStopped
from hub.receipts import keep_ignored, new_receipt, note_receipt, raw_bytes, shelve
from hub.redaction import redacted, redacted_message
from hub.suppression import lift_for_now
from hub.threads import BEGAN, Thread, thread
from hub.trust import beside_namesakes, compared, keys_for, weighed
from routing.parking import follow_parking
from routing.sla import follow_conversation
from routing.work import enqueue
from storage import Interleaved, Tx, outages
from storage.access import RECEIPTS, Actor, Conflict, NotFound, receipt_for
from storage.blobs import BadBlob
from storage.copies import claim_key
from storage.facts import (
    ConversationOpened,
    ConversationReopened,
    ConversationResolved,
    ConversationWoken,
    MessageReceived,
    ReceiptQuarantined,
)
from storage.failpoints import step
from storage.receipts import Receipt, begin_try, seen_again

logger = logging.getLogger(__name__)

OUTAGES = outages.OUTAGES
SENTENCES = (Unreadable, ReadingStopped, ReadingFailed, BadBlob, NotFound)  # their words are for people
TRIES = 3  # at what readers die over
CRASHES = 6  # tries that nobody saw the end of: the whole process went away
POISON = (
    f"It was not read: {CRASHES} times this program has ended while it tried. Its raw file is kept; look at it "
    "before you press Retry."
)
TOGETHER_BYTES, TOGETHER_SECONDS = 8 * 1024 * 1024, 1.0  # what is read before it is filed
PROOF = tuple(each.name for each in fields(Authenticity))
NOBODYS = ("vacation", "report", "blocked")
DROPPED = {"own": N_("our own mail came back"), "spam": N_("the honeypot field was filled in")}

NEW_CONVERSATION = (
    "INSERT INTO conversation(contact_id, subject, state, channel, priority, last_at, last_message_id, "
    "last_inbound_id, preview, message_count, created_at) VALUES(?, ?, 'open', ?, 0, ?, 0, 0, '', 0, ?)"
)
NEW_MESSAGE = (
    "INSERT INTO message(conversation_id, kind, channel_id, channel, contact_id, identity_id, receipt_id, to_address, "
    "cc, subject, text, html, safe_html, safe_version, quoted_at, signature_at, language, fields, external_id, refs, "
    "why, automatic, flags, authenticity, state, state_why, sent_at, created_at) "
    "VALUES(?, 'inbound', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?)"
)
_HEARD = (
    "UPDATE conversation SET {also}channel = ?, last_at = ?, last_message_id = ?, last_inbound_id = ?, preview = ?, "
    "message_count = message_count + 1, waiting_since = COALESCE(waiting_since, ?) WHERE id = ?"
)
HEARD = _HEARD.format(also="")  # of an open one: a column that is set costs its indices even where nothing changes
WOKEN = _HEARD.format(also="state = 'open', snoozed_until = NULL, ")
UNDER_WAY = "EXISTS(SELECT 1 FROM work_item WHERE conversation_id = ? AND state IN ('queued','offered','assigned'))"
NOTED = "UPDATE conversation SET last_message_id = ?, message_count = message_count + 1 WHERE id = ?"
LEARN_LANGUAGE = "UPDATE contact SET language = ? WHERE id = ? AND language = ''"

Begun = tuple[int, int, "Future[Callable[[Tx], Taken]]"]  # receipt, bytes, and the unit that files it once it is read


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of something that arrived. `state` is accepted, duplicate, ignored or quarantined."""

    state: str
    receipt_id: int | None = None
    message_id: int | None = None
    conversation_id: int | None = None
    contact_id: int | None = None


def hear(hub: Hub, opened: Opened, request: SignedRequest) -> list[Taken]:
    """A provider calls: verify, take in each message, settle each delivery update.

    Raises NotAuthentic, NotConfigured, or one of OUTAGES when nothing could be stored (answer 503).
    """
    opened.must()
    if opened.hears is None:
        raise NotFound(f"Channel {opened.account.name!r} takes no calls.")
    taken = []
    for heard in opened.hears.hear(request):
        if isinstance(heard, DeliveryUpdate):
            taken.append(Taken(settle_update(hub.store, opened.id, heard)))
        elif isinstance(heard, Ignored):
            taken.append(Taken(*keep_ignored(hub, opened, heard)))
        else:
            taken.append(take_in(hub, opened, heard))
    return taken


def take_in(hub: Hub, opened: Opened, raw: Raw) -> Taken:
    """Store the bytes and what they mean in one unit; durable when it returns.

    What can't be read is kept as a quarantined receipt. Raises only OUTAGES: then nothing was stored.
    """
    raw = redacted(hub, raw)
    try:
        inbound = _read(hub, opened, raw)
        files = store_files(hub, inbound)
    except Exception as error:
        if outages.is_outage(error):
            raise
        return _set_aside(hub, opened, raw, error)
    body, digest = shelve(hub, raw.body)
    signed, answer = signed_conversations(hub, inbound), answer_to_notice(hub, inbound, files)
    named = inbound.automatic not in DROPPED and answer is None and bool(inbound.sender.points)
    step("intake.read")

    def unit(tx: Tx) -> Taken:
        noted = new_receipt(tx, opened, raw, body, digest, *_verdict(inbound))
        # Asked before the receipt's answer is read: the two share a round, and a duplicate's sender is known.
        sender = identify(tx, inbound.sender) if named else None
        receipt = noted.fetchone()
        if receipt is None:
            return Taken("duplicate", seen_again(tx, opened.id, raw.dedupe_key))
        filed = receive(tx, opened, inbound, receipt[0], files, signed, sender, answer)
        step("intake.filed")
        return filed

    try:
        # Reports and agents' answers go by the ORM, which sees nothing of what still waits to be sent.
        taken = hub.store.submit(unit if inbound.report or answer else Interleaved(unit))
        step("intake.durable")
        return taken
    except Exception as error:
        if outages.is_outage(error):
            raise
        logger.exception("channel %s: a message could not be filed", opened.account.name)
        return _set_aside(hub, opened, raw, error)


def receive(
    tx: Tx, opened: Opened, inbound: Inbound, receipt_id: int, files: tuple[StoredFile, ...], signed: tuple[int, ...],
    sender: Known | None = None, answer: NoticeAnswer | None = None,
) -> Taken:  # fmt: skip
    """One message on its way in: who wrote, where it belongs, what work it makes."""
    if inbound.automatic in DROPPED:
        return Taken("ignored", receipt_id)
    kind = opened.account.kind
    key = copy_key(kind, inbound, [stored.sha256 for stored in files])
    if key:
        tx.hold("copy", key)
    claim = claim_key(tx, key, receipt_id) if key else None
    inbound = inbound if inbound.sender.points else replace(inbound, sender=_nobody(inbound, receipt_id))
    sender = sender or (identify(tx, inbound.sender) if answer is None else None)
    if claim is not None and claim.fetchone() is None and (first := note_copy(tx, opened, key, receipt_id)):
        return Taken("duplicate", receipt_id, *first)
    filed = answer.filed(tx, receipt_id) if answer is not None else None
    if isinstance(filed, Refused):
        inbound, signed = replace(inbound, flags=(*inbound.flags, filed.flag)), (filed.conversation_id, *signed)
    elif filed is not None:
        return Taken(filed.state, receipt_id, filed.message_id, filed.conversation_id)
    sender = sender or identify(tx, inbound.sender)
    if sender.blocked and not inbound.automatic:
        inbound = replace(inbound, automatic="blocked")
    sent = reported_on(tx, inbound) if inbound.report else None
    found = thread(tx, sender.person_id, inbound, kind, (sent.conversation_id, *signed) if sent else signed)
    if is_history(inbound):
        return _receive_past(tx, opened, inbound, receipt_id, files, sender, found)
    conversation_id = found.conversation_id if found else _open(tx, sender, inbound, kind)
    why = found.why if found else BEGAN
    customer = found is None or found.person_id == sender.person_id
    stranger = not customer and is_stranger(tx, inbound, conversation_id)
    if stranger and found is not None:
        inbound = compared(tx, inbound, found.person_id)
    elif found is None:
        inbound = beside_namesakes(tx, inbound, sender)
    message_id = _write(tx, opened, sender, inbound, conversation_id, receipt_id, why, stranger)
    note_participants(tx, inbound, conversation_id, sender, customer=customer, stranger=stranger)
    for stored in files:
        attach_file(tx, message_id, stored)
    if inbound.language and not sender.language:
        tx.sql(LEARN_LANGUAGE, inbound.language, sender.person_id)
    if inbound.command:
        note_command(tx, sender, inbound, opened)
    if sent is not None:
        note_report(tx, sent, inbound, opened)
    elif sender.bounced and not inbound.automatic:
        lift_for_now(tx, inbound.sender.points[0].kind, inbound.sender.points[0].value)
    # Somebody who is blocked, a first "STOP", an absence, a report on somebody else's mail: no matter that anybody has
    # to look at.
    nobodys = bool(inbound.command) or inbound.report is not None or inbound.automatic in NOBODYS
    if nobodys or (inbound.automatic and found is not None):
        tx.sql(NOTED, message_id, conversation_id)
        if found is None:
            tx.sql("UPDATE conversation SET state = 'resolved' WHERE id = ?", conversation_id)
            tx.emit(ConversationResolved(conversation_id, by="system"))
    else:
        if not _hear(tx, found, conversation_id, message_id, inbound, kind):
            flags = _flags(inbound, stranger)
            reopens = found is not None and found.state == "resolved"
            enqueue(tx, arrival_of(opened, sender, inbound, conversation_id, flags, reopens=reopens))
    tx.emit(MessageReceived(conversation_id, sender.contact_id, message_id, kind, why, inbound.automatic))
    return Taken("accepted", receipt_id, message_id, conversation_id, sender.contact_id)


def _receive_past(
    tx: Tx, opened: Opened, inbound: Inbound, receipt_id: int, files: tuple[StoredFile, ...], sender: Known,
    found: Thread | None,
) -> Taken:  # fmt: skip
    """One message of a time before us: no work, no facts, its own dates."""
    at = min(inbound.sent_at or tx.now, tx.now)
    kind, why = opened.account.kind, found.why if found else "brought in afterwards"
    past = None if found else open_past(tx, sender.contact_id, _subject(inbound), kind, at)
    conversation_id = found.conversation_id if found else past or 0
    customer = found is None or found.person_id == sender.person_id
    stranger = not customer and is_stranger(tx, inbound, conversation_id)
    message_id = _write(tx, opened, sender, inbound, conversation_id, receipt_id, why, stranger)
    note_participants(tx, inbound, conversation_id, sender, customer=customer, stranger=False)
    for stored in files:
        attach_file(tx, message_id, stored)
    heard_then(tx, conversation_id, message_id, _preview(inbound), at)
    return Taken("accepted", receipt_id, message_id, conversation_id, sender.contact_id)


def retry_receipt(hub: Hub, actor: Actor, receipt_id: int) -> Taken:
    """Read a receipt again that became no message, from its raw bytes. A form that was taken for spam is believed.

    Raises NotFound also when the actor may not see it, or Conflict when it needs no retry.
    """
    actor.must(RECEIPTS)
    with hub.store.read() as tx:
        receipt = receipt_for(tx, actor, receipt_id)
    if receipt.state == "ignored" and receipt.why == DROPPED["spam"] and receipt.dropped_at is None:
        receipt.headers = {name: value for name, value in receipt.headers.items() if name != "honeypot"}
        trusted, receipt.state = json.dumps(receipt.headers), "received"
        sql = "UPDATE receipt SET state = 'received', why = '', headers = ? WHERE id = ? AND state = 'ignored'"
        hub.store.submit(lambda tx: tx.sql(sql, trusted, receipt_id).rowcount)
    if receipt.state not in ("quarantined", "received"):
        raise Conflict(_("This one is {state} already.", state=receipt.state))
    return read_receipt(hub, hub.channel(receipt.channel_id or 0), receipt)


def read_receipt(hub: Hub, opened: Opened, receipt: Receipt) -> Taken:
    """Turn a stored receipt into a message; whatever goes wrong quarantines it with the reason.

    The try is counted before it begins. A receipt over which a reader died stays `received` for a while: it may have
    been the machine.
    """
    receipt_id, attempts, again = receipt.id or 0, receipt.attempts, receipt.state == "received"
    if again and attempts >= CRASHES:
        return hub.store.submit(lambda tx: _mark_quarantined(tx, receipt_id, opened, POISON))
    hub.reading.ready(opened.must())
    if not hub.store.submit(lambda tx: begin_try(tx, receipt_id, attempts)):
        return Taken("duplicate", receipt_id)
    try:
        raw = Raw(receipt.dedupe_key, raw_bytes(hub, receipt), receipt.content_type, receipt.headers)
    except (BadBlob, NotFound) as lost:
        why = sentence(lost)
        return hub.store.submit(lambda tx: _mark_quarantined(tx, receipt_id, opened, why))
    unit = _understood(hub, opened, receipt_id, raw, attempts + 1 if again else TRIES)
    return _file(hub, opened, [(receipt_id, unit)])[0]


def read_first(hub: Hub, opened: Opened, arrived: Iterable[tuple[int, Raw]]) -> None:
    """The first try at receipts that were stored a moment ago, which was counted then.

    They are filed together, but none waits for a neighbour that is slow to read, and not too much lies in memory.
    """
    work: list[tuple[int, Callable[[Tx], Taken]]] = []
    size, began = 0, time.monotonic()
    for number, length, unit in _begun_in_turn(hub, opened, arrived):
        work.append((number, unit.result()))
        size += length
        if size > TOGETHER_BYTES or time.monotonic() - began > TOGETHER_SECONDS:
            _file(hub, opened, work)
            work, size, began = [], 0, time.monotonic()
    if work:
        _file(hub, opened, work)


def _begun_in_turn(hub: Hub, opened: Opened, arrived: Iterable[tuple[int, Raw]]) -> Iterator[Begun]:
    """In the order of arrival, while all readers are at work on those that come next."""
    most, begun = hub.settings.readers, deque[Begun]()
    with ThreadPoolExecutor(most, thread_name_prefix="understanding") as pool:
        for number, raw in arrived:
            begun.append((number, len(raw.body), pool.submit(_understood, hub, opened, number, raw, 1)))
            if len(begun) == most:
                yield begun.popleft()
        yield from begun


def _read(hub: Hub, opened: Opened, raw: Raw, attempt: int = 1) -> Inbound:
    # Where a reader died over both, the next one has all of its time for the mail, and another for its signatures.
    keys = keys_for(opened, raw) if attempt == 1 else {}
    inbound, judged = hub.reading.read(opened.must(), raw, keys)
    return weighed(hub, opened, raw, redacted_message(hub, raw, inbound), judged)


def _understood(hub: Hub, opened: Opened, receipt_id: int, raw: Raw, attempt: int) -> Callable[[Tx], Taken]:
    """Read what is stored; the unit that files it, sets it aside, or leaves it for another try."""
    try:
        inbound = _read(hub, opened, raw, attempt)
        if raw.headers.get(HISTORY):
            inbound = replace(inbound, flags=(*inbound.flags, HISTORY))
        files = store_files(hub, inbound)
        signed, answer = signed_conversations(hub, inbound), answer_to_notice(hub, inbound, files)
        state, why = _verdict(inbound)
    except Exception as error:
        if outages.is_outage(error):
            raise
        if isinstance(error, ReadingStopped) and attempt < TRIES:
            logger.warning("receipt %s: a reader died over it (try %s of %s)", receipt_id, attempt, TRIES)
            return lambda tx: Taken("received", receipt_id)
        if not isinstance(error, SENTENCES):
            logger.exception("receipt %s could not be read", receipt_id)
        return partial(_mark_quarantined, receipt_id=receipt_id, opened=opened, why=sentence(error))
    step("receipt.read")

    def unit(tx: Tx) -> Taken:
        claimed = tx.sql(
            "UPDATE receipt SET state = ?, why = ? WHERE id = ? AND state IN ('received','quarantined')",
            state, why, receipt_id,
        )  # fmt: skip
        if claimed.rowcount == 0:
            return Taken("duplicate", receipt_id)
        filed = receive(tx, opened, inbound, receipt_id, files, signed, answer=answer)
        step("receipt.filed")
        return filed

    return unit


def _file(hub: Hub, opened: Opened, work: Sequence[tuple[int, Callable[[Tx], Taken]]]) -> list[Taken]:
    """Store what was understood, all in one commit where nothing fails; what fails is quarantined alone."""
    try:
        taken = hub.store.submit_all([unit for _, unit in work])
    except Exception as error:
        if outages.is_outage(error):
            raise
        if len(work) > 1:  # the others have landed; they say "duplicate" now
            return [_file(hub, opened, [each])[0] for each in work]
        receipt_id, broken = work[0][0], sentence(error)
        logger.exception("receipt %s could not be filed", receipt_id)
        taken = [hub.store.submit(lambda tx: _mark_quarantined(tx, receipt_id, opened, broken))]
    step("receipt.durable")
    return taken


def signed_conversations(hub: Hub, inbound: Inbound) -> tuple[int, ...]:
    """Conversations that valid tokens in addresses or our own Message-IDs in references name, best first."""
    ids = [hub.tokens.read(token) for token in inbound.tokens]
    ids += [hub.tokens.conversation_of(reference) for reference in inbound.references if reference.startswith("<sy.")]
    return tuple(dict.fromkeys(number for number in ids if number is not None))


def sentence(error: BaseException) -> str:
    """What the receipts page says about an error."""
    return str(error)[:500] if isinstance(error, SENTENCES) else f"{type(error).__name__}: {error}"[:500]


def _verdict(inbound: Inbound) -> tuple[str, str]:
    why = DROPPED.get(inbound.automatic)
    return ("ignored", why) if why else ("accepted", "")


def _set_aside(hub: Hub, opened: Opened, raw: Raw, error: Exception) -> Taken:
    """Keep what could not be read or filed: in quarantine, or for another try where a reader died over it."""
    body, digest = shelve(hub, raw.body)
    if isinstance(error, ReadingStopped):
        kept = hub.store.submit(lambda tx: note_receipt(tx, opened, raw, body, digest))
        return Taken("duplicate") if kept is None else Taken("received", kept)

    def unit(tx: Tx) -> Taken:
        receipt = new_receipt(tx, opened, raw, body, digest, "quarantined", sentence(error)).fetchone()
        if receipt is None:
            return Taken("duplicate", seen_again(tx, opened.id, raw.dedupe_key))
        receipt_id = int(receipt[0])
        tx.emit(ReceiptQuarantined(receipt_id, opened.account.kind))
        return Taken("quarantined", receipt_id)

    return hub.store.submit(unit)


def _mark_quarantined(tx: Tx, receipt_id: int, opened: Opened, why: str) -> Taken:
    """Only what is still to be read: another reader may have filed it while this one failed."""
    marked = tx.sql(
        "UPDATE receipt SET state = 'quarantined', why = ? WHERE id = ? AND state IN ('received','quarantined')",
        why, receipt_id,
    )  # fmt: skip
    if marked.rowcount == 0:
        return Taken("duplicate", receipt_id)
    tx.emit(ReceiptQuarantined(receipt_id, opened.account.kind))
    return Taken("quarantined", receipt_id)


def _nobody(inbound: Inbound, receipt_id: int) -> Sender:
    """A mail without any sender is still somebody's: a contact of its own, to be merged by hand."""
    point = ContactPoint("external", f"receipt:{receipt_id}", Strength.CLAIMED, "unknown sender")
    return Sender((point,), inbound.sender.name)


def _subject(inbound: Inbound) -> str:
    return storable(inbound.subject or inbound.text.strip().partition("\n")[0])[:200] or "(no text)"


def _preview(inbound: Inbound) -> str:
    text = inbound.text[: inbound.quoted_at if inbound.signature_at is None else inbound.signature_at]
    return " ".join(storable(text[:400]).split())[:140] or storable(inbound.subject)[:140]


def _open(tx: Tx, sender: Known, inbound: Inbound, kind: str) -> int:
    row = tx.insert(NEW_CONVERSATION, sender.contact_id, _subject(inbound), kind, tx.now, tx.now).fetchone()
    conversation_id = int(row[0])
    tx.emit(ConversationOpened(conversation_id, sender.contact_id, kind))
    return conversation_id


def _write(
    tx: Tx, opened: Opened, sender: Known, inbound: Inbound, conversation_id: int, receipt_id: int, why: str,
    stranger: bool,
) -> int:  # fmt: skip
    flags = _flags(inbound, stranger)
    row = tx.insert(
        NEW_MESSAGE, conversation_id, opened.id, opened.account.kind, sender.contact_id, sender.identity_id, receipt_id,
        inbound.to[:320], json.dumps(inbound.others) if inbound.others else "[]", storable(inbound.subject)[:998],
        storable(inbound.text), storable(inbound.html), storable(inbound.safe_html), inbound.safe_version,
        inbound.quoted_at, inbound.signature_at, inbound.language,
        json.dumps(dict(inbound.fields)) if inbound.fields else "{}", inbound.external_id[:998],
        json.dumps(inbound.references) if inbound.references else "[]", why, inbound.automatic,
        json.dumps(flags) if flags else "[]", _proof(inbound), inbound.sent_at, tx.now,
    ).fetchone()  # fmt: skip
    return int(row[0])


def _flags(inbound: Inbound, stranger: bool) -> tuple[str, ...]:
    return (*inbound.flags, "new_participant") if stranger else inbound.flags


def _proof(inbound: Inbound) -> str:
    known = inbound.authenticity
    if not known.source and known.verdict == "none":
        return "{}"
    return json.dumps({name: getattr(known, name) for name in PROOF})  # asdict would copy each text, with every mail


def _hear(tx: Tx, found: Thread | None, conversation_id: int, message_id: int, inbound: Inbound, kind: str) -> bool:
    """The customer spoke: the conversation is open and waits. Whether somebody's work on it is under way."""
    heard = (kind, tx.now, message_id, message_id, _preview(inbound), tx.now, conversation_id)
    if found is None:
        tx.sql(HEARD, *heard)
        return False
    change = HEARD if found.state == "open" else WOKEN
    if tx.dialect == "sqlite":  # to which RETURNING costs as much as the update itself
        tx.sql(change, *heard)
        asked = tx.sql(f"SELECT {UNDER_WAY}", conversation_id)
    else:
        asked = tx.sql(f"{change} RETURNING {UNDER_WAY}", *heard, conversation_id)
    if found.state == "snoozed":
        tx.emit(ConversationWoken(conversation_id, N_("the customer wrote")))
    elif found.state == "resolved":
        tx.emit(ConversationReopened(conversation_id, N_("the customer wrote")))
    under_way = bool(asked.fetchone()[0])
    if under_way and (found.state == "snoozed" or not found.waits):
        follow_conversation(tx, conversation_id)
        follow_parking(tx, conversation_id)
    return under_way
