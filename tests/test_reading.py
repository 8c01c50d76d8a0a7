"""Mail is read in processes that may die: nothing that arrives stops the hub, and the next mail goes on."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from channels import KINDS
from channels.apart import Caps, Question
from channels.base import Raw, Unreadable
from channels.mail import EmailChannel
from channels.seals import Seals
from config import Settings
from hub import intake
from hub.intake import retry_receipt
from hub.mailboxes import file_left_over
from hub.reading import IN_DOUBT, Readers, ReadersDown, Reading, ReadingFailed, ReadingStopped
from hub.receipts import note_receipt
from storage.access import SYSTEM
from storage.receipts import Receipt
from tests.clock import Clock
from tests.desk import Desk, open_desk
from tests.processes import until
from tests.support.mails import mail
from tests.support.misbehaving import EVILS, Misbehaving
from tests.test_mail_authentic import PUBLIC, signed

PLACE = "tests.support.misbehaving:Misbehaving"
CAPS = Caps(seconds=3, cpu_seconds=1, memory=300 << 20)
ROOT = Path(__file__).resolve().parent.parent
FIXTURES = Path(__file__).parent / "mail"


def saying(subject: str) -> Raw:
    return Raw(subject, mail(Subject=subject.encode()), "message/rfc822")


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    opened = Readers(PLACE, CAPS, 2)
    yield opened
    opened.close()


def test_a_reader_understands_what_this_process_would(readers: Readers) -> None:
    for path in sorted(FIXTURES.glob("*.eml")):
        raw = Raw(path.name, path.read_bytes(), "message/rfc822", {"address": "support@shop.example"})
        assert readers.read(raw) == EmailChannel.parse(raw), path.name


@pytest.mark.parametrize("evil", EVILS)
def test_what_kills_a_reader_harms_nobody_else(readers: Readers, evil: str) -> None:
    readers.read(saying("hello"))
    started = time.monotonic()
    with pytest.raises(ReadingStopped, match="raw file is kept"):
        readers.read(saying(evil))
    assert time.monotonic() - started < CAPS.seconds + 5
    assert readers.read(saying("the next")).subject == "the next"


def test_reading_and_verifying_is_one_question(readers: Readers) -> None:
    raw = Raw("x", signed(), "message/rfc822")
    keys = {"s1._domainkey.example.com": f"v=DKIM1; k=rsa; p={base64.b64encode(PUBLIC).decode()}"}
    inbound, seals = readers.read_and_verify(raw, Question("signatures", keys))
    assert inbound == EmailChannel.parse(raw)
    assert seals == readers.verify(raw, Question("signatures", keys, only=True)) == Seals((("example.com", "pass"),))


@pytest.mark.parametrize("evil", [*EVILS, "bug"])
def test_what_kills_a_reader_that_verifies_harms_nobody_else(readers: Readers, evil: str) -> None:
    about = Question("signatures", {}, only=True)
    with pytest.raises(ReadingFailed if evil == "bug" else ReadingStopped):
        readers.verify(saying(evil), about)
    assert readers.verify(saying("the next"), about) == Seals()


def test_a_mail_over_whose_signature_a_reader_dies_is_left_in_doubt() -> None:
    channel = Misbehaving(name="m", address="m@shop.example", settings={"imap_host": "x", "smtp_host": "x",
                                                                        "username": "u", "password": "p"})  # fmt: skip
    reading = Reading(Settings(secret_key="for tests only", reading_seconds=2))
    try:
        keys = {"k1._domainkey.shop.example": "v=DKIM1"}
        with pytest.raises(ReadingStopped):
            reading.read(channel, saying("crash to verify"), keys)
        inbound, judged = reading.read(channel, saying("bug to verify"), keys)
        assert (inbound.subject, judged) == ("bug to verify", None), "its signatures are asked for by themselves"
        assert reading.read(channel, saying("the next"), {})[1] is None, "nobody has asked"
        assert reading.verify(channel, saying("crash"), "signatures", {}) == IN_DOUBT
        assert reading.verify(channel, saying("the next"), "signatures", {}) == Seals()
    finally:
        reading.close()


def test_a_bug_and_an_unreadable_mail_are_told_apart_from_a_death(readers: Readers) -> None:
    where = readers.read(saying("where")).text
    with pytest.raises(ReadingFailed, match="KeyError: 'something new'"):
        readers.read(saying("bug"))
    with pytest.raises(Unreadable, match="nothing in it"):
        readers.read(saying("unreadable"))
    assert readers.read(saying("where")).text == where


def test_a_reader_is_told_no_secrets_and_may_use_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush" * 20)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # as an embedded hub does
    readers = Readers(PLACE, CAPS, 1)
    try:
        said = readers.read(saying("where")).text
    finally:
        os.sched_setaffinity(0, cores)
        readers.close()
    assert "SECRET_KEY" not in said
    assert str(cores) in said
    assert not said.startswith(f"{os.getpid()} ")


def test_readers_that_somebody_kills_are_replaced(readers: Readers) -> None:
    readers.read(saying("hello"))
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):  # a zombie, or one gone with its parent
            if PLACE in process.cmdline():
                process.kill()
                process.wait(5)
    assert readers.read(saying("again")).subject == "again"


def test_readers_that_can_not_start_are_nobodys_fault() -> None:
    readers = Readers("tests.support.misbehaving:Nothing", CAPS, 1)
    with pytest.raises(ReadersDown, match="does not start"):
        readers.read(saying("hello"))
    with pytest.raises(ReadersDown):
        readers.ready()


def test_readers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """Also one that is busy just then."""
    script = tmp_path / "busy_hub.py"
    script.write_text(
        textwrap.dedent(f"""
        import threading, time
        from channels.apart import Caps
        from hub.reading import Readers
        from tests.test_reading import saying
        readers = Readers({PLACE!r}, Caps(60, 30, 300 << 20), 2)
        readers.read(saying("hello"))
        threading.Thread(target=readers.read, args=(saying("hang"),), daemon=True).start()
        time.sleep(0.2)
        print("busy", flush=True)
        time.sleep(60)
        """)
    )
    hub = subprocess.Popen(
        [sys.executable, str(script)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    assert hub.stdout is not None and hub.stdout.readline() == b"busy\n"
    family = psutil.Process(hub.pid).children(recursive=True)
    assert len(family) >= 2
    os.kill(hub.pid, signal.SIGKILL)
    hub.wait(5)
    until(lambda: not any(process.is_running() for process in family), "the end of all readers", 5)


@pytest.fixture
def rough(database_url: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk whose mail channel misbehaves."""
    monkeypatch.setenv("MAIL_PASSWORD", "secret")
    monkeypatch.setenv("SHOP_SECRET", "the shop's secret, at least thirty-two bytes long")
    monkeypatch.setitem(KINDS, "email", PLACE)
    desk = open_desk(database_url, tmp_path, clock, reading_seconds=2)
    yield desk
    desk.hub.stop()


