"""The courier: nobody is sent a thing twice, nobody waits for a stranger's slow server, and nothing known is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlmodel import select

from channels.base import Accepted, DeliveryState, DeliveryUpdate, File, Outbound, Raw, SendFailed, SendUncertain
from hub import Hub
from hub.delivery import SCHEDULES, Courier, SendResult, _settle_found, deliver, settle_update
from hub.lanes import DUE, lanes_due
from hub.media import TRIES, fetch_waiting
from hub.outbound import reconcile_message
from hub.replies import reply, retry, undo
from storage import Tx
from storage.access import Conflict
from storage.conversations import Message
from storage.deliveries import Delivery
from tests.desk import MARA_PHONE, Desk
from tests.processes import until

PATIENCE = 10  # seconds


class Post:
    """A sender whose provider takes what it is given, once it is let."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.at_it: Counter[str] = Counter()
        self.held: dict[str, threading.Event] = {}

    def hold(self, target: str) -> threading.Event:
        """Let everything for this target hang until the event is set."""
        return self.held.setdefault(target, threading.Event())

    def __call__(self, hub: Hub, delivery: Delivery) -> SendResult:
        self.at_it[delivery.target] += 1
        if delivery.target in self.held:
            assert self.held[delivery.target].wait(PATIENCE)
        self.taken[delivery.dedupe_key] += 1
        return SendResult(f"SM{delivery.id}")


def unknown(hub: Hub, delivery: Delivery) -> SendResult | None:
    raise LookupError("nobody can be asked")


def intend(desk: Desk, sender: str, target: str, *keys: str) -> None:
    with desk.hub.store.write() as tx:
        for each in keys:
            deliver(tx, sender, target, each, {})


def answer(desk: Desk, text: str = "On Thursday.", *, number: int | None = None) -> Message:
    if number is None:
        number = desk.mail("Lamp", "Has it left?").conversation_id
    with desk.hub.store.write() as tx:
        return reply(tx, desk.ines, number or 0, text=text, tokens=desk.hub.tokens, undo_seconds=0)


def again(desk: Desk, sent: Message) -> None:
    with desk.hub.store.write() as tx:
        retry(tx, desk.ines, sent.id or 0)


def state(desk: Desk, sent: Message) -> tuple[str, str]:
    with desk.hub.store.read() as tx:
        return tx.get_one(Message, sent.id).state, tx.sql(
            "SELECT state FROM delivery WHERE message_id = ?", sent.id
        ).fetchone()[0]


@contextmanager
def in_background(work: Callable[[], Any]) -> Iterator[None]:
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(work)
        yield
        doing.result(PATIENCE)


@contextmanager
def looping(carrier: Courier) -> Iterator[None]:
    stop = threading.Event()
    with in_background(partial(carrier.loop, stop)):
        try:
            yield
        finally:
            stop.set()


# --- nothing twice ---------------------------------------------------------------------------------------------------


def test_only_what_a_thread_is_free_for_is_claimed(desk: Desk) -> None:
    """The rest would wait in the courier's hands while its lease runs out, and another courier sends it as well."""
    keys = [f"line {n}" for n in range(12)]
    intend(desk, "channel", "channel:1", *keys)
    slow, fast = Post(), Post()
    go_on = slow.hold("channel:1")
    with in_background(Courier(desk.hub, {"channel": slow}, unknown, threads=8).run_once):
        until(lambda: slow.at_it["channel:1"] == 4, "the slow provider to be at it")
        other = Courier(desk.hub, {"channel": fast}, unknown)
        while other.run_once():
            pass
        desk.clock.forward(seconds=121)
        while other.run_once():
            pass
        go_on.set()
    assert slow.taken + fast.taken == Counter(keys)


