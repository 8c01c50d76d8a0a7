"""`python app.py receipts …`: what arrived, its raw bytes, and reading it again."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from cli.desk import OPERATOR, agreed
from config import Settings
from hub import Hub
from hub.intake import retry_receipt
from hub.receipts import raw_bytes
from hub.replay import Replay, plan_replay, replay
from storage.access import NotFound, receipt_for
from storage.ledger import Entry, Filter, entries, entry, words_of
from storage.migrations import is_current


def receipts(settings: Settings, given: argparse.Namespace) -> int:
    """One action on the ledger."""
    with _opened(settings) as hub:
        if given.action == "list":
            return _list(hub, _filter(given), given.before, given.limit)
        if given.action == "show":
            return _show(hub, given.id, given.save)
        if given.action == "retry":
            return _retry(hub, given.id)
        return _replay(hub, _filter(given), ask=not given.yes, dry_run=given.dry_run)


@contextmanager
def _opened(settings: Settings) -> Iterator[Hub]:
    hub = Hub(settings)
    try:
        if not is_current(hub.store):
            raise NotFound("The database is empty or old: run `python app.py db upgrade` first.")
        yield hub
    finally:
        hub.stop()


def _list(hub: Hub, wanted: Filter, before: int | None, limit: int) -> int:
    with hub.store.read() as tx:
        page = entries(tx, OPERATOR, wanted, before=before, limit=limit)
    for each in page.entries:
        print(_line(each))
    if page.following is not None:
        print(f"More with --before {page.following}")
    elif not page.entries:
        print("Nothing that arrived fits this.")
    return 0


def _show(hub: Hub, number: int, save: Path | None) -> int:
    with hub.store.read() as tx:
        found = entry(tx, OPERATOR, number)
        receipt = receipt_for(tx, OPERATOR, number)
    if save is not None:
        save.write_bytes(raw_bytes(hub, receipt))
        print(f"{found.size} bytes written to {save}.")
        return 0
    again = "" if found.seen_at is None else f", last {_moment(found.seen_at)}"
    told = {
        "state": found.state, "reason": found.why, "channel": found.channel, "kind": found.origin,
        "sender": _from(found),
        "message": found.message_id and f"{found.message_id} in conversation {found.conversation_id}",
        "received": _moment(found.received_at), "delivered": f"{found.seen} times{again}" if found.seen > 1 else "",
        "tries": found.attempts, "size": f"{found.size} bytes" if found.kept else "the bytes are not kept any more",
        "type": found.content_type, "message id": found.external_id, "key": found.key,
    }  # fmt: skip
    for name, value in told.items():
        if value:
            print(f"{name:<11} {_printable(str(value))}")
    return 0


def _retry(hub: Hub, number: int) -> int:
    """0 when a message came of it."""
    retry_receipt(hub, OPERATOR, number)
    with hub.store.read() as tx:
        found = entry(tx, OPERATOR, number)
    print(_line(found))
    return 0 if found.state in ("accepted", "duplicate") else 1


def _replay(hub: Hub, wanted: Filter, *, ask: bool, dry_run: bool) -> int:
    with hub.store.read() as tx:
        planned = plan_replay(tx, OPERATOR, wanted)
    _tell(planned)
    if dry_run or not planned.to_read:
        return 0
    if ask and not agreed(f"Read these {planned.to_read} again? [y/N] "):
        print("Nothing was changed.")
        return 1
    done = replay(hub, OPERATOR, wanted)
    print(f"{done.to_read} will be read within half a minute by the hub or worker that runs, or when one starts.")
    return 0


def _tell(planned: Replay) -> None:
    told = f"{planned.to_read} to read again, {planned.messages} are messages and stay so, {planned.left} make none"
    print(f"{planned.matched} receipts: {told}.")


def _filter(given: argparse.Namespace) -> Filter:
    return Filter(
        channel=given.channel or "",
        state=given.state or "",
        sort=given.kind or "",
        since=_begin(given.since),
        until=None if given.until is None else _begin(given.until + timedelta(days=1)),
        words=words_of(given.words or ""),
    )


def _begin(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _line(found: Entry) -> str:
    who = (_from(found) or "-") + (f" ×{found.seen}" if found.seen > 1 else "")
    parts = (f"{found.id:>8}", _moment(found.received_at), f"{found.state:<11}", found.channel or "slack", who)
    return _printable("  ".join((*parts, found.why or found.external_id or found.key)))


def _from(found: Entry) -> str:
    return f"{found.person} <{found.sender}>" if found.person and found.sender else found.person or found.sender


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _printable(text: str) -> str:
    """Strangers' words for a terminal, which obeys control characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
