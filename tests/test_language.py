"""Languages: catalogs are complete, and what an agent chose or the browser asks for is what they read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import inbox
from config.language import ENGLISH, LANGUAGES, _, n_, speaking
from inbox.tongue import spoken_by_scripts
from tests.support import catalog

OTHERS = [code for code in LANGUAGES if code != ENGLISH]


@pytest.mark.parametrize("code", OTHERS)
def test_every_sentence_is_translated_with_its_places(code: str) -> None:
    kept, said = catalog.kept(code), catalog.template()
    wrong = [f"nobody says: {each.id}" for each in kept if each.id and said.get(each.id, each.context) is None]
    for each in said:
        there = kept.get(each.id, each.context) if each.id else None
        forms = catalog.forms(there.string) if there else ()
        if each.id and (there is None or there.fuzzy or not forms or not all(forms)):
            wrong.append(f"not translated: {each.id}")
        elif each.id and catalog.places(forms[-1]) != catalog.places(catalog.forms(each.id)[-1]):
            wrong.append(f"other places: {each.id} / {forms}")
    assert wrong == [], "make messages, then translate"


def test_a_sentence_is_filled_and_counted() -> None:
    with speaking(ENGLISH):
        assert _("{load} of {capacity}", load=1, capacity=2) == "1 of 2"
        assert [n_("{count} person", "{count} people", count) for count in (0, 1, 2)] == [
            "0 people", "1 person", "2 people",
        ]  # fmt: skip


def test_what_scripts_say_comes_with_the_page() -> None:
    folder = Path(inbox.__file__).parent / "static"
    code = "".join(path.read_text("utf-8") for path in folder.glob("*.js"))
    said = set(re.findall(r'said\([^()"]*"([^"]+)"', code)) | set(re.findall(r': "([^"]+)"\)\.replace', code))
    said |= set(re.findall(r'(?:label|group): "([^"]+)"', code)) | set(re.findall(r'\["#[\w-]+", "([^"]+)"\]', code))
    with speaking("de"):
        assert said - {"{count}"} - spoken_by_scripts().keys() == set()
    assert len(said) > 40


def test_every_place_of_a_sentence_is_filled() -> None:
    """A place that its call does not fill would be an error in front of somebody, in English as well."""
    calls = list(catalog.fillings())
    assert len(calls) > 400
    assert [(file, message, names) for file, message, names in calls if catalog.places(message) != names] == []
