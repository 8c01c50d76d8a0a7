"""Live streams: who is far behind delays nobody, and who missed too much hears that there is a gap."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator

import pytest
from flask import Flask

from hub.pump import REPLAY, REPLAY_MOST, SKIPPED, Happened, Pump, _QueueStream, frame, latest_fact
from storage import Store, Tx


def tell(tx: Tx, number: int, name: str = "DeskChanged") -> None:
    for _ in range(number):
        tx.sql(
            "INSERT INTO fact(name, at, conversation_id, contact_id, data) VALUES(?, ?, NULL, NULL, '{}')", name, tx.now
        )


def everything(fact: Happened) -> bytes:
    return frame(fact, "fact", {"fact": fact.name})


def newest(store: Store) -> int:
    with store.read() as tx:
        return latest_fact(tx)


@pytest.fixture
def pump(store: Store) -> Iterator[Pump]:
    running = Pump(store)
    yield running
    running.stop()


def heard(pump: Pump, after: str, number: int) -> list[tuple[int, str]]:
    """The ids and facts of the first events that a browser gets."""
    with Flask("test").test_request_context("/stream", query_string={"after": after}) as context:
        frames = iter(pump.response(context.request, everything).response)
    events: list[tuple[int, str]] = []
    assert b"retry" in next(frames)
    while len(events) < number:
        for event in bytes(next(frames)).decode().split("\n\n"):  # type: ignore[arg-type]
            if event.startswith("id: "):
                rows = event.splitlines()
                events.append((int(rows[0][4:]), json.loads(rows[2][6:])["fact"]))
    return events


def test_one_page_far_behind_does_not_delay_the_others(store: Store, pump: Pump) -> None:
    with store.write() as tx:
        tell(tx, REPLAY * 3)
    live, behind = _QueueStream(everything, newest(store)), _QueueStream(everything, newest(store) - REPLAY * 3)
    pump._generators |= {live, behind}
    with store.write() as tx:
        tell(tx, 1, "NoteAdded")

    pump._feed(select.poll())
    assert b"NoteAdded" in (live.frames.get_nowait() or b"")
    assert behind.after == newest(store) - REPLAY * 2 - 1, "one page, then it is the others' turn"
    for _ in range(3):
        pump._feed(select.poll())
    assert behind.after == live.after == newest(store)
    got = b"".join(behind.frames.get_nowait() or b"" for _ in range(behind.frames.qsize()))
    assert got.count(b"event: fact") == REPLAY * 3 + 1


def test_a_page_that_missed_too_much_is_told_to_read_itself_anew(store: Store, pump: Pump) -> None:
    with store.write() as tx:
        tell(tx, REPLAY_MOST + 2)
    last = newest(store)
    assert heard(pump, "1", 1) == [(last, SKIPPED)]
    assert heard(pump, str(last - 2), 2) == [(last - 1, "DeskChanged"), (last, "DeskChanged")]


def test_a_page_from_before_the_database_was_restored_is_told_as_well(store: Store, pump: Pump) -> None:
    with store.write() as tx:
        tell(tx, 3)
    assert heard(pump, str(newest(store) + 100_000), 1) == [(newest(store), SKIPPED)]


@pytest.mark.parametrize("after", ["²", "-1", "9" * 5000, "seven"])
def test_a_cursor_that_is_no_number_begins_now(store: Store, pump: Pump, after: str) -> None:
    with store.write() as tx:
        tell(tx, 3)
    with Flask("test").test_request_context("/stream", query_string={"after": after}) as context:
        frames = iter(pump.response(context.request, everything).response)
    assert b"retry" in next(frames)
    with store.write() as tx:
        tell(tx, 1, "NoteAdded")
    assert b"NoteAdded" in next(frames)


def test_a_pump_that_has_ended_holds_no_file(store: Store) -> None:
    pump = Pump(store)
    held = pump._wake_read, pump._wake_write
    pump.stop()
    pump.stop()
    for each in held:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)
