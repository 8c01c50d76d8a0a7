"""When storage itself is what fails: nothing was kept, and the same will work once it is back."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

logger = logging.getLogger(__name__)


class Outage(Exception):
    """The storage can't take anything just now: answer 503 with Retry-After, the sender tries again."""


# What an outage may look like. Not all of these are one: a driver's OperationalError is also raised for a value that
# fits no index. `is_outage` knows.
OUTAGES = (
    Outage, OperationalError, InterfaceError, PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError,
    sqlite3.OperationalError,
)  # fmt: skip

# SQLSTATE: connection exception, transaction rollback, insufficient resources, operator intervention, system error,
# lock not available. Source: postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = ("08", "40", "53", "57", "58", "55P03")
_SQLITE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
}  # fmt: skip


def is_outage(error: BaseException) -> bool:
    """Whether the storage is away, locked by another program or full, whatever the content was."""
    if isinstance(error, Outage | PoolTimeout):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.OperationalError):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE
    if isinstance(cause, psycopg.errors.PipelineAborted):
        return False  # an earlier statement of the same round trip failed, and that one is raised
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return cause.sqlstate is None or cause.sqlstate.startswith(_POSTGRES)  # without one: the connection broke
    return False


def is_news(record: logging.LogRecord) -> bool:
    """A filter for logs: `Watch` tells of an outage once, so each duty that meets it need not show its trace."""
    error = record.exc_info[1] if record.exc_info else None
    return error is None or not is_outage(error)


class Watch:
    """Says once that the storage fails and once that it works again, however many callers meet it in between."""

    def __init__(self, what: str):
        self._what = what
        self._since: float | None = None
        self._turning = threading.Lock()

    @contextmanager
    def look(self) -> Iterator[None]:
        """Around whatever needs the storage."""
        try:
            yield
        except Exception as error:
            if is_outage(error) and self._turn_to(time.monotonic()):
                why = error if isinstance(error, Outage) else type(error).__name__  # a driver's words may quote content
                logger.error("%s fails (%s); callers are asked to try again", self._what, why)
            raise
        since = self._since
        if since is not None and self._turn_to(None):
            logger.warning("%s works again after %.0f s", self._what, time.monotonic() - since)

    def _turn_to(self, since: float | None) -> bool:
        """Whether this changed anything: of many callers at once one tells it."""
        with self._turning:
            changes = (self._since is None) != (since is None)
            if changes:
                self._since = since
            return changes