def test_no_more_is_claimed_after_the_database_has_counted_an_almost_empty_queue(desk: Desk) -> None:
    """PostgreSQL, for one, plans by that count, and ran the choice of what is next once for every row of the queue."""
    post = Post()
    intend(desk, "channel", "channel:1", "the first")
    while Courier(desk.hub, {"channel": post}, unknown).run_once():
        pass
    with desk.hub.store.write() as tx:
        tx.sql("ANALYZE delivery")
    intend(desk, "channel", "channel:1", *(f"line {n}" for n in range(12)))
    assert Courier(desk.hub, {"channel": post}, unknown, threads=8).run_once() == 4


def test_a_look_at_what_is_due_passes_by_what_waits_for_a_subscriber_that_is_away(desk: Desk) -> None:
    """A hundred thousand deliveries to one webhook made each look take a third of a second, many times a second."""
    intend(desk, "webhook", "endpoint:1", *(f"event {n}" for n in range(300)))
    desk.clock.forward(seconds=1)
    intend(desk, "channel", "channel:2", "line")
    intend(desk, "channel", "channel:1", "word", "another")
    ways = (("sending", "queued"), ("channel", "slack", "webhook"))
    with desk.hub.store.write() as tx:
        assert lanes_due(tx, *ways, most=8) == [
            ("queued", "webhook", "endpoint:1", 8), ("queued", "channel", "channel:1", 2),
            ("queued", "channel", "channel:2", 1),
        ]  # fmt: skip
        tx.sql("UPDATE delivery SET state = 'sending' WHERE sender = 'webhook'")
        assert lanes_due(tx, *ways, most=8)[0][:3] == ("sending", "webhook", "endpoint:1")
        tx.sql("UPDATE delivery SET due_at = ? WHERE sender = 'webhook'", desk.clock() + timedelta(seconds=1))
        assert [lane.sender for lane in lanes_due(tx, *ways, most=8)] == ["channel", "channel"], "it is tried later"
        if tx.dialect == "sqlite":  # PostgreSQL chooses by its statistics
            asked = DUE.format(ways="(?, ?)")
            plan = [str(row[3]) for row in tx.sql(f"EXPLAIN QUERY PLAN {asked}", *[1] * asked.count("?")).fetchall()]
            assert [
                step for step in plan if " d " in step and "USING COVERING INDEX ix_delivery_lane" not in step
            ] == []


def test_a_claim_that_was_lost_before_its_hand_over_sends_nothing(desk: Desk) -> None:
    """The process stood still in between, longer than its lease."""
    sent, post = answer(desk), Post()
    asleep, woken = threading.Event(), threading.Event()

    class Sleepy(Courier):
        def carry(self, delivery: Delivery) -> None:
            asleep.set()
            assert woken.wait(PATIENCE)
            super().carry(delivery)

    with in_background(Sleepy(desk.hub, {"channel": post}, unknown).run_once):
        assert asleep.wait(PATIENCE)
        desk.clock.forward(seconds=121)
        Courier(desk.hub, {"channel": post}, unknown).run_once()
        assert state(desk, sent) == ("sent", "sent"), "nothing was sent yet: there is nobody to ask"
        woken.set()
    assert post.taken.total() == 1


def test_an_old_claim_does_not_settle_a_new_try(desk: Desk) -> None:
    sent = answer(desk)
    first_at_it, first_may, second_at_it, second_may = (threading.Event() for _ in range(4))

    def refused_late(hub: Hub, delivery: Delivery) -> SendResult:
        first_at_it.set()
        assert first_may.wait(PATIENCE)
        raise SendFailed("refused", permanent=True)

    def taken(hub: Hub, delivery: Delivery) -> SendResult:
        second_at_it.set()
        assert second_may.wait(PATIENCE)
        return SendResult()

    second = Courier(desk.hub, {"channel": taken}, unknown)
    with ThreadPoolExecutor(2) as pool:
        first_run = pool.submit(Courier(desk.hub, {"channel": refused_late}, unknown).run_once)
        assert first_at_it.wait(PATIENCE)
        desk.clock.forward(seconds=121)
        second.run_once()
        assert state(desk, sent)[0] == "uncertain"
        again(desk, sent)
        second_run = pool.submit(second.run_once)
        assert second_at_it.wait(PATIENCE)
        first_may.set()
        first_run.result()
        assert state(desk, sent) == ("sending", "sending")
        second_may.set()
        second_run.result()
    assert state(desk, sent) == ("sent", "sent")


