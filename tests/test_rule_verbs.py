"""Rules one by one, by verb and by API: every change is checked, recorded, and never over somebody else's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import col, select

from hub import rules as verbs
from hub.desk import apply, read
from hub.rules import RuleRefused
from storage.access import SYSTEM, Conflict, Forbidden, NotFound
from storage.facts import FactRow
from tests.desk import Desk
from tests.doors import Client, compose, served
from tests.test_api import Program, refused

VIP = {
    "name": "VIP",
    "when": {"field": "contact.tier", "op": "eq", "value": "gold"},
    "then": {"queue": "Billing", "skills": {"billing": 2}, "priority": 5},
}


def version(desk: Desk) -> int:
    with desk.hub.store.read() as tx:
        return verbs.rules(tx, desk.ines).version


def names(desk: Desk) -> list[str]:
    with desk.hub.store.read() as tx:
        return [rule["name"] for rule in verbs.rules(tx, desk.ines).rules]


def told(desk: Desk) -> list[tuple[str, str]]:
    with desk.hub.store.read() as tx:
        rows = tx.exec(select(FactRow).where(FactRow.name == "DeskChanged").order_by(col(FactRow.id)))
        return [(row.data["what"], row.data["by"]) for row in rows if row.data["what"].startswith("rule")]


def test_a_rule_s_life_is_recorded_with_its_author(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        first = verbs.rules(tx, desk.ines).rules[0]["id"]
        number = verbs.add_rule(tx, desk.ines, version(desk), VIP, before=first)
    assert names(desk) == ["VIP", "Order keywords", "Money"]
    with desk.hub.store.write() as tx:
        verbs.replace_rule(tx, desk.ines, version(desk), number, {**VIP, "name": "Gold", "then": {"priority": 9}})
    with desk.hub.store.write() as tx:
        verbs.switch_rule(tx, desk.ines, version(desk), number, False)
    with desk.hub.store.write() as tx:
        ids = [rule["id"] for rule in verbs.rules(tx, desk.ines).rules]
        verbs.reorder_rules(tx, desk.ines, version(desk), [*ids[1:], number])
    assert names(desk) == ["Order keywords", "Money", "Gold"]
    with desk.hub.store.read() as tx:
        assert verbs.rule(tx, desk.ines, number) == {
            "id": number, "name": "Gold", "enabled": False, "when": VIP["when"], "then": {"priority": 9},
        }  # fmt: skip
    with desk.hub.store.write() as tx:
        verbs.delete_rule(tx, desk.ines, version(desk), number)
    assert names(desk) == ["Order keywords", "Money"]
    by = desk.ines.by
    assert told(desk) == [
        ("rule VIP added", by),
        ("rule VIP changed: name, queue, skills, priority", by),
        ("rule Gold switched off", by),
        ("rules moved: Order keywords, Money, Gold", by),
        ("rule Gold deleted", by),
    ]


def test_a_change_from_an_old_page_overwrites_nothing(desk: Desk) -> None:
    seen = version(desk)
    with desk.hub.store.write() as tx:
        verbs.add_rule(tx, desk.ines, seen, VIP)
    with pytest.raises(Conflict, match="changed since this page was opened"), desk.hub.store.write() as tx:
        verbs.add_rule(tx, desk.ines, seen, {**VIP, "name": "Other"})
    assert names(desk) == ["Order keywords", "Money", "VIP"]


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"name": ""}, "name", "is empty"),
        ({"name": "Money"}, "name", "there is a rule 'Money' already"),
        ({"when": {"field": "contct.tier", "op": "eq", "value": 1}}, "when.field", "is no field"),
        ({"when": {"any": [{"field": "item.text", "op": "hass", "value": 1}]}}, "when.any[1].op", "did you mean 'has'"),
        ({"when": 5}, "when", "must be a mapping"),
        ({"then": {"queue": "Biling"}}, "then.queue", "did you mean 'Billing'"),
        ({"then": {"skills": {"billng": 1}}}, "then.skills", "did you mean 'billing'"),
        ({"then": {"skills": {"billing": 9}}}, "then.skills.billing", "less than or equal to 5"),
        ({"then": {"priority": "high"}}, "then.priority", "must be a whole number"),
        ({"then": {"prio": 1}}, "then", "unknown key 'prio'"),
    ],
)
def test_a_wrong_rule_is_refused_at_its_field(desk: Desk, change: dict[str, Any], field: str, sentence: str) -> None:
    with pytest.raises(RuleRefused) as refusal, desk.hub.store.write() as tx:
        verbs.add_rule(tx, desk.ines, version(desk), {**VIP, **change})
    assert refusal.value.field == field and sentence in refusal.value.sentence
    assert names(desk) == ["Order keywords", "Money"]


def test_only_admins_change_rules_and_every_rule_is_named_in_an_order(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        number = verbs.rules(tx, desk.ines).rules[0]["id"]
        with pytest.raises(Forbidden):
            verbs.delete_rule(tx, desk.jonas, version(desk), number)
        with pytest.raises(Forbidden):
            verbs.rules(tx, desk.jonas)
        with pytest.raises(Conflict, match="Name every rule once"):
            verbs.reorder_rules(tx, desk.ines, version(desk), [number])
    with pytest.raises(NotFound), desk.hub.store.write() as tx:
        verbs.delete_rule(tx, desk.ines, version(desk), 999)


def test_a_rule_is_tried_on_what_came_in_lately_before_it_is_kept(desk: Desk) -> None:
    desk.mail("Hello", "My lamp flickers")  # Order keywords
    desk.mail("Hello", "A refund, please")  # Money
    desk.mail("Hello", "Just hello")
    desk.text("My parcel?")  # Order keywords
    mails = {
        "name": "Mails",
        "when": {"field": "item.channel", "op": "eq", "value": "email"},
        "then": {"queue": "Billing"},
    }
    with desk.hub.store.read() as tx:
        trial = verbs.try_rule(tx, desk.ines, mails)
    assert (trial.tried, trial.matched, trial.decided, trial.changed) == (4, 3, 1, 1)
    assert trial.earlier == {"Order keywords": 1, "Money": 1}
    assert trial.moved == {("General", "Billing"): 1} and len(trial.examples) == 1
    with desk.hub.store.read() as tx:
        first, money = (rule["id"] for rule in verbs.rules(tx, desk.ines).rules)
        trial = verbs.try_rule(tx, desk.ines, mails, before=first)
        assert (trial.decided, trial.earlier) == (3, {})
        assert trial.moved == {("General", "Billing"): 1, ("Shipping", "Billing"): 1} and trial.changed == 3
        trial = verbs.try_rule(tx, desk.ines, {**mails, "enabled": False}, replaces=first)
        assert (trial.decided, trial.changed) == (3, 4)
        trial = verbs.try_without(tx, desk.ines, money)
        assert (trial.matched, trial.decided, trial.changed) == (1, 1, 1)
        assert verbs.try_order(tx, desk.ines, [money, first]).changed == 0
    assert names(desk) == ["Order keywords", "Money"]


def test_what_can_t_be_known_afterwards_is_said(desk: Desk) -> None:
    desk.text("Hello")
    when = {"all": [
        {"field": "queue.General.waiting", "op": "gte", "value": 0},
        {"field": "time.of_day", "op": "gte", "value": "10:00"},
    ]}  # fmt: skip
    with desk.hub.store.read() as tx:
        trial = verbs.try_rule(tx, desk.ines, {"name": "Busy", "when": when, "then": {}})
    assert (trial.matched, trial.unknown) == (0, ["queue.General.waiting"])


def test_a_file_and_the_verbs_speak_of_the_same_rules(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        verbs.add_rule(tx, desk.ines, version(desk), VIP)
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read("rules: [{name: VIP, enabled: false, when: {}, then: {}}]"))
    with desk.hub.store.read() as tx:
        (rule,) = verbs.rules(tx, desk.ines).rules
    assert rule | {"id": 0} == {"id": 0, "name": "VIP", "enabled": False, "when": {}, "then": {}}


@pytest.fixture
def server(desk: Desk) -> Iterator[Client]:
    with served(compose(desk.hub)) as client:
        yield client


def test_a_program_keeps_the_rules(desk: Desk, server: Client) -> None:
    crm = Program(desk, server)
    desk.text("Hello")
    found = crm.get("/rules")
    assert [rule["name"] for rule in found["rules"]] == ["Order keywords", "Money"] and found["rules"][0]["enabled"]
    made = crm.post("/rules", {"version": found["version"], "rule": VIP, "before": found["rules"][0]["id"]})
    assert made.status_code == 201
    first = made.json()["rules"][0]
    assert first["name"] == "VIP" and crm.get(f"/rules/{first['id']}") == first
    assert "changed since" in refused(crm.post("/rules", {"version": found["version"], "rule": VIP}), 409, "conflict")
    at = made.json()["version"]
    wrong = {**VIP, "when": {"any": [{"field": "contact.tier", "op": "eqq", "value": 1}]}}
    answer = crm.ask("PUT", f"/rules/{first['id']}", {"version": at, "rule": wrong})
    assert "rule.when.any[1].op: 'eqq' is no comparison" in refused(answer, 422, "invalid")
    assert list(answer.json()["error"]["fields"]) == ["rule.when.any[1].op"]
    never = {"all": [{"field": "item.channel", "op": "eq", "value": each} for each in ("sms", "chat")]}
    answer = crm.ask("PUT", f"/rules/{first['id']}", {"version": at, "rule": {**VIP, "when": never}})
    assert [each["rule"] for each in answer.json()["warnings"]] == ["VIP"]
    at, ids = answer.json()["version"], [rule["id"] for rule in answer.json()["rules"]]
    answer = crm.ask("PUT", "/rules/order", {"version": at, "ids": ids[::-1]})
    assert [rule["id"] for rule in answer.json()["rules"]] == ids[::-1]
    tried = crm.post(
        "/rules/try", {"rule": {"name": "All", "when": {}, "then": {"queue": "Billing"}}, "before": ids[-1]}
    )
    assert tried.json()["moved"] == [{"from_queue": "General", "to_queue": "Billing", "count": 1}]
    answer = crm.ask("DELETE", f"/rules/{first['id']}?version={answer.json()['version']}")
    assert [rule["name"] for rule in answer.json()["rules"]] == ["Money", "Order keywords"]
    refused(Program(desk, server, "agent").ask("GET", "/rules"), 403, "forbidden")
