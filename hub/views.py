"""Saved views: whose they are, who changes them, and how many conversations each has now."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from channels.text import storable
from config.language import _
from hub.refusals import FieldRefused
from hub.viewfields import Look, as_sql, asks_of_me, read, states_of
from routing.conditions import ConditionError
from storage import Tx
from storage.access import REPLIES, Actor, Conflict, Forbidden, NotFound, listed
from storage.conversations import Conversation
from storage.desk import Queue
from storage.facts import DeskChanged
from storage.outages import is_outage
from storage.views import SavedView

logger = logging.getLogger(__name__)

MAX_NAME = 40  # characters
MOST = 50  # of one owner: each is counted again and again
MOST_COUNTED = 999
LOOKED_AT = 5000  # conversations of each state, the newest first, that a count goes through
SHARE = 50  # a count stands for so many times as long as it took, so that all of them together stay cheap
LONGEST = timedelta(seconds=2)
KEPT = 5000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A view as somebody wants it: for its author alone, for those of one queue, or for everybody."""

    name: str
    condition: dict[str, Any]
    own: bool = True
    queue_id: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many there are; `more` when there may be others. Without a number it can't be counted."""

    number: int | None
    more: bool = False

    def __str__(self) -> str:
        """As it stands beside a name: nothing for none."""
        if self.number is None:
            return "–"
        return f"{self.number or ''}{'+' if self.more else ''}"


def views(tx: Tx, actor: Actor) -> list[SavedView]:
    """Those that this actor has: own ones, the teams', then everybody's, by the alphabet."""
    rows = tx.exec(select(SavedView).where(_theirs(actor))).all()
    return sorted(rows, key=lambda row: (row.agent_id is None, row.queue_id is None, row.name.lower(), row.id))


def view(tx: Tx, actor: Actor, number: int) -> SavedView:
    """One of them. Raises NotFound."""
    row = tx.exec(select(SavedView).where(SavedView.id == number, _theirs(actor))).first()
    if row is None:
        raise NotFound(_("There is no view {number}: somebody deleted it, or it is somebody else's.", number=number))
    return row


def may_edit(actor: Actor, row: SavedView) -> bool:
    """Whether this actor changes what they see there."""
    return row.agent_id is not None or actor.may(REPLIES)


def create(tx: Tx, actor: Actor, wanted: Wanted) -> SavedView:
    """Add one. Raises FieldRefused, Conflict for too many, and Forbidden for others' without the permission."""
    row = SavedView(**_checked(tx, actor, wanted, None))
    _must_have_room(tx, row.agent_id)
    tx.add(row)
    tx.flush()
    _tell(tx, actor, row, "added")
    return row


def change(tx: Tx, actor: Actor, number: int, wanted: Wanted, seen: str) -> SavedView:
    """Let it have others. Raises FieldRefused, Forbidden, NotFound, and Conflict when `seen` is not its stamp or
    whoever is to have it has too many.
    """
    row = view(tx, actor, number)
    _must_edit(actor, row)
    if stamp(row) != seen:
        raise Conflict(
            _("Somebody changed “{name}” meanwhile. Reload the page; what you typed is still here.", name=row.name)
        )
    values = _checked(tx, actor, wanted, number)
    if values["agent_id"] != row.agent_id:
        _must_have_room(tx, values["agent_id"])
    for name, value in values.items():
        setattr(row, name, value)
    tx.add(row)
    _tell(tx, actor, row, "changed")
    return row


def delete(tx: Tx, actor: Actor, number: int) -> SavedView:
    """Take one away; its conversations stay. Raises NotFound and Forbidden."""
    row = view(tx, actor, number)
    _must_edit(actor, row)
    tx.delete(row)
    _tell(tx, actor, row, "deleted")
    return row


def stamp(row: SavedView) -> str:
    """What a form carries to know whether somebody else was faster."""
    content = (row.name, row.agent_id, row.queue_id, repr(row.condition))
    return sha256(repr(content).encode()).hexdigest()[:16]


def has(tx: Tx, condition: dict[str, Any], agent_id: int | None) -> ColumnElement[bool]:
    """Which conversations a condition has for this agent."""
    if tx.dialect == "postgresql":
        # A generic plan of a search walks the primary key backwards over the whole table.
        tx.sql("SET LOCAL plan_cache_mode = force_custom_plan")
    return as_sql(condition, Look(tx.now, tx.dialect, agent_id))


def counted(tx: Tx, actor: Actor, condition: dict[str, Any]) -> Tally:
    """How many of a condition's conversations this actor may see, among the newest of each state."""
    wanted, found, all_seen = has(tx, condition, actor.agent_id), 0, True
    for state in states_of(condition):
        of_state = select(Conversation.id).where(listed(actor), Conversation.state == state)
        newest = of_state.order_by(col(Conversation.last_at).desc(), col(Conversation.id).desc()).limit(LOOKED_AT)
        hits = select(Conversation.id).where(col(Conversation.id).in_(newest.correlate(None)), wanted)
        hits = hits.limit(MOST_COUNTED + 1)
        found += tx.exec(select(func.count()).select_from(hits.subquery())).one()
        if all_seen:
            all_seen = tx.exec(select(func.count()).select_from(newest.subquery())).one() < LOOKED_AT
    return Tally(min(found, MOST_COUNTED), found > MOST_COUNTED or (not all_seen and found > 0))