def test_what_is_learned_late_counts_as_long_as_nobody_has_tried_again(desk: Desk) -> None:
    sent, post = answer(desk), Post()
    go_on = post.hold(f"channel:{sent.channel_id}")
    with in_background(Courier(desk.hub, {"channel": post}, unknown).run_once):
        until(lambda: post.at_it.total() == 1, "the mail to be handed over")
        desk.clock.forward(seconds=121)
        other = Courier(desk.hub, {"channel": post}, unknown)
        other.run_once()
        assert state(desk, sent)[0] == "uncertain"
        again(desk, sent)
        go_on.set()
    assert state(desk, sent) == ("sent", "sent")
    other.run_once()
    assert post.taken.total() == 1


def test_what_may_be_out_already_can_not_be_undone_after_a_retry(desk: Desk) -> None:
    sent = answer(desk)

    def broken_line(hub: Hub, delivery: Delivery) -> SendResult:
        raise SendUncertain("The line broke.")

    Courier(desk.hub, {"channel": broken_line}, unknown).run_once()
    again(desk, sent)
    with pytest.raises(Conflict, match="Too late"), desk.hub.store.write() as tx:
        undo(tx, desk.ines, sent.id or 0)


def test_after_a_retry_the_whole_schedule_is_ahead_again(desk: Desk) -> None:
    sent = answer(desk)

    def refused(hub: Hub, delivery: Delivery) -> SendResult:
        raise SendFailed("not now")

    carrier = Courier(desk.hub, {"channel": refused}, unknown)
    for _ in range(len(SCHEDULES["mail"]) + 1):
        assert state(desk, sent)[0] == "queued"
        carrier.run_once()
        desk.clock.forward(hours=24)
    assert state(desk, sent)[0] == "failed"
    again(desk, sent)
    carrier.run_once()
    assert state(desk, sent)[0] == "queued"


# --- two equal texts -------------------------------------------------------------------------------------------------


class Texts:
    """A provider's list of texts, to be asked by wording alone as Twilio's is."""

    limits = None

    def __init__(self, *sids: str) -> None:
        self.sids = sids
        self.asked: Callable[[], object] = lambda: None

    def missing(self, since: datetime) -> Iterator[Any]:
        return iter(())

    def outcome(self, message: Outbound, since: datetime, known: Any = ()) -> Accepted | None:
        found = [Accepted(sid) for sid in self.sids if sid not in known]
        self.asked()
        return found[0] if found else None


@pytest.fixture
def texts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Texts:
    """Twilio's list stands in for Twilio."""
    provider: Any = Texts("SM-one")
    real = Hub.channel

    def channel(hub: Hub, number: int) -> Any:
        opened = real(hub, number)
        return replace(opened, channel=provider) if opened.account.kind == "sms" else opened

    monkeypatch.setattr(Hub, "channel", channel)
    return provider  # type: ignore[no-any-return]


def two_in_doubt(desk: Desk) -> list[Message]:
    """Two equal texts that a worker claimed and began to send before it died."""
    number = desk.text("Has it left?").conversation_id
    pair = [answer(desk, "Yes.", number=number) for _ in range(2)]
    die_while_sending(desk, times=2)
    return pair


def die_while_sending(desk: Desk, times: int = 1) -> None:
    """A worker begins to send what is due and is never heard of again."""

    class Died(BaseException):
        pass

    def dies(hub: Hub, delivery: Delivery) -> SendResult:
        raise Died

    for _ in range(times):
        with pytest.raises(Died):
            Courier(desk.hub, {"channel": dies}, unknown, threads=1).run_once()
    desk.clock.forward(seconds=121)


