"""A process with nothing but a router in it, for proofs that kill it: `python -m tests.prove.routing_node URL NAME`."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from routing.router import Router
from storage import Store
from storage.listener import Listener


def main() -> None:
    """Route until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format=f"{sys.argv[2]} %(levelname)s %(message)s")
    store, stop = Store(sys.argv[1]), threading.Event()

    def end(*_: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    listener = Listener(store)
    listener.start()
    Router(store, sys.argv[2]).loop(stop)
    listener.stop()
    store.close()


if __name__ == "__main__":
    main()
