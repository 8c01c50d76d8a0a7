"""True erasure of a person: what they wrote and what was known of them, in rows, files, raw bytes and the index.

What stays is that it happened, and what says nothing of the person: that there were messages, when, and who of the
team answered. A STOP or a proved complaint stays with its address, so that nobody writes there again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from sqlmodel import col, select

from config.language import _
from hub import drafts
from hub.contacts import hold_people
from hub.hub import Hub
from hub.lifecycle import resolve
from hub.retention import drop_files
from routing.locks import held_rows, hold
from storage import Tx
from storage.access import ERASE, SYSTEM, Actor, Conflict, person_for
from storage.batches import MOST, batches, placeholders
from storage.blobs import BadBlob
from storage.contactfacts import ContactErased
from storage.conversations import Conversation, Draft
from storage.people import Contact, Identity, identities_of
from storage.search import forget, settle_index

ERASED = "Erased person"
KEPT = ("stop", "complaint")  # reasons of a suppression that outlive the person's data
MESSAGES = (
    "SELECT m.id FROM message m JOIN conversation v ON v.id = m.conversation_id WHERE v.contact_id IN ({marks}) "
    "UNION SELECT id FROM message WHERE contact_id IN ({marks}) "
    # What they were sent may lie in the conversation of somebody whom they were taken for.
    "UNION SELECT id FROM message WHERE identity_id IN (SELECT id FROM identity WHERE contact_id IN ({marks}))"
)
CLEAR_MESSAGE = (
    "UPDATE message SET subject = '', text = '', html = '', safe_html = '', quoted_at = NULL, signature_at = NULL, "
    "to_address = '', cc = '[]', bcc = '[]', fields = '{{}}', refs = '[]', external_id = '', language = '', "
    "authenticity = '{{}}', state_why = '', flags = '[\"erased\"]', identity_id = NULL, "
    "state = CASE WHEN state = 'queued' THEN 'draft' ELSE state END WHERE id IN ({marks})"
)
CLEAR_RECEIPT = (
    "UPDATE receipt SET body = NULL, sha256 = '', headers = '{{}}', why = '', dropped_at = ?, state = CASE WHEN state "
    "IN ('received','quarantined') THEN 'ignored' ELSE state END WHERE id IN ({marks})"
)
CLEAR_DELIVERY = (
    "UPDATE delivery SET payload = '{{}}', error = '', response = '{{}}', external_id = '', state = CASE WHEN state IN "
    "('queued','uncertain','failed') THEN 'cancelled' ELSE state END WHERE message_id IN ({marks})"
)
CLEAR_ALERT = (
    "UPDATE delivery SET payload = '{{}}', error = '', response = '{{}}', state = CASE WHEN state = 'sent' THEN state "
    "ELSE 'cancelled' END WHERE id IN ({marks})"
)
# What no message was made of may be theirs as well: a mail that came twice, or could not be read.
STRAY = "state NOT IN ('accepted','received') AND dropped_at IS NULL"
OTHERS = f"SELECT id, body, sha256, headers FROM receipt WHERE id > ? AND {STRAY} ORDER BY id LIMIT {MOST}"
# Between an address and what stands before it there may be an escape of a form, a query or JSON.
ESCAPED = r"(?<=%[0-9a-f]{2})(?<!%2b)|(?<=\\[nrt])|(?<=\\u[0-9a-f]{4})"


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is of a person."""

    person: Contact
    conversations: int
    messages: int
    files: int


@dataclass(frozen=True, slots=True)
class _Rows:
    records: list[int]
    conversations: list[int]
    messages: list[int]


def extent(tx: Tx, actor: Actor, contact_id: int) -> Extent:
    """What erasing would take away. Raises Forbidden and NotFound."""
    actor.must(ERASE)
    person = person_for(tx, actor, contact_id)
    rows = _rows(tx, person)
    files = sum(_file_count(tx, batch) for batch in batches(rows.messages))
    return Extent(person, len(rows.conversations), len(rows.messages), files)


def erase(hub: Hub, actor: Actor, contact_id: int) -> Extent:
    """Erase a person for good; how much that was. Raises Forbidden, NotFound, and Conflict while something leaves."""
    actor.must(ERASE)
    with hub.store.read() as tx:
        person = person_for(tx, actor, contact_id)
        stray = _strays(hub, tx, identities_of(tx, person.id or 0))
    with hub.store.write() as tx:
        done, names = _erase(tx, actor, contact_id, stray)
    drop_files(hub, names)
    settle_index(hub.store)
    return done


