"""How fast an account sends: what comes too early gets a turn and waits for it, over all nodes; nothing is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from channels.base import Pace
from config.language import N_
from storage import Tx
from storage.columns import moment
from storage.conversations import Message
from storage.deliveries import Delivery
from storage.facts import DeliveryChanged

PACED = ("channel", "notice", "digest")
WINDOW = timedelta(minutes=1)
# A courier looks once a second: what a turn's exact moment misses may be made up for within this.
SLACK = timedelta(seconds=1)
TOLD_FROM = timedelta(seconds=5)  # shorter waits are not worth a line on anybody's page
KEPT = timedelta(hours=1)

OPEN = "INSERT INTO pacing(key, free_at, queue_until) VALUES(?, ?, ?) ON CONFLICT (key) DO NOTHING"
ASK = "SELECT free_at, queue_until FROM pacing WHERE key = ?"
GO = "UPDATE pacing SET free_at = ? WHERE key = ?"
QUEUE = "UPDATE pacing SET queue_until = ? WHERE key = ?"
# Claimed in this same transaction, so nobody has seen the claim that is taken back.
POSTPONE = (
    "UPDATE delivery SET state = 'queued', due_at = ?, paced = true, claims = claims - 1, attempts = attempts - 1 "
    "WHERE id = ?"
)
PASSED = "UPDATE delivery SET paced = false WHERE id = ? AND paced"
TELL = (
    "UPDATE message SET state_why = ?, state_at = ? WHERE id = ? AND state = 'queued' AND state_why <> ? "
    "RETURNING conversation_id"
)


class Turn(NamedTuple):
    """One limit as it stands: no two messages closer than `every`, apart from SLACK."""

    key: str
    every: timedelta
    free_at: datetime
    queue_until: datetime


def in_turn(tx: Tx, taken: Iterable[Delivery], paces: Mapping[str, Pace]) -> list[Delivery]:
    """Those just claimed deliveries that may leave now. The others are back in the queue, due at their turn."""
    leaving = []
    for delivery in taken:
        pace = paces.get(delivery.target) if delivery.sender in PACED else None
        wait_until = _turn(tx, delivery, pace) if pace else None
        if wait_until is None:
            leaving.append(delivery)
            continue
        tx.sql(POSTPONE, wait_until, delivery.id)
        tx.expunge(delivery)
        if wait_until - tx.now >= TOLD_FROM and delivery.message_id:
            _tell(tx, delivery.message_id)
    return leaving


def forget_old_turns(tx: Tx) -> None:
    """Limits that nobody has met for an hour."""
    tx.sql("DELETE FROM pacing WHERE free_at < ? AND queue_until < ?", tx.now - KEPT, tx.now - KEPT)


def _turn(tx: Tx, delivery: Delivery, pace: Pace) -> datetime | None:
    """None to leave now, else when. Turns are given in the order of asking, so that nobody overtakes who waits.

    Who comes back for its turn and finds it taken by a limit of another kind waits for that one alone.
    """
    turns = [_ask(tx, key, rate) for key, rate in sorted(_limits(tx, delivery, pace).items())]
    early = [turn for turn in turns if turn.free_at - SLACK > tx.now]
    if not delivery.paced:
        early = [turn for turn in turns if max(turn.free_at, turn.queue_until) - SLACK > tx.now]
    if not early:
        for turn in turns:
            tx.sql(GO, max(turn.free_at, tx.now) + turn.every, turn.key)
        tx.sql(PASSED, delivery.id)
        return None
    if delivery.paced:
        return max(turn.free_at for turn in early)
    wait_until = tx.now
    for turn in early:
        own = max(turn.free_at, turn.queue_until)
        tx.sql(QUEUE, own + turn.every, turn.key)
        wait_until = max(wait_until, own)
    return wait_until


def _limits(tx: Tx, delivery: Delivery, pace: Pace) -> dict[str, float]:
    """Messages a minute, by key."""
    limits = {} if pace.per_minute is None else {delivery.target: pace.per_minute}
    if pace.per_domain is not None:
        for domain in _domains(tx, delivery):
            limits[f"{delivery.target} {domain}"[:320]] = pace.per_domain
    return limits


def _domains(tx: Tx, delivery: Delivery) -> set[str]:
    message = tx.get(Message, delivery.message_id) if delivery.message_id else None
    everybody = delivery.payload.get("only") or delivery.payload.get("to", [])
    if message is not None and not everybody:
        everybody = [message.to_address, *message.cc, *message.bcc]
    return {address.rpartition("@")[2].lower() for address in everybody}


def _ask(tx: Tx, key: str, rate: float) -> Turn:
    """The limit's row, locked until the unit ends."""
    tx.sql(OPEN, key, tx.now, tx.now)
    row = tx.sql(ASK + (" FOR UPDATE" if tx.dialect == "postgresql" else ""), key).fetchone()
    return Turn(key, (WINDOW + SLACK) / rate, moment(row[0]) or tx.now, moment(row[1]) or tx.now)


def _tell(tx: Tx, message_id: int) -> None:
    why = N_("It waits for its turn: this account may send only so many mails a minute.")
    row = tx.sql(TELL, why, tx.now, message_id, why).fetchone()
    if row:
        tx.emit(DeliveryChanged(row[0], message_id, "queued"))
