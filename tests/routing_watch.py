"""Watches an SQLite database for what the router would miss: a change of what it must know without a fact about it.

Triggers note what a unit changes; at its commit that is held against the facts it leaves. Columns are watched unless
they are named here as none of the router's business, so that a new one is watched until somebody says otherwise.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

# Of no consequence for who gets what next.
IGNORED = {
    "work_item": {
        "id", "conversation_id", "agent_id", "enqueued_at", "first_reply_at", "breached_at", "closed_at", "trace",
        "ladder_rule_id", "ladder_used", "ladder_since", "ladder_reached", "step_at",
    },
    "agent": {
        "id", "name", "email", "role", "password_hash", "status_since", "status_why", "missed_offers", "slack_user_id",
        "preferences", "mail_notices", "signature", "created_at",
    },
    # Of a wrapping up it counts that it ends, not when.
    "assignment": {"id", "via", "over_capacity_by", "by", "ended_why", "explanation", "park_at", "wrap_until"},
}  # fmt: skip
CONVERSATION_OF_ITEM = "(SELECT conversation_id FROM work_item WHERE id = NEW.work_item_id)"


@contextmanager
def watched(path: str) -> Iterator[list[str]]:
    """Every unit on the database in this file is watched; what left no fact is in the list afterwards."""
    with sqlite3.connect(path) as connection:
        connection.executescript(_script(connection))
        newest = connection.execute("SELECT coalesce(max(id), 0) FROM fact").fetchone()[0]
        # Where nobody is yet, the first unit furnishes the desk, whatever it says of that.
        furnished = "SELECT max(version) FROM desk_version WHERE EXISTS (SELECT 1 FROM agent)"
        desk = connection.execute(f"SELECT coalesce(({furnished}), -1)").fetchone()[0]
    connection.close()
    missed: list[str] = []
    seen = {"fact": newest, "desk": desk}

    def look(connection: Connection) -> None:
        if connection.engine.url.database != path or connection.get_execution_options().get("read_only"):
            return
        missed.extend(_missed(connection, seen))

    event.listen(Engine, "commit", look)
    try:
        yield missed
    finally:
        event.remove(Engine, "commit", look)


def _missed(connection: Connection, seen: dict[str, int]) -> list[str]:
    def rows(statement: str, *values: Any) -> list[Any]:
        return list(connection.exec_driver_sql(statement, values).fetchall())

    touched = rows("SELECT DISTINCT noun, number, what FROM touched")
    facts = rows("SELECT id, name, conversation_id, data FROM fact WHERE id > ?", seen["fact"])
    desk = rows("SELECT coalesce(max(version), 0) FROM desk_version")[0][0]
    told = [json.loads(row[3]) for row in facts]
    about = {("conversation", row[2]) for row in facts} | {("agent", data.get("agent_id")) for data in told}
    about |= {("agent", agent_id) for data in told for agent_id in data.get("agent_ids", ())}
    changed = desk != seen["desk"]
    seen["fact"] = max((row[0] for row in facts), default=seen["fact"])
    seen["desk"] = desk
    if touched:
        connection.exec_driver_sql("DELETE FROM touched")
    return [
        f"{what} of {noun} {number} changed, and the facts were {[row[1] for row in facts]}"
        for noun, number, what in touched
        if not changed and (noun, number) not in about
    ]


def _script(connection: sqlite3.Connection) -> str:
    parts = ["CREATE TABLE touched(noun TEXT, number INTEGER, what TEXT);"]

    def trigger(name: str, when: str, noun: str, number: str, what: str) -> None:
        told = f"INSERT INTO touched VALUES('{noun}', {number}, '{what}')"
        parts.append(f"CREATE TRIGGER watch_{name} AFTER {when} BEGIN {told}; END;")

    trigger(
        "wrap_up_ends", "UPDATE OF wrap_until ON assignment WHEN (OLD.wrap_until IS NULL) <> (NEW.wrap_until IS NULL)",
        "agent", "NEW.agent_id", "a wrap-up",
    )  # fmt: skip
    for table, noun, number in (
        ("work_item", "conversation", "conversation_id"), ("agent", "agent", "id"), ("assignment", "agent", "agent_id"),
    ):  # fmt: skip
        for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
            if column not in IGNORED[table]:
                waits = " AND 'queued' IN (OLD.state, NEW.state)" if table == "work_item" else ""
                when = f"UPDATE OF {column} ON {table} WHEN OLD.{column} IS NOT NEW.{column}{waits}"
                trigger(f"{table}_{column}", when, noun, f"NEW.{number}", f"{table}.{column}")
        trigger(f"{table}_new", f"INSERT ON {table}", noun, f"NEW.{number}", f"a new {table}")
    changed = "UPDATE OF state ON conversation WHEN OLD.state <> NEW.state AND EXISTS (SELECT 1 FROM work_item"
    waits = f"{changed} WHERE conversation_id = NEW.id AND state = 'queued')"
    trigger("conversation_state", waits, "conversation", "NEW.id", "conversation.state")
    for when in ("INSERT", "UPDATE"):
        trigger(f"cooldown_{when}", f"{when} ON cooldown", "conversation", CONVERSATION_OF_ITEM, "cooldown")
        trigger(f"offer_{when}", f"{when} ON offer", "agent", "NEW.agent_id", "offer")
        for table in ("agent_skill", "agent_queue"):
            trigger(f"{table}_{when}", f"{when} ON {table}", "desk", "0", table)
    for table in ("agent_skill", "agent_queue"):
        trigger(f"{table}_DELETE", f"DELETE ON {table}", "desk", "0", table)
    return "\n".join(parts)