def _erase(tx: Tx, actor: Actor, contact_id: int, stray: Sequence[int]) -> tuple[Extent, list[str]]:
    hold_people(tx)
    person = person_for(tx, actor, contact_id)
    rows = _rows(tx, person)
    held_rows(tx, "contact", "id", rows.records)
    tx.refresh(person)
    if person.erased_at is not None:
        raise Conflict(_("This person is erased already."))
    hold(tx, rows.conversations)
    rows = _rows(tx, person)
    if tx.dialect == "sqlite":
        tx.sql("PRAGMA secure_delete = ON")  # what is freed is overwritten
    for number in rows.conversations:
        resolve(tx, SYSTEM, number)
    tx.flush()
    names = _clear_messages(tx, rows.messages)
    for batch in batches(stray):  # one that somebody has read meanwhile is a message's
        still = tx.sql(f"SELECT id FROM receipt WHERE id IN ({placeholders(batch)}) AND {STRAY}", *batch).fetchall()
        names += _clear_receipts(tx, [row[0] for row in still])
    names += _clear_conversations(tx, rows)
    _clear_alerts(tx, rows.conversations)
    _clear_person(tx, rows.records)
    found = Extent(person, len(rows.conversations), len(rows.messages), len(names))
    tx.emit(ContactErased(person.id or 0, found.conversations, found.messages, found.files, by=actor.by))
    tx.expire_all()
    return found, names


def _rows(tx: Tx, person: Contact) -> _Rows:
    records = [number or 0 for number in tx.exec(select(Contact.id).where(Contact.person_id == person.id))]
    query = select(Conversation.id).where(col(Conversation.contact_id).in_(records)).order_by(col(Conversation.id))
    marks = placeholders(records)
    messages = [row[0] for row in tx.sql(MESSAGES.format(marks=marks), *records, *records, *records).fetchall()]
    return _Rows(records, [number or 0 for number in tx.exec(query)], sorted(messages))


def _clear_messages(tx: Tx, messages: Sequence[int]) -> list[str]:
    """Bodies, files, raw bytes and tries to send them; the names of files that may be nobody's now."""
    names: list[str] = []
    for batch in batches(messages):
        marks = placeholders(batch)
        leaving = f"SELECT 1 FROM delivery WHERE message_id IN ({marks}) AND state = 'sending' LIMIT 1"
        if tx.sql(leaving, *batch).fetchone():
            raise Conflict(_("A message to them is leaving at this moment: try again in a minute."))
        forget(tx, batch)
        receipts = tx.sql(
            f"SELECT receipt_id FROM message WHERE id IN ({marks}) AND receipt_id IS NOT NULL "
            f"UNION SELECT id FROM receipt WHERE message_id IN ({marks})", *batch, *batch,
        ).fetchall()  # fmt: skip
        names += _clear_receipts(tx, [row[0] for row in receipts])
        names += _files(tx, f"SELECT sha256 FROM attachment WHERE message_id IN ({marks}) AND sha256 <> ''", batch)
        tx.sql(f"DELETE FROM attachment WHERE message_id IN ({marks})", *batch)
        tx.sql(f"DELETE FROM later_reply WHERE message_id IN ({marks})", *batch)
        tx.sql(CLEAR_DELIVERY.format(marks=marks), *batch)
        # Told by its last message: also in other people's conversations in which they took part.
        tx.sql(f"UPDATE conversation SET preview = '' WHERE last_message_id IN ({marks})", *batch)
        tx.sql(CLEAR_MESSAGE.format(marks=marks), *batch)
    return names


def _clear_receipts(tx: Tx, receipts: Sequence[int]) -> list[str]:
    names: list[str] = []
    for batch in batches(receipts):
        marks = placeholders(batch)
        names += _files(tx, f"SELECT sha256 FROM receipt WHERE id IN ({marks}) AND sha256 <> ''", batch)
        tx.sql(CLEAR_RECEIPT.format(marks=marks), tx.now, *batch)
    return names


def _clear_conversations(tx: Tx, rows: _Rows) -> list[str]:
    """What was said of them, and what agents have begun; the names of files that wait in drafts."""
    names: list[str] = []
    for batch in batches(rows.conversations):
        marks = placeholders(batch)
        for draft in tx.exec(select(Draft).where(col(Draft.conversation_id).in_(batch))):
            waiting = f"id IN ({placeholders(draft.files)}) AND message_id IS NULL"
            names += _files(tx, f"SELECT sha256 FROM attachment WHERE {waiting} AND sha256 <> ''", draft.files)
            tx.sql(
                f"UPDATE attachment SET name = '', sha256 = '', size = 0, uploaded_by = NULL WHERE {waiting}",
                *draft.files,
            )
        tx.sql(f"UPDATE conversation SET subject = '', preview = '' WHERE id IN ({marks})", *batch)
        tx.sql(f"UPDATE work_item SET trace = '[]' WHERE conversation_id IN ({marks})", *batch)
        tx.sql(f"UPDATE mail_notice SET why = '' WHERE conversation_id IN ({marks})", *batch)
        tx.sql(f"DELETE FROM participant WHERE conversation_id IN ({marks})", *batch)
    drafts.take_out(tx, rows.conversations)
    return names


