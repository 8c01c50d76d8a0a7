"""Readers of facts that make deliveries of them: Slack notices, outbound webhooks, whatever comes next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hub.pump import Happened, facts_after, latest_fact
from storage import Tx
from storage.failpoints import step
from storage.leases import take_lease

if TYPE_CHECKING:
    from hub.hub import Hub

logger = logging.getLogger(__name__)

BATCH = 200
LEASE_SECONDS = 10.0
REST_SECONDS = 1.0
PAUSE_SECONDS = 0.05  # each round costs every node a look

SEEN = "SELECT name, fact_id FROM follower"
ELSEWHERE = "SELECT name FROM lease WHERE holder <> ? AND expires_at > ?"


@dataclass(frozen=True, slots=True)
class Follower:
    """What is made of facts. `wants` names those that it is for, none while nothing of it is set up: others pass by
    unread."""

    wants: Callable[[Hub, Tx], Collection[str]]
    follow: Callable[[Hub, Tx, Sequence[Happened]], None]


class Followers:
    """Each follower has a durable cursor, moved in the unit that writes what it made of the facts."""

    def __init__(self, hub: Hub, followers: Mapping[str, Follower], holder: str):
        self.hub = hub
        self.followers = followers
        self.holder = holder
        self._resting: dict[str, float] = {}  # on the monotonic clock, until when

    def loop(self, stop: threading.Event) -> None:
        """Run until told to stop: soon after a commit, and each second anyway."""
        for _ in self.hub.store.bell.rounds(stop, PAUSE_SECONDS):
            try:
                while self.run_once() == BATCH and not stop.is_set():
                    pass
            except Exception:
                logger.exception("followers could not look for facts; they try again")
                stop.wait(REST_SECONDS)

    def run_once(self) -> int:
        """Let every follower catch up by one batch; the largest number of facts any of them read.

        One that fails stays where it is for a moment and holds up no other.
        """
        behind = self._behind()
        if behind:
            self.hub.channels()  # looked at here, because nobody may in a unit
        return max((self._try(name) for name in behind), default=0)

    def _behind(self) -> list[str]:
        """Those that have something to read, unless another process leads them: its lease is not even asked for."""
        with self.hub.store.read() as tx:
            newest, seen = latest_fact(tx), dict(map(tuple, tx.sql(SEEN).fetchall()))
            behind = [name for name in self.followers if seen.get(name, -1) < newest]
            elsewhere = {row[0] for row in tx.sql(ELSEWHERE, self.holder, tx.now).fetchall()} if behind else ()
        return [name for name in behind if f"follower:{name}" not in elsewhere]

    def _try(self, name: str) -> int:
        if time.monotonic() < self._resting.get(name, 0.0):
            return 0
        try:
            read = self.hub.store.submit(partial(self._advance, name=name))
        except Exception:
            logger.exception("follower %s failed; it tries again", name)
            self._resting[name] = time.monotonic() + REST_SECONDS
            return 0
        step("follower.durable")
        return read

    def _advance(self, tx: Tx, name: str) -> int:
        if take_lease(tx, f"follower:{name}", self.holder, LEASE_SECONDS) is None:
            return 0
        lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
        cursor = tx.sql(f"SELECT fact_id FROM follower WHERE name = ?{lock}", name).fetchone()
        newest = latest_fact(tx)
        if cursor is None:
            # A new follower starts now: it must not announce the whole past.
            tx.sql("INSERT INTO follower(name, fact_id, moved_at) VALUES(?, ?, ?)", name, newest, tx.now)
            return 0
        follower = self.followers[name]
        wanted = sorted(follower.wants(self.hub, tx))
        facts = facts_after(tx, cursor[0], BATCH, wanted) if wanted else []
        if facts:
            follower.follow(self.hub, tx, facts)
            step("follower.written")
        reached = facts[-1].id if len(facts) == BATCH else max([newest, *(fact.id for fact in facts[-1:])])
        tx.sql("UPDATE follower SET fact_id = ?, moved_at = ? WHERE name = ?", reached, tx.now, name)
        return len(facts)
