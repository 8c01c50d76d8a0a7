"""Hears on PostgreSQL when another process committed facts, and rings this process's bell."""

from __future__ import annotations

import logging
import threading

import psycopg

from storage.engines import POSTGRES_CONNECTION
from storage.store import FACT_CHANNEL, Store

logger = logging.getLogger(__name__)


class Listener:
    """One thread with a connection of its own. A hint only: whoever waits on the bell polls anyway."""

    def __init__(self, store: Store):
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; does nothing on SQLite, where one process does everything. Starting twice is harmless."""
        if self._thread is None and not self._store.embedded:
            self._thread = threading.Thread(target=self._loop, name="listener", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End within a second."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _loop(self) -> None:
        url = self._store.url.set(drivername="postgresql").render_as_string(hide_password=False)
        listening = True
        while not self._stop.is_set():
            try:
                with psycopg.connect(url, autocommit=True, **POSTGRES_CONNECTION) as connection:
                    connection.execute(f"LISTEN {FACT_CHANNEL}")
                    listening = True
                    self._store.bell.ring()  # whatever was committed while nobody listened
                    while not self._stop.is_set():
                        for _ in connection.notifies(timeout=1.0):
                            self._store.bell.ring()
            except psycopg.Error as error:
                if listening:
                    logger.warning("not listening to the database, polling meanwhile: %s", type(error).__name__)
                listening = False
                self._stop.wait(1)
