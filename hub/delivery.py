"""Everything that leaves: claimed, handed over in no transaction, settled, tried again; whatever the sender is."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from channels.base import DeliveryState, DeliveryUpdate, Pace, SendFailed, SendUncertain
from config.language import N_
from config.retold import stored
from hub.lanes import Absences, Lane, lanes_due, take
from hub.optout import set_opt_out
from hub.pacing import in_turn
from hub.recipients import MAIL_KINDS
from storage import Store, Tx
from storage.deliveries import Delivery
from storage.facts import DeliveryChanged
from storage.failpoints import step
from storage.outages import is_outage
from storage.receipts import NEW_STATUS, seen_again

if TYPE_CHECKING:
    from hub.hub import Hub

logger = logging.getLogger(__name__)
T = TypeVar("T")

LEASE = timedelta(seconds=120)  # longer than any sender takes
ASK_AFTER = timedelta(seconds=30)  # providers' lists trail their answers a little
ASK_AGAIN = timedelta(seconds=60)
ASKED_FOR = timedelta(days=1)  # after that a hand-over whose provider can't be asked stays uncertain
SETTLE_AGAIN = 0.5  # seconds
PAUSE_SECONDS = 0.01  # each round costs every node a look

# Seconds to wait after the n-th failed try. Mail: for five days (RFC 5321 4.5.4.1), soon at first for greylisting.
SCHEDULES: dict[str, tuple[int, ...]] = {
    "channel": (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200),
    "mail": (15, 60, 300, 900, 1800, 3600, 7200, 10800, 14400, *(21600,) * 18),
    "copy": (30, 300, 1800, 7200, 21600, 43200, 86400, 86400),
    **dict.fromkeys(("letter", "slack"), (5, 30, 120, 600, 3600)),
    **dict.fromkeys(("notice", "digest"), (15, 60, 300, 900, 1800, 3600, 7200, 14400)),
    "webhook": (5, 300, 1800, 7200, 18000, 36000, 36000),
}
REPEATABLE = ("copy", "letter", "slack", "webhook")  # carry an id that makes a second hand-over harmless

CREATE = (
    "INSERT INTO delivery(sender, target, dedupe_key, message_id, payload, state, due_at, claims, in_doubt, attempts, "
    "error, response, external_id, created_at) VALUES(?, ?, ?, ?, ?, 'queued', ?, 0, false, 0, '', '{}', '', ?) "
    "ON CONFLICT (sender, dedupe_key) DO NOTHING"
)
BEGIN = (
    "UPDATE delivery SET begun_at = ?, due_at = ? WHERE id = ? AND claims = ? AND state = 'sending' AND NOT in_doubt"
)
SETTLE = (
    "UPDATE delivery SET state = ?, due_at = ?, in_doubt = ?, error = ?, response = ?, ended_at = ?, "
    "external_id = COALESCE(NULLIF(?, ''), external_id) WHERE id = ? AND claims = ? AND state IN ({states})"
)
TWIN = (
    "SELECT 1 FROM delivery d JOIN message m ON m.id = d.message_id JOIN message own ON own.id = ? "
    "WHERE d.state = 'sending' AND d.id <> ? AND (NOT d.in_doubt OR d.id < ?) "
    "AND m.channel_id = own.channel_id AND m.to_address = own.to_address AND m.text = own.text"
)
FORWARD = (
    "UPDATE message SET state = ?, state_why = ?, state_at = ? "
    "WHERE id = ? AND kind = 'outbound' AND state IN ({lower}) RETURNING conversation_id"
)
REMARK = (
    "UPDATE message SET state_why = ? WHERE id = ? AND state IN ('sent','delivered','read') "
    "RETURNING conversation_id, state"
)
AGAIN = N_("It is tried again by itself.")
GAVE_UP = N_("It was tried for as long as we try, and is not tried again.")


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the other side said when it took the thing.

    Of several recipients some may be `refused` for good, or `waiting` for another try: address and sentence. `copy`
    says that the channel keeps one of what it sent.
    """

    external_id: str = ""
    state: str = "sent"
    response: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    copy: bool = False


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
    """Carries due deliveries out. Each sender has `threads` of its own and one target at most half of them, so that a
    mail server or a subscriber that hangs holds nobody else up; what has no free thread stays in the queue.

    `lease` is how long a hand-over is left to its courier before another one asks, by `reconcile`, what became of it.
    """

    def __init__(
        self, hub: Hub, senders: Mapping[str, Sender], reconcile: Reconcile, threads: int = 8, lease: timedelta = LEASE
    ):
        self.hub = hub
        self.senders = senders
        self.reconcile = reconcile
        self.threads = threads
        self.lease = lease
        self._pool = ThreadPoolExecutor(threads * len(senders), thread_name_prefix="courier")
        self._busy: Counter[tuple[str, str]] = Counter()
        self._absences = Absences(hub.store.clock)
        self._counting = threading.Lock()
        self._stop = threading.Event()

    def loop(self, stop: threading.Event) -> None:
        """Run until told to stop: at once when something was committed or done, and each second anyway."""
        self._stop = stop
        for _ in self.hub.store.bell.rounds(stop, PAUSE_SECONDS):
            try:
                self._take_up("sending", "queued")
            except Exception:
                logger.exception("the courier could not work; trying again")
                stop.wait(1)
        self._pool.shutdown(wait=True)

    def run_once(self) -> int:
        """Clear up what is in doubt, then carry out what is due, each as far as threads are free, and wait for it.

        Returns how many were tried.
        """
        for asked in self._take_up("sending"):
            asked.result()
        tried = self._take_up("queued")
        for each in tried:
            each.result()
        return len(tried)

    def carry(self, delivery: Delivery) -> None:
        """Hand one claimed delivery over and write down how it went.

        That it begins is written first: what a crash leaves before that was certainly not sent, and a claim that was
        lost meanwhile sends nothing.
        """
        if self._write_down(partial(_begin, delivery=delivery, lease=self.lease)):
            step("delivery.begun")
            self._write_down(self._hand_over(delivery))
            step("delivery.settled")

    def find_out(self, delivery: Delivery) -> None:
        """A crash between hand-over and settling leaves "sending" with a lease that ran out: find out, never guess."""
        found = self._found_out(delivery)
        step("delivery.asked")
        self._write_down(found)

    def _take_up(self, *states: str) -> list[Future[None]]:
        """Start a job for everything due in these states that a thread is free for."""
        with self.hub.store.read() as tx:
            due = lanes_due(tx, states, self.senders, self.threads)
        return [job for each in states for job in self._claim(each, self._rooms(d for d in due if d.state == each))]

    def _rooms(self, due: Iterable[Lane]) -> list[Lane]:
        """How many of each lane may be started now; the longest due come first."""
        with self._counting:
            busy = Counter(self._busy)
        rooms = []
        for lane in due:
            sends = sum(number for (each, _), number in busy.items() if each == lane.sender)
            room = min(lane.due, self.threads - sends, max(1, self.threads // 2) - busy[lane.sender, lane.target])
            room = self._absences.room(lane, room) if lane.state == "queued" and room > 0 else room
            if room > 0:
                busy[lane.sender, lane.target] += room
                rooms.append(lane._replace(due=room))
        return rooms

    def _claim(self, state: str, rooms: Sequence[Lane]) -> list[Future[None]]:
        if not rooms:
            return []
        job = self.carry if state == "queued" else self.find_out
        paces = _paces(self.hub) if state == "queued" else {}
        taken = self.hub.store.submit(partial(_take, rooms=rooms, lease=self.lease, paces=paces))
        step("delivery.claimed")
        with self._counting:
            self._busy.update((each.sender, each.target) for each in taken)
        return [self._pool.submit(self._work, job, each) for each in taken]

    def _work(self, job: Callable[[Delivery], None], delivery: Delivery) -> None:
        try:
            job(delivery)
        except Exception:
            logger.exception("delivery %s: it could not be written down; it is cleared up later", delivery.id)
        finally:
            with self._counting:
                self._busy[delivery.sender, delivery.target] -= 1
            self.hub.store.bell.ring()  # a thread is free

    def _write_down(self, unit: Callable[[Tx], T]) -> T:
        """Store it, however long the database is away: what was sent must not look as if nobody knew."""
        while True:
            try:
                return self.hub.store.submit(unit)
            except Exception as error:
                if not is_outage(error) or self._stop.wait(SETTLE_AGAIN):
                    raise

    def _hand_over(self, delivery: Delivery) -> Callable[[Tx], None]:
        """Call the sender; what to write down afterwards."""
        try:
            result = self.senders[delivery.sender](self.hub, delivery)
            step("delivery.handed_over")
        except SendFailed as failed:
            self._absences.note(delivery.sender, delivery.target, away=failed.away)
            return partial(settle_failed, delivery=delivery, failed=failed)
        except SendOpen as still_open:
            return partial(_ask_later, delivery=delivery, why=still_open.why, wait=ASK_AFTER)
        except SendUncertain as uncertain:
            return partial(settle_uncertain, delivery=delivery, why=uncertain.why)
        except Exception as error:
            logger.exception("delivery %s: the sender broke", delivery.id)
            broken = SendFailed(stored("Something went wrong on our side: {error}.", error=type(error).__name__))
            return partial(settle_failed, delivery=delivery, failed=broken)
        self._absences.note(delivery.sender, delivery.target, away=False)
        return partial(settle_sent, delivery=delivery, result=result)

    def _found_out(self, delivery: Delivery) -> Callable[[Tx], None]:
        """What to write down about a hand-over that nobody settled."""
        if delivery.begun_at is None or delivery.sender in REPEATABLE:
            return partial(_back_to_queue, delivery=delivery)
        try:
            result = self.reconcile(self.hub, delivery)
        except SendUncertain as unknown:
            if self.hub.store.clock() - delivery.begun_at < ASKED_FOR:
                return partial(_ask_later, delivery=delivery, why=unknown.why, wait=ASK_AGAIN)
            return partial(settle_uncertain, delivery=delivery, why=unknown.why)
        except Exception as error:
            if is_outage(error):
                raise
            why = stored("We stopped while sending and could not find out whether it went out ({error}).", error=error)
            return partial(settle_uncertain, delivery=delivery, why=why)
        if result is None:
            return partial(_back_to_queue, delivery=delivery)
        return partial(_settle_found, delivery=delivery, result=result)


def _paces(hub: Hub) -> dict[str, Pace]:
    """The accounts that may not send as fast as they can, by target."""
    found = {f"channel:{opened.id}": getattr(opened.channel, "pace", Pace()) for opened in hub.channels()}
    return {target: pace for target, pace in found.items() if pace != Pace()}


def _take(tx: Tx, rooms: Sequence[Lane], lease: timedelta, paces: Mapping[str, Pace]) -> list[Delivery]:
    taken = take(tx, rooms, lease)
    taken = in_turn(tx, taken, paces) if paces else taken
    for delivery in taken:
        if delivery.message_id:
            move_message(tx, delivery.message_id, DeliveryState.SENDING)
    return taken


def _begin(tx: Tx, delivery: Delivery, lease: timedelta) -> bool:
    return tx.sql(BEGIN, tx.now, tx.now + lease, delivery.id, delivery.claims).rowcount == 1


def settle_sent(tx: Tx, delivery: Delivery, result: SendResult) -> None:
    """It was taken. Fenced: once it was claimed again, what an older claim brings changes nothing.

    Until then the news is welcome even if somebody has called it uncertain, or wants it sent again, meanwhile.
    """
    wait = _wait(tx, delivery, None) if result.waiting else None
    told = " ".join([*delivery.payload.get("told", ()), *result.refused.values()])
    if result.waiting:
        told += " ".join(("", *result.waiting.values(), GAVE_UP if wait is None else AGAIN))
    state, due_at = ("sent", tx.now) if wait is None else ("queued", tx.now + wait)
    known = _settle(
        tx, delivery, state, due_at, told.strip(), result.external_id, result.response,
        instead=("sending", "queued", "uncertain"),
    )  # fmt: skip
    if not known or not delivery.message_id:
        return
    if result.external_id:
        tx.sql(
            "UPDATE message SET external_id = ? WHERE id = ? AND external_id = ''",
            result.external_id, delivery.message_id,
        )  # fmt: skip
    only = list(result.waiting) if wait else []
    if only or delivery.payload.get("only"):
        rest = {"only": only, "told": [*delivery.payload.get("told", ()), *result.refused.values()]} if only else {}
        _note_rest(tx, delivery, rest)
    _tell(tx, delivery, DeliveryState(result.state), told.strip())
    if result.copy:
        deliver(tx, "copy", delivery.target, delivery.dedupe_key, {"message_id": delivery.message_id})


def _settle_found(tx: Tx, delivery: Delivery, result: SendResult) -> None:
    """The provider has it, unless what it has can be a twin's: the same words to the same person.

    Decided here, in the unit, because the twin may have left while the provider was asked. Of several in doubt the
    oldest takes what was found first.
    """
    # In this order: a twin that is settled between the two looks is seen by the second one.
    twin = tx.sql(TWIN, delivery.message_id, delivery.id, delivery.id).fetchone()
    taken = tx.sql(
        "SELECT 1 FROM message WHERE external_id = ? AND channel_id = "
        "(SELECT channel_id FROM message WHERE id = ?) AND id <> ?",
        result.external_id, delivery.message_id, delivery.message_id,
    ).fetchone()  # fmt: skip
    if twin or taken:
        _ask_later(tx, delivery, N_("The same words are being sent to the same person; we ask again."), ASK_AGAIN)
    else:
        settle_sent(tx, delivery, result)


def settle_failed(tx: Tx, delivery: Delivery, failed: SendFailed) -> None:
    """Not taken: due again later, or failed for good with the sentence for the agent."""
    wait = None if failed.permanent else _wait(tx, delivery, failed.retry_after)
    if wait is None:
        why = failed.why if failed.permanent else f"{failed.why} {GAVE_UP}"
        settled = _settle(tx, delivery, "failed", tx.now, why, "", failed.response)
    else:
        why = f"{failed.why} {AGAIN}"
        settled = _settle(tx, delivery, "queued", tx.now + wait, failed.why, "", failed.response)
    if not settled or not delivery.message_id:
        return
    if delivery.payload.get("only"):
        _tell(tx, delivery, DeliveryState.FAILED, why)
        if wait is None:
            _note_rest(tx, delivery, {})
    elif wait is None:
        move_message(tx, delivery.message_id, DeliveryState.FAILED, why)
        if failed.opted_out:
            _suppress_recipient(tx, delivery.message_id)
    else:
        _wait_again(tx, delivery.message_id, why)


def settle_uncertain(tx: Tx, delivery: Delivery, why: str) -> None:
    """Nobody knows whether it was taken: shown to the agent, never resent by itself."""
    if _settle(tx, delivery, "uncertain", tx.now, why, "", {}) and delivery.message_id:
        _tell(tx, delivery, DeliveryState.UNCERTAIN, why)
        _note_rest(tx, delivery, {})


def _wait(tx: Tx, delivery: Delivery, asked: timedelta | None) -> timedelta | None:
    """How long until the next try; None when the schedule is through. Nobody who asks for less uses it up sooner."""
    name = delivery.sender
    if name == "channel":
        row = tx.sql("SELECT channel FROM message WHERE id = ?", delivery.message_id).fetchone()
        name = "mail" if row and row[0] in MAIL_KINDS else name
    schedule = SCHEDULES[name]
    if delivery.attempts > len(schedule):
        return None
    planned = timedelta(seconds=schedule[delivery.attempts - 1] * random.uniform(0.8, 1.2))
    return max(asked or planned, planned)


def _note_rest(tx: Tx, delivery: Delivery, rest: Mapping[str, Any]) -> None:
    """Who of several recipients is still to be reached by this delivery, and what was told of others."""
    kept = {name: value for name, value in delivery.payload.items() if name not in ("only", "told")}
    tx.sql("UPDATE delivery SET payload = ? WHERE id = ?", {**kept, **rest}, delivery.id)


def _tell(tx: Tx, delivery: Delivery, state: DeliveryState, why: str) -> None:
    """Move the message; where the customer has it already, this is about the other recipients and only a remark."""
    if not delivery.payload.get("only"):
        move_message(tx, delivery.message_id or 0, state, why)
        return
    rows = tx.sql(REMARK, why[:500], delivery.message_id).fetchall()
    if rows:
        tx.emit(DeliveryChanged(rows[0][0], delivery.message_id or 0, rows[0][1]))


def settle_update(store: Store, channel_id: int, update: DeliveryUpdate) -> str:
    """What a provider says later. Kept raw, applied once, and only forwards. Returns the receipt's state."""
    state = store.submit(lambda tx: _apply_update(tx, channel_id, update))
    step("status.durable")
    return state


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
    state, why = ("accepted", "") if message_id else ("ignored", N_("no such message of ours"))
    raw = update.raw
    noted = tx.insert(
        NEW_STATUS, channel_id, raw.dedupe_key[:255], state, why, raw.content_type[:200],
        json.dumps(dict(raw.headers)), raw.body, len(raw.body), tx.now, message_id,
    ).fetchone()  # fmt: skip
    if noted is None:
        seen_again(tx, channel_id, raw.dedupe_key)
        return "duplicate"
    step("status.noted")
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
    response: Mapping[str, Any], instead: Sequence[str] = ("sending",),
) -> bool:  # fmt: skip
    """Write down how this claim went; False when it is too late for that."""
    ended_at = None if state in ("queued", "sending") else tx.now
    settled = tx.sql(
        SETTLE.format(states=",".join(f"'{each}'" for each in instead)),
        state, due_at, state == "sending", error[:500], dict(response), ended_at, external_id[:998],
        delivery.id, delivery.claims,
    )  # fmt: skip
    return settled.rowcount == 1


def _ask_later(tx: Tx, delivery: Delivery, why: str, wait: timedelta) -> None:
    """It stays as if under way; when the wait is over the provider is asked what became of it."""
    _settle(tx, delivery, "sending", tx.now + wait, why, "", {})


def _back_to_queue(tx: Tx, delivery: Delivery) -> None:
    if _settle(tx, delivery, "queued", tx.now, N_("the sender stopped half-way"), "", {}) and delivery.message_id:
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
