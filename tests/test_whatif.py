"""A desk in the simulator: its past days and synthetic ones, as it is and as a file would make it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from math import inf
from pathlib import Path

import pytest

from app import create_app
from cli import main
from cli.simulate import tell
from hub.desk import export, read
from hub.experiments import Wanted, experiment
from hub.lifecycle import resolve, snooze, wake_due
from hub.pastdays import past_days
from hub.replies import reply
from hub.whatif import as_changed, desk_plan
from routing.simulation.lab import Trial, simulated
from routing.simulation.policies import Policy
from routing.work import assign, set_status
from storage.access import Actor, Conflict
from storage.desk import desk_version
from tests.desk import Desk

HOUR = 3600.0


def becomes(desk: Desk, actor: Actor, status: str) -> None:
    with desk.hub.store.write() as tx:
        set_status(tx, actor, actor.agent_id or 0, status)


def a_morning(desk: Desk) -> None:
    """Jonas is there from 10:00 to 10:35, with one conversation for ten minutes, then with two for twenty."""
    becomes(desk, desk.jonas, "available")
    for sender in ("mara@example.com", "maja@example.com"):
        desk.mail("Where is my parcel?", "Hello", sender=sender)
        with desk.hub.store.write() as tx:
            assign(tx, desk.ines, desk.conversations()[-1].id or 0, desk.jonas.agent_id or 0)
        desk.clock.forward(minutes=10)
    desk.clock.forward(minutes=10)
    for conversation in desk.conversations():
        with desk.hub.store.write() as tx:
            resolve(tx, desk.jonas, conversation.id or 0)
    desk.clock.forward(minutes=5)
    becomes(desk, desk.jonas, "offline")
    desk.clock.forward(hours=1)


def test_work_is_what_an_agent_gave_it_while_he_had_something_else_as_well(desk: Desk) -> None:
    since = desk.clock() - timedelta(minutes=1)
    a_morning(desk)
    with desk.hub.store.read() as tx:
        past = past_days(tx, since)
    first, second = past.contacts
    level_4, side_by_side = 0.95, 0.8
    assert first.work == pytest.approx(level_4 * (600 + side_by_side * 1200))
    assert second.work == pytest.approx(level_4 * side_by_side * 1200)
    assert first.skills == (("orders", 2),) and first.target == 1800
    status = {one.id: one.status for one in past.crew}
    assert set(status.values()) == {"away"}, "nobody was there before 10:00"
    assert {(at - since.timestamp(), here) for at, who, here in past.shifts if who == desk.jonas.agent_id} == {
        (60.0, True),
        (2160.0, False),
    }
    assert len(past.shifts) == 2 * len(past.crew), "of whom nothing is known, he is there when somebody is"


def test_a_day_that_was_comes_out_as_it_was(desk: Desk) -> None:
    """Jonas alone, as it is: both mails begin at once and end when they did."""
    since = desk.clock() - timedelta(minutes=1)
    a_morning(desk)
    with desk.hub.store.read() as tx:
        plan, past = desk_plan(tx), past_days(tx, since)
    jonas = [one for one in past.crew if one.id == desk.jonas.agent_id]
    trial = Trial(
        "past", jonas, plan.terms, plan.skills, lambda _: past.contacts, HOUR, 0, HOUR, since.timestamp(), past.shifts
    )
    day = simulated(trial, Policy("as it is"), 0)
    first, second = day.courses
    assert (first.started, second.started) == (first.contact.at, second.contact.at)
    for course in day.courses:
        assert course.ended is not None and course.in_time
        assert course.ended - since.timestamp() == pytest.approx(1860)


def an_exchange(desk: Desk) -> None:
    """Jonas answers Mara after five minutes; she writes again a quarter of an hour later, while another mail has come,
    sleeps for ten minutes by his hand, and he is done with both at 10:50."""
    becomes(desk, desk.jonas, "available")

    def given(sender: str) -> int:
        desk.mail("Where is my parcel?", "Hello", sender=sender)
        number = desk.conversations()[-1].id or 0
        with desk.hub.store.write() as tx:
            assign(tx, desk.ines, number, desk.jonas.agent_id or 0)
        return number

    first = given("mara@example.com")
    desk.clock.forward(minutes=5)
    with desk.hub.store.write() as tx:
        message = reply(tx, desk.jonas, first, text="It leaves today.", tokens=desk.hub.tokens, undo_seconds=0)
        answered = message.external_id
    desk.clock.forward(minutes=10)
    second = given("maja@example.com")
    desk.clock.forward(minutes=5)
    desk.mail("Re: Where is my parcel?", "Thank you!", sender="mara@example.com", answers=answered)
    assert len(desk.conversations()) == 2
    desk.clock.forward(minutes=10)
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, first, desk.clock() + timedelta(minutes=10))
    desk.clock.forward(minutes=10)
    with desk.hub.store.write() as tx:
        assert wake_due(tx) == 1
    desk.clock.forward(minutes=10)
    for number in (first, second):
        with desk.hub.store.write() as tx:
            resolve(tx, desk.jonas, number)
    desk.clock.forward(hours=1)


def test_while_the_customer_has_the_word_or_it_sleeps_nobody_works_on_it(desk: Desk) -> None:
    since = desk.clock() - timedelta(minutes=1)
    an_exchange(desk)
    with desk.hub.store.read() as tx:
        plan, past = desk_plan(tx), past_days(tx, since)
    first, second = past.contacts
    level_4, side_by_side = 0.95, 0.8
    assert first.work == pytest.approx(level_4 * (300 + side_by_side * 1200))
    assert second.work == pytest.approx(level_4 * (300 + 600 + side_by_side * 1200))
    answered, slept = first.pauses
    assert (answered.seconds, slept.seconds) == (900.0, 600.0)
    assert (answered.sleeps, slept.sleeps) == (False, True)
    assert answered.after == pytest.approx(level_4 * 300)
    assert slept.after == pytest.approx(level_4 * (300 + side_by_side * 600))
    assert second.pauses == ()
    jonas = [one for one in past.crew if one.id == desk.jonas.agent_id]
    trial = Trial(
        "past", jonas, plan.terms, plan.skills, lambda _: past.contacts, 2 * HOUR, 0, HOUR, since.timestamp(),
        past.shifts, plan.book.queues,
    )  # fmt: skip
    for course in simulated(trial, Policy("as it is"), 0).courses:
        assert course.started == course.contact.at
        assert (course.ended or 0) - since.timestamp() == pytest.approx(60 + 3000), "it comes out as it was"


def test_what_a_changed_file_says_of_waiting_and_parking_is_played(desk: Desk) -> None:
    """One who can have one mail at a time: parked mails make room, and what waits too long goes to who can take it."""
    since = desk.clock() - timedelta(minutes=1)
    an_exchange(desk)
    with desk.hub.store.read() as tx:
        text = export(tx)

    def told(document: str) -> list[tuple[float, str]]:
        changed = as_changed(desk.hub.store, read(document), desk_plan, private=True)
        with desk.hub.store.read() as tx:
            past = past_days(tx, since, changed)
        crew = [replace(one, limits=replace(one.limits, capacity=20)) for one in past.crew if one.id == jonas]
        trial = Trial(
            "past", crew, changed.terms, changed.skills, lambda _: past.contacts, 3 * HOUR, 0, HOUR, since.timestamp(),
            past.shifts, changed.book.queues,
        )  # fmt: skip
        found = simulated(trial, Policy("changed"), 0).courses
        names = {number: queue.name for number, queue in changed.book.queues.items()}
        return [((one.started or inf) - one.contact.at, names[one.contact.queue_id]) for one in found]

    jonas = desk.jonas.agent_id
    shipping = "name: Shipping\n"
    assert shipping in text
    (alone, queue), (waited, __) = told(text)
    assert (alone, queue) == (0.0, "Shipping") and waited > 600
    parked = told(text.replace(shipping, f"{shipping}  park: {{after: 60}}\n"))
    assert parked[1] == (0.0, "Shipping"), "the first is parked by then"
    wrapped = told(text.replace(shipping, f"{shipping}  wrap_up: 5m\n"))
    assert wrapped[1][0] == pytest.approx(waited + 300)
    gone = told(text.replace(shipping, f"{shipping}  ladder: [{{after: 30s, overflow: Billing}}]\n"))
    assert gone == [(0.0, "Shipping"), (inf, "Billing")], "nobody who serves Billing is there"


def test_a_changed_desk_is_looked_at_and_forgotten(desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        before, version = desk_plan(tx), desk_version(tx)
        document = read(export(tx).replace("orders: 2", "orders: 5"))
    changed = as_changed(desk.hub.store, document, desk_plan, private=True)
    assert changed.unserved() == ["Order keywords"], "nobody is that good"
    assert before.unserved() == []
    assert [sort.work for sort in changed.sorts(before.placed, before.kinds)] == [
        sort.work for sort in before.sorts(before.placed, before.kinds)
    ]
    with desk.hub.store.read() as tx:
        assert desk_version(tx) == version
        assert desk_plan(tx).placed == before.placed


def test_what_somebody_can_take_later_is_not_said_to_wait_for_ever(desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        text = export(tx).replace("orders: 2", "orders: 5")
    helped = text.replace("name: Shipping\n", "name: Shipping\n  ladder: [{after: 60s, relax: {orders: 3}}]\n")
    assert helped != text
    unserved = [as_changed(desk.hub.store, read(one), desk_plan, private=True).unserved() for one in (text, helped)]
    assert unserved == [["Order keywords"], []]


def test_wrapping_up_is_work_for_the_formulas_too(desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        text = export(tx)
    slower = text.replace("name: Shipping\n", "name: Shipping\n  wrap_up: {time: 10m, keep: 50}\n")
    plans = [as_changed(desk.hub.store, read(one), desk_plan, private=True) for one in (text, slower)]
    assert plans[1].per_hour() < plans[0].per_hour()


def test_past_days_are_told_beside_other_rules(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    a_morning(desk)
    with desk.hub.store.read() as tx:
        document = read(export(tx))
    tell(desk.hub.store, Wanted(days=1, name="new.yaml"), document)
    told = capsys.readouterr().out
    assert "2 pieces of work of the last 1 days" in told
    rows = {line[:20].strip(): line for line in told.splitlines()}
    assert "100.0 %" in rows["this desk"]
    assert rows["new.yaml"].endswith("+0.0")
    assert "TaskRouter default" in rows and "bound: everybody can" in rows


def test_a_day_on_which_nothing_came_is_one_sentence(desk: Desk) -> None:
    with pytest.raises(Conflict, match="leave --days out"):
        tell(desk.hub.store, Wanted(days=3), None)


def test_a_synthetic_day_at_the_command_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = desk.hub.settings
    monkeypatch.setenv("HUB_TOML", "/nonexistent")
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("SECRET_KEY", "k" * 40)
    with desk.hub.store.read() as tx:
        file = tmp_path / "new.yaml"
        file.write_text(export(tx).replace("capacity: 100", "capacity: 300"), "utf-8")
    words = ["simulate", "--runs", "2", "--hours", "2", "--per-hour", "40", "--desk", str(file)]
    words += ["--recommend", "--equivalents"]
    assert main(create_app, words) == 0
    told = capsys.readouterr().out
    assert "By formula, the busiest hour" in told and "Agents needed for as many in time" in told
    assert "- room for urgent work: " in told or "- let email and form leave" in told
    assert "a further skill: " in told
    assert "2 synthetic days of 2 hours with 40 contacts an hour" in told
    assert "new.yaml" in told and "Nothing was changed" in told
    assert main(create_app, words) == 0
    assert capsys.readouterr().out == told, "the same customers, the same day"
    assert main(create_app, ["simulate", "--desk", str(tmp_path / "nope.yaml")]) == 2


def test_how_far_it_is_goes_up_to_the_end(desk: Desk) -> None:
    told: list[tuple[int, int]] = []
    wanted = Wanted(runs=2, hours=1, per_hour=20, agents=2, peers=False, recommend=True, equivalents=True)
    found = experiment(desk.hub.store, wanted, None, lambda done, of: told.append((done, of)))
    assert [row["kind"] for row in found["rows"]] == ["today", "changed"]
    assert found["rows"][1]["name"] == "with 2 agents" and found["rows"][1]["agents"] == 2
    assert told == sorted(told) and len({of for _, of in told}) == 1
    assert told[0][0] == 0 and told[-1][0] == told[-1][1]
    assert "Infinity" not in json.dumps(found), "it can be kept as a document"


def test_too_much_is_refused_before_it_begins(desk: Desk) -> None:
    for wanted in (Wanted(runs=50, hours=24, per_hour=5000), Wanted(agents=10_000)):
        with pytest.raises(Conflict, match=r"more than|At most"):
            experiment(desk.hub.store, wanted, None, lambda done, of: None)
