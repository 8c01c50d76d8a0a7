"""Bringing a database to the newest shape: Alembic, one history for SQLite and PostgreSQL."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect

from storage.outages import is_outage
from storage.store import Store

if TYPE_CHECKING:
    from alembic.config import Config

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
LOOK_AGAIN = 2.0  # seconds
HEAD = "0053"  # the newest revision; said here because Alembic itself takes a third of a second to import


def current(store: Store) -> str:
    """The revision the database is at; empty for a new one."""
    with store.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def is_current(store: Store) -> bool:
    """Whether the database has the shape that this code expects, or a later one.

    Migrations only add as long as code that knows nothing of them may run: in a rolling upgrade a process of the old
    version has to come back after a crash.
    """
    return current(store) >= HEAD


def upgrade(store: Store, revision: str = "head") -> bool:
    """Upgrade if needed; whether anything was done. Several nodes may call it at once."""
    if revision == "head" and is_current(store):
        return False
    from alembic import command

    command.upgrade(config_for(store), revision)
    return True


def upgrade_when_there(store: Store) -> None:
    """Wait until the database answers, then upgrade it.

    For a web process: one that gave up at its start would make gunicorn end the others too, which do without a
    database for a while.
    """
    while True:
        try:
            upgrade(store)
            return
        except Exception as error:
            if not is_outage(error):
                raise
            logger.warning("waiting for the database: %s", str(error).partition("\n")[0])
            time.sleep(LOOK_AGAIN)


def config_for(store: Store) -> Config:
    """What Alembic's own commands need, on this store's engine."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["store"] = store
    return config
