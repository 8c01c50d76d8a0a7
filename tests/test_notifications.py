"""Every agent switches what they are told, and how; who is away gets one mail about what they have not seen."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import UTC, timedelta
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser as Page

from channels.base import DeliveryState
from hub.concern import ANSWERED, AWAY, COLLEAGUE, MENTIONED, ONCE, PROPOSED, UNSENT, choose
from hub.delivery import move_message
from hub.digests import KEPT, forget_old_digests
from hub.lifecycle import resolve, snooze, wake_due
from hub.pump import facts_after, latest_fact
from hub.replies import note, reply
from inbox.session import Viewer
from inbox.stream import Sight, _told
from inbox.thread import note_reading
from routing.presence import set_status
from storage.access import Actor
from storage.people import Agent
from tests.browser.room import Browser, application, attr, words
from tests.desk import Desk
from tests.support.autoreply import words as written
from tests.support.noticing import JONAS, Noticing, noticing

PAGE = "/inbox/account/notifications"


@pytest.fixture
def told(desk: Desk) -> Iterator[Noticing]:
    """Jonas gets mail while he is away, after half an hour; and he is."""
    with noticing(desk) as opened:
        wants(opened.desk, desk.jonas, AWAY, 30)
        status(desk, desk.jonas, "away")
        yield opened


def wants(desk: Desk, actor: Actor, mail: str, minutes: int = 0, **choices: Collection[str]) -> None:
    with desk.hub.store.write() as tx:
        choose(tx, actor, tx.get_one(Agent, actor.agent_id), {**PROPOSED, **choices}, mail, minutes)


def status(desk: Desk, actor: Actor, wanted: str) -> None:
    with desk.hub.store.write() as tx:
        set_status(tx, actor, actor.agent_id or 0, wanted, "test")


def read(desk: Desk, actor: Actor, number: int) -> None:
    with desk.hub.store.write() as tx:
        viewer = Viewer(tx.get_one(Agent, actor.agent_id), actor, UTC)
        note_reading(tx, viewer, number, desk.messages(number)[-1].id or 0)


def asked(told: Noticing, subject: str, text: str = "Has it left?") -> int:
    number = told.desk.mail(subject, text).conversation_id or 0
    told.give(number, told.desk.jonas)
    told.followers.run_once()
    return number


def test_who_is_away_gets_one_mail_about_everything(told: Noticing) -> None:
    desk = told.desk
    lamp, chair = asked(told, "Lamp"), asked(told, "Chair")
    desk.clock.forward(minutes=10)
    desk.mail("Re: Lamp", "And when does it come?\n" + "long " * 100, answers="<mail-1@customer.example>")
    with desk.hub.store.write() as tx:
        note(tx, desk.amara, chair, "@Jonas do you know?")
    assert told.work(minutes=19) == []
    [mail] = told.work(minutes=2)
    assert (mail["To"], mail["Subject"]) == (JONAS, "While you were away: 2 conversations")
    assert (mail["Auto-Submitted"], mail["Reply-To"]) == ("auto-generated", "support@desk.example")
    blocks = written(mail).split("\n\n")
    assert blocks[1].startswith(
        'Mara Lindqvist: Lamp\n- 24 November, 10:00 UTC. The customer wrote: "Has it left?"\n'
        "- 24 November, 10:00 UTC. It is yours now.\n"
        '- 24 November, 10:10 UTC. The customer wrote: "And when does it come? long'
    )
    assert blocks[1].endswith(f' l…"\nhttps://desk.example/inbox/c/{lamp}')
    assert blocks[2] == (
        'Mara Lindqvist: Chair\n- 24 November, 10:00 UTC. The customer wrote: "Has it left?"\n'
        "- 24 November, 10:00 UTC. It is yours now.\n"
        '- 24 November, 10:10 UTC. You were mentioned: "@Jonas do you know?"\n'
        f"https://desk.example/inbox/c/{chair}"
    )
    assert "https://desk.example/inbox/account/notifications" in blocks[3]
    assert told.work(minutes=60) == []
    desk.mail("Re: Lamp", "Hello?", answers="<mail-1@customer.example>")
    [another] = told.work(minutes=31)
    assert another["Subject"] == f"While you were away: #{lamp} Lamp" and "Hello?" in written(another)


def test_what_was_seen_answered_or_is_somebody_elses_is_not_mailed(told: Noticing) -> None:
    desk = told.desk
    seen, answered, done, gone = (asked(told, name) for name in ("Seen", "Answered", "Done", "Gone"))
    desk.clock.forward(minutes=1)
    read(desk, desk.jonas, seen)
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, answered, text="It left.", tokens=desk.hub.tokens, undo_seconds=0)
        resolve(tx, desk.amara, done)
    told.give(gone, desk.amara)
    assert [mail["To"] for mail in told.work(minutes=31)] == ["mara.lindqvist@example.com"]


def test_who_is_back_reads_it_in_the_inbox(told: Noticing) -> None:
    asked(told, "Lamp")
    status(told.desk, told.desk.jonas, "available")
    assert told.work(minutes=31) == []
    asked(told, "Chair")
    assert told.work(minutes=31) == [], "who is there is not mailed"
    status(told.desk, told.desk.jonas, "offline")
    asked(told, "Table")
    assert [mail["Subject"] for mail in told.work(minutes=31)] == ["While you were away: #3 Table"]


def test_a_kind_that_is_switched_off_is_not_mailed_also_when_it_waits_already(told: Noticing) -> None:
    number = asked(told, "Lamp")
    told.work(minutes=31)
    wants(told.desk, told.desk.jonas, AWAY, 30, answered=["desktop"])
    told.desk.mail("Re: Lamp", "When?", answers="<mail-1@customer.example>")
    assert told.work(minutes=31) == []
    with told.desk.hub.store.write() as tx:
        note(tx, told.desk.amara, number, "@Jonas?")
    told.followers.run_once()
    wants(told.desk, told.desk.jonas, AWAY, 30, mentioned=[])
    assert told.work(minutes=31) == []


def test_an_answer_that_did_not_go_out_is_told(told: Noticing) -> None:
    desk, number = told.desk, asked(told, "Lamp")
    desk.clock.forward(seconds=1)
    read(desk, desk.jonas, number)
    with desk.hub.store.write() as tx:
        sent = reply(tx, desk.jonas, number, text="It left.", tokens=desk.hub.tokens, undo_seconds=3600)
        move_message(tx, sent.id or 0, DeliveryState.SENDING)
        move_message(tx, sent.id or 0, DeliveryState.FAILED, "no such mailbox")
    mails = [mail for mail in told.work(minutes=31) if mail["To"] == JONAS]
    assert [written(mail).split("\n\n")[1].splitlines()[1] for mail in mails] == [
        "- 24 November, 10:00 UTC. Your answer did not go out."
    ]


def test_a_snooze_that_ends_is_told_by_mail_only_to_who_wants_it(told: Noticing) -> None:
    desk, number = told.desk, asked(told, "Lamp")
    wants(desk, desk.jonas, AWAY, 15, woken=["mail"], assigned=[])
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, number, tx.now + timedelta(hours=1))
    desk.clock.forward(hours=1)
    desk.hub.store.submit(wake_due)
    [mail] = told.work(minutes=31)
    assert "It is back from snooze." in written(mail) and "yours now" not in written(mail)


def test_at_once_what_can_be_answered_comes_alone_and_the_rest_together(told: Noticing) -> None:
    desk = told.desk
    wants(desk, desk.jonas, ONCE)
    number = asked(told, "Lamp")
    with desk.hub.store.write() as tx:
        note(tx, desk.amara, number, "@Jonas one")
        note(tx, desk.amara, number, "@Jonas two")
    first, second = sorted(told.work(), key=lambda mail: str(mail["Subject"]))
    assert "This conversation is yours now." in written(second)
    assert first["Subject"] == f"News for you: #{number} Lamp"
    assert written(first).count("You were mentioned") == 2 and "yours now" not in written(first)
    wants(desk, desk.jonas, ONCE, answered=[])
    desk.mail("Re: Lamp", "When?", answers="<mail-1@customer.example>")
    assert told.work() == []


def test_a_gathering_mail_starts_no_loop_and_keeps_the_caps(told: Noticing) -> None:
    desk = told.desk
    told.change(desk.jonas, email="support+jonas@desk.example")
    asked(told, "Lamp")
    assert told.work(minutes=31) == []
    with desk.hub.store.read() as tx:
        (held,) = tx.sql("SELECT held FROM automatic_send").fetchone()
    assert "one of our own mailboxes" in held


def test_the_same_mail_is_tried_again_and_old_ones_are_forgotten(told: Noticing) -> None:
    told.room.sink.recipient_answers[JONAS] = "451 4.3.2 try again later"
    asked(told, "Lamp")
    assert told.work(minutes=31) == []
    asked(told, "Chair")
    del told.room.sink.recipient_answers[JONAS]
    subjects = sorted(str(mail["Subject"]) for mail in told.work(minutes=31))
    assert subjects == ["While you were away: #1 Lamp", "While you were away: #2 Chair"]
    told.desk.clock.forward(days=KEPT.days, hours=1)
    told.desk.hub.store.submit(forget_old_digests)
    with told.desk.hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM digest").fetchone()[0] == 0


def test_nothing_of_a_queue_that_one_serves_no_more_is_mailed(told: Noticing) -> None:
    number = asked(told, "Lamp order")
    with told.desk.hub.store.write() as tx:
        note(tx, told.desk.amara, number, "@Jonas?")
    told.followers.run_once()
    told.give(number, told.desk.amara)
    with told.desk.hub.store.write() as tx:
        tx.sql("DELETE FROM agent_queue WHERE agent_id = ?", told.desk.jonas.agent_id)
    assert told.work(minutes=31) == []


def heard(desk: Desk, actor: Actor, after: int = 0) -> list[dict[str, Any]]:
    """What this agent's browsers are to tell of all that has happened."""
    sight = Sight(desk.hub.store)
    with desk.hub.store.read() as tx:
        facts = facts_after(tx, after)
    frames = b"".join(_told(actor, sight, fact) or b"" for fact in facts).decode().split("\n\n")
    return [json.loads(frame.partition("data: ")[2]) for frame in frames if "event: notice" in frame]


