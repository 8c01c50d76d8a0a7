"""Macros as the desk file has them: queues and people by their names."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select

from config.language import N_
from config.retold import stored
from hub.deskchange import Change
from hub.deskfile import DeskError
from hub.deskvalues import span
from hub.deskwords import MacroEntry
from hub.macros import Does, macros
from hub.tags import read_tags
from routing.fields import nearest
from storage import Tx
from storage.access import Conflict
from storage.desk import Queue
from storage.macros import Macro
from storage.people import Agent

ME = "me"


def apply_macros(tx: Tx, entries: list[MacroEntry]) -> list[Change]:
    """Make the macros those of the file. Raises DeskError."""
    agents = dict(tx.exec(select(Agent.email, Agent.id).where(col(Agent.active))).all())
    queues = dict(tx.exec(select(Queue.name, Queue.id).where(col(Queue.active))).all())
    changes, rows = [], {row.name: row for row in macros(tx)}
    for entry in entries:
        does = _does(entry, agents, queues)
        row = rows.pop(entry.name, None)
        if row is None:
            tx.add(Macro(name=entry.name, does=does))
            changes.append(Change("+", f"macro {entry.name}"))
        elif row.does != does:
            row.does = does
            tx.add(row)
            changes.append(Change("~", f"macro {entry.name}"))
    for gone in rows.values():
        tx.delete(gone)
        changes.append(Change("-", f"macro {gone.name}"))
    return changes


def macros_out(tx: Tx) -> list[dict[str, Any]]:
    """The macros as the file has them; an owner or queue that is gone is left out."""
    agents = dict(tx.exec(select(Agent.id, Agent.email).where(col(Agent.active))).all())
    queues = dict(tx.exec(select(Queue.id, Queue.name).where(col(Queue.active))).all())
    return [{"name": row.name} | _out(Does.model_validate(row.does), agents, queues) for row in macros(tx)]


def _does(entry: MacroEntry, agents: dict[str, int | None], queues: dict[str, int | None]) -> dict[str, Any]:
    place = f"macro {entry.name!r}"
    values = entry.model_dump(include={"reply", "note", "priority", "then"}, exclude_none=True)
    try:
        values |= {"tags": read_tags(entry.tags), "untag": read_tags(entry.untag)}
    except Conflict as refused:
        raise DeskError(f"{place}: {refused}") from None
    if entry.assign is not None:
        if entry.assign != ME and entry.assign not in agents:
            raise DeskError(
                f"{place}: "
                + stored(
                    "there is no {noun} {name}; {near}",
                    noun="agent",
                    name=repr(entry.assign),
                    near=nearest(entry.assign, agents),
                )
            )
        values["assign"] = 0 if entry.assign == ME else agents[entry.assign]
    if entry.queue is not None:
        if entry.queue not in queues:
            raise DeskError(
                f"{place}: "
                + stored(
                    "there is no {noun} {name}; {near}",
                    noun="queue",
                    name=repr(entry.queue),
                    near=nearest(entry.queue, queues),
                )
            )
        values["queue_id"] = queues[entry.queue]
    if entry.snooze is not None:
        if entry.then:
            raise DeskError(f"{place}: " + N_("it can't resolve and snooze: leave one out"))
        values |= {"then": "snooze", "snooze": entry.snooze}
    does = Does.model_validate(values)
    if does.problem:
        raise DeskError(f"{place}: {does.problem}")
    return does.model_dump(mode="json", exclude_defaults=True)


def _out(does: Does, agents: dict[int | None, str], queues: dict[int | None, str]) -> dict[str, Any]:
    said: dict[str, Any] = does.model_dump(
        mode="json", include={"reply", "note", "tags", "untag"}, exclude_defaults=True
    )
    if does.assign is not None and (owner := agents.get(does.assign) if does.assign else ME):
        said["assign"] = owner
    if does.queue_id in queues:
        said["queue"] = queues[does.queue_id]
    said |= {} if does.priority is None else {"priority": does.priority}
    if does.then == "snooze":
        said["snooze"] = span(does.snooze) if does.snooze else "reply"
    elif does.then:
        said["then"] = does.then
    return said
