"""Where waiting work stands on its ladder: kept in its row, so that every process counts alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from routing.calendars import ALWAYS
from routing.ladder import Climb, Ladder
from routing.rules import RuleBook, rule_book
from storage.columns import moment
from storage.store import Tx

COLUMNS = "id, queue_id, ladder_rule_id, ladder_used, ladder_since, ladder_reached, step_at"


class Standing(NamedTuple):
    """A row of `COLUMNS`."""

    item_id: int
    queue_id: int
    rule_id: int | None
    climb: Climb
    step_at: datetime | None

    def ladder(self, book: RuleBook) -> Ladder:
        """The ladder that counts."""
        return book.ladder(self.queue_id, self.rule_id)

    def next_at(self, book: RuleBook) -> datetime | None:
        """When its next step comes, as the desk is now."""
        queue = book.queues.get(self.queue_id)
        return self.climb.next_at(self.ladder(book), queue.calendar if queue else ALWAYS)


def standing(row: Sequence[Any]) -> Standing:
    """Read a row of `COLUMNS`."""
    item_id, queue_id, rule_id, used, since, reached, step_at = row
    return Standing(item_id, queue_id, rule_id, Climb(used, moment(since), reached), moment(step_at))


def standing_of(tx: Tx, item_id: int) -> Standing:
    """Where an item stands."""
    return standing(tx.sql(f"SELECT {COLUMNS} FROM work_item WHERE id = ?", item_id).fetchone())


def first_step_at(book: RuleBook, queue_id: int, rule_id: int | None, since: datetime) -> datetime | None:
    """When something changes first for work that begins to wait."""
    return Standing(0, queue_id, rule_id, Climb(0, since, 0), None).next_at(book)


def rest(tx: Tx, item_id: int) -> None:
    """Somebody has it: its ladder stands still."""
    book = rule_book(tx)
    if not book.has_ladders:
        return
    now_at = standing_of(tx, item_id)
    queue = book.queues.get(now_at.queue_id)
    keep(tx, item_id, now_at.climb.resting(queue.calendar if queue else ALWAYS, tx.now), None)


def go_on(tx: Tx, item_id: int) -> None:
    """It waits again: its ladder goes on where it stood."""
    book = rule_book(tx)
    if not book.has_ladders:
        return
    now_at = standing_of(tx, item_id)
    if now_at.climb.since is None:
        now_at = now_at._replace(climb=now_at.climb._replace(since=tx.now))
    keep(tx, item_id, now_at.climb, now_at.next_at(book))


def keep(tx: Tx, item_id: int, climb: Climb, step_at: datetime | None) -> None:
    """Write down how far an item has come."""
    tx.sql(
        "UPDATE work_item SET ladder_used = ?, ladder_since = ?, ladder_reached = ?, step_at = ? WHERE id = ?",
        climb.used, climb.since, climb.reached, step_at, item_id,
    )  # fmt: skip
