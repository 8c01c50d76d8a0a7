"""Everything about a person as one file: a ZIP of what is known of them, every message, every file, the raw mails."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import IO, Any

from flask import Response
from sqlalchemy import or_
from sqlmodel import SQLModel, col, select

from hub.hub import Hub
from hub.suppression import closings
from storage import Tx
from storage.access import ERASE, Actor, person_for
from storage.blobs import BadBlob
from storage.contactdata import consents_of, events_of, notes_of
from storage.contactfacts import ContactExported
from storage.conversations import Attachment, Conversation, Message
from storage.facts import FactRow
from storage.people import Contact, Identity, identities_of
from storage.receipts import Receipt

ALL = 100_000
CHUNK = 64 * 1024
LEFT_OUT = {"html", "safe_html", "safe_version", "receipt_id", "uuid"}  # of a message: made of what is there anyway


def export(hub: Hub, actor: Actor, contact_id: int, out: IO[bytes]) -> str:
    """Write the file; what to call it. Raises Forbidden and NotFound."""
    actor.must(ERASE)
    with hub.store.write() as tx:
        person = person_for(tx, actor, contact_id)
        tx.emit(ContactExported(person.id or 0, by=actor.by))
    with hub.store.read() as tx, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        records = [row.id or 0 for row in tx.exec(select(Contact).where(Contact.person_id == person.id))]
        conversations = list(tx.exec(select(Conversation).where(col(Conversation.contact_id).in_(records))))
        messages = _messages(tx, records, [row.id or 0 for row in conversations])
        files = _files(hub, tx, archive, messages)
        document = {
            "exported_at": tx.now,
            "contact": _row(person),
            "records": records,
            "identities": [_row(one) for one in identities_of(tx, person.id or 0)],
            "may_not_be_written_to": [
                {"identity_id": number, "why": one.words, "source": one.source, "since": one.at}
                for number, one in closings(tx, identities_of(tx, person.id or 0)).items()
            ],
            "consents": [_row(one) for one in consents_of(tx, person.id or 0)],
            "notes": [_row(one) for one in notes_of(tx, person.id or 0, ALL)],
            "events": [_row(one) for one in events_of(tx, person.id or 0, ALL)],
            "conversations": [_row(one) for one in conversations],
            "messages": [_row(one, LEFT_OUT) | {"files": files.get(one.id or 0, [])} for one in messages],
            "history": _history(tx, records),
        }
        text = json.dumps(document, ensure_ascii=False, indent=1, default=_plain)
        archive.writestr("person.json", text)
        _raw(hub, tx, archive, messages)
    return f"contact-{person.id}.zip"


def zipped(hub: Hub, actor: Actor, contact_id: int) -> Response:
    """The file as a download; it is made on disk, and gone when it was sent. Raises Forbidden and NotFound."""
    with ExitStack() as kept:
        out = kept.enter_context(tempfile.TemporaryFile())
        name = export(hub, actor, contact_id, out)
        size = out.tell()
        out.seek(0)
        response = Response(iter(partial(out.read, CHUNK), b""), mimetype="application/zip", direct_passthrough=True)
        response.call_on_close(kept.pop_all().close)
    response.headers["Content-Disposition"] = f"attachment; filename={name}"
    response.content_length = size
    return response


def _messages(tx: Tx, records: Sequence[int], conversations: Sequence[int]) -> list[Message]:
    """Those of their conversations, and what they wrote or were sent in other people's."""
    addresses = select(Identity.id).where(col(Identity.contact_id).in_(records))
    theirs = or_(
        col(Message.conversation_id).in_(conversations),
        col(Message.contact_id).in_(records),
        col(Message.identity_id).in_(addresses),
    )
    query = select(Message).where(theirs, Message.state != "draft")
    return list(tx.exec(query.order_by(col(Message.id))))


def _files(hub: Hub, tx: Tx, archive: zipfile.ZipFile, messages: Sequence[Message]) -> dict[int, list[str]]:
    """Put every file into the archive; their names in it, by message."""
    found: dict[int, list[str]] = {}
    for message in messages:
        query = select(Attachment).where(Attachment.message_id == message.id, Attachment.sha256 != "")
        for file in tx.exec(query.order_by(col(Attachment.id))):
            name = f"files/{file.id}-{_harmless(file.name)}"
            found.setdefault(message.id or 0, []).append(_stored(hub, archive, name, file.sha256))
    return found


def _raw(hub: Hub, tx: Tx, archive: zipfile.ZipFile, messages: Sequence[Message]) -> None:
    """What arrived, exactly as it arrived."""
    for message in messages:
        receipt = tx.get(Receipt, message.receipt_id) if message.receipt_id else None
        if receipt is None or receipt.dropped_at is not None:
            continue
        name = f"raw/{message.id}.{'eml' if receipt.content_type == 'message/rfc822' else 'txt'}"
        if receipt.body is not None:
            archive.writestr(name, receipt.body)
        elif receipt.sha256:
            _stored(hub, archive, name, receipt.sha256)


def _stored(hub: Hub, archive: zipfile.ZipFile, name: str, digest: str) -> str:
    try:
        archive.writestr(name, hub.blobs.get(digest))
    except BadBlob as gone:
        return f"{name}: {gone}"
    return name


def _history(tx: Tx, records: Sequence[int]) -> list[dict[str, Any]]:
    """What was done with their data, and by whom: who merged, changed and took it out."""
    query = select(FactRow).where(col(FactRow.contact_id).in_(records), col(FactRow.conversation_id).is_(None))
    return [{"at": row.at, "what": row.name} | row.data for row in tx.exec(query.order_by(col(FactRow.id)))]


def _row(row: SQLModel, left_out: set[str] | None = None) -> dict[str, Any]:
    return row.model_dump(exclude=left_out)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _harmless(name: str) -> str:
    """A name that leads nowhere when somebody unpacks it."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".")[-80:] or "file"
