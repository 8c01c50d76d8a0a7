"""The policy lab: experiments are kept in the database and played by a process of their own, one at a time.

The process only reads, at the lowest priority; who is served meanwhile doesn't notice. What it finds it says line by
line to the worker that started it, which writes it down and ends it when somebody cancels.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

from sqlmodel import col, select

from config.language import _
from hub.desk import read
from hub.experiments import Wanted
from hub.hub import Hub
from storage import Tx
from storage.access import LAB, Actor, Conflict, NotFound
from storage.desk import desk_version
from storage.experiments import PENDING, Experiment
from storage.leases import drop_lease, take_lease

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
KEPT = timedelta(days=30)
MOST_WAITING = 10  # all experiments together
LONGEST = 3600.0  # seconds of one experiment
LEASE, LEASE_SECONDS = "laboratory", 15.0
TRIES = 3  # after so many processes that ended without a word it is the experiment that is wrong
LOOKS = 0.25  # seconds between two looks at what the process says, and at whether somebody cancelled
LONGEST_TEXT = 1_000_000


def begin(tx: Tx, actor: Actor, wanted: Wanted, text: str) -> int:
    """Put an experiment in line; its number. `text` is the changed desk, checked here, or empty.

    Raises Forbidden, Conflict for what would take too long, DeskError.
    """
    actor.must(LAB)
    wanted.must_be_playable()
    if len(text) > LONGEST_TEXT:
        raise Conflict(_("The changed desk is too long to be tried."))
    if text:
        read(text)
    waiting = tx.sql("SELECT count(*) FROM experiment WHERE state IN ('waiting','running')").fetchone()[0]
    if waiting >= MOST_WAITING:
        raise Conflict(
            _("{waiting} experiments wait already: cancel one of them, or try again later.", waiting=waiting)
        )
    row = Experiment(
        agent_id=actor.agent_id, wanted=asdict(wanted), text=text, desk=desk_version(tx), created_at=tx.now
    )
    tx.add(row)
    tx.flush()
    return row.id or 0


def cancel(tx: Tx, actor: Actor, number: int) -> None:
    """Play it no further. Cancelling what has ended changes nothing. Raises Forbidden, NotFound."""
    experiment_for(tx, actor, number)
    tx.sql(
        "UPDATE experiment SET state = 'cancelled', ended_at = ? WHERE id = ? AND state IN ('waiting','running')",
        tx.now, number,
    )  # fmt: skip


def experiment_for(tx: Tx, actor: Actor, number: int) -> Experiment:
    """One of them. Raises Forbidden, NotFound."""
    actor.must(LAB)
    row = tx.get(Experiment, number)
    if row is None:
        raise NotFound(_("There is no such experiment: they are kept for 30 days."))
    return row


def experiments(tx: Tx, actor: Actor, limit: int = 50) -> list[Experiment]:
    """The newest first. Raises Forbidden."""
    actor.must(LAB)
    return list(tx.exec(select(Experiment).order_by(col(Experiment.id).desc()).limit(limit)))


def forget_old(tx: Tx) -> int:
    """Drop what is older than a month; how many."""
    gone = tx.sql("DELETE FROM experiment WHERE created_at < ?", tx.now - KEPT)
    return gone.rowcount


def wanted_of(row: Experiment) -> Wanted:
    """What was wanted; of what a newer or older version wrote, whatever is still known."""
    known = {field.name for field in fields(Wanted)}
    return Wanted(**{name: value for name, value in row.wanted.items() if name in known})


@dataclass(frozen=True, slots=True)
class Claimed:
    """An experiment that this worker plays now."""

    id: int
    request: Mapping[str, Any]


class Laboratory:
    """The duty of one worker: whoever has the lease plays what waits, oldest first."""

    def __init__(self, hub: Hub, holder: str):
        self.store = hub.store
        self.holder = holder
        settings = hub.settings
        url = settings.url
        if settings.embedded:
            url = f"sqlite:///{Path(settings.url.removeprefix('sqlite:///')).resolve()}"
        self._place = {"url": url, "private": settings.webhook_allow_private}

    def loop(self, stop: Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            try:
                if not self.play_next(stop):
                    stop.wait(1.0)
            except Exception:
                logger.exception("an experiment could not be looked after; trying again")
                stop.wait(5.0)
        with suppress(Exception):
            self.store.submit(lambda tx: drop_lease(tx, LEASE, self.holder))

    def play_next(self, stop: Event) -> bool:
        """Play the one that has waited longest; False when there is none, or another worker is at it."""
        with self.store.read() as tx:
            if tx.sql("SELECT 1 FROM experiment WHERE state IN ('waiting','running') LIMIT 1").fetchone() is None:
                return False
        claimed = self.store.submit(self._claim)
        if claimed is None:
            return False
        try:
            self._play(claimed, stop)
        finally:
            self.store.submit(lambda tx: drop_lease(tx, LEASE, self.holder))
        return True

    def _claim(self, tx: Tx) -> Claimed | None:
        if take_lease(tx, LEASE, self.holder, LEASE_SECONDS) is None:
            return None
        row = tx.exec(select(Experiment).where(col(Experiment.state).in_(PENDING)).order_by(col(Experiment.id))).first()
        if row is None:
            return None
        if row.tries >= TRIES:
            row.state, row.ended_at = "failed", tx.now
            row.problem = "The computation ended several times without a word; it may need more memory than there is."
            tx.add(row)
            return None
        row.state, row.started_at, row.tries, row.done = "running", tx.now, row.tries + 1, 0
        tx.add(row)
        request = {
            **self._place, "now": tx.now.isoformat(), "wanted": asdict(wanted_of(row)), "text": row.text,
        }  # fmt: skip
        return Claimed(row.id or 0, request)

    def _play(self, claimed: Claimed, stop: Event) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "hub.playing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            self._listen(claimed, process, stop)
        finally:
            process.kill()
            process.wait()

    def _listen(self, claimed: Claimed, process: subprocess.Popen[bytes], stop: Event) -> None:
        """Note what the process says until it has said all, somebody ends it, or it has taken too long.

        Of a process that ends without a word nothing is noted: its experiment is begun again.
        """
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(claimed.request).encode())
            process.stdin.close()
        os.set_blocking(process.stdout.fileno(), False)
        begun = renewed = monotonic()
        rest = b""
        while not stop.wait(LOOKS):
            heard = process.stdout.read()
            *whole, rest = (rest + (heard or b"")).split(b"\n")
            said = json.loads(whole[-1]) if whole else {}
            if monotonic() - begun > LONGEST and "result" not in said:
                said = {"problem": f"It took longer than {LONGEST / 60:.0f} minutes: try fewer or shorter days."}
            if said and not self._note(claimed.id, said):
                return
            if heard == b"" or not self._goes_on(claimed.id):
                return
            if monotonic() - renewed > LEASE_SECONDS / 3:
                renewed = monotonic()
                if self.store.submit(lambda tx: take_lease(tx, LEASE, self.holder, LEASE_SECONDS)) is None:
                    return

    def _note(self, number: int, said: Mapping[str, Any]) -> bool:
        return self.store.submit(lambda tx: note(tx, number, said))

    def _goes_on(self, number: int) -> bool:
        """Whether nobody has cancelled it."""
        with self.store.read() as tx:
            row = tx.sql("SELECT state FROM experiment WHERE id = ?", number).fetchone()
        return row is not None and row[0] == "running"


def note(tx: Tx, number: int, said: Mapping[str, Any]) -> bool:
    """Write down what the process says; whether it is to go on. What was cancelled meanwhile stays so."""
    row = tx.get(Experiment, number)
    if row is None or row.state != "running":
        return False
    if "result" in said:
        row.state, row.result, row.done, row.ended_at = "done", said["result"], row.total, tx.now
    elif "problem" in said:
        row.state, row.problem, row.ended_at = "failed", said["problem"], tx.now
    else:
        row.done, row.total = said["done"], said["total"]
    tx.add(row)
    return row.state == "running"