def test_of_two_equal_texts_in_doubt_each_has_its_own_at_the_provider_or_is_sent(desk: Desk, texts: Texts) -> None:
    pair, post = two_in_doubt(desk), Post()
    carriers = [Courier(desk.hub, {"channel": post}, reconcile_message) for _ in range(2)]
    meeting = threading.Barrier(2)
    texts.asked = lambda: meeting.wait(PATIENCE)  # both found the same one before either wrote it down
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda carrier: carrier.run_once(), carriers))
    texts.asked = lambda: None
    desk.clock.forward(seconds=61)
    for carrier in carriers:
        carrier.run_once()
    assert [state(desk, each)[0] for each in pair] == ["sent", "sent"]
    with desk.hub.store.read() as tx:
        assert len({tx.get_one(Message, each.id).external_id for each in pair}) == 2
    assert post.taken.total() == 1


def test_a_twin_that_is_settled_between_two_looks_keeps_what_was_found(desk: Desk, texts: Texts) -> None:
    first, second = two_in_doubt(desk)
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE delivery SET in_doubt = true")
    with desk.hub.store.read() as tx:
        rows = {row.message_id: row for row in tx.exec(select(Delivery))}
    found, done = SendResult("SM-one"), threading.Event()

    def settle_second() -> None:
        with desk.hub.store.write() as tx:
            _settle_found(tx, rows[second.id], found)
        done.set()

    with desk.hub.store.write() as tx:
        if not desk.hub.store.embedded:  # whoever looks at deliveries waits, whoever looks at messages does not
            tx.sql("LOCK TABLE delivery IN ACCESS EXCLUSIVE MODE")
        _settle_found(tx, rows[first.id], found)
        thread = threading.Thread(target=settle_second)
        thread.start()
        done.wait(1)
    thread.join(PATIENCE)
    assert [state(desk, each)[0] for each in (first, second)] == ["sent", "sending"]


def test_a_text_that_left_while_the_provider_was_asked_is_not_taken_for_its_twin(desk: Desk, texts: Texts) -> None:
    first, post = two_in_doubt(desk)[0], Post()
    with desk.hub.store.write() as tx:  # the second was not begun: it is claimed and leaves while we ask for the first
        tx.sql("UPDATE delivery SET state = 'queued', begun_at = NULL WHERE message_id > ?", first.id)

    def meanwhile() -> None:
        def takes(hub: Hub, delivery: Delivery) -> SendResult:
            return SendResult("SM-one")

        texts.asked = lambda: None
        Courier(desk.hub, {"channel": takes}, reconcile_message).run_once()

    texts.asked = meanwhile
    carrier = Courier(desk.hub, {"channel": post}, reconcile_message)
    carrier.run_once()
    assert state(desk, first)[0] == "sending"
    desk.clock.forward(seconds=61)
    carrier.run_once()
    assert state(desk, first)[0] == "sent"
    assert post.taken.total() == 1


def test_an_earlier_try_that_the_carrier_refused_is_not_taken_for_the_next_one(desk: Desk, texts: Texts) -> None:
    sent, post = answer(desk, "Yes.", number=desk.text("Has it left?").conversation_id), Post()
    Courier(desk.hub, {"channel": lambda hub, delivery: SendResult("SM-one")}, unknown).run_once()
    refused = DeliveryUpdate(Raw("status", b""), DeliveryState.FAILED, external_id="SM-one")
    settle_update(desk.hub.store, sent.channel_id or 0, refused)
    again(desk, sent)
    die_while_sending(desk)
    carrier = Courier(desk.hub, {"channel": post}, reconcile_message)
    carrier.run_once()
    assert state(desk, sent)[0] == "sent"
    assert post.taken.total() == 1


# --- nobody waits for others -----------------------------------------------------------------------------------------


