"""Many conversations at once: each by the verb and the rights of one, refusals told plainly, one Undo for all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from selectolax.lexbor import LexborHTMLParser as Page
from werkzeug.test import TestResponse

from hub import bulk
from hub.lifecycle import reopen, resolve
from routing import work
from routing.agents import load_drift
from routing.commands import prioritise
from storage.access import Actor, Conflict
from storage.desk import touch_desk
from storage.tags import tags_of
from tests.browser.room import Browser, attr, words
from tests.browser.scene import available
from tests.clock import Clock
from tests.desk import Desk
from tests.test_inbox_actions import conversation

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


def three(desk: Desk) -> list[int]:
    """Three customers with a question each, nobody's yet."""
    names = ("Devon", "Priya", "Oskar")
    return [
        desk.mail(f"Order {name}", "Where is my lamp?", sender=f"{name} <{name}@example.org>").conversation_id or 0
        for name in names
    ]


def press(browser: Browser, do: str, numbers: list[int], **typed: str) -> TestResponse:
    return browser.client.post(
        "/inbox/bulk",
        data={"csrf_token": browser.token, "do": do, "id": [str(number) for number in numbers], **typed},
        headers=browser._headers(hx=True),
    )


def said(response: TestResponse) -> str:
    assert response.status_code == 200, response.text[:500]
    return words(Page(response.text), ".toast > span")[0]


def states(desk: Desk, numbers: list[int]) -> list[str]:
    return [conversation(desk, number).state for number in numbers]


def take_back(browser: Browser, answered: TestResponse) -> TestResponse:
    return browser.post("/inbox/bulk/undo", hx=True, back=attr(Page(answered.text), ".toast [name=back]", "value"))


def test_jonas_resolves_three_and_takes_all_of_it_back(jonas: Browser, desk: Desk) -> None:
    numbers = three(desk)
    with desk.hub.store.write() as tx:
        work.claim(tx, desk.jonas, numbers[0])
    jonas.page("/inbox/all")

    done = press(jonas, "resolve", numbers)
    assert said(done) == "3 conversations resolved."
    assert states(desk, numbers) == ["resolved"] * 3
    assert said(take_back(jonas, done)) == "3 conversations as before."
    assert states(desk, numbers) == ["open"] * 3
    assert [conversation(desk, number).assignee_id for number in numbers] == [desk.jonas.agent_id, None, None]


def test_what_is_refused_stays_and_says_why_and_the_rest_is_done(jonas: Browser, desk: Desk) -> None:
    available(desk, desk.amara)
    numbers = three(desk)
    money = desk.mail("Refund", "A refund please", sender="Claire <claire@example.com>").conversation_id or 0
    with desk.hub.store.write() as tx:
        work.claim(tx, desk.amara, numbers[1])
    jonas.page("/inbox/all")

    done = press(jonas, f"agent:{desk.jonas.agent_id}", [*numbers, money])
    assert said(done) == (
        "2 conversations given to you. 2 stayed as they were: "
        f"Amara Obi has it already (#{numbers[1]}). There is no conversation {money} (#{money})."
    )
    assert done.headers["HX-Trigger"] == f'{{"bulk-done": {{"left": ["{numbers[1]}", "{money}"]}}}}'
    assert [conversation(desk, number).assignee_id for number in (*numbers, money)] == [
        desk.jonas.agent_id, desk.amara.agent_id, desk.jonas.agent_id, None
    ]  # fmt: skip
    assert said(press(jonas, "resolve", [money])).startswith("1 stayed as it was: There is no conversation")
    assert conversation(desk, money).state == "open"


def test_an_agent_gets_what_there_is_room_for(ines: Browser, jonas: Browser, desk: Desk) -> None:
    available(desk, desk.amara)
    numbers = three(desk)
    with desk.hub.store.write() as tx:
        weight = tx.sql("SELECT weight FROM work_item WHERE conversation_id = ?", numbers[0]).fetchone()[0]
        tx.sql("UPDATE agent SET capacity = ? WHERE id = ?", 2 * weight, desk.amara.agent_id)
        touch_desk(tx)
    jonas.page("/inbox/all")

    told = said(press(jonas, f"agent:{desk.amara.agent_id}", numbers))
    assert told.startswith("2 conversations given to Amara. 1 stayed as it was: Amara Obi has no room")
    ines.page("/inbox/all")
    assert said(press(ines, f"agent:{desk.amara.agent_id}", numbers)) == (
        "1 conversation given to Amara. 2 were so already."
    )


