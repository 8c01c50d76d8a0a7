"""Settings → Tags: another name, two brought together, and one taken off everything, macros included."""

from __future__ import annotations

import pytest
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub import macros, views
from hub.macros import Does
from hub.tags import tag
from storage.macros import Macro
from storage.tags import Tag, tags_of
from storage.views import SavedView
from tests.browser.room import Browser, words
from tests.desk import Desk

TAGS = "/inbox/settings/tags"
HOT = {"field": "tag", "op": "has_any", "value": ["urgent", "rush"]}


@pytest.fixture
def tagged(desk: Desk) -> list[int]:
    """Three conversations: two are urgent, one of them and the third are rush."""
    numbers = [desk.text("Hello", sender=f"+4670174060{each}").conversation_id or 0 for each in range(3)]
    with desk.hub.store.write() as tx:
        for number, names in zip(numbers, ("urgent", "urgent, rush", "rush"), strict=True):
            tag(tx, desk.ines, number, names)
        macros.create(tx, desk.ines, macros.Wanted("Hurry", Does(tags=("urgent",), untag=("calm",), note="Quick")))
        macros.create(tx, desk.ines, macros.Wanted("Only a tag", Does(tags=("rush",))))
        views.create(tx, desk.ines, views.Wanted("Hot", {"all": [HOT, {"not": HOT}]}, own=False))
    return numbers


def number_of(desk: Desk, name: str) -> int:
    with desk.hub.store.read() as tx:
        return tx.exec(select(Tag.id).where(Tag.name == name)).one() or 0


def tags(desk: Desk, numbers: list[int]) -> list[list[str]]:
    with desk.hub.store.read() as tx:
        found = tags_of(tx, numbers)
    return [found.get(number, []) for number in numbers]


def test_a_tag_gets_another_name_everywhere(desk: Desk, ines: Browser, tagged: list[int]) -> None:
    assert words(ines.page(TAGS), ".card-row") == ["rush2 conversations", "urgent2 conversations"]
    path = f"{TAGS}/{number_of(desk, 'urgent')}"
    assert "Macros that put it on or take it off: Hurry." in words(ines.page(path), ".block p")[0]
    looked = Page(ines.post(path, name="Very  Urgent", do="look").text)
    assert "1 saved view asks for it." in words(looked, ".block p")[0]
    assert "on its 2 conversations and in its macros and views" in words(looked, ".effect-line")[0]
    assert tags(desk, tagged)[0] == ["urgent"], "looking changes nothing"
    assert ines.post(path, name="Very  Urgent", looked="Very  Urgent", do="save").status_code == 303
    assert tags(desk, tagged) == [["very urgent"], ["rush", "very urgent"], ["rush"]]
    with desk.hub.store.read() as tx:
        assert tx.exec(select(Macro.does).where(Macro.name == "Hurry")).one()["tags"] == ["very urgent"]
        leaf = HOT | {"value": ["very urgent", "rush"]}
        assert tx.exec(select(SavedView.condition)).one() == {"all": [leaf, {"not": leaf}]}


def test_two_tags_become_one_only_after_that_was_said(desk: Desk, ines: Browser, tagged: list[int]) -> None:
    path = f"{TAGS}/{number_of(desk, 'urgent')}"
    ines.page(path)
    unseen = ines.post(path, name="rush", looked="other", do="save")
    assert "the two become one" in words(Page(unseen.text), ".effect-line")[0]
    assert ines.post(path, name="rush", looked="rush", do="save").status_code == 303
    assert tags(desk, tagged) == [["rush"], ["rush"], ["rush"]]
    with desk.hub.store.read() as tx:
        assert tx.exec(select(SavedView.condition)).one()["all"][0] == HOT | {"value": ["rush"]}, "once"
    assert words(ines.page(TAGS), ".card-row") == ["rush3 conversations"]
    assert ines.get(path).status_code == 404


def test_a_tag_goes_unless_a_macro_would_do_nothing_without_it(desk: Desk, ines: Browser, tagged: list[int]) -> None:
    ines.page(TAGS)
    assert ines.post(f"{TAGS}/{number_of(desk, 'urgent')}/remove").status_code == 303
    assert tags(desk, tagged) == [[], ["rush"], ["rush"]]
    with desk.hub.store.read() as tx:
        assert tx.exec(select(Macro.does).where(Macro.name == "Hurry")).one() == {"note": "Quick", "untag": ["calm"]}
    kept = ines.post(f"{TAGS}/{number_of(desk, 'rush')}/remove")
    assert kept.status_code == 409 and "The macro “Only a tag” does nothing else" in kept.text
    assert tags(desk, tagged)[2] == ["rush"]


@pytest.mark.parametrize(("typed", "sentence"), [(" # ", "Type a name"), ("x" * 41, "at most 40 characters")])
def test_what_is_no_name_is_refused(desk: Desk, ines: Browser, tagged: list[int], typed: str, sentence: str) -> None:
    path = f"{TAGS}/{number_of(desk, 'urgent')}"
    ines.page(path)
    answer = ines.post(path, name=typed, looked=typed, do="save")
    assert answer.status_code == 422 and sentence in words(Page(answer.text), "#wrong-name")[0]