def stored(desk: Desk, *subjects: str) -> list[int]:
    """Mails as the mailbox leaves them: raw, durable, not read yet."""
    opened = desk.hub.channel_named("support-mail")

    def note(subject: str) -> int:
        raw = saying(subject)
        number = desk.hub.store.submit(lambda tx: note_receipt(tx, opened, raw, raw.body, ""))
        assert number is not None
        return number

    return [note(subject) for subject in subjects]


def receipt(desk: Desk, number: int) -> Receipt:
    with desk.hub.store.read() as tx:
        return tx.get_one(Receipt, number)


def first_try(desk: Desk, *numbers: int) -> None:
    """What the mailbox does with mails that it has just stored."""
    found = [receipt(desk, number) for number in numbers]
    arrived = [
        (each.id or 0, Raw(each.dedupe_key, each.body or b"", each.content_type, each.headers)) for each in found
    ]
    intake.read_first(desk.hub, desk.hub.channel_named("support-mail"), arrived)


def test_a_mail_that_kills_its_readers_is_set_aside_and_the_next_ones_go_on(rough: Desk) -> None:
    poison, *others = stored(rough, "crash", "lamp", "cable")
    first_try(rough, poison, *others)
    assert [receipt(rough, number).state for number in (poison, *others)] == ["received", "accepted", "accepted"]
    for tries in range(2, intake.TRIES + 1):
        rough.clock.forward(minutes=1)
        assert file_left_over(rough.hub) == 1
        assert receipt(rough, poison).attempts == tries
    assert receipt(rough, poison).state == "quarantined"
    assert "takes more than 1 s of work" in receipt(rough, poison).why
    assert retry_receipt(rough.hub, SYSTEM, poison).state == "quarantined"
    assert len(rough.conversations()) == 2 - (rough.conversations()[0].message_count - 1)


def test_a_mail_whose_signature_kills_its_reader_comes_in_unproved(rough: Desk) -> None:
    opened = rough.hub.channel_named("support-mail")
    unsigned = b"v=1; a=rsa-sha256; d=shop.example; s=; h=from; bh=x; b=eA=="
    raw = Raw("signed", mail(DKIM_Signature=unsigned, Subject=b"crash to verify"), "message/rfc822")
    number = rough.hub.store.submit(lambda tx: note_receipt(tx, opened, raw, raw.body, "")) or 0
    first_try(rough, number)
    assert receipt(rough, number).state == "received"
    rough.clock.forward(minutes=1)
    assert file_left_over(rough.hub) == 1
    assert receipt(rough, number).state == "accepted"
    (message,) = rough.messages(rough.only_conversation().id or 0)
    assert message.authenticity["dkim"] == "temperror"


def test_a_mail_that_takes_the_whole_hub_with_it_is_counted_before_it_is_read(
    rough: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (poison,) = stored(rough, "lamp")

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(rough.hub.reading, "read", power_cut)
        with pytest.raises(KeyboardInterrupt):
            first_try(rough, poison)
        for tries in range(2, intake.CRASHES + 1):
            rough.clock.forward(minutes=1)
            with pytest.raises(KeyboardInterrupt):
                file_left_over(rough.hub)
            assert receipt(rough, poison).attempts == tries
        rough.clock.forward(minutes=1)
        assert file_left_over(rough.hub) == 1  # not read any more
    assert (receipt(rough, poison).state, receipt(rough, poison).why) == ("quarantined", intake.POISON)
    assert retry_receipt(rough.hub, SYSTEM, poison).state == "accepted"


def test_a_mail_by_webhook_that_kills_its_reader_is_kept_and_tried_again(rough: Desk) -> None:
    taken = rough.raw_mail(saying("crash").body, key="one")
    assert taken.state == "received"
    assert rough.raw_mail(saying("crash").body, key="one").state == "duplicate"
    assert rough.mail("lamp", "hello").state == "accepted"
    assert receipt(rough, taken.receipt_id or 0).attempts == 1


def test_two_nodes_do_not_try_the_same_mail_at_once(rough: Desk) -> None:
    (number,) = stored(rough, "lamp")
    seen = receipt(rough, number)
    opened = rough.hub.channel_named("support-mail")
    assert intake.read_receipt(rough.hub, opened, seen).state == "accepted"
    assert intake.read_receipt(rough.hub, opened, seen).state == "duplicate"
    assert receipt(rough, number).attempts == 2
