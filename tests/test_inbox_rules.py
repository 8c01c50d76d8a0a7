"""Settings → Rules: an admin builds rules in a form, sees what they would do, and is told where something is wrong."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from hypothesis import given, settings
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from inbox.ruleform import as_yaml, box_of, box_path, from_yaml, read_box, settle
from routing.conditions import Fields, read_condition
from storage.desk import RoutingRule
from tests.browser.room import Browser, attr, words
from tests.desk import Desk
from tests.test_rule_logic import WORLDS, trees

RULES = "/inbox/settings/rules"


def fields(page: Page) -> dict[str, str]:
    """What a browser would send of the form."""
    found: dict[str, str] = {}
    for node in page.css("#rule-form input, #rule-form select, #rule-form textarea"):
        name, kind = node.attributes.get("name"), node.attributes.get("type")
        if not name or name == "csrf_token" or (kind == "checkbox" and "checked" not in node.attributes):
            continue
        if node.tag == "select":
            chosen = node.css_first("option[selected]") or node.css_first("option")
            assert chosen is not None
            found[name] = chosen.attributes.get("value", chosen.text()) or ""
        elif node.tag == "textarea":
            found[name] = node.text()
        else:
            found[name] = node.attributes.get("value") or ("on" if kind == "checkbox" else "")
    return found


def press(browser: Browser, page: Page, do: str, **typed: str) -> Page:
    """Fill in, press a button, and see the form again."""
    values: dict[str, Any] = fields(page) | typed
    response = browser.post(f"{RULES}/form", hx=True, do=do, **values)
    assert response.status_code == 200, response.text[:500]
    return Page(response.text)


def keep(browser: Browser, page: Page) -> None:
    """Press Save where no script runs: the list comes next."""
    values: dict[str, Any] = fields(page)
    response = browser.post(f"{RULES}/form", do="save", **values)
    assert (response.status_code, response.location) == (303, RULES), response.text[:2000]


def stored(desk: Desk) -> list[RoutingRule]:
    with desk.hub.store.read() as tx:
        return sorted(tx.exec(select(RoutingRule)), key=lambda rule: rule.position)


def test_a_rule_is_built_tried_and_kept(desk: Desk, ines: Browser) -> None:
    desk.text("My parcel?")
    desk.mail("Hello", "Nothing special")
    page = ines.page(f"{RULES}/new")
    page = press(ines, page, "redraw", name="Quiet mail", **{"n.1.field": "item.channel", "n.1.value": "email"})
    assert "matches" in words(page, '[name="n.1.op"]')[0] and "is above" not in words(page, '[name="n.1.op"]')[0]
    page = press(ines, page, "box:n", **{"n.1.op": "in", "n.1.value": "email, sms"})
    page = press(ines, page, "redraw", **{"n.2.1.field": "time.weekday"})
    assert attr(page, '[name="n.2.1.zone"]', "placeholder").startswith("Zone")
    page = press(ines, page, "row:n.2", **{"n.2.1.value": "tue", "n.2.1.zone": "Europe/Stockholm"})
    page = press(ines, page, "redraw", **{"n.2.2.field": "contact.new"})
    page = press(
        ines,
        page,
        "try",
        **{"n.2.2.value": "no", "queue": "Billing", "skill.billing": "2", "priority": "3", "labels": "quiet, "},
    )
    (trial,) = words(page, ".trial")
    assert "Of the last 2 conversations it would have matched 2; first matched by another rule: 1" in trial
    assert "Order keywords 1" in trial and "1 from General to Billing" in trial
    keep(ines, page)
    rule = stored(desk)[-1]
    assert rule.condition == {"all": [
        {"field": "item.channel", "op": "in", "value": ["email", "sms"]},
        {"any": [
            {"field": "time.weekday", "op": "eq", "value": "tue", "zone": "Europe/Stockholm"},
            {"field": "contact.new", "op": "eq", "value": False},
        ]},
    ]}  # fmt: skip
    assert (rule.name, rule.skills, rule.priority, rule.active) == ("Quiet mail", {"billing": 2}, 3, True)
    assert rule.labels == ["quiet"]
    page = ines.page(RULES)
    assert words(page, ".rule-name") == ["Order keywords", "Money", "Quiet mail"]
    assert "kept" in words(page, ".told")[0]
    last = words(page, ".rule .words")[-1]
    assert "channel is one of email, sms and (time weekday is tue (Europe/Stockholm) or contact new is no)" in last


def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost(desk: Desk, ines: Browser) -> None:
    page = press(ines, ines.page(f"{RULES}/new"), "box:n", name="Money", **{"n.1.field": "item.sbject"})
    page = press(ines, page, "save", **{"n.2.1.field": "contact.tier", "priority": "high"})
    assert words(page, '[id="wrong-n.1.field"]') == ["'item.sbject' is no field; did you mean 'item.subject'?"]
    assert attr(page, '[name="n.1.field"]', "aria-describedby") == "wrong-n.1.field"
    page = press(ines, page, "redraw", **{"n.1.field": "item.subject"})
    page = press(ines, page, "save", **{"n.1.value": "x", "n.2.1.value": ""})
    assert "Must be a text, a number" in words(page, '[id="wrong-n.2.1.value"]')[0]
    page = press(ines, page, "save", **{"n.2.1.value": "gold"})
    assert words(page, "#wrong-priority") == ["Must be a whole number"]
    page = press(ines, page, "save", priority="1")
    assert "there is a rule 'Money' already" in words(page, "#wrong-name")[0].lower().replace("money", "Money")
    assert fields(page)["n.2.1.value"] == "gold" and len(stored(desk)) == 2


def test_somebody_else_s_change_is_not_overwritten(desk: Desk, ines: Browser) -> None:
    number = stored(desk)[0].id
    page = ines.page(f"{RULES}/{number}")
    ines.post(f"{RULES}/{number}/move", to="down", version=fields(page)["version"])
    page = press(ines, page, "save", name="Mine")
    assert "changed since this page was opened" in words(page, ".problem")[0]
    assert stored(desk)[1].name == "Order keywords"


def test_rules_are_moved_switched_and_deleted_with_what_that_does(desk: Desk, ines: Browser) -> None:
    desk.text("An invoice for my parcel")
    first, second = stored(desk)
    page = ines.page(RULES)
    version = attr(page, f"#rule-{first.id} [name=version]", "value")
    assert ines.post(f"{RULES}/{second.id}/move", to="up", version=version).status_code == 303
    page = ines.page(RULES)
    assert words(page, ".rule-name") == ["Money", "Order keywords"]
    assert "1 from Shipping to Billing" in words(page, ".told")[0]
    page = ines.page(f"{RULES}/{second.id}/switch")
    assert "1 from Billing to Shipping" in " ".join(words(page, ".sheet-page p"))
    version = attr(page, ".sheet-end [name=version]", "value")
    assert ines.post(f"{RULES}/{second.id}/switch", version=version, on="0").status_code == 303
    assert words(ines.page(RULES), ".rule.off .rule-name") == ["Money"]
    page = ines.page(f"{RULES}/{first.id}/delete")
    assert "1 from Shipping to General" in " ".join(words(page, ".sheet-page p"))
    old = attr(page, ".sheet-end [name=version]", "value")
    assert ines.post(f"{RULES}/{first.id}/delete", version=str(int(old) - 1)).status_code == 409
    assert ines.post(f"{RULES}/{first.id}/delete", version=old).status_code == 303
    assert [rule.name for rule in stored(desk)] == ["Money"]


def test_a_condition_can_be_written_as_text_and_deep_ones_stay_text(desk: Desk, ines: Browser) -> None:
    number = stored(desk)[0].id
    page = press(ines, ines.page(f"{RULES}/{number}"), "yaml")
    assert from_yaml(fields(page)["yaml"]) == stored(desk)[0].condition
    page = press(ines, page, "save", yaml="any: [")
    assert "not valid YAML" in words(page, "#wrong-yaml")[0]
    page = press(ines, page, "save", yaml="any: [{field: item.text, op: hass, value: x}]")
    assert words(page, "#wrong-yaml")[0].startswith("Any[1].op: 'hass' is no comparison")
    deep = "not: {any: [{all: [{not: {field: item.text, op: has, value: x}}]}]}"
    page = press(ines, page, "boxes", yaml=deep)
    assert "nested deeper" in words(page, "#wrong-yaml")[0]
    page = press(ines, page, "boxes", yaml="{field: item.text, op: has_any, value: [a, 'b, c']}")
    assert fields(page)["n.1.value"] == 'a, "b, c"'
    keep(ines, page)
    leaf = {"field": "item.text", "op": "has_any", "value": ["a", "b, c"]}
    assert stored(desk)[0].condition == {"all": [leaf]}


def test_what_looks_wrong_stands_beside_the_rule(desk: Desk, ines: Browser) -> None:
    page = ines.page(f"{RULES}/new")
    typed = {"n.1.field": "item.text", "n.1.op": "has_any", "n.1.value": "order"}
    page = press(ines, press(ines, page, "redraw", **typed), "redraw", name="Late", **typed)
    keep(ines, page)
    assert "It is never reached: the earlier rule “Order keywords”" in words(ines.page(RULES), ".rule .odd")[0]


def test_only_admins_have_rules(desk: Desk, app: Flask) -> None:
    jonas = Browser(app)
    jonas.sign_in("jonas@desk.example")
    assert jonas.page("/inbox/mine").css("#v-settings") == []
    for path in (RULES, f"{RULES}/new", f"{RULES}/1", f"{RULES}/1/delete"):
        assert jonas.get(path).status_code == 403
    for path in (f"{RULES}/form", f"{RULES}/1/move", f"{RULES}/1/switch", f"{RULES}/1/delete"):
        assert jonas.post(path, version="1").status_code == 403
    assert len(stored(desk)) == 2


@settings(max_examples=150, deadline=None)
@given(trees)
def test_a_condition_that_goes_through_the_form_means_what_it_meant(tree: dict[str, Any]) -> None:
    box = box_of(tree)
    if box is None:
        return
    settle(box)
    sent: dict[str, str] = {}

    def send(part: Any) -> None:
        if hasattr(part, "parts"):
            sent[f"{part.path}.join"] = part.name
            for each in part.parts:
                send(each)
        else:
            sent.update({f"{part.path}.{name}": str(getattr(part, name)) for name in ("field", "op", "value", "zone")})
            sent[f"{part.path}.against"] = "field" if part.against else ""

    send(box)
    back = read_box(sent)
    settle(back)
    before, after = read_condition(tree), read_condition(back.tree())
    for world in [*WORLDS, Fields({})]:
        assert before.holds(world) is after.holds(world), (tree, back.tree())
    assert from_yaml(as_yaml(tree)) == tree


def test_places_in_conditions_are_places_in_the_form() -> None:
    assert box_path("all[1].any[2].value") == "n.1.2.value"
    assert box_path("not[3]") == "n.3"
    assert box_path("any[1].value.field") == "n.1.value"
    assert re.fullmatch(r"n\.1\.field", box_path("all[1].field"))