def test_undo_leaves_what_a_colleague_has_taken_meanwhile(jonas: Browser, desk: Desk) -> None:
    available(desk, desk.amara)
    numbers = three(desk)
    jonas.page("/inbox/all")
    done = press(jonas, "tag", numbers, tags="VIP, reship")
    assert said(done) == "3 conversations tagged vip, reship."
    with desk.hub.store.write() as tx:
        work.claim(tx, desk.amara, numbers[2])

    assert said(take_back(jonas, done)) == (
        f"2 conversations as before. 1 stayed as it was: Amara Obi has it meanwhile (#{numbers[2]})."
    )
    with desk.hub.store.read() as tx:
        assert tags_of(tx, numbers) == {numbers[2]: ["reship", "vip"]}


def test_undo_leaves_what_others_did_meanwhile(jonas: Browser, desk: Desk) -> None:
    numbers = three(desk)
    jonas.page("/inbox/all")
    done = press(jonas, "tag", numbers, tags="vip")
    with desk.hub.store.write() as tx:
        resolve(tx, desk.ines, numbers[0])
        prioritise(tx, desk.ines, numbers[1], 30)

    assert said(take_back(jonas, done)) == (
        f"1 conversation as before. 2 stayed as they were: It was changed meanwhile (#{numbers[0]}, #{numbers[1]})."
    )
    assert states(desk, numbers) == ["resolved", "open", "open"]
    assert conversation(desk, numbers[1]).priority == 30


def test_tags_are_put_on_and_taken_off_only_where_they_change_something(jonas: Browser, desk: Desk) -> None:
    numbers = three(desk)
    jonas.page("/inbox/all")
    press(jonas, "tag", numbers[:1], tags="vip")
    done = press(jonas, "tag", numbers, tags="vip")
    assert said(done) == "2 conversations tagged vip. 1 was so already."
    take_back(jonas, done)
    with desk.hub.store.read() as tx:
        assert tags_of(tx, numbers) == {numbers[0]: ["vip"]}
    assert said(press(jonas, "untag", numbers, tags="vip")) == "1 conversation no longer tagged vip. 2 were so already."
    assert said(press(jonas, "untag", numbers, tags="vip")) == "Nothing to change: they are so already."


def test_snoozing_many_and_back_gives_each_its_own_moment(jonas: Browser, desk: Desk) -> None:
    numbers = three(desk)
    jonas.page("/inbox/all")
    press(jonas, "snooze:when", numbers[:1], when="thu 9:00")
    done = press(jonas, "snooze:when", numbers, when="fri 14:30")
    assert said(done) == "3 conversations snoozed until Fri 27 Nov, 14:30."
    assert {conversation(desk, number).snoozed_until for number in numbers} == {
        datetime(2026, 11, 27, 14, 30, tzinfo=UTC)
    }
    take_back(jonas, done)
    assert [conversation(desk, number).snoozed_until for number in numbers] == [
        datetime(2026, 11, 26, 9, tzinfo=UTC), None, None
    ]  # fmt: skip
    assert states(desk, numbers) == ["snoozed", "open", "open"]
    refused = press(jonas, "snooze:when", numbers, when="someday")
    assert refused.status_code == 409 and "is no time we know" in refused.text


def test_moving_many_leaves_what_is_there_with_its_owner(ines: Browser, desk: Desk) -> None:
    available(desk, desk.jonas)
    numbers = three(desk)
    with desk.hub.store.write() as tx:
        shipping = tx.sql("SELECT id FROM queue WHERE name = 'Shipping'").fetchone()[0]
        billing = tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0]
        work.claim(tx, desk.jonas, numbers[0])
    ines.page("/inbox/all")
    assert said(press(ines, f"queue:{shipping}", numbers)) == "Nothing to change: they are so already."
    done = press(ines, f"queue:{billing}", numbers)
    assert said(done) == "3 conversations moved to Billing."
    take_back(ines, done)
    assert [conversation(desk, number).queue_id for number in numbers] == [shipping] * 3
    assert conversation(desk, numbers[0]).assignee_id == desk.jonas.agent_id


