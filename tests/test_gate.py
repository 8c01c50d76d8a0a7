"""No machine talks with another one: two hubs, a machine that ignores every header, and caps over all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.gate import ACKNOWLEDGEMENT, NOTICE, Leaving, comparable, forget_old_sends, may_leave
from tests.browser.room import Browser, application, words
from tests.clock import Clock
from tests.desk import MARA_MAIL, Desk, open_desk
from tests.doors import compose, served
from tests.support.autoreply import Acknowledging, acknowledging

HEADERS = (b"auto-submitted", b"precedence", b"x-auto-response-suppress", b"x-switchyard-loop")


@pytest.fixture
def saying(desk: Desk) -> Iterator[Acknowledging]:
    with acknowledging(desk) as opened:
        yield opened


@pytest.fixture
def other(request: pytest.FixtureRequest, database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Acknowledging]:
    """A second hub of somebody else, with a key and a database of its own."""
    if database_url.startswith("sqlite"):
        template: Path = request.getfixturevalue("sqlite_template")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "hub.db").write_bytes(template.read_bytes())
        url = f"sqlite:///{tmp_path / 'other' / 'hub.db'}"
    else:
        url = request.getfixturevalue("postgres_copies").take()
    desk = open_desk(url, tmp_path / "other", clock, secret_key="another secret")
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE channel SET address = 'help@other.example' WHERE name = 'support-mail'")
        tx.sql("UPDATE desk_version SET version = version + 1")
    desk.hub.look_again()
    with acknowledging(desk) as opened:
        yield opened
    desk.hub.stop()
    if not url.startswith("sqlite"):
        request.getfixturevalue("postgres_copies").give_back(url)


def carry(one: Acknowledging, other: Acknowledging, *, strip: bool = False, rounds: int = 60) -> int:
    """Bring what each sends to the other, until nothing moves; how many mails that were."""
    carried, done = 0, {id(one): 0, id(other): 0}
    for _ in range(rounds):
        moved = 0
        for sender, receiver in ((one, other), (other, one)):
            sender.work()
            for mail in sender.room.sink.taken[done[id(sender)] :]:
                done[id(sender)] += 1
                moved += 1
                receiver.desk.raw_mail(stripped(mail.data, carried + moved) if strip else mail.data)
        carried += moved
        if not moved:
            return carried
    raise AssertionError("they would never stop")


def stripped(data: bytes, number: int) -> bytes:
    """As a careless gateway hands it on: nothing left that says that a machine wrote it, or what it answers."""
    head, _, body = data.partition(b"\r\n\r\n")
    gone = (*HEADERS, b"in-reply-to", b"references", b"message-id", b"subject")
    kept = [each for each in head.split(b"\r\n") if each.partition(b":")[0].lower() not in gone]
    kept += [b"Subject: news %s" % (b"o" * number), b"Message-ID: <s%d@gateway>" % number]
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


def test_two_hubs_that_acknowledge_each_other_stop_at_once(saying: Acknowledging, other: Acknowledging) -> None:
    saying.desk.mail("Our invoice", "please pay", sender="Help <help@other.example>")
    assert carry(saying, other) == 1
    assert other.desk.only_conversation().state == "resolved"  # "we have it" is nobody's work


def test_two_hubs_behind_a_gateway_that_strips_every_mark_are_stopped_by_the_caps(
    saying: Acknowledging, other: Acknowledging
) -> None:
    saying.desk.mail("Our invoice", "please pay", sender="Help <help@other.example>")
    most = saying.desk.hub.settings.automatic_per_recipient
    assert carry(saying, other, strip=True) <= 2 * most
    assert "a machine may be answering" in saying.held()[-1]


def test_an_answering_machine_that_ignores_every_header_is_stopped(saying: Acknowledging) -> None:
    desk, sent = saying.desk, 0
    desk.mail("Lamp", "Has it left?")
    for number in range(40):
        answers = saying.work()
        sent += len(answers)
        for _ in answers:
            desk.mail(f"I am at sea {'o' * number}", f"until Monday ({number})")
    assert sent == desk.hub.settings.automatic_per_recipient
    assert len(saying.held()) == 1
    desk.clock.forward(days=1, minutes=1)
    desk.mail("Chair", "And the chair?")
    assert len(saying.work()) == 1


def test_the_same_subject_again_and_again_is_stopped_sooner(saying: Acknowledging) -> None:
    for number in range(6):
        saying.desk.mail(f"Re: Alarm {number}", f"disk {number} is full")
    assert len(saying.work()) == saying.desk.hub.settings.automatic_per_subject
    assert {each.subject for each in saying.counted()} == {"alarm"}
    assert [bool(each.held) for each in saying.counted()] == [False] * 3 + [True] * 3


def test_numbers_and_reply_marks_make_no_new_subject() -> None:
    assert comparable("Re: AW: Auto: Lamp [#12]") == comparable("lamp [#4711]") == "lamp"
    assert comparable("Order 12") == comparable("ORDER  13") != comparable("Lamp")


def leaving(desk: Desk, address: str, kind: str = ACKNOWLEDGEMENT, number: int = 0, subject: str = "") -> bool:
    with desk.hub.store.write() as tx:
        return may_leave(tx, desk.hub.settings, Leaving(kind, address, number or 1, subject))


def test_a_conversation_has_a_cap_over_everybody_in_it(desk: Desk) -> None:
    desk.mail("Lamp", "Has it left?")
    asked = [leaving(desk, f"agent{number}@desk.example", NOTICE) for number in range(25)]
    assert asked == [True] * 20 + [False] * 5
    desk.clock.forward(hours=1, seconds=1)
    assert leaving(desk, "agent1@desk.example", NOTICE)


def test_an_agent_has_a_cap_over_all_conversations(desk: Desk) -> None:
    numbers = [desk.mail(f"Lamp {number}", "?").conversation_id or 0 for number in range(5)]
    desk.hub.settings = desk.hub.settings.changed(automatic_per_agent=4)
    assert [leaving(desk, "jonas@desk.example", NOTICE, number) for number in numbers] == [True] * 4 + [False]
    assert leaving(desk, "amara@desk.example", NOTICE)
    assert leaving(desk, "jonas@desk.example")  # as a customer he has had none


def test_a_cap_of_nothing_switches_it_off(saying: Acknowledging) -> None:
    saying.desk.hub.settings = saying.desk.hub.settings.changed(automatic_per_recipient=0)
    saying.desk.mail("Lamp", "Has it left?")
    assert saying.work() == []


def test_a_unit_that_fails_has_counted_nothing(desk: Desk) -> None:
    desk.mail("Lamp", "Has it left?")
    desk.hub.settings = desk.hub.settings.changed(automatic_per_recipient=1)
    for _ in range(3):
        with pytest.raises(RuntimeError), desk.hub.store.write() as tx:
            assert may_leave(tx, desk.hub.settings, Leaving(ACKNOWLEDGEMENT, MARA_MAIL, 1, ""))
            raise RuntimeError
    assert leaving(desk, MARA_MAIL)
    assert not leaving(desk, MARA_MAIL)


def test_what_was_held_is_seen_in_its_conversation_and_in_the_figures(saying: Acknowledging) -> None:
    desk = saying.desk
    desk.hub.settings = desk.hub.settings.changed(automatic_per_subject=1)
    numbers = [desk.mail("Lamp", f"Has it left? {each}").conversation_id for each in range(2)]
    saying.work()
    jonas = Browser(application(desk))
    jonas.sign_in("jonas@desk.example")
    [told] = [each for each in words(jonas.page(f"/inbox/c/{numbers[1]}"), ".event") if "acknowledgement" in each]
    assert "was not sent. mara.lindqvist@example.com has had this subject often enough within a day" in told
    with served(compose(desk.hub)) as server:
        page = server.get("/metrics").text
    assert 'switchyard_automatic_messages{kind="acknowledgement",outcome="made"} 1.0' in page
    assert 'switchyard_automatic_messages{kind="acknowledgement",outcome="held"} 1.0' in page


def test_what_no_window_counts_is_forgotten(saying: Acknowledging) -> None:
    saying.desk.mail("Lamp", "Has it left?")
    saying.work()
    for days, left in ((1.5, 1), (1, 0)):
        saying.desk.clock.forward(days=days)
        saying.desk.hub.store.submit(forget_old_sends)
        assert len(saying.counted()) == left
