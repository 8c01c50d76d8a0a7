"""The floor that the leading router keeps in memory: read once, then kept as the database is by following the facts.

Facts say which conversations and agents something happened to, and the rows say what they are now, read by what also
reads all of them. Whatever changes what the router must know leaves a fact in its unit, or touches the desk.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from routing.demand import Waiting
from routing.engine import Decision, Engine
from routing.floor import roster, waiting
from routing.rules import RuleBook, rule_book
from routing.supply import Candidate
from storage.store import Tx

log = logging.getLogger(__name__)

MANY = 2000  # facts at once after which reading everything is no longer the slower way
_NEWS = "SELECT id, name, conversation_id, data FROM fact WHERE id > ? ORDER BY id LIMIT ?"
_GIVEN = ("OfferMade", "ConversationAssigned")


@dataclass(frozen=True, slots=True)
class Stand:
    """What the index was made of: when any of this changes, it is made anew."""

    book: RuleBook
    held: frozenset[int]  # queues that are closed and keep their work until they open

    @classmethod
    def read(cls, tx: Tx) -> Stand:
        """As it is in this transaction."""
        book = rule_book(tx)
        return cls(book, frozenset(queue.id for queue in book.queues.values() if queue.holds(tx.now)))

    def new_engine(self) -> Engine:
        """An engine with nobody and nothing in it."""
        return Engine(
            [replace(one, closed=True) if one.id in self.held else one for one in self.book.terms], self.book.skills
        )


class LiveFloor:
    """An engine that knows the floor as it is. Not for several threads at once."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._stand: Stand | None = None
        self._cursor = 0  # the last fact whose doing is known
        self._items: dict[int, int] = {}  # what waits, by conversation
        self._undecided: list[Decision] = []  # written or not: nobody has said so yet
        self._own: set[tuple[int, int]] = set()  # who was given which conversation, until its fact comes back
        self._unreadable: set[int] = set()  # items reported as such: said once

    def forget(self) -> None:
        """Read everything anew at the next look."""
        self._engine = None

    def follow(self, tx: Tx) -> Engine:
        """The engine, as the database is in this transaction, which has read nothing yet."""
        if tx.dialect == "postgresql":
            # The rows of one moment: a fact and what it is about are seen together or not at all.
            tx.sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        stand = Stand.read(tx)
        engine = self._engine
        if engine is None or stand != self._stand:
            return self._read_all(tx, stand)
        news = tx.sql(_NEWS, self._cursor, MANY).fetchall()
        if len(news) == MANY:
            return self._read_all(tx, stand)
        conversations = {decision.item.conversation_id for decision in self._undecided}
        agents = {agent_id for decision in self._undecided for agent_id in decision.agent_ids}
        for fact_id, name, conversation_id, data in news:
            self._cursor = fact_id
            about = _agents_in(data)
            if name in _GIVEN and self._own & (own := {(conversation_id, agent_id) for agent_id in about}):
                self._own -= own
                continue
            if conversation_id is not None:
                conversations.add(conversation_id)
            agents |= about
        if conversations or agents:
            self._read_again(tx, engine, stand.book, conversations, agents)
        self._undecided = []
        return engine

    def decide(self, tx: Tx, limit: int) -> list[Decision]:
        """What can be matched now. Until `wrote` says that all of it was written, what it is about is in doubt."""
        self._undecided = self.follow(tx).decide(tx.now.timestamp(), limit)
        return list(self._undecided)

    def go_on(self, now: float, limit: int) -> list[Decision]:
        """What can be matched once all that is in doubt is written as it was decided; the database is not looked at."""
        assert self._engine is not None
        more = self._engine.decide(now, limit)
        self._undecided += more
        return more

    def wrote(self, decided: int, number: int) -> bool:
        """Of so many decisions that were first in doubt, this number was written; whether it was all of them.

        Then the index has them as they are written; else all that is in doubt is read again at the next look.
        """
        if number < decided:
            return False
        for decision in self._undecided[:decided]:
            self._items.pop(decision.item.conversation_id, None)
            self._own.update((decision.item.conversation_id, agent_id) for agent_id in decision.agent_ids)
        del self._undecided[:decided]
        return True

    @property
    def next_at(self) -> float:
        """When time alone makes something possible, in seconds since 1970."""
        return float("inf") if self._engine is None else self._engine.next_at

    def differences(self, tx: Tx) -> list[str]:
        """Where the index differs from the database, told for the log. Nothing, unless a change left no fact."""
        engine, now = self.follow(tx), tx.now.timestamp()
        assert self._stand is not None
        book = self._stand.book
        people = {one.id: _settled(one, now) for one in roster(tx, book)}
        known = {agent_id: _settled(one, now) for agent_id, one in engine.agents.items()}
        work = {item.id: _still_cooling(item, now) for item in waiting(tx, book, self._unreadable)}
        kept = {item_id: _still_cooling(item, now) for item_id, item in engine.waiting.items()}
        return [*_different("agent", known, people), *_different("work item", kept, work)]

    def _read_all(self, tx: Tx, stand: Stand) -> Engine:
        now = tx.now.timestamp()
        engine = stand.new_engine()
        self._cursor = int(tx.sql("SELECT coalesce(max(id), 0) FROM fact").fetchone()[0])
        items = waiting(tx, stand.book, self._unreadable)
        for item in items:
            engine.put(item, now)
        for one in roster(tx, stand.book):
            engine.put_agent(one, now)
        self._items = {item.conversation_id: item.id for item in items}
        self._engine, self._stand = engine, stand
        self._undecided, self._own = [], set()
        return engine

    def _read_again(self, tx: Tx, engine: Engine, book: RuleBook, conversations: set[int], agents: set[int]) -> None:
        now = tx.now.timestamp()
        found = {item.conversation_id: item for item in waiting(tx, book, self._unreadable, conversations)}
        for conversation_id in conversations:
            item, before = found.get(conversation_id), self._items.get(conversation_id)
            if before is not None and (item is None or item.id != before):
                engine.drop(before)
                del self._items[conversation_id]
            if item is not None and not engine.waits(item):
                engine.put(item, now)
                self._items[conversation_id] = item.id
        there = {one.id: one for one in roster(tx, book, agents)} if agents else {}
        for agent_id in sorted(agents):
            if agent_id in there:
                engine.put_agent(there[agent_id], now)
            else:
                engine.drop_agent(agent_id)


def _agents_in(data: Any) -> set[int]:
    """The agents that a fact is about."""
    if isinstance(data, str):
        if '"agent_id' not in data:
            return set()
        data = json.loads(data)
    return {number for number in (data.get("agent_id"), *data.get("agent_ids", ())) if number}


def _settled(one: Candidate, now: float) -> Candidate:
    """Without what has passed; a rate looks back no further than its window."""
    since = now - one.limits.window
    recent = tuple(at for at in one.recent if at > since) if one.limits.rate else ()
    return replace(one, recent=recent)


def _still_cooling(item: Waiting, now: float) -> Waiting:
    return replace(item, cooling={agent_id: until for agent_id, until in item.cooling.items() if until > now})


def _different(noun: str, known: dict[int, Any], stored: dict[int, Any]) -> Iterable[str]:
    for number in sorted(known.keys() | stored.keys()):
        mine, theirs = known.get(number), stored.get(number)
        if mine != theirs:
            yield f"{noun} {number} is {theirs} and was taken for {mine}"
