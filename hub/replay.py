"""Reading a range of receipts again, from their raw bytes: after a mended parser, setting or rule of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import ColumnElement, and_, exists
from sqlmodel import col, select

from hub.hub import Hub
from storage import Tx
from storage.access import RECEIPTS, Actor
from storage.desk import ChannelAccount
from storage.facts import ReceiptsReplayed
from storage.ledger import Filter, ids_after, tally
from storage.receipts import Receipt, is_kept, reopen, still_open

BATCH = 200


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay of a filter concerns. Nothing is doubled: what is a message stays that message.

    `to_read` are read (again), `messages` are in the history already, `left` make none: callbacks, what was ignored for
    a reason, what lost its bytes or has no active channel.
    """

    matched: int
    to_read: int
    messages: int

    @property
    def left(self) -> int:
        return self.matched - self.to_read - self.messages


def plan_replay(tx: Tx, actor: Actor, wanted: Filter) -> Replay:
    """Count, and change nothing. Raises Forbidden."""
    actor.must(RECEIPTS)
    counted = tally(tx, actor, wanted, readable())
    return Replay(counted.matched, counted.unread, counted.messages)


def replay(hub: Hub, actor: Actor, wanted: Filter) -> Replay:
    """Put everything that is no message yet back to "received"; a duty of the worker reads it within half a minute.

    `to_read` of the answer is how many were put back. Raises Forbidden.
    """
    with hub.store.read() as tx:
        planned = plan_replay(tx, actor, wanted)
    after, opened = 0, 0
    while True:
        with hub.store.read() as tx:
            numbers = ids_after(tx, actor, wanted, readable(), after, BATCH)
        if not numbers:
            break
        opened += hub.store.submit(partial(_reopen, numbers=numbers, by=actor.by))
        after = numbers[-1]
    return Replay(planned.matched, opened, planned.messages)


def _reopen(tx: Tx, numbers: Sequence[int], by: str) -> int:
    opened = reopen(tx, numbers)
    if opened:
        tx.emit(ReceiptsReplayed(opened, by=by))
    return opened


def readable() -> ColumnElement[bool]:
    """The condition on `Receipt`: a message may still be made of it, because none was and the bytes are here."""
    active = exists(
        select(ChannelAccount.id)
        .where(col(ChannelAccount.id) == col(Receipt.channel_id), col(ChannelAccount.active))
        .correlate(Receipt)
    )
    return and_(col(Receipt.origin) == "message", still_open(), is_kept(), active)
