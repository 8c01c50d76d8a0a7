"""Everything that leaves: claimed, handed over in no transaction, settled, tried again; whatever the sender is."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from channels.base import DeliveryState, DeliveryUpdate, SendFailed, SendUncertain
from hub.optout import set_opt_out
from storage import Store, Tx
from storage.deliveries import Delivery
from storage.facts import DeliveryChanged
from storage.outages import is_outage

if TYPE_CHECKING:
    from hub.hub import Hub

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=120)  # longer than any sender's own time-out
ASK_AFTER = timedelta(seconds=30)  # providers' lists trail their answers a little
ASK_AGAIN = timedelta(seconds=60)
SETTLE_AGAIN = 0.5  # seconds
ASKED_FOR = timedelta(days=1)  # after that a hand-over whose provider can't be asked stays uncertain
BATCH = 32

# Seconds to wait after the n-th failed try; after the last one the delivery has failed.
SCHEDULES: dict[str, tuple[int, ...]] = {
    "channel": (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200),
    "slack": (5, 30, 120, 600, 3600),
    "webhook": (5, 300, 1800, 7200, 18000, 36000, 36000),
}
REPEATABLE = ("slack", "webhook")  # carry an id that makes a second hand-over harmless

CREATE = (
    "INSERT INTO delivery(sender, target, dedupe_key, message_id, payload, state, due_at, attempts, error, response, "
    "external_id, created_at) VALUES(?, ?, ?, ?, ?, 'queued', ?, 0, '', '{}', '', ?) "
    "ON CONFLICT (sender, dedupe_key) DO NOTHING"
)
CLAIM = (
    "UPDATE delivery SET state = 'sending', due_at = ?, attempts = attempts + 1 WHERE id IN "
    "(SELECT id FROM delivery WHERE state = 'queued' AND due_at <= ? ORDER BY due_at, id LIMIT ?{lock}) RETURNING id"
)
ORPHANS = "SELECT id FROM delivery WHERE state = 'sending' AND due_at <= ? ORDER BY id LIMIT 100{lock}"
SETTLE = (
    "UPDATE delivery SET state = ?, due_at = ?, error = ?, response = ?, external_id = ?, ended_at = ? "
    "WHERE id = ? AND state = 'sending' AND attempts = ?"
)
FORWARD = (
    "UPDATE message SET state = ?, state_why = ?, state_at = ? "
    "WHERE id = ? AND kind = 'outbound' AND state IN ({lower}) RETURNING conversation_id"
)


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the other side said when it took the thing."""

    external_id: str = ""
    state: str = "sent"
    response: Mapping[str, Any] = field(default_factory=dict)


class SendOpen(SendUncertain):
    """Nobody knows yet, but the provider can be asked in a while: the courier does before anybody is bothered."""


Sender = Callable[["Hub", Delivery], SendResult]
Reconcile = Callable[["Hub", Delivery], SendResult | None]


def deliver(
    tx: Tx, sender: str, target: str, dedupe_key: str, payload: Mapping[str, Any], *,
    due_at: datetime | None = None, message_id: int | None = None,
) -> None:  # fmt: skip
    """Intend to hand something over; the same `dedupe_key` twice is one intention."""
    tx.sql(CREATE, sender, target, dedupe_key, message_id, dict(payload), due_at or tx.now, tx.now)