def test_webhooks_that_hang_hold_up_no_answer(desk: Desk) -> None:
    post = Post()
    holds = [post.hold(f"endpoint:{n}") for n in range(4)]
    for n in range(4):
        intend(desk, "webhook", f"endpoint:{n}", *(f"{n}:{m}" for m in range(5)))
    with looping(Courier(desk.hub, {"channel": post, "webhook": post}, unknown)):
        until(lambda: post.at_it.total() == 8, "every thread for webhooks to hang")
        intend(desk, "channel", "channel:1", "chat line")
        until(lambda: post.taken["chat line"] == 1, "the chat line to leave")
        for each in holds:
            each.set()
        until(lambda: post.taken.total() == 21, "everything to leave")
    assert set(post.taken.values()) == {1}


def test_a_mail_server_that_hangs_holds_up_no_text(desk: Desk) -> None:
    post = Post()
    go_on = post.hold("channel:1")
    intend(desk, "channel", "channel:1", *(f"mail {n}" for n in range(20)))
    with looping(Courier(desk.hub, {"channel": post}, unknown)):
        until(lambda: post.at_it["channel:1"] == 4, "half of the threads to hang")
        intend(desk, "channel", "channel:2", "text")
        until(lambda: post.taken["text"] == 1, "the text to leave")
        go_on.set()
        until(lambda: post.taken.total() == 21, "everything to leave")


# --- what is known stays known ---------------------------------------------------------------------------------------


def test_what_was_sent_is_written_down_once_the_database_is_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, post, submit = answer(desk), Post(), desk.hub.store.submit
    refused = 0

    def away_after_the_hand_over(unit: Callable[[Tx], Any]) -> Any:
        nonlocal refused
        if post.taken and refused < 2:
            refused += 1
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return submit(unit)

    monkeypatch.setattr(desk.hub.store, "submit", away_after_the_hand_over)
    monkeypatch.setattr("hub.delivery.SETTLE_AGAIN", 0.01)
    Courier(desk.hub, {"channel": post}, unknown).run_once()
    assert refused == 2
    assert state(desk, sent) == ("sent", "sent")


# --- files kept by the provider --------------------------------------------------------------------------------------


class Gone(Exception):
    permanent = True


class Media:
    """A provider's media store; `broken` says what it answers instead of a file."""

    def __init__(self) -> None:
        self.broken: Callable[[str], Exception | None] = lambda url: None
        self.asked: Counter[str] = Counter()

    def fetch(self, url: str) -> File:
        self.asked[url] += 1
        if error := self.broken(url):
            raise error
        return File("photo.png", "image/png", b"picture")


@pytest.fixture
def media(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Media:
    store: Any = Media()
    real = Hub.channel

    def channel(hub: Hub, number: int) -> Any:
        opened = real(hub, number)
        return replace(opened, channel=store)

    monkeypatch.setattr(Hub, "channel", channel)
    number = desk.text("pictures", sender=MARA_PHONE).message_id
    with desk.hub.store.write() as tx:
        for n in range(25):
            tx.sql(
                "INSERT INTO attachment(message_id, name, content_type, size, sha256, cid, inline, source_url, "
                "created_at) VALUES(?, 'file', '', 0, '', '', false, ?, ?)",
                number, f"https://media/{n}", tx.now,
            )  # fmt: skip
    return store  # type: ignore[no-any-return]


def test_files_that_fail_stand_in_nobodys_way_and_are_asked_for_ever_less(desk: Desk, media: Media) -> None:
    media.broken = lambda url: None if url.endswith(("/0", "/24")) else ConnectionError("away")
    assert fetch_waiting(desk.hub) + fetch_waiting(desk.hub) == 2
    assert len(media.asked) == 25
    assert fetch_waiting(desk.hub) == 0
    assert media.asked.total() == 25, "each waits before it is asked for again"
    desk.clock.forward(seconds=11)
    media.broken = lambda url: None
    assert fetch_waiting(desk.hub) + fetch_waiting(desk.hub) == 23


def test_a_file_that_is_gone_for_good_is_asked_for_once(desk: Desk, media: Media) -> None:
    media.broken = lambda url: Gone()
    for _ in range(TRIES):
        fetch_waiting(desk.hub)
        desk.clock.forward(days=10)
    assert set(media.asked.values()) == {1}
