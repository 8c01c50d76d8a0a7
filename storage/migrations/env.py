"""How Alembic runs here: on the store's own engine, one node at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from storage.engines import PatientConnection
from storage.store import Store
from storage.tables import metadata

MIGRATION_LOCK = 7_316_002


def include(_object: object, name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    """Full-text tables and columns are written by hand, so autogenerate must not see them."""
    return name != "search" and not (name or "").startswith(("message_search", "ix_message_search"))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        include_object=include,
        compare_type=False,
    )
    with context.begin_transaction():
        context.run_migrations()


store: Store | None = context.config.attributes.get("store")
if store is None:
    raise SystemExit("Run migrations with `python app.py db upgrade`.")

with store.engine.connect() as connection:
    if connection.dialect.name == "sqlite":
        # A batch migration rebuilds a parent by dropping it; with foreign keys on that would delete its children.
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA foreign_keys=OFF")
        try:
            run(connection)
            connection.commit()
            broken = raw.execute("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise SystemExit(f"The migration left rows without their parents: {broken[:5]}")
        finally:
            raw.execute("PRAGMA foreign_keys=ON")
    else:
        raw = connection.connection.driver_connection
        assert isinstance(raw, PatientConnection)
        raw.patience = None  # however long another node takes, or a big table
        try:
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            # Three nodes that start at once on an empty database would otherwise create the same tables.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            run(connection)
            connection.commit()
        finally:
            del raw.patience