class Courier:
    """Carries due deliveries out with a few threads. `reconcile` decides hand-overs that a crash left open.

    `lease` is how long a claimed delivery is left to its courier before another one asks what became of it.
    """

    def __init__(
        self, hub: Hub, senders: Mapping[str, Sender], reconcile: Reconcile, threads: int = 8, lease: timedelta = LEASE
    ):
        self.hub = hub
        self.senders = senders
        self.reconcile = reconcile
        self.lease = lease
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="courier")

    def loop(self, stop: threading.Event) -> None:
        """Run until told to stop: at once when something was committed, and each second anyway."""
        bell, seen = self.hub.store.bell, -1
        while not stop.is_set():
            try:
                if self.run_once() == BATCH:
                    continue
            except Exception:
                logger.exception("the courier could not work; trying again")
                stop.wait(1)
            seen = bell.wait(seen, 1.0)
        self._pool.shutdown(wait=True)

    def run_once(self) -> int:
        """Carry out one batch of what is due; returns how many were tried."""
        self._adopt_orphans()
        claimed_at = time.monotonic()
        claimed = self.hub.store.submit(partial(_claim, lease=self.lease)) if self._anything_due() else []
        list(self._pool.map(partial(self.carry, claimed_at=claimed_at), claimed))
        return len(claimed)

    def carry(self, delivery: Delivery, claimed_at: float) -> None:
        """Hand one claimed delivery over and write down how it went. `claimed_at` is on the monotonic clock.

        What waited for long behind slow ones goes back: its lease could end, and another courier send it as well,
        while this one is still at it.
        """
        half = claimed_at + self.lease.total_seconds() / 2
        late = time.monotonic() > half
        self._write_down(partial(_back_to_queue, delivery=delivery) if late else self._hand_over(delivery), half)

    def _write_down(self, settle: Callable[[Tx], None], until: float) -> None:
        """Keep how it went, also while the database is away: what was sent must not look as if nobody knew."""
        while True:
            try:
                return self.hub.store.submit(settle)
            except Exception as error:
                if not is_outage(error) or time.monotonic() > until:
                    raise
                time.sleep(SETTLE_AGAIN)

    def _hand_over(self, delivery: Delivery) -> Callable[[Tx], None]:
        """Call the sender; what to write down afterwards."""
        try:
            result = self.senders[delivery.sender](self.hub, delivery)
        except SendFailed as failed:
            return partial(settle_failed, delivery=delivery, failed=failed)
        except SendOpen as still_open:
            return partial(_ask_later, delivery=delivery, why=still_open.why, wait=ASK_AFTER)
        except SendUncertain as uncertain:
            return partial(settle_uncertain, delivery=delivery, why=uncertain.why)
        except Exception as error:
            logger.exception("delivery %s: the sender broke", delivery.id)
            broken = SendFailed(f"Something went wrong on our side: {type(error).__name__}.")
            return partial(settle_failed, delivery=delivery, failed=broken)
        return partial(settle_sent, delivery=delivery, result=result)

    def _anything_due(self) -> bool:
        with self.hub.store.read() as tx:
            row = tx.sql("SELECT 1 FROM delivery WHERE state = 'queued' AND due_at <= ? LIMIT 1", tx.now).fetchone()
        return row is not None

    def _adopt_orphans(self) -> None:
        """A crash between hand-over and settling leaves "sending" with a lease that ran out: find out, never guess."""
        with self.hub.store.read() as tx:
            orphans = [row[0] for row in tx.sql(ORPHANS.format(lock=""), tx.now).fetchall()]
            rows = [tx.get(Delivery, number) for number in orphans]
        for delivery in rows:
            if delivery is not None:
                self.hub.store.submit(self._found_out(delivery))

    def _found_out(self, delivery: Delivery) -> Callable[[Tx], None]:
        """What to write down about a hand-over that nobody settled."""
        if delivery.sender in REPEATABLE:
            return partial(_back_to_queue, delivery=delivery)
        try:
            result = self.reconcile(self.hub, delivery)
        except SendUncertain as unknown:
            if self.hub.store.clock() - delivery.created_at < ASKED_FOR:
                return partial(_ask_later, delivery=delivery, why=unknown.why, wait=ASK_AGAIN)
            return partial(settle_uncertain, delivery=delivery, why=unknown.why)
        except Exception as error:
            if is_outage(error):
                raise
            why = f"We stopped while sending and could not find out whether it went out ({error})."
            return partial(settle_uncertain, delivery=delivery, why=why)
        if result is None:
            return partial(_back_to_queue, delivery=delivery)
        return partial(settle_sent, delivery=delivery, result=result)


def _claim(tx: Tx, lease: timedelta) -> list[Delivery]:
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "postgresql" else ""
    ids = sorted(row[0] for row in tx.sql(CLAIM.format(lock=lock), tx.now + lease, tx.now, BATCH).fetchall())
    claimed = [row for number in ids if (row := tx.get(Delivery, number)) is not None]
    for delivery in claimed:
        if delivery.message_id:
            move_message(tx, delivery.message_id, DeliveryState.SENDING)
    return claimed


def settle_sent(tx: Tx, delivery: Delivery, result: SendResult) -> None:
    """It was taken. Fenced: a claim that was lost meanwhile changes nothing."""
    if (
        _settle(tx, delivery, "sent", tx.now, "", result.external_id, result.response, ended=True)
        and delivery.message_id
    ):
        if result.external_id:
            tx.sql(
                "UPDATE message SET external_id = ? WHERE id = ? AND external_id = ''",
                result.external_id, delivery.message_id,
            )  # fmt: skip
        move_message(tx, delivery.message_id, DeliveryState(result.state))


def settle_failed(tx: Tx, delivery: Delivery, failed: SendFailed) -> None:
    """Not taken: due again later, or failed for good with the sentence for the agent."""
    schedule = SCHEDULES[delivery.sender]
    final = failed.permanent or delivery.attempts > len(schedule)
    response = getattr(failed, "response", {})
    if final:
        settled = _settle(tx, delivery, "failed", tx.now, failed.why, "", response, ended=True)
    else:
        wait = failed.retry_after or timedelta(seconds=schedule[delivery.attempts - 1] * random.uniform(0.8, 1.2))
        settled = _settle(tx, delivery, "queued", tx.now + wait, failed.why, "", response, ended=False)
    if not settled or not delivery.message_id:
        return
    if final:
        move_message(tx, delivery.message_id, DeliveryState.FAILED, failed.why)
        if failed.opted_out:
            _suppress_recipient(tx, delivery.message_id)
    else:
        _wait_again(tx, delivery.message_id, failed.why)


