"""Bringing a database to the newest shape: Alembic, one history for SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage.store import Store

FOLDER = Path(__file__).parent


def _config(store: Store) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["store"] = store
    return config


def head() -> str:
    """The newest revision this code knows."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return ScriptDirectory.from_config(config).get_current_head() or ""


def current(store: Store) -> str:
    """The revision the database is at; empty for a new one."""
    with store.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def upgrade(store: Store, revision: str = "head") -> bool:
    """Upgrade if needed; whether anything was done. Several nodes may call it at once."""
    if revision == "head" and current(store) == head():
        return False
    command.upgrade(_config(store), revision)
    return True
