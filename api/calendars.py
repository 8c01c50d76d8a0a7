"""When somebody is there, for programs that tell customers or plan people's days."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlmodel import col, select

from api import shapes
from api.routes import Part
from hub.web import hub_here
from routing.calendars import ALWAYS
from routing.rules import rule_book
from storage.calendars import CalendarPlan
from storage.desk import Queue

part = Part("calendars", "Calendars")

AHEAD = timedelta(days=14)


@part.get("/calendars", gives=shapes.Calendars)
def list_calendars() -> dict[str, Any]:
    """Every calendar, whether it is open now, and its openings of the coming two weeks."""
    with hub_here().store.read() as tx:
        queues = list(tx.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id))))
        rows = tx.exec(select(CalendarPlan).where(col(CalendarPlan.active)).order_by(col(CalendarPlan.id)))
        known = rule_book(tx).calendars
        found = [(row, known.get(row.id, ALWAYS)) for row in rows]
        return {
            "calendars": [
                {
                    "id": row.id,
                    "name": row.name,
                    "time_zone": row.plan["time_zone"],
                    "queues": [{"id": one.id, "name": one.name} for one in queues if one.calendar_id == row.id],
                    "open": calendar.is_open(tx.now),
                    "opens_at": calendar.next_opening(tx.now),
                    "openings": [
                        {"from": start, "until": end} for start, end in calendar.openings(tx.now, tx.now + AHEAD)
                    ],
                }
                for row, calendar in found
            ]
        }