def test_a_browser_tells_its_agent_alone_what_concerns_them(desk: Desk) -> None:
    status(desk, desk.jonas, "available")
    number = desk.chat("Where is my parcel?").conversation_id or 0
    desk.route()
    [ring] = heard(desk, desk.jonas)
    assert (ring["title"], ring["conversation"]) == ("Rings at you: Contact 1", number)
    assert (ring["desktop"], ring["sound"], ring["url"]) == (True, "ring", f"/inbox/c/{number}?view=unassigned")
    assert heard(desk, desk.amara) == heard(desk, desk.ines) == heard(desk, desk.tomas) == []


def test_what_is_told_keeps_to_the_switches_and_to_the_status(desk: Desk) -> None:
    status(desk, desk.jonas, "available")
    number = desk.mail("Lamp", "Has it left?").conversation_id or 0
    desk.route()
    after = facts_so_far(desk)
    desk.mail("Re: Lamp", "When\ndoes it come?", answers="<mail-1@customer.example>")
    with desk.hub.store.write() as tx:
        note(tx, desk.amara, number, "It left")
        note(tx, desk.jonas, number, "Thanks")
    customer, colleague = heard(desk, desk.jonas, after)
    assert (customer["title"], customer["body"], customer["sound"]) == ("Mara Lindqvist", "When does it come?", "word")
    assert (colleague["title"], colleague["sound"]) == ("Amara Obi writes: Mara Lindqvist", "")
    status(desk, desk.jonas, "away")
    assert [each["sound"] for each in heard(desk, desk.jonas, after)] == ["", ""]
    wants(desk, desk.jonas, ONCE, answered=["sound", "mail"], colleague=[])
    assert heard(desk, desk.jonas, after) == [], "away without a sound, and nothing is to be shown"
    status(desk, desk.jonas, "available")
    assert [(each["desktop"], each["sound"]) for each in heard(desk, desk.jonas, after)] == [(False, "word")]
    status(desk, desk.jonas, "offline")
    assert heard(desk, desk.jonas, after) == []
    status(desk, desk.jonas, "available")
    desk.clock.forward(minutes=3)
    assert heard(desk, desk.jonas, after) == [], "old news is not told to a browser that comes back"


