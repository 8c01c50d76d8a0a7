"""Readers of facts that make deliveries of them: Slack notices, outbound webhooks, whatever comes next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hub.pump import Happened, facts_after, latest_fact
from storage import Tx
from storage.failpoints import step
from storage.leases import take_lease

if TYPE_CHECKING:
    from hub.hub import Hub

logger = logging.getLogger(__name__)

Follow = Callable[["Hub", Tx, Sequence[Happened]], None]
BATCH = 200
LEASE_SECONDS = 10.0
REST_SECONDS = 1.0


class Followers:
    """Each follower has a durable cursor, moved in the unit that writes what it made of the facts."""

    def __init__(self, hub: Hub, followers: Mapping[str, Follow], holder: str):
        self.hub = hub
        self.followers = followers
        self.holder = holder
        self._resting: dict[str, float] = {}  # on the monotonic clock, until when

    def loop(self, stop: threading.Event) -> None:
        """Run until told to stop: at once after a commit, and each second anyway."""
        bell, seen = self.hub.store.bell, -1
        while not stop.is_set():
            if self.run_once() < BATCH:
                seen = bell.wait(seen, 1.0)

    def run_once(self) -> int:
        """Let every follower catch up by one batch; the largest number of facts any of them read.

        One that fails stays where it is for a moment and holds up no other.
        """
        return max((self._try(name, follow) for name, follow in self.followers.items()), default=0)

    def _try(self, name: str, follow: Follow) -> int:
        if time.monotonic() < self._resting.get(name, 0.0):
            return 0
        try:
            return self._advance(name, follow)
        except Exception:
            logger.exception("follower %s failed; it tries again", name)
            self._resting[name] = time.monotonic() + REST_SECONDS
            return 0

    def _advance(self, name: str, follow: Follow) -> int:
        with self.hub.store.read() as tx:
            row = tx.sql("SELECT fact_id FROM follower WHERE name = ?", name).fetchone()
            if row is not None and latest_fact(tx) <= row[0]:
                return 0

        self.hub.channels()  # looked at here, because nobody may in a unit

        def unit(tx: Tx) -> int:
            if take_lease(tx, f"follower:{name}", self.holder, LEASE_SECONDS) is None:
                return 0
            lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
            cursor = tx.sql(f"SELECT fact_id FROM follower WHERE name = ?{lock}", name).fetchone()
            if cursor is None:
                # A new follower starts now: it must not announce the whole past.
                tx.sql("INSERT INTO follower(name, fact_id, moved_at) VALUES(?, ?, ?)", name, latest_fact(tx), tx.now)
                return 0
            facts = facts_after(tx, cursor[0], BATCH)
            if facts:
                follow(self.hub, tx, facts)
                step("follower.written")
                tx.sql("UPDATE follower SET fact_id = ?, moved_at = ? WHERE name = ?", facts[-1].id, tx.now, name)
            return len(facts)

        read = self.hub.store.submit(unit)
        step("follower.durable")
        return read