def _clear_alerts(tx: Tx, conversations: Sequence[int]) -> None:
    """What Slack is told of a late answer says whose it is; such a delivery is known by its fact's number."""
    facts: set[str] = set()
    for batch in batches(conversations):
        query = f"SELECT id FROM fact WHERE conversation_id IN ({placeholders(batch)})"
        facts.update(str(row[0]) for row in tx.sql(query, *batch).fetchall())
    told = tx.sql("SELECT id, dedupe_key FROM delivery WHERE sender = 'slack' AND dedupe_key LIKE 'alert:%'")
    for batch in batches([number for number, key in told.fetchall() if key.split(":")[1] in facts]):
        tx.sql(CLEAR_ALERT.format(marks=placeholders(batch)), *batch)


def _clear_person(tx: Tx, records: Sequence[int]) -> None:
    marks = placeholders(records)
    for identity in tx.exec(select(Identity).where(col(Identity.contact_id).in_(records))).all():
        kept = ", ".join(f"'{reason}'" for reason in KEPT)
        tx.sql(
            f"DELETE FROM suppression WHERE kind = ? AND value = ? AND reason NOT IN ({kept})",
            identity.kind, identity.value,
        )  # fmt: skip
        tx.sql("UPDATE suppression SET source = '' WHERE kind = ? AND value = ?", identity.kind, identity.value)
        tx.sql("DELETE FROM participant WHERE address = ?", identity.value)
        tx.sql("DELETE FROM automatic_send WHERE address = ?", identity.value)
        tx.sql("DELETE FROM unsubscription WHERE identity_id = ?", identity.id)
        tx.sql("UPDATE consent SET identity_id = NULL WHERE identity_id = ?", identity.id)
    tx.sql(f"UPDATE participant SET contact_id = NULL WHERE contact_id IN ({marks})", *records)
    for table in ("contact_note", "contact_event", "consent", "identity"):
        tx.sql(f"DELETE FROM {table} WHERE contact_id IN ({marks})", *records)
    tx.sql(f"DELETE FROM contact_apart WHERE one_id IN ({marks}) OR other_id IN ({marks})", *records, *records)
    tx.sql(
        f"UPDATE merge SET changed = '{{}}' WHERE survivor_id IN ({marks}) OR other_id IN ({marks})", *records, *records
    )
    tx.sql(
        f"UPDATE contact SET name = ?, language = '', company = '', zone = '', attributes = '{{}}', erased_at = ? "
        f"WHERE id IN ({marks})", ERASED, tx.now, *records,
    )  # fmt: skip


def _strays(hub: Hub, tx: Tx, identities: Iterable[Identity]) -> list[int]:
    """Receipts without a message that name one of their addresses; read outside of the unit, for it may take long."""
    values = [one.value.lower() for one in identities if len(one.value) > 5]
    words = {word.lstrip("+") for value in values for word in (value, _quoted(value))}
    named = re.compile("|".join(map(_standing_alone, values)))
    found: list[int] = []
    last = 0
    while words and (rows := tx.sql(OTHERS, last).fetchall()):
        last = rows[-1][0]
        for number, body, digest, headers in rows:
            raw = bytes(body) if body is not None else _bytes(hub, digest)
            text = f"{headers}\n{raw.decode('utf-8', 'replace')}".lower()
            if any(word in text for word in words) and named.search(text):
                found.append(number)
    return found


def _standing_alone(value: str) -> str:
    """A pattern of an address, plain or as forms and queries write it, that is no part of a longer one."""
    if re.fullmatch(r"\+?\d+", value):
        return rf"(?:(?<!\d)|{ESCAPED})(?:00)?{value.lstrip('+')}(?!\d)"
    plain, quoted = re.escape(value), re.escape(_quoted(value))
    # In a form a plus is a space: the one of an address is written as %2B.
    return rf"(?:(?:(?<![\w.+%-])|{ESCAPED})(?:{plain}|{quoted})|(?<=\+){quoted})(?![\w-]|\.\w)"


def _quoted(value: str) -> str:
    return quote(value, safe="").lower()


def _bytes(hub: Hub, digest: str) -> bytes:
    """What is lost or damaged names nobody any more."""
    try:
        return hub.blobs.get(digest) if digest else b""
    except BadBlob:
        return b""


def _file_count(tx: Tx, messages: Sequence[int]) -> int:
    counted = tx.sql(f"SELECT count(*) FROM attachment WHERE message_id IN ({placeholders(messages)})", *messages)
    return int(counted.fetchone()[0])


def _files(tx: Tx, query: str, values: Sequence[int]) -> list[str]:
    return [row[0] for row in tx.sql(query, *values).fetchall()]
