"""A process with nothing but a router in it, for proofs that kill it: `python -m tests.prove.routing_node URL NAME`.

A third argument names a folder. In it, `clock` holds how far the clock of all nodes is ahead, and a file called
`freeze` stops whoever leads with decisions in hand, before they are written; `log` tells what they came to.
"""

from __future__ import annotations

import logging
import os
import signal
import struct
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from routing.engine import Decision
from routing.router import Deposed, Router
from storage import Store, Tx
from storage.clock import utcnow
from storage.listener import Listener


class SharedClock:
    """The time, ahead by what a file says that all nodes and the proof read."""

    def __init__(self, folder: Path):
        self.path = folder / "clock"
        if not self.path.exists():
            self.path.write_bytes(struct.pack("d", 0.0))

    @property
    def ahead(self) -> float:
        (seconds,) = struct.unpack("d", self.path.read_bytes())
        return float(seconds)

    def __call__(self) -> datetime:
        return utcnow() + timedelta(seconds=self.ahead)

    def forward(self, seconds: float) -> None:
        """Move everybody's clock on."""
        new = self.path.with_suffix(".new")
        new.write_bytes(struct.pack("d", self.ahead + seconds))
        new.replace(self.path)


class Observed(Router):
    """A router that can be stopped at the worst moment, and says when it was refused."""

    folder: Path | None = None

    def decide(self) -> list[Decision]:
        """Decide; stop here when the proof wants it and there is something to write."""
        made = super().decide()
        if made and self.folder is not None:
            try:
                (self.folder / "freeze").rename(self.folder / f"frozen-{self.holder}")
            except FileNotFoundError:
                return made
            os.kill(os.getpid(), signal.SIGSTOP)
        return made

    def write(self, tx: Tx, epoch: int, decisions: Sequence[Decision]) -> int:
        """Write, or tell that somebody else leads by now."""
        try:
            return super().write(tx, epoch, decisions)
        except Deposed:
            self._tell(f"deposed {len(decisions)}")
            raise

    def _tell(self, what: str) -> None:
        if self.folder is not None:
            with (self.folder / "log").open("a") as log:
                log.write(f"{self.holder} {what}\n")


def main() -> None:
    """Route until SIGTERM."""
    url, name, *folder = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, format=f"{name} %(levelname)s %(message)s")
    stop = threading.Event()
    store = Store(url, SharedClock(Path(folder[0]))) if folder else Store(url)
    router = Observed(store, name)
    router.folder = Path(folder[0]) if folder else None

    def end(*_: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    listener = Listener(store)
    listener.start()
    router.loop(stop)
    listener.stop()
    store.close()


if __name__ == "__main__":
    main()