def _tallied(tx: Tx, actor: Actor, row: SavedView) -> Tally:
    """Counted; a view that can't be takes only its own number along."""
    tx.sql("SAVEPOINT uncounted")
    try:
        return counted(tx, actor, row.condition)
    except (ConditionError, DBAPIError) as error:
        if is_outage(error):
            raise
        logger.exception("view %s can't be counted", row.id)
        tx.sql("ROLLBACK TO SAVEPOINT uncounted")
        return Tally(None)


class Tallies:
    """The last count of each view for those who see the same."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[Tally, datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def last(self, actor: Actor, row: SavedView) -> Tally | None:
        """As it was counted last."""
        kept = self._kept.get(_key(actor, row))
        return kept[0] if kept else None

    def fresh(self, tx: Tx, actor: Actor, row: SavedView) -> Tally:
        """Counted now, or so short a time ago that counting all the time would cost too much."""
        key = _key(actor, row)
        kept = self._kept.get(key)
        if kept is not None and tx.now < kept[1]:
            return kept[0]
        began = time.monotonic()
        tally = _tallied(tx, actor, row)
        took = timedelta(seconds=time.monotonic() - began)
        with self._lock:
            self._kept[key] = tally, tx.now + min(took * SHARE, LONGEST)
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return tally


_tallies: WeakKeyDictionary[Any, Tallies] = WeakKeyDictionary()


def tallies(tx: Tx) -> Tallies:
    """Those of this database."""
    return _tallies.setdefault(tx.bind, Tallies())


def _key(actor: Actor, row: SavedView) -> tuple[Any, ...]:
    sight = None if actor.sees_all else (actor.queue_ids, actor.agent_id)
    try:
        personal = asks_of_me(row.condition)
    except ConditionError:
        personal = False  # it can't be counted for anybody
    return row.id, stamp(row), sight, actor.agent_id if personal else None


def _theirs(actor: Actor) -> ColumnElement[bool]:
    shared: ColumnElement[bool] = col(SavedView.agent_id).is_(None)
    if not actor.sees_all:
        team = or_(col(SavedView.queue_id).is_(None), col(SavedView.queue_id).in_(actor.queue_ids))
        shared = and_(shared, team)
    return shared if actor.agent_id is None else or_(shared, col(SavedView.agent_id) == actor.agent_id)


def _checked(tx: Tx, actor: Actor, wanted: Wanted, number: int | None) -> dict[str, Any]:
    name = " ".join(storable(wanted.name).split())
    if not 0 < len(name) <= MAX_NAME:
        raise FieldRefused("name", _("A name has one to {max_name} characters.", max_name=MAX_NAME))
    try:
        read(wanted.condition)
    except ConditionError as error:
        raise FieldRefused(f"condition.{error.path}", error.sentence) from None
    if wanted.own and actor.agent_id is None:
        raise FieldRefused("scope", _("Only an agent has views of their own."))
    if not wanted.own and not actor.may(REPLIES):
        raise Forbidden(_("Only supervisors and admins change the views of others; yours alone you can have yourself."))
    if wanted.queue_id is not None and not wanted.own:
        queue = tx.get(Queue, wanted.queue_id)
        if queue is None or not queue.active or not actor.sees(wanted.queue_id, None):
            raise FieldRefused("scope", _("Choose a team that there is."))
    owner = actor.agent_id if wanted.own else None
    queue_id = None if wanted.own else wanted.queue_id
    same = select(SavedView).where(
        func.lower(SavedView.name) == name.lower(), SavedView.agent_id == owner, SavedView.queue_id == queue_id
    )
    if (taken := tx.exec(same).first()) is not None and taken.id != number:
        raise FieldRefused("name", _("There is a view “{taken}” already; choose another name.", taken=taken.name))
    return {"name": name, "condition": wanted.condition, "agent_id": owner, "queue_id": queue_id}


def _must_edit(actor: Actor, row: SavedView) -> None:
    if not may_edit(actor, row):
        raise Forbidden(_("Only supervisors and admins change the views of others; yours alone you can have yourself."))


def _must_have_room(tx: Tx, owner: int | None) -> None:
    same = col(SavedView.agent_id) == owner if owner else col(SavedView.agent_id).is_(None)
    if tx.exec(select(func.count()).select_from(SavedView).where(same)).one() >= MOST:
        raise Conflict(_("There are {most} already: delete one first.", most=MOST))


def _tell(tx: Tx, actor: Actor, row: SavedView, what: str) -> None:
    if row.agent_id is None:
        tx.emit(DeskChanged(f"view {row.name} {what}", by=actor.by))