def test_priority_is_for_supervisors(jonas: Browser, ines: Browser, desk: Desk) -> None:
    numbers = three(desk)
    for browser, found in ((jonas, 0), (ines, 1)):
        assert len(browser.page("/inbox/all").css("#bulk [value=priority]")) == found
    assert "This needs the role" in said(press(jonas, "priority", numbers, priority="30"))
    assert said(press(ines, "priority", numbers, priority="30")) == "3 conversations given priority 30."
    assert press(ines, "priority", numbers, priority="high").status_code == 409
    assert {conversation(desk, number).priority for number in numbers} == {30}


def test_all_of_a_view_is_what_was_there_when_it_was_marked(jonas: Browser, desk: Desk, clock: Clock) -> None:
    for number in range(45):
        desk.mail(f"Order {number}", "Where is my lamp?", sender=f"Customer {number} <c{number}@example.org>")
        clock.forward(seconds=40)
    shown = [int(node.attributes["data-id"] or 0) for node in jonas.page("/inbox/all").css(".row")]
    every = Page(jonas.get("/inbox/bulk/all", hx=True).text)
    late = desk.mail("Too late", "Where is my lamp?", sender="Late <late@example.org>").conversation_id or 0

    assert (len(shown), attr(every, "input", "data-n")) == (40, "45")
    done = press(jonas, "resolve", shown, rest=attr(every, "input", "value"))
    assert said(done) == "45 conversations resolved."
    assert [row.id for row in desk.conversations() if row.state == "open"] == [late]


def several(desk: Desk, count: int) -> list[int]:
    return [
        desk.mail(f"Order {n}", "Where is my lamp?", sender=f"C <c{n}@example.org>").conversation_id or 0
        for n in range(count)
    ]


def test_many_share_their_units_and_what_is_refused_fails_alone(desk: Desk) -> None:
    numbers, store = several(desk, bulk.TOGETHER + 5), desk.hub.store
    rung = store.bell.rung
    assert [back.conversation_id for back in bulk.act(store, desk.jonas, numbers, resolve).done] == numbers
    assert store.bell.rung == rung + 2

    outcome = bulk.act(store, desk.jonas, [*numbers[:3], 404, *numbers[3:]], reopen)
    assert [back.conversation_id for back in outcome.done] == numbers
    assert outcome.refused == {404: "There is no conversation 404."}
    assert set(states(desk, numbers)) == {"open"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_colleagues_and_the_router_work_on_the_same_ones_at_once(desk: Desk) -> None:
    numbers, store, over = several(desk, 40), desk.hub.store, threading.Event()
    available(desk, desk.jonas, desk.amara)

    def route() -> None:
        while not over.is_set():
            desk.route()

    def back_and_forth(actor: Actor, some: list[int]) -> set[str]:
        told = set[str]()
        for _ in range(5):
            told |= {*bulk.act(store, actor, some, work.claim, actor.agent_id).sentences}
            told |= {*bulk.act(store, actor, some, work.release).sentences}
        return told

    with ThreadPoolExecutor(3) as pool:
        routing = pool.submit(route)
        turns = [pool.submit(back_and_forth, *each) for each in ((desk.jonas, numbers), (desk.amara, numbers[::-1]))]
        try:
            assert not [turn for turn in turns if bulk.SILENT in turn.result(60)]
        finally:
            over.set()
        routing.result(60)
    with store.read() as tx:
        assert load_drift(tx) == {}


def test_only_so_many_at_once_and_never_nothing(jonas: Browser, desk: Desk) -> None:
    jonas.page("/inbox/all")
    assert press(jonas, "resolve", []).status_code == 409
    assert press(jonas, "explode", [1]).status_code == 404
    with pytest.raises(Conflict, match="At most 500"):
        bulk.act(desk.hub.store, desk.jonas, range(501), work.release)


def test_nobody_takes_back_what_somebody_else_did(jonas: Browser, ines: Browser, desk: Desk) -> None:
    numbers = three(desk)
    jonas.page("/inbox/all")
    ines.page("/inbox/all")
    done = press(jonas, "resolve", numbers)
    assert take_back(ines, done).status_code == 409
    assert jonas.post("/inbox/bulk/undo", hx=True, back="made up").status_code == 409
    assert states(desk, numbers) == ["resolved"] * 3
