"""What is said of conditions without traffic is true of all traffic, and a desk is told what looks wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import select

from cli import main
from hub.desk import apply, read
from hub.rulecheck import look_over
from routing.conditions import Fields, read_condition
from routing.logic import always, implies, never
from storage.access import SYSTEM
from storage.desk import RoutingRule
from tests.desk import Desk

small = st.sampled_from(["a", "ab", "b", "a b", "5", 5, 3, True, 1, 1.0])
leaves = st.one_of(
    st.builds(lambda f, op, v: {"field": f, "op": op, "value": v}, st.sampled_from(["contact.x", "contact.y"]),
              st.sampled_from(["eq", "ne"]), small),
    st.builds(lambda op, v: {"field": "contact.x", "op": op, "value": v}, st.sampled_from(["in", "not_in"]),
              st.lists(small, min_size=1, max_size=3)),
    st.builds(lambda op, v: {"field": "contact.x", "op": op, "value": v}, st.sampled_from(["gte", "lte"]),
              st.integers(2, 6)),
    st.builds(lambda a, b: {"field": "contact.x", "op": "between", "value": [min(a, b), max(a, b)]},
              st.integers(2, 6), st.integers(2, 6)),
    st.builds(lambda op, v: {"field": "contact.x", "op": op, "value": v}, st.sampled_from(["prefix", "has"]),
              st.sampled_from(["a", "ab", "b"])),
    st.builds(lambda v: {"field": "contact.x", "op": "has_any", "value": v},
              st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=2)),
    st.builds(lambda f, v: {"field": f, "op": "exists", "value": v}, st.sampled_from(["contact.x", "contact.y"]),
              st.booleans()),
    st.just({"field": "contact.x", "op": "eq", "value": {"field": "contact.y"}}),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda of: st.builds(
        lambda name, parts: {name: parts}, st.sampled_from(["all", "any", "not"]), st.lists(of, min_size=1, max_size=3)
    ),
    max_leaves=5,
)
WORLDS = [
    Fields({"contact.x": x, "contact.y": y})
    for x in (None, "a", "ab", "b", "a b", "5", 5, 3, 4.5, True, 1, ["a"], ["a", "b"])
    for y in (None, "a", 5, True)
]


@settings(max_examples=400, deadline=None)
@given(trees, trees)
def test_no_traffic_contradicts_what_is_said_of_conditions(one: Any, other: Any) -> None:
    first, second = read_condition(one), read_condition(other)
    if never(first) is not None:
        assert not any(first.holds(world) for world in WORLDS)
    if always(first):
        assert all(first.holds(world) for world in WORLDS)
    if implies(first, second):
        assert all(second.holds(world) for world in WORLDS if first.holds(world))


def leaf(field: str, op: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value, **more}


EMAIL = leaf("item.channel", "eq", "email")
GOLD = leaf("contact.tier", "eq", "gold")


@pytest.mark.parametrize(
    ("condition", "path"),
    [
        ({"all": [EMAIL, leaf("item.channel", "eq", "chat")]}, "all[2]"),
        ({"all": [EMAIL, {"all": [leaf("item.channel", "in", ["chat", "sms"])]}]}, "all[2].all[1]"),
        ({"all": [leaf("contact.n", "gte", 5), leaf("contact.n", "lte", 3)]}, "all[2]"),
        ({"all": [GOLD, leaf("contact.tier", "exists", False)]}, "all[1]"),
        ({"any": [{"all": [GOLD, leaf("contact.tier", "ne", "gold")]}]}, "any[1].all[2]"),
        ({"all": [leaf("item.to", "prefix", "a"), leaf("item.to", "prefix", "b")]}, "all[2]"),
        ({"all": [EMAIL, leaf("item.channel", "matches", "^s")]}, "all[2]"),
    ],
)  # fmt: skip
def test_a_condition_that_can_never_hold_is_found(condition: Any, path: str) -> None:
    leaf = never(read_condition(condition))
    assert leaf is not None and leaf.path == path


@pytest.mark.parametrize(
    "condition",
    [
        {"all": [EMAIL, GOLD]},
        {"any": [EMAIL, leaf("item.channel", "eq", "chat")]},
        {"all": [leaf("contact.tags", "has", "a"), leaf("contact.tags", "has", "b")]},
        {"all": [leaf("time.weekday", "eq", "mon", zone="Asia/Tokyo"),
                 leaf("time.weekday", "eq", "sun", zone="America/Lima")]},
        {"all": [leaf("time.of_day", "between", ["22:00", "06:00"]),
                 leaf("time.of_day", "gte", "23:00")]},
    ],
)  # fmt: skip
def test_what_can_hold_is_not_called_impossible(condition: Any) -> None:
    assert never(read_condition(condition)) is None


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        ({"all": [EMAIL, GOLD]}, EMAIL, True),
        (EMAIL, {"all": [EMAIL, GOLD]}, False),
        (EMAIL, {}, True),
        (EMAIL, {"any": [leaf("contact.a", "exists", True), leaf("contact.a", "exists", False)]}, True),
        (EMAIL, leaf("item.channel", "in", ["chat", "email"]), True),
        (EMAIL, {"not": leaf("item.channel", "eq", "chat")}, True),
        (leaf("item.channel", "in", ["chat", "sms"]), {"not": EMAIL}, True),
        (leaf("contact.n", "between", [4, 5]), leaf("contact.n", "gte", 3), True),
        (leaf("item.text", "has", "Lamp"), leaf("item.text", "has_any", ["lamp", "x"]), True),
        ({"not": leaf("item.channel", "in", ["chat", "sms"])}, {"not": leaf("item.channel", "eq", "sms")}, True),
        ({"not": leaf("item.channel", "eq", "sms")}, {"not": leaf("item.channel", "in", ["chat", "sms"])}, False),
        (GOLD, leaf("contact.tier", "exists", True), True),
    ],
)  # fmt: skip
def test_whether_one_condition_covers_another(narrow: Any, wide: Any, expected: bool) -> None:
    assert implies(read_condition(narrow), read_condition(wide)) is expected


SHOP = """
queues: [{name: Shipping}, {name: Billing}, {name: General, default: true}]
skills: [orders, en]
agents:
  - {name: Jonas, email: jonas@desk.example, queues: [Shipping, General], skills: {orders: 2, en: 5}}
  - {name: Amara, email: amara@desk.example, queues: [Shipping], skills: {orders: 3}}
