"""Try a change: a supervisor plays days with it, reads in plain words what came of it, and an admin applies it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page

from hub.desk import export, read
from hub.laboratory import Laboratory, cancel, experiments
from inbox import labform, labview
from storage.experiments import Experiment
from tests.browser.room import Browser, attr, words
from tests.desk import Desk

LAB = "/inbox/lab"
SHORT = {"runs": "2", "hours": "1", "per_hour": "20", "traffic": "synthetic"}


def fields(page: Page) -> dict[str, str]:
    """What a browser would send of the form."""
    found: dict[str, str] = {}
    for node in page.css("#lab-form input, #lab-form select, #lab-form textarea"):
        name, kind = node.attributes.get("name"), node.attributes.get("type")
        if not name or name == "csrf_token" or (kind in ("checkbox", "radio") and "checked" not in node.attributes):
            continue
        if node.tag == "select":
            chosen = node.css_first("option[selected]") or node.css_first("option")
            assert chosen is not None
            found[name] = chosen.attributes.get("value") or ""
        elif node.tag == "textarea":
            found[name] = node.text()
        else:
            found[name] = node.attributes.get("value") or ("on" if kind == "checkbox" else "")
    return found


def press(browser: Browser, page: Page, do: str, **typed: str) -> Page:
    """Fill in, press a button, and see the form again."""
    values: dict[str, Any] = fields(page) | typed
    response = browser.post(f"{LAB}/form", hx=True, do=do, **values)
    assert response.status_code == 200, response.text[:500]
    return Page(response.text)


def start(browser: Browser, page: Page, **typed: str) -> str:
    """Press Try it where no script runs; the address of the experiment."""
    values: dict[str, Any] = fields(page) | SHORT | typed
    response = browser.post(f"{LAB}/form", do="start", **values)
    assert response.status_code == 303, Page(response.text).css_first(".problem, .wrong")
    return response.location


def play(desk: Desk) -> None:
    assert Laboratory(desk.hub, "test").play_next(threading.Event())


def newest(desk: Desk) -> Experiment:
    with desk.hub.store.read() as tx:
        return experiments(tx, desk.ines)[0]


def test_a_change_is_tried_read_and_applied(desk: Desk, ines: Browser) -> None:
    page = ines.page(LAB)
    assert (
        words(page, ".knob-card h3") == ["Shipping", "Billing", "General", "Agents"] or len(page.css(".knob-card")) == 4
    )
    place = attr(start_page := ines.page(LAB), ".knob-card [name$='.leave']", "name")
    address = start(ines, start_page, **{place: "30", place.replace("leave", "until"): "70"})
    page = ines.page(address)
    assert "waits for its turn" in words(page, "#lab-state p")[0]
    assert attr(page, "#lab-state", "hx-trigger") == "every 1s"
    play(desk)
    assert ines.get(f"{address}/state", hx=True).headers["HX-Redirect"] == address
    page = ines.page(address)
    assert words(page, ".headline")[0].startswith("With the change ")
    assert {"Answered in time", "Long wait", "Agents in use"} <= set(words(page, ".figures h3"))
    assert "no difference seen" in words(page, ".verdict") or any("sure" in said for said in words(page, ".verdict"))
    assert "TaskRouter default" in words(page, ".bars th") and len(page.css(".bars rect")) == 2 * 10
    assert page.css("[style], script:not([src])") == [], "the policy lets no such thing through"
    seen = ines.page(f"{address}/apply")
    assert [line for line in words(seen, ".diff li") if "handout" in line]
    assert "+ until: 70" in words(seen, ".lines .added") and words(seen, ".lines .removed") == []
    version = attr(seen, "[name=version]", "value")
    assert ines.post(f"{address}/apply", version=str(int(version) - 1)).status_code == 409
    assert ines.post(f"{address}/apply", version=version).status_code == 303
    assert "Applied 1 change: the desk works so from now on" in words(ines.page(LAB), ".told")[0]
    with desk.hub.store.read() as tx:
        kept = [queue.get("reserve") for queue in read(export(tx))["queues"]]
    assert {"email": {"leave": 30, "until": 70}, "form": {"leave": 30, "until": 70}} in kept
    assert words(ines.page(f"{address}/apply"), "h1") == ["Nothing to change"]


def test_what_is_typed_wrong_is_said_and_nothing_is_lost(desk: Desk, ines: Browser) -> None:
    page = press(ines, ines.page(LAB), "start", **SHORT | {"runs": "many", "q0.boost": "20m"})
    assert words(page, "#wrong-runs") == ["Must be a whole number from 2 to 50"]
    assert fields(page)["q0.boost"] == "20m"
    page = press(ines, page, "start", **SHORT | {"q1.boost": "soon"})
    assert "boost must be a span" in words(page, ".problem")[0]
    page = press(ines, ines.page(LAB), "text")
    page = press(ines, page, "start", **SHORT, text="queues: [")
    assert "not valid YAML" in words(page, "#wrong-text")[0]
    assert fields(page)["text"] == "queues: ["
    page = press(ines, page, "start", **SHORT, text="rules: [{name: a, when: {}, then: {queue: Nowhere}}]")
    assert "there is no queue 'Nowhere'" in words(page, ".problem")[0]
    page = press(ines, page, "today")
    assert "Shipping" in fields(page)["text"] and page.css(".problem, .wrong") == []
    with desk.hub.store.read() as tx:
        assert experiments(tx, desk.ines) == []


def test_past_days_without_a_change_are_compared_with_other_rules(desk: Desk, ines: Browser) -> None:
    desk.text("My parcel?")
    address = start(ines, press(ines, ines.page(LAB), "redraw", traffic="past"), traffic="past", days="1")
    play(desk)
    page = ines.page(address)
    assert "This desk answers" in words(page, ".headline")[0]
    assert "1 piece of work" in words(page, ".lead")[0]
    assert "one day alone proves nothing" in words(page, ".bars .verdict")
    assert page.css("a.apply") == [], "there is nothing to apply"
    assert ines.get(f"{address}/apply").status_code == 409


def test_it_is_cancelled_and_changed_again(desk: Desk, ines: Browser) -> None:
    address = start(ines, ines.page(LAB), **{"t0.capacity": "60", "agents": "3", "recommend": "on"})
    assert ines.post(f"{address}/cancel").status_code == 303
    page = ines.page(address)
    assert "cancelled" in words(page, ".told")[0]
    again = fields(ines.page(f"{LAB}?from={newest(desk).id}"))
    assert (again["t0.capacity"], again["agents"], again["recommend"]) == ("60", "3", "on")
    assert "Cancelled" in words(ines.page(LAB), ".tried")[0]


def test_only_those_who_see_everything_try_and_only_admins_apply(desk: Desk, jonas: Browser, app: Flask) -> None:
    assert jonas.page("/inbox/mine").css("#v-lab") == []
    for path in (LAB, f"{LAB}/1", f"{LAB}/1/state", f"{LAB}/1/apply"):
        assert jonas.get(path).status_code == 403
    for path in (f"{LAB}/form", f"{LAB}/1/cancel", f"{LAB}/1/apply"):
        assert jonas.post(path, version="1").status_code == 403
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET role = 'supervisor' WHERE name = 'Jonas Weber'")
    address = start(jonas, jonas.page(LAB), **{"t0.capacity": "60"})
    play(desk)
    assert jonas.page(address).css("a.apply") == []
    assert jonas.get(f"{address}/apply").status_code == 403
    assert jonas.post(f"{address}/apply", version="1").status_code == 403
    assert jonas.get(f"{LAB}/99").status_code == 404
    with desk.hub.store.write() as tx:
        cancel(tx, desk.ines, newest(desk).id or 0)
    assert newest(desk).state == "done", "what has ended stays as it is"


def test_what_is_recommended_goes_into_the_change() -> None:
    document = {
        "queues": [{"name": "Shipping", "reserve": {"sms": {"leave": 5, "until": 50}}}, {"name": "Billing"}],
        "agents": [{"name": "Jonas", "email": "jonas@desk.example", "queues": ["Shipping"], "skills": {"orders": 4}}],
    }
    roomy = labform.with_release(document, {"leave": 30, "until": 40, "channels": ["email"]})
    assert roomy["queues"][0]["reserve"] == {"sms": {"leave": 5, "until": 50}, "email": {"leave": 30, "until": 40}}
    assert labform.with_release(roomy, {"leave": 30, "until": 0, "channels": ["email"]}) == document
    lesson = {"queue": "Billing", "skills": {"billing": 1, "orders": 2}}
    (jonas,) = labform.with_lesson(document, lesson, ["jonas@desk.example"])["agents"]
    assert jonas["queues"] == ["Shipping", "Billing"]
    assert jonas["skills"] == {"orders": 4, "billing": 3}
    assert labform.with_lesson(document, lesson, []) == document


def test_knobs_that_nobody_turned_leave_the_document_as_it_is() -> None:
    document = {
        "queues": [{"name": "Shipping", "boost": "15m", "reserve": {"email": {"leave": 40, "until": 50}}}],
        "profiles": [{"name": "Chatty", "channels": {"chat": 2, "slack": 1}}],
        "agents": [{"name": "A", "email": "a@x", "profile": "Chatty"}, {"name": "B", "email": "b@x", "capacity": 80}],
    }
    row = labform.queues_of(document)[0]
    given = {f"q0.{name}": getattr(row, name) for name in ("work", "agent", "boost", "leave", "until")}
    for place, team in enumerate(labform.teams_of(document, ["chat", "email"])):
        given[f"t{place}.capacity"] = team.capacity
        given |= {f"t{place}.{kind}": limit for kind, limit in team.channels.items()}
    assert labform.turned(document, given, ["chat", "email"]) == document
    changed = labform.turned(document, given | {"t1.email": "4", "t1.chat": "", "t0.capacity": "90"}, ["chat", "email"])
    assert changed["profiles"] == [{"name": "Chatty", "channels": {"slack": 1, "email": 4}}]
    assert [agent.get("capacity", 100) for agent in changed["agents"]] == [100, 90]


@pytest.mark.parametrize(
    ("interval", "better", "words", "colour"),
    [
        ((0.021, 0.01), 1, "better by 2.1 points, sure", "green"),
        ((0.021, 0.01), -1, "worse by 2.1 points, sure", "red"),
        ((-0.03, 0.01), 0, "less by 3.0 points, sure", "plain"),
        ((0.021, 0.03), 1, "no difference seen", "plain"),
        ((0.0, 0.0), 1, "no difference seen", "plain"),
        ((0.5, None), 1, "one day alone proves nothing", "plain"),
    ],
)
def test_a_difference_in_plain_words(
    interval: tuple[float, float | None], better: int, words: str, colour: str
) -> None:
    said = labview.verdict(interval, better)
    assert said is not None and (said.words, said.colour) == (words, colour)