def settle_uncertain(tx: Tx, delivery: Delivery, why: str) -> None:
    """Nobody knows whether it was taken: shown to the agent, never resent by itself."""
    if _settle(tx, delivery, "uncertain", tx.now, why, "", {}, ended=True) and delivery.message_id:
        move_message(tx, delivery.message_id, DeliveryState.UNCERTAIN, why)


def settle_update(store: Store, channel_id: int, update: DeliveryUpdate) -> str:
    """What a provider says later. Kept raw, applied once, and only forwards. Returns the receipt's state."""
    return store.submit(lambda tx: _apply_update(tx, channel_id, update))


def move_message(tx: Tx, message_id: int, state: DeliveryState, why: str = "") -> bool:
    """Move an outbound message forward by rank; False when it is there or further already."""
    lower = ",".join(f"'{s}'" for s in DeliveryState if s.rank < state.rank and s is not DeliveryState.DRAFT)
    rows = tx.sql(FORWARD.format(lower=lower), state.value, why[:500], tx.now, message_id).fetchall()
    if not rows:
        return False
    tx.emit(DeliveryChanged(rows[0][0], message_id, state.value))
    return True


def _apply_update(tx: Tx, channel_id: int, update: DeliveryUpdate) -> str:
    message_id = _message_of(tx, channel_id, update)
    state, why = ("accepted", "") if message_id else ("ignored", "no such message of ours")
    raw = update.raw
    rows = tx.sql(
        "INSERT INTO receipt(channel_id, dedupe_key, origin, state, why, attempts, content_type, headers, body, "
        "sha256, size, received_at) VALUES(?, ?, 'status', ?, ?, 0, ?, ?, ?, '', ?, ?) "
        "ON CONFLICT (channel_id, dedupe_key) DO NOTHING RETURNING id",
        channel_id, raw.dedupe_key[:255], state, why, raw.content_type[:200], json.dumps(dict(raw.headers)), raw.body,
        len(raw.body), tx.now,
    ).fetchall()  # fmt: skip
    if not rows:
        return "duplicate"
    if message_id:
        if update.external_id:
            tx.sql(
                "UPDATE message SET external_id = ? WHERE id = ? AND external_id = ''", update.external_id, message_id
            )
        move_message(tx, message_id, update.state, update.why)
        if update.opted_out:
            _suppress_recipient(tx, message_id)
    return state


def _message_of(tx: Tx, channel_id: int, update: DeliveryUpdate) -> int | None:
    if update.id:
        row = tx.sql("SELECT id FROM message WHERE uuid = ? AND channel_id = ?", update.id, channel_id).fetchone()
        if row:
            return int(row[0])
    if update.external_id:
        row = tx.sql(
            "SELECT id FROM message WHERE external_id = ? AND channel_id = ? AND kind = 'outbound'",
            update.external_id, channel_id,
        ).fetchone()  # fmt: skip
        if row:
            return int(row[0])
    return None


def _settle(
    tx: Tx, delivery: Delivery, state: str, due_at: datetime, error: str, external_id: str,
    response: Mapping[str, Any], *, ended: bool,
) -> bool:  # fmt: skip
    ended_at = tx.now if ended else None
    settled = tx.sql(
        SETTLE, state, due_at, error[:500], dict(response), external_id[:998], ended_at, delivery.id, delivery.attempts
    )
    return settled.rowcount == 1


def _ask_later(tx: Tx, delivery: Delivery, why: str, wait: timedelta) -> None:
    """It stays as if under way; when the wait is over the provider is asked what became of it."""
    _settle(tx, delivery, "sending", tx.now + wait, why, "", {}, ended=False)


def _back_to_queue(tx: Tx, delivery: Delivery) -> None:
    if (
        _settle(tx, delivery, "queued", tx.now, "the sender stopped half-way", "", {}, ended=False)
        and delivery.message_id
    ):
        _wait_again(tx, delivery.message_id, "")


def _wait_again(tx: Tx, message_id: int, why: str) -> None:
    rows = tx.sql(
        "UPDATE message SET state = 'queued', state_why = ?, state_at = ? WHERE id = ? AND state = 'sending' "
        "RETURNING conversation_id",
        why[:500], tx.now, message_id,
    ).fetchall()  # fmt: skip
    if rows:
        tx.emit(DeliveryChanged(rows[0][0], message_id, "queued"))


def _suppress_recipient(tx: Tx, message_id: int) -> None:
    row = tx.sql(
        "SELECT i.kind, i.value FROM message m JOIN identity i ON i.id = m.identity_id WHERE m.id = ?", message_id
    ).fetchone()
    if row:
        set_opt_out(tx, row[0], row[1], stopped=True, source="provider")
