"""Units of one batch side by side: while each reads like plain code, their statements share round trips.

On PostgreSQL a unit spends most of its time waiting for answers. Here every unit runs in a greenlet of its own until
it needs rows; then whatever all of them ask goes to the server together, the same statement of many units as one
bundle. They are still one transaction and one commit. See DECISIONS.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from greenlet import getcurrent, greenlet

from storage.binding import psycopg_statement, psycopg_values

if TYPE_CHECKING:
    from storage.store import Tx

T = TypeVar("T")


class Standstill(Exception):
    """Units hold what the others wait for: none can go on. The writer then runs them one by one."""


class Interleaved(Generic[T]):
    """A unit that may run side by side with others of its kind: `store.submit(Interleaved(unit))`.

    Row locks don't keep units of one transaction apart. So it calls `tx.hold(…)` before it reads what it decides on,
    and it writes by `tx.sql` only.
    """

    __slots__ = ("unit",)

    def __init__(self, unit: Callable[[Tx], T]):
        self.unit = unit

    def __call__(self, tx: Tx) -> T:
        return self.unit(tx)


class Answer:
    """What a psycopg cursor held, to be read whenever; the cursor itself forgets it at its next statement."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, cursor: Any):
        # `description` would make an object for each column to say the same.
        self._rows: deque[Any] = deque(cursor.fetchall() if cursor.pgresult.nfields else ())
        self.rowcount: int = cursor.rowcount

    def fetchone(self) -> Any:
        return self._rows.popleft() if self._rows else None

    def fetchall(self) -> Sequence[Any]:
        rows, self._rows = list(self._rows), deque()
        return rows


class Question:
    """A statement that waits to be sent, then what came back; read like a driver's cursor."""

    __slots__ = ("_lanes", "answer", "statement", "values")

    def __init__(self, lanes: Lanes, statement: str, values: Sequence[Any]):
        self._lanes = lanes
        self.answer: Answer | None = None
        self.statement, self.values = statement, values

    @property
    def rowcount(self) -> int:
        return self._answered().rowcount

    def fetchone(self) -> Any:
        return self._answered().fetchone()

    def fetchall(self) -> Sequence[Any]:
        return self._answered().fetchall()

    def _answered(self) -> Answer:
        if self.answer is None:
            self._lanes.let_others_go_on()
        assert self.answer is not None
        return self.answer


class Lanes:
    """The units under way on one psycopg cursor."""

    def __init__(self, cursor: Any):
        self._cursor = cursor
        self._main = getcurrent()
        self._asked: dict[greenlet, list[Question]] = {}
        self._ready: deque[greenlet] = deque()
        self._owners: dict[Hashable, greenlet] = {}
        self._queues: dict[Hashable, deque[greenlet]] = {}
        self._waiting: set[greenlet] = set()  # for something that another unit holds

    def run(self, tx: Tx, units: Sequence[Callable[[Tx], Any]]) -> list[Any]:
        """The units' results in their order. The first exception of any of them ends all. Raises Standstill."""
        results: list[Any] = [None] * len(units)

        def work(position: int) -> None:
            results[position] = units[position](tx)

        lanes = [greenlet(work, self._main) for _ in units]
        try:
            for position, lane in enumerate(lanes):
                lane.switch(position)
            while any(not lane.dead for lane in lanes) or any(self._asked.values()):
                if not any(self._asked.values()) and not self._ready:
                    raise Standstill
                self._answer_all()
                while self._ready:
                    self._ready.popleft().switch()
            return results
        finally:
            for lane in lanes:
                if not lane.dead:
                    lane.throw()

    def ask(self, statement: str, values: Sequence[Any]) -> Question:
        """Queue a statement; reading its rows waits for the round that sends it."""
        question = Question(self, statement, values)
        self._asked.setdefault(getcurrent(), []).append(question)
        return question

    def let_others_go_on(self) -> None:
        """Until what this unit has asked is answered."""
        self._main.switch()

    def hold(self, key: Hashable) -> bool:
        """Keep `key` until this unit has ended; True when another unit had it until now."""
        lane = getcurrent()
        owner = self._owners.setdefault(key, lane)
        if owner is lane:
            return False
        self._queues.setdefault(key, deque()).append(lane)
        self._waiting.add(lane)
        self._main.switch()
        return True

    def _answer_all(self) -> None:
        """One round: the first statement of every unit, then the second ones, so that each unit keeps its order."""
        asked, self._asked = self._asked, {}
        for position in range(max(map(len, asked.values()), default=0)):
            bundles: dict[str, list[Question]] = {}
            for questions in asked.values():
                if position < len(questions):
                    bundles.setdefault(questions[position].statement, []).append(questions[position])
            for statement, bundle in bundles.items():
                self._send(statement, bundle)
        self._ready.extend(lane for lane in asked if not lane.dead and lane not in self._waiting)
        self._let_go()

    def _send(self, statement: str, bundle: Sequence[Question]) -> None:
        values = [psycopg_values(question.values) for question in bundle]
        if len(bundle) == 1:
            self._cursor.execute(psycopg_statement(statement), values[0])
        else:
            self._cursor.executemany(psycopg_statement(statement), values, returning=True)
        for question in bundle:
            question.answer = Answer(self._cursor)
            self._cursor.nextset()

    def _let_go(self) -> None:
        """What ended units held goes to whoever waits longest, now that everything they wrote has been sent."""
        for key, owner in list(self._owners.items()):
            if not owner.dead or owner in self._asked:
                continue
            queue = self._queues.get(key)
            if queue:
                following = self._owners[key] = queue.popleft()
                self._waiting.discard(following)
                self._ready.append(following)
            else:
                del self._owners[key]