def test_a_target_that_is_missed_is_told_to_its_owner(desk: Desk) -> None:
    status(desk, desk.jonas, "available")
    desk.mail("Lamp order", "Has it left?")
    desk.route()
    after = facts_so_far(desk)
    for minutes in (25, 6):
        desk.clock.forward(minutes=minutes)
        desk.route()
        after, before = facts_so_far(desk), after
        [late] = heard(desk, desk.jonas, before)
        wanted = "Due soon" if minutes == 25 else "Late"
        assert (late["title"], late["body"]) == (f"{wanted}: Mara Lindqvist", "Lamp order")


def facts_so_far(desk: Desk) -> int:
    with desk.hub.store.read() as tx:
        return latest_fact(tx)


def ticked(page: Page) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for box in page.css(".told-how input"):
        if "checked" in box.attributes:
            found.setdefault(box.attributes["name"] or "", []).append(box.attributes["value"] or "")
    return found


def test_an_agent_switches_it_in_the_inbox_where_the_desk_offers_mail(desk: Desk) -> None:
    with noticing(desk) as told:
        amara = Browser(application(desk))
        amara.sign_in("amara@desk.example")
        assert "Notifications" in words(amara.page("/inbox/mine"), "#me-menu button")
        page = amara.page(PAGE)
        assert words(page, ".told-how thead th") == ["What", "Desktop", "Sound", "E-mail"]
        assert {kind: frozenset(ways) for kind, ways in ticked(page).items()} == PROPOSED
        assert attr(page, "[name=mail][checked]", "value") == "none"
        kept = amara.post(PAGE, mail="away", minutes="60", answered=["desktop", "mail"], colleague="sound")
        assert kept.status_code == 303
        page = amara.page(PAGE)
        assert ticked(page) == {ANSWERED: ["desktop", "mail"], COLLEAGUE: ["sound"]}
        assert attr(page, "[name=mail][checked]", "value") == "away"
        assert attr(page, "[name=minutes] [selected]", "value") == "60"
        assert "Kept" in words(page, ".told")[0]
        amara.post(PAGE, mail="once", answered="mail")
        assert desk.agent(desk.amara).mail_notices
        for mail, minutes in (("daily", ""), ("away", "1"), ("away", "²")):
            assert amara.post(PAGE, mail=mail, minutes=minutes).status_code == 409
        assert told.work() == []


def test_without_a_mail_channel_what_was_chosen_about_mail_stays(desk: Desk) -> None:
    wants(desk, desk.jonas, AWAY, 60, answered=["mail"], mentioned=["desktop"])
    jonas = Browser(application(desk))
    jonas.sign_in(JONAS)
    page = jonas.page(PAGE)
    assert words(page, ".told-how thead th") == ["What", "Desktop", "Sound"]
    assert "sends its people no mail" in page.body.text()  # type: ignore[union-attr]
    jonas.post(PAGE, answered="sound", mentioned="mail", unsent="desktop")
    desk.hub.settings = desk.hub.settings.changed(notices_by="support-mail")
    page = jonas.page(PAGE)
    assert ticked(page)[ANSWERED] == ["sound", "mail"]
    assert MENTIONED not in ticked(page)
    assert ticked(page)[UNSENT] == ["desktop", "mail"]
    assert attr(page, "[name=minutes] [selected]", "value") == "60"