rules:
  - {name: Mail, when: {field: item.channel, op: eq, value: email}, then: {queue: Shipping, skills: {orders: 4, en: 2}}}
  - name: Gold mail
    when: {all: [{field: item.channel, op: eq, value: email}, {field: contact.tier, op: eq, value: gold}]}
    then: {}
  - {name: Misspelt, when: {field: item.channel, op: eq, value: emial}, then: {queue: Billing}}
  - {name: Busy, when: {field: queue.Shiping.waiting, op: gte, value: 5}, then: {}}
  - name: Both
    when: {all: [{field: item.channel, op: eq, value: sms}, {field: item.channel, op: eq, value: chat}]}
    then: {}
  - {name: Rest, when: {}, then: {}}
  - {name: After, when: {field: contact.tier, op: eq, value: gold}, then: {}}
  - {name: Mail again, enabled: false, when: {field: item.channel, op: eq, value: email}, then: {}}
"""


def test_a_desk_is_told_what_looks_wrong_with_it_and_is_used_all_the_same(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET password_hash = ''")  # or the desk's admin would have to stay
        apply(tx, SYSTEM, read(SHOP))
        told = [str(finding) for finding in look_over(tx)]
    assert told == [
        "queue Billing: no agent serves it: give it to somebody, or the work waits for ever",
        "rule Mail: queue Shipping: nobody who serves it has en ≥ 2, orders ≥ 4; the nearest is Jonas with orders 2",
        "rule Gold mail: it is never reached: the earlier rule “Mail” holds whenever this one does; "
        "move it above “Mail”",
        "rule Misspelt: this desk has no item.channel 'emial'; did you mean 'email'?",
        "rule Busy: there is no queue 'Shiping', so that it never holds; did you mean 'Shipping'?",
        "rule Both, all[2]: item.channel eq can't hold beside the rest, so that the rule never does",
        "rule After: it is never reached: the earlier rule “Rest” holds for everything; move it above “Rest”",
    ]


def test_apply_shows_what_looks_wrong_before_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DATABASE_URL", "SECRET_KEY", "PUBLIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HUB_TOML", "/nonexistent")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    file = tmp_path / "desk.yaml"
    file.write_text(SHOP, "utf-8")
    assert main(lambda settings: None, ["apply", str(file), "--yes"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "! queue Billing: no agent serves it: give it to somebody, or the work waits for ever" in shown
    assert shown[-1].startswith("Applied")


def test_a_rule_that_is_off_stays_on_the_desk_and_one_left_out_goes(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET password_hash = ''")
        apply(tx, SYSTEM, read(SHOP))
        rules = {rule.name: rule.active for rule in tx.exec(select(RoutingRule))}
    assert rules["Mail again"] is False and "Order keywords" not in rules
    assert desk.mail("Hello", "x").state == "accepted"
    with desk.hub.store.write() as tx:
        assert [str(change) for change in apply(tx, SYSTEM, read(SHOP.partition("  - {name: Mail again")[0]))] == [
            "- rule Mail again"
        ]
