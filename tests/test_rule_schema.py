"""The published schema and the compiler say the same of every document, good or bad."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hub.desk import DeskError, export
from hub.deskfile import check
from hub.ruleschema import rules_schema
from routing.conditions import OPS, ConditionError, validate
from routing.fields import FIELDS
from tests.desk import Desk
from tests.doors import Client, compose, served

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = rules_schema()
RULES = jsonschema.Draft202012Validator(SCHEMA)
CONDITION = jsonschema.Draft202012Validator({**SCHEMA["$defs"]["Condition"], "$defs": SCHEMA["$defs"]})
BEYOND = (  # what no schema can say
    "is nested deeper than", "makes more than", "the pattern", "must have the lowest first", "is no time zone",
    "is no number that can be stored",
)  # fmt: skip

names = st.sampled_from([field.name.replace("<attribute>", "tier").replace("<name>", "General") for field in FIELDS])
words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8)
odd = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False), words,
    st.sampled_from(["09:30", "25:00", "22:00", "mon", "Monday", "2026-12-24", "2026-13-01", "pass", ".*"]),
)  # fmt: skip
values = st.one_of(odd, st.lists(odd, max_size=3), st.fixed_dictionaries({"field": names}))
leaves = st.fixed_dictionaries(
    {"field": st.one_of(names, names, words), "op": st.sampled_from(OPS), "value": values},
    optional={"zone": st.sampled_from(["UTC", "Europe/Stockholm", "Mars", ""])},
)
likely = st.one_of(
    leaves,
    st.fixed_dictionaries({"field": names, "op": st.just("exists")}),
    st.builds(lambda value: {"field": "contact.tier", "op": "in", "value": value}, st.lists(odd, max_size=2)),
    st.builds(
        lambda low, high: {"field": "time.of_day", "op": "between", "value": [low, high], "zone": "Asia/Tokyo"},
        st.sampled_from(["09:00", "22:00", "7:00"]), st.sampled_from(["06:00", "17:30"]),
    ),
)  # fmt: skip
trees = st.recursive(
    likely,
    lambda parts: st.one_of(
        st.builds(lambda name, of: {name: of}, st.sampled_from(["all", "any", "not"]), st.lists(parts, max_size=3)),
        st.builds(lambda of: {"not": of}, parts),
        st.builds(lambda of: {"all": [of], "any": [of]}, parts),
    ),
    max_leaves=6,
)


def refused(condition: Any) -> str | None:
    try:
        validate(condition)
    except ConditionError as error:
        return error.sentence
    return None


@settings(max_examples=250, deadline=None)
@given(trees)
@example({})
@example([])
@example({"field": "item.channel"})
@example({"field": "contact.name", "op": "gte", "value": 1})
@example({"field": "contact.rank", "op": "gte", "value": 1})
@example({"field": "queue.A. B.waiting", "op": "gte", "value": {"field": "queue.B.waiting"}})
@example({"field": "contact.a", "op": "eq", "value": {"field": "time.date"}})
def test_what_the_compiler_takes_the_schema_takes_and_the_other_way_round(condition: Any) -> None:
    why, fits = refused(condition), CONDITION.is_valid(condition)
    if why is None:
        assert fits, list(CONDITION.iter_errors(condition))
    elif fits:
        assert any(told in why for told in BEYOND), why


def test_both_kinds_of_documents_were_among_them() -> None:
    good = {"all": [{"field": "time.weekday", "op": "in", "value": ["mon"]}, {"field": "contact.a", "op": "exists"}]}
    assert refused(good) is None and CONDITION.is_valid(good)
    for leaf in ({"field": "time.weekday", "op": "in", "value": []}, {"field": "contact.new", "op": "eq", "value": 1}):
        assert refused(leaf) and not CONDITION.is_valid(leaf)


rules = st.lists(
    st.fixed_dictionaries(
        {"name": words, "when": st.one_of(st.just({}), likely), "then": st.fixed_dictionaries(
            {}, optional={"queue": words, "skills": st.dictionaries(words, st.integers(0, 6), max_size=2),
                          "priority": st.integers(-1100, 1100), "qeue": words},
        )},
        optional={"enabled": st.one_of(st.booleans(), st.just("no"))},
    ),
    max_size=3, unique_by=lambda rule: str(rule["name"]).strip(),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(rules)
def test_the_whole_section_is_judged_alike(section: list[dict[str, Any]]) -> None:
    document = {"rules": section}
    fits = RULES.is_valid(document)
    try:
        check(deepcopy(document))
    except DeskError as error:
        assert not fits or any(told in str(error) for told in BEYOND), error
    else:
        assert fits, list(RULES.iter_errors(document))


def test_the_schema_is_one_and_the_documents_have_it() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    written = json.loads((ROOT / "docs" / "rules.schema.json").read_text("utf-8"))
    assert written == SCHEMA, "run: python app.py schema > docs/rules.schema.json"


@pytest.mark.parametrize("name", ["desk.example.yaml", "demo.desk.yaml"])
def test_our_own_desks_fit_it(name: str) -> None:
    RULES.validate(yaml.safe_load((ROOT / "config" / name).read_text("utf-8")))


def test_an_export_fits_it_and_the_api_serves_it_to_anybody(desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        RULES.validate(yaml.safe_load(export(tx)))
    client: Client
    with served(compose(desk.hub)) as client:
        answer = client.get("/api/v1/schemas/rules.json")
    assert answer.headers["Content-Type"] == "application/schema+json"
    assert answer.json() == SCHEMA
