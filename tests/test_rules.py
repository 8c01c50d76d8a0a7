"""Conditions and rules: what they match, how a wrong one is named, and that no text slows one down."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlmodel import select

from routing.conditions import Fields, read_condition, validate
from routing.rules import rule_book
from storage import Store
from storage.access import Conflict
from storage.desk import RoutingRule, touch_desk
from tests.routing_desk import Desk

MAIL: dict[str, Any] = {
    "item.channel": "email",
    "item.channel_name": "support-mail",
    "item.subject": "Where is order ORD-12345?",
    "item.text": "My parcel (blue) is late.\nMvh, Mara",
    "contact.language": "sv",
    "contact.tier": "gold",
    "contact.orders": "12",
    "contact.tags": ["VIP", "b2b"],
    "contact.company": "",
    "contact.address": {"city": "Malmö"},
}


def holds(condition: dict[str, Any]) -> bool:
    return read_condition(condition).evaluate(Fields(MAIL))[0]


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("item.channel", "eq", "email", True),
        ("item.channel", "ne", "email", False),
        ("contact.tier", "in", ["gold", "silver"], True),
        ("contact.tier", "not_in", ["gold"], False),
        ("item.text", "has", "PARCEL", True),
        ("item.text", "has", "parce", False),
        ("item.text", "has", "parcel (blue)", True),
        ("item.subject", "has_any", ["refund", "Order"], True),
        ("contact.tags", "has", "vip", True),
        ("contact.tags", "has_any", ["x", "y"], False),
        ("contact.tags", "includes", "VIP", True),
        ("contact.tags", "includes", "vip", False),
        ("contact.tags", "ne", "VIP", False),
        ("contact.tags", "not_in", ["VIP"], False),
        ("item.text", "contains", "PARC", True),
        ("item.text", "contains", "xyz", False),
        ("contact.tags", "contains", "VI", False),
        ("contact.orders", "gt", 11.5, True),
        ("contact.orders", "gt", 12, False),
        ("contact.orders", "lt", 13, True),
        ("contact.address.city", "eq", "Malmö", True),
        ("contact.address.zip", "exists", True, False),
        ("contact.address", "ne", "x", False),
        ("contact.orders", "gte", 12, True),
        ("contact.orders", "lte", 11, False),
        ("contact.orders", "between", [10, 12], True),
        ("contact.tier", "gte", 1, False),
        ("item.subject", "prefix", "where IS", True),
        ("item.subject", "matches", r"ord-\d{5}", True),
        ("contact.tier", "exists", True, True),
        ("contact.company", "exists", True, False),
        ("contact.company", "exists", False, True),
        ("contact.company", "ne", "Acme", False),
        ("contact.region", "not_in", ["north"], False),
        ("contact.region", "matches", ".", False),
    ],
)
def test_comparisons_and_a_missing_field_is_never_true(field: str, op: str, value: Any, expected: bool) -> None:
    assert holds({"field": field, "op": op, "value": value}) is expected


@pytest.mark.parametrize(
    ("field", "op", "other", "expected"),
    [
        ("contact.language", "eq", "form.language", True),
        ("contact.language", "ne", "contact.tier", True),
        ("contact.orders", "gte", "form.least", True),
        ("contact.orders", "lte", "form.least", False),
        ("contact.tier", "in", "contact.tags", False),
        ("form.tag", "in", "contact.tags", True),
        ("form.tag", "not_in", "contact.tags", False),
        ("item.text", "has", "form.thing", True),
        ("item.text", "has_any", "contact.tags", False),
        ("contact.tags", "includes", "form.tag", True),
        ("item.text", "contains", "form.thing", True),
        ("form.least", "lt", "contact.orders", True),
        ("contact.tags", "eq", "contact.tags", False),
        ("item.text", "prefix", "form.thing", False),
        ("contact.tier", "gte", "form.least", False),
        ("contact.company", "eq", "contact.company", False),
        ("contact.tier", "ne", "contact.company", False),
        ("contact.tier", "not_in", "contact.nothing", False),
    ],
)
def test_two_fields_are_compared_and_a_missing_one_is_never_true(
    field: str, op: str, other: str, expected: bool
) -> None:
    values = MAIL | {"form.language": "sv", "form.least": 10, "form.tag": "VIP", "form.thing": " Parcel "}
    condition = read_condition({"field": field, "op": op, "value": {"field": other}})
    assert condition.holds(Fields(values)) is expected
    assert condition.asks == {field, other}


def test_true_is_not_one() -> None:
    values = Fields({"contact.vip": True, "contact.level": 1})
    for field, value, expected in (
        ("contact.vip", 1, False),
        ("contact.level", True, False),
        ("contact.level", 1.0, True),
    ):
        assert read_condition({"field": field, "op": "eq", "value": value}).holds(values) is expected
        assert read_condition({"field": field, "op": "in", "value": [value]}).holds(values) is expected
        assert read_condition({"field": field, "op": "ne", "value": value}).holds(values) is not expected


def test_trees_combine_and_say_what_each_leaf_found() -> None:
    swedish = {"field": "contact.language", "op": "eq", "value": "sv"}
    chat = {"field": "item.channel", "op": "eq", "value": "chat"}
    assert holds({})
    assert holds({"all": [swedish, {"not": chat}]})
    assert not holds({"not": [chat, swedish]})
    found, trace = read_condition({"any": [chat, {"all": [swedish]}]}).evaluate(Fields(MAIL))
    assert found
    assert [(leaf["field"], leaf["held"]) for leaf in trace] == [("item.channel", False), ("contact.language", True)]
    assert [leaf["found"] for leaf in trace] == ["email", "sv"]
    _, trace = read_condition({"not": {"any": [chat, {"not": swedish}]}}).evaluate(Fields(MAIL))
    assert [(leaf["held"], leaf.get("negated", False)) for leaf in trace] == [(False, True), (True, False)]


def test_an_explanation_keeps_nothing_that_the_customer_wrote() -> None:
    _, (leaf,) = read_condition({"field": "item.text", "op": "has", "value": "parcel"}).evaluate(Fields(MAIL))
    assert "found" not in leaf


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ([], "condition: must be a mapping"),
        ({"any": []}, "any: must be a list with at least one"),
        ({"all": [], "any": []}, "condition: must have exactly one of"),
        (
            {"any": [{"field": "item.sbject", "op": "eq", "value": 1}]},
            r"any\[1\].field: .* did you mean 'item.subject'",
        ),
        (
            {"not": {"field": "item.text", "op": "like", "value": "x"}},
            r"not\[1\].op: 'like' is no comparison; known",
        ),
        ({"field": "item.text", "op": "has", "value": " "}, "value: must be a text that is not empty"),
        ({"field": "item.text", "op": "has_any", "value": "parcel"}, "value: must be a list"),
        ({"field": "contact.a", "op": "between", "value": [3, 1]}, "value: must have the lowest first"),
        ({"field": "contact.a", "op": "gte", "value": True}, "value: must be a number"),
        ({"field": "contact.a", "op": "eq"}, "value: must be a text, a number"),
        ({"field": "contact.a", "op": "eq", "vale": 1}, "vale: is not known here"),
        ({"field": "item.text", "op": "gte", "value": 1}, "op: gte makes no sense for a text; use eq, ne"),
        ({"field": "item.subject", "op": "eq", "value": 5}, "value: must be a text: put it in quotes"),
        ({"field": "item.authenticity", "op": "eq", "value": "bad"}, "value: must be one of pass, fail"),
        ({"field": "contact.new", "op": "eq", "value": "yes"}, "value: must be true or false"),
        ({"field": "time.of_day", "op": "gte", "value": "9:00"}, "value: must be written like 09:30"),
        ({"field": "time.weekday", "op": "eq", "value": "Monday"}, "value: must be one of mon, tue"),
        ({"field": "time.weekday", "op": "eq", "value": "mon", "zone": "Mars"}, "zone: 'Mars' is no time zone"),
        (
            {"field": "time.date", "op": "eq", "value": "2026-12-24", "zone": "Europe/Stokholm"},
            "mean 'Europe/Stockholm'",
        ),
        ({"field": "item.text", "op": "eq", "value": "x", "zone": "UTC"}, "zone: goes only with time"),
        ({"field": "contact.a", "op": "eq", "value": {"field": "contct.b"}}, "value.field: .* is no field"),
        ({"field": "contact.a", "op": "eq", "value": {"feld": "contact.b"}}, "value: must be a value, or"),
        ({"field": "contact.a", "op": "matches", "value": {"field": "contact.b"}}, "matches of .* can't be compared"),
        ({"field": "contact.a", "op": "eq", "value": {"field": "time.date"}}, "can only stand on the left"),
        ({"field": "item.text", "op": "matches", "value": "("}, "value: the pattern can't be read"),
        ({"field": "item.text", "op": "matches", "value": "(a+)+$"}, "must not contain another repeat"),
        ({"field": "item.text", "op": "matches", "value": "(a|aa)+$"}, "must not contain alternatives"),
        ({"field": "item.text", "op": "matches", "value": r"(a)\1"}, "must not refer back"),
        ({"field": "item.text", "op": "matches", "value": ".*a.*b.*c"}, "at most two"),
        ({"field": "item.text", "op": "matches", "value": "a?" * 40 + "a" * 40}, "could take too long"),
        ({"field": "item.text", "op": "matches", "value": "x" * 201}, "longer than 200"),
    ],
)
def test_a_wrong_condition_is_named_by_its_path(condition: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate(condition)


def test_depth_is_bounded() -> None:
    tree: dict[str, Any] = {"field": "item.text", "op": "has", "value": "x"}
    for _ in range(50):
        tree = {"not": tree}
    with pytest.raises(ValueError, match="nested deeper"):
        validate(tree)


@pytest.mark.parametrize("pattern", [r"\w+\w+!", r"\w*x", ".*a.*b", "(a|b|ab)a*!", "a{0,15}a{0,15}!"])
def test_no_text_makes_an_accepted_pattern_slow(pattern: str) -> None:
    condition = read_condition({"field": "item.text", "op": "matches", "value": pattern})
    began = time.process_time()
    condition.holds(Fields({"item.text": "a" * 1_000_000}))
    assert time.process_time() - began < 2


def test_a_megabyte_of_text_is_searched_in_its_beginning_only() -> None:
    condition = read_condition({"field": "item.text", "op": "has_any", "value": ["parcel", "order"]})
    assert condition.holds(Fields({"item.text": "order " + "x" * 1_000_000}))
    assert not condition.holds(Fields({"item.text": "x" * 1_000_000 + " order"}))


def test_the_first_rule_by_position_decides_and_changes_are_seen_at_once(store: Store) -> None:
    desk = Desk(store)
    conversation = desk.comes_in(text="my order", tier="gold")
    item = desk.item(conversation)
    assert (item.queue_id, item.skills, item.priority) == (desk.queues["Shipping"], {"order": 2}, 0)
    assert item.trace[0]["rule"] == "Order keywords"
    with store.write() as tx:
        rule = tx.exec(select(RoutingRule).where(RoutingRule.name == "Gold first")).one()
        rule.position = 0
        touch_desk(tx)
    item = desk.item(desk.comes_in(text="my order", tier="gold"))
    assert (item.queue_id, item.skills, item.priority) == (desk.queues["Support"], {}, 10)
    item = desk.item(desk.comes_in(text="hello"))
    assert item.trace == [{"step": "default", "rules": 2, "queue_id": desk.queues["Support"], "queue": "Support"}]


def test_a_rule_that_can_not_be_read_is_left_out_and_mail_goes_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(store)
    with store.write() as tx:
        tx.add(RoutingRule(position=0, name="Old", condition={"field": "item.text", "op": "like", "value": "x"}))
        touch_desk(tx)
        assert len(rule_book(tx).rules) == 2
    assert "routing rule 3 is left out: op: 'like' is no comparison" in caplog.text
    assert desk.item(desk.comes_in()).queue_id == desk.queues["Support"]


def test_a_desk_without_queues_says_what_to_do(store: Store) -> None:
    desk = Desk(store)
    with store.write() as tx:
        tx.sql("UPDATE queue SET active = false")
        touch_desk(tx)
    with pytest.raises(Conflict, match="add one in Settings"):
        desk.comes_in()
