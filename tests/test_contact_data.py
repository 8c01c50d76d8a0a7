"""What a desk knows of Mara beside her messages: its own fields, notes, consents, orders, and her clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from channels.base import Strength
from hub import contactfields, contactlog
from hub.apitokens import create_token
from hub.contactfields import FieldForm
from hub.contactlog import Told
from hub.contacts import Details, change_details, merge, unmerge
from hub.desk import apply, export, read
from hub.deskfile import DeskError
from hub.localtime import local_time, zones_of
from hub.refusals import FieldRefused
from storage.access import SYSTEM, Conflict, Forbidden, NotFound
from storage.contactdata import consents_of, contact_fields, events_of, notes_of
from storage.deliveries import Suppression
from storage.facts import FactRow
from storage.people import Contact, Identity
from tests.browser.room import Browser, attr, words
from tests.desk import MARA_PHONE, Desk
from tests.test_permissions import api_of

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
FIELDS = "/inbox/settings/fields"


def order(number: str = "48213", status: str = "paid") -> Told:
    return Told("order", number, f"Order {number}", AT, status, "129.00", "EUR")


def make_fields(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        for form in (
            FieldForm("Tier", "", "choice", "gold\nsilver"),
            FieldForm("Contract ends", "", "date"),
            FieldForm("Lamps", "", "number"),
            FieldForm("Newsletter", "news", "flag"),
            FieldForm("Shop", "shop", "text"),
        ):
            contactfields.save_field(tx, desk.ines, None, form)


@pytest.fixture
def mara(desk: Desk) -> int:
    """The conversation of her text; her contact is the first."""
    return desk.text("Where is my lamp?").conversation_id or 0


@pytest.fixture
def shop(desk: Desk) -> Iterator[FlaskClient]:
    """A program of the shop, with an admin's token."""
    with desk.hub.store.write() as tx:
        token = create_token(tx, name="shop", role="admin")
    with api_of(desk) as app:
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        yield client


# --- fields -----------------------------------------------------------------------------------------------------------


def test_ines_makes_a_field_and_jonas_fills_it_in(ines: Browser, jonas: Browser, desk: Desk, mara: int) -> None:
    ines.page(f"{FIELDS}/new")
    made = ines.post(f"{FIELDS}/new", label="Contract ends", kind="date")
    assert made.status_code == 303
    ines.post(f"{FIELDS}/new", label="Tier", kind="choice", choices="gold\r\n silver \n\ngold")
    assert words(ines.page(FIELDS), ".card-row code") == ["contact.contract_ends", "contact.tier"]

    page = jonas.page(f"/inbox/c/{mara}/details")
    assert words(page, "#field-tier option") == ["", "gold", "silver"]
    typed = {"seen": attr(page, "input[name=seen]", "value"), "name": "Mara Lindqvist", "company": "Northlight"}
    typed |= {"field-tier": "gold", "field-contract_ends": "2026-12-24"}
    done = Page(jonas.post(f"/inbox/c/{mara}/details", hx=True, **typed).text)
    assert words(done, "#known dt") == ["Local time", "Company", "Contract ends", "Tier"]
    assert words(done, "#known dd")[1:] == ["Northlight", "24 Dec 2026", "gold"]
    with desk.hub.store.read() as tx:
        assert tx.get_one(Contact, 1).attributes == {"tier": "gold", "contract_ends": "2026-12-24"}
        fact = tx.exec(select(FactRow).where(FactRow.name == "ContactChanged")).all()[-1]
        assert fact.data["what"] == "name, company, contract_ends, tier"


def test_what_can_not_be_kept_stays_in_the_form_with_a_sentence(jonas: Browser, desk: Desk, mara: int) -> None:
    make_fields(desk)
    page = jonas.page(f"/inbox/c/{mara}/details")
    typed = {"seen": attr(page, "input[name=seen]", "value"), "name": "Mara", "company": "Northlight"}
    for wrong, sentence in (
        ({"field-lamps": "many"}, "Write a number"), ({"field-contract_ends": "Christmas"}, "2026-12-24"),
        ({"field-tier": "platinum"}, "Choose one of gold, silver"), ({"zone": "Stockholm"}, "Europe/Stockholm"),
        ({"language": "Swedish"}, "by its code"), ({"field-shop": "x" * 1001}, "At most 1000"),
    ):  # fmt: skip
        refused = jonas.post(f"/inbox/c/{mara}/details", hx=True, **(typed | wrong))
        page = Page(refused.text)
        (field,) = wrong
        assert refused.status_code == 422 and sentence in words(page, f"#wrong-{field}")[0]
        assert attr(page, "#d-company", "value") == "Northlight"
        assert attr(page, f"[name={field}][aria-invalid]", "aria-describedby") == f"wrong-{field}"
    with desk.hub.store.read() as tx:
        assert tx.get_one(Contact, 1).company == ""


def test_two_who_edit_one_person_are_told_of_each_other(jonas: Browser, desk: Desk, mara: int) -> None:
    page = jonas.page(f"/inbox/c/{mara}/details")
    typed = {"seen": attr(page, "input[name=seen]", "value"), "name": "Mara L."}
    with desk.hub.store.write() as tx:
        change_details(tx, desk.amara, 1, Details(company="Northlight"))
    late = jonas.post(f"/inbox/c/{mara}/details", hx=True, **typed)
    assert late.status_code == 409 and "Somebody has changed this person meanwhile" in late.text
    assert attr(Page(late.text), "#d-name", "value") == "Mara L."
    with desk.hub.store.read() as tx:
        assert (tx.get_one(Contact, 1).name, tx.get_one(Contact, 1).company) == ("", "Northlight")


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"label": " "}, "label", "Give it a name"),
        ({"label": "tier"}, "label", "There is a field with this name"),
        ({"label": "Level", "name": "tier"}, "name", "There is a field contact.tier"),
        ({"label": "Name"}, "name", "contact.name is something else already"),
        ({"label": "电话"}, "name", "Rules need a name"),
        ({"label": "Size", "kind": "choice", "choices": "one"}, "choices", "at least two"),
        ({"label": "Size", "kind": "colour"}, "kind", "Choose what it holds"),
    ],
)
def test_what_is_wrong_with_a_field_is_said_beside_it(
    desk: Desk, ines: Browser, typed: dict[str, Any], field: str, sentence: str
) -> None:
    make_fields(desk)
    ines.page(f"{FIELDS}/new")
    answer = ines.post(f"{FIELDS}/new", **({"kind": "text"} | typed))
    assert answer.status_code == 422 and sentence in words(Page(answer.text), f"#wrong-{field}")[0]


def test_fields_are_moved_renamed_and_deleted_and_what_was_written_stays(
    desk: Desk, ines: Browser, jonas: Browser, mara: int
) -> None:
    make_fields(desk)
    with desk.hub.store.write() as tx:
        change_details(tx, desk.jonas, 1, Details(attributes={"tier": "gold", "news": False}))
    assert ines.page(FIELDS).css("button[disabled]")
    number = attr(ines.page(FIELDS), ".card-row:last-child a", "href").rpartition("/")[2]
    ines.post(f"{FIELDS}/{number}/move", to="up")
    assert words(ines.page(FIELDS), ".rule-name")[-2:] == ["Shop", "Newsletter"]
    seen = attr(ines.page(f"{FIELDS}/{number}"), "input[name=seen]", "value")
    ines.post(f"{FIELDS}/{number}", label="Their shop", seen=seen)
    assert "Their shop" in words(ines.page(FIELDS), ".rule-name")
    late = ines.post(f"{FIELDS}/{number}", label="My shop", seen=seen)
    assert late.status_code == 422 and "Their shop" in words(ines.page(FIELDS), ".rule-name")
    assert "1 customer has something in it." in ines.get(f"{FIELDS}/1/delete").text
    assert "Nobody has anything in it." in ines.get(f"{FIELDS}/{number}/delete").text
    ines.post(f"{FIELDS}/1/delete")
    assert words(jonas.page(f"/inbox/c/{mara}"), "#known dd")[1:] == ["No", "gold"]
    assert jonas.page(f"/inbox/c/{mara}/details").css_first("#field-tier") is None
    assert jonas.get(FIELDS).status_code == 403


def test_a_rule_asks_for_a_field_and_sees_its_type(desk: Desk, mara: int) -> None:
    make_fields(desk)
    rule = {"name": "Gold", "when": {"all": [{"field": "contact.tier", "op": "eq", "value": "gold"},
            {"field": "contact.lamps", "op": "gt", "value": 3}, {"field": "contact.news", "op": "eq", "value": True}]},
            "then": {"queue": "Billing"}}  # fmt: skip
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, {"rules": [rule]})
        change_details(tx, desk.jonas, 1, Details(attributes={"tier": "gold", "lamps": 4, "news": True}))
    desk.clock.forward(days=20)
    desk.text("And my other one?")
    with desk.hub.store.read() as tx:
        billing = tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0]
    assert desk.conversations()[-1].queue_id == billing


def test_the_rule_form_offers_the_desk_s_fields(desk: Desk, ines: Browser) -> None:
    make_fields(desk)
    offered = [node.attributes["value"] for node in ines.page("/inbox/settings/rules/new").css("#fields option")]
    assert "contact.contract_ends" in offered


def test_fields_are_kept_in_the_desk_file(desk: Desk) -> None:
    make_fields(desk)
    with desk.hub.store.write() as tx:
        document = read(export(tx))
        assert apply(tx, SYSTEM, document) == []
    assert document["contact_fields"][0] == {
        "name": "tier", "label": "Tier", "kind": "choice", "choices": ["gold", "silver"],
    }  # fmt: skip
    changed = [
        {"name": "tier", "label": "Level", "kind": "choice", "choices": ["gold", "tin"]},
        {"name": "vip", "label": "VIP", "kind": "flag"},
    ]
    with desk.hub.store.write() as tx:
        told = [str(change) for change in apply(tx, SYSTEM, {"contact_fields": changed})]
        assert told[:2] == ["~ contact field tier: label, choices", "+ contact field vip"] and len(told) == 6
        assert [row.name for row in contact_fields(tx)] == ["tier", "vip"]
    for broken, sentence in (
        ({"name": "email", "label": "Mail"}, "contact.email is something else already"),
        ({"name": "Tier", "label": "Tier"}, "must be small letters"),
        ({"name": "tier", "label": "Tier", "kind": "colour"}, "is no kind of field"),
        ({"name": "tier", "label": "Tier", "kind": "choice"}, "choices are for kind: choice"),
        ({"name": "tier", "label": "Tier", "values": []}, "unknown key 'values'"),
    ):
        with pytest.raises(DeskError) as refused, desk.hub.store.write() as tx:
            apply(tx, SYSTEM, {"contact_fields": [broken]})
        assert sentence in str(refused.value)


# --- the API ----------------------------------------------------------------------------------------------------------


def test_a_program_changes_attributes_typed_by_the_desk_s_fields(desk: Desk, shop: FlaskClient, mara: int) -> None:
    make_fields(desk)
    told = {"company": "Northlight", "zone": "Europe/Madrid"}
    told["attributes"] = {"tier": "silver", "lamps": "2", "news": "yes", "crm": {"id": 7}}  # type: ignore[assignment]
    changed = shop.patch("/api/v1/contacts/1", json=told).json
    assert changed is not None and changed["attributes"] == {
        "tier": "silver",
        "lamps": 2,
        "news": True,
        "crm": {"id": 7},
    }
    gone = shop.patch("/api/v1/contacts/1", json={"attributes": {"crm": None, "lamps": None}}).json
    assert (
        gone is not None and gone["attributes"] == {"tier": "silver", "news": True} and gone["zone"] == "Europe/Madrid"
    )
    assert [each["name"] for each in (shop.get("/api/v1/contact-fields").json or {})["fields"]][:2] == [
        "tier", "contract_ends",
    ]  # fmt: skip
    for wrong, field in (
        ({"attributes": {"tier": "tin"}}, "tier"), ({"attributes": {"name": "x"}}, "name"), ({"zone": "Mars"}, "zone"),
        ({"attributes": {"blob": "x" * 5000}}, "blob"),
    ):  # fmt: skip
        refused = shop.patch("/api/v1/contacts/1", json=wrong)
        assert refused.status_code == 422 and field in refused.json["error"]["fields"]  # type: ignore[index]


def test_an_order_is_told_and_told_again(desk: Desk, shop: FlaskClient, jonas: Browser, mara: int) -> None:
    body = {"kind": "order", "id": "48213", "title": "Two pendants", "at": "2026-11-20T09:00:00Z", "status": "paid",
            "amount": "129.00", "currency": "EUR", "url": "https://shop.example/orders/48213"}  # fmt: skip
    before = attr(jonas.page(f"/inbox/c/{mara}"), ".later", "id")
    first = shop.post("/api/v1/contacts/1/events", json=body)
    assert first.status_code == 200 and shop.post("/api/v1/contacts/1/events", json=body).json == first.json
    shop.post("/api/v1/contacts/1/events", json=body | {"status": "shipped"})
    (event,) = (shop.get("/api/v1/contacts/1/events").json or {})["events"]
    assert (event["status"], event["number"]) == ("shipped", first.json["number"])  # type: ignore[index]
    with desk.hub.store.read() as tx:
        assert len(tx.exec(select(FactRow).where(FactRow.name == "ContactEventNoted")).all()) == 2

    page = jonas.page(f"/inbox/c/{mara}/about", hx=True)
    assert words(page, "#bought li") == ["Two pendants20 Nov · shipped129.00 EUR"]
    assert attr(page, "#bought a", "rel") == "noopener noreferrer"
    assert attr(jonas.page(f"/inbox/c/{mara}"), ".later", "id") != before, "it is fetched again"

    for wrong, field in (
        ({"at": "2026-11-20T09:00:00"}, "at"), ({"amount": "lots"}, "amount"), ({"currency": ""}, "currency"),
        ({"url": "javascript:alert(1)"}, "url"), ({"kind": "An order"}, "kind"),
    ):  # fmt: skip
        refused = shop.post("/api/v1/contacts/1/events", json=body | wrong)
        assert refused.status_code == 422 and field in str(refused.json), wrong
    desk.text("Hello", sender="+46701740699")
    taken = shop.post("/api/v1/contacts/2/events", json=body)
    assert taken.status_code == 409 and "another contact" in taken.json["error"]["message"]  # type: ignore[index]
    assert shop.delete(f"/api/v1/contacts/2/events/{event['number']}").status_code == 404
    assert shop.delete(f"/api/v1/contacts/1/events/{event['number']}").status_code == 204
    assert (shop.get("/api/v1/contacts/1/events").json or {})["events"] == []


def test_notes_and_consents_by_the_api(shop: FlaskClient, mara: int) -> None:
    assert shop.post("/api/v1/contacts/1/notes", json={"text": "Ring twice"}).status_code == 201
    (note,) = (shop.get("/api/v1/contacts/1/notes").json or {})["notes"]
    assert (note["text"], note["agent_id"]) == ("Ring twice", None)
    line = {"purpose": "Marketing", "given": True, "source": "checkout box", "identity_id": 1}
    assert shop.post("/api/v1/contacts/1/consents", json=line).status_code == 201
    (told,) = (shop.get("/api/v1/contacts/1/consents").json or {})["consents"]
    assert (told["purpose"], told["given"], told["source"]) == ("marketing", True, "checkout box")
    assert shop.post("/api/v1/contacts/1/consents", json=line | {"identity_id": 99}).status_code == 404
    assert shop.post("/api/v1/contacts/1/consents", json=line | {"source": " "}).status_code == 422


# --- the panel --------------------------------------------------------------------------------------------------------


def test_a_note_about_mara_is_beside_all_her_conversations(jonas: Browser, desk: Desk, mara: int) -> None:
    sheet = jonas.page(f"/inbox/c/{mara}/contact-note", hx=True)
    jonas.post(attr(sheet, "form", "hx-post"), hx=True, text="The dog is friendly.\n<b>Ring twice</b>")
    page = jonas.page(f"/inbox/c/{mara}/about", hx=True)
    assert words(page, ".remembered p") == ["The dog is friendly. <b>Ring twice</b>"]
    assert words(page, ".remembered small") == ["Jonas Weber, 10:00"]
    note = attr(page, ".remembered input[name=note]", "value")
    with pytest.raises(Forbidden), desk.hub.store.write() as tx:
        contactlog.drop_note(tx, desk.amara, 1, int(note))
    gone = Page(jonas.post(f"/inbox/c/{mara}/contact-note/drop", hx=True, note=note).text)
    assert not jonas.page(f"/inbox/c/{mara}/about", hx=True).css(".remembered")
    back = gone.css_first(".toast form")
    assert back is not None
    jonas.post(back.attributes["hx-post"] or "", hx=True, text=attr(back, "input[name=text]", "value"))
    assert words(jonas.page(f"/inbox/c/{mara}/about", hx=True), ".remembered p")
    assert jonas.post(f"/inbox/c/{mara}/contact-note", hx=True, text="  ").status_code == 409


def test_who_may_be_written_to_and_what_they_agreed_to(jonas: Browser, desk: Desk, mara: int) -> None:
    sheet = jonas.page(f"/inbox/c/{mara}/consent", hx=True)
    assert words(sheet, "#reached option") == ["any way", "+46 70 174 06 05"]
    post = attr(sheet, "form", "hx-post")
    kept = jonas.post(post, hx=True, purpose="Marketing", given="yes", source="", identity="1")
    assert kept.status_code == 422 and "Say how we know" in words(Page(kept.text), "#wrong-source")[0]
    jonas.post(post, hx=True, purpose="Marketing", given="yes", source="on the phone", identity="1")
    desk.clock.forward(days=2)
    jonas.post(post, hx=True, purpose="marketing", given="no", source="by mail", identity="1")
    with desk.hub.store.write() as tx:
        tx.add(Suppression(kind="phone", value=MARA_PHONE, reason="stop", source="STOP", at=tx.now))
    page = jonas.page(f"/inbox/c/{mara}/about", hx=True)
    assert words(page, "#agreed li") == [
        "+46 70 174 06 05sent STOP10:00 · STOP", "Marketing · +46 70 174 06 05withdrawn10:00 · by mail",
    ]  # fmt: skip
    with desk.hub.store.read() as tx:
        assert [line.given for line in consents_of(tx, 1)] == [False, True], "every line stays"


def test_a_merge_brings_everything_together_and_parts_it_again(desk: Desk, mara: int) -> None:
    mail = desk.mail("Order", "Where is it?").contact_id or 0
    with desk.hub.store.write() as tx:
        contactlog.add_note(tx, desk.jonas, mail, "By mail")
        contactlog.note_event(tx, desk.jonas, mail, order())
        contactlog.add_note(tx, desk.jonas, 1, "By text")
        done = merge(tx, desk.jonas, 1, mail).id or 0
        assert [note.text for note in notes_of(tx, 1)] == ["By text", "By mail"]
        assert contactlog.note_event(tx, desk.jonas, 1, order(status="shipped"))[1] is False
        assert [event.status for event in events_of(tx, 1)] == ["shipped"]
        unmerge(tx, desk.jonas, done)
        assert [note.text for note in notes_of(tx, mail)] == ["By mail"] and not events_of(tx, 1)
        with pytest.raises(Conflict, match="another contact"):
            contactlog.note_event(tx, desk.jonas, 1, order())
    with pytest.raises(NotFound), desk.hub.store.write() as tx:
        contactlog.drop_event(tx, desk.jonas, 1, 1)


def test_without_scripts_the_rest_is_a_page_of_its_own(jonas: Browser, mara: int) -> None:
    link = attr(jonas.page(f"/inbox/c/{mara}"), ".later a", "href")
    assert "Notes about them" in words(jonas.page(link), "h3")[0]
    assert jonas.page(f"/inbox/c/{mara}/contact-note").css_first("main textarea")
    kept = jonas.post(f"/inbox/c/{mara}/contact-note", text="Ring twice")
    assert kept.status_code == 303


def test_tomas_who_may_not_see_mara_can_do_nothing_of_it(app: Flask, desk: Desk) -> None:
    number = desk.mail("Order 1", "Where is my lamp?").conversation_id
    tomas = Browser(app)
    tomas.sign_in("tomas@desk.example")
    for path in ("about", "details", "contact-note", "consent"):
        assert tomas.get(f"/inbox/c/{number}/{path}").status_code == 404, path
    for path in ("details", "contact-note", "contact-note/drop", "consent"):
        values: dict[str, Any] = {"name": "x", "text": "x", "note": "1", "purpose": "x", "source": "x"}
        assert tomas.post(f"/inbox/c/{number}/{path}", **values).status_code == 404, path


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_mara_s_clock_is_that_of_her_number_until_somebody_knows_better(jonas: Browser, desk: Desk, mara: int) -> None:
    assert words(jonas.page(f"/inbox/c/{mara}"), "#known dd") == ["11:001 h ahead of you"]
    with desk.hub.store.write() as tx:
        change_details(tx, desk.jonas, 1, Details(zone="Asia/Kolkata"))
    desk.clock.forward(hours=7)
    assert words(jonas.page(f"/inbox/c/{mara}"), "#known dd") == ["22:30night5:30 h ahead of you"]


@pytest.mark.parametrize(
    ("number", "zone"),
    [
        ("+46701740605", "Europe/Stockholm"),
        ("+12125550123", "America/New_York"),
        ("+447700900184", "Europe/London"),  # tells no place, but its country has one clock
        ("+61412345678", None),  # a mobile somewhere in Australia
        ("+999", None),
        ("nonsense", None),
    ],
)
def test_a_telephone_number_tells_the_time_where_it_can(number: str, zone: str | None) -> None:
    identity = Identity(contact_id=1, kind="phone", value=number, strength=int(Strength.PHONE), created_at=AT)
    told = local_time(Contact(created_at=AT), [identity], AT)
    assert (told.zone if told else None) == zone
    assert zones_of(number) or zone is None


def test_values_are_read_by_kind(desk: Desk) -> None:
    make_fields(desk)
    with desk.hub.store.read() as tx:
        known = {row.name: row for row in contact_fields(tx)}
    for name, given, kept in (
        ("lamps", " 12,5 ", 12.5), ("lamps", "12.0", 12), ("lamps", 3, 3), ("news", "No", False), ("news", True, True),
        ("contract_ends", "2026-12-24", "2026-12-24"), ("shop", " Malmö ", "Malmö"), ("shop", "", None),
        ("tier", None, None),
    ):  # fmt: skip
        assert contactfields.read_value(known[name], given) == kept
    wrong: list[tuple[str, Any]] = [
        ("lamps", "nan"), ("lamps", True), ("lamps", "1e400"), ("lamps", [1]), ("news", "maybe"), ("news", 1),
        ("contract_ends", "24.12.2026"), ("contract_ends", 20261224), ("shop", 5), ("tier", "Gold"),
    ]  # fmt: skip
    for name, given in wrong:
        with pytest.raises(FieldRefused):
            contactfields.read_value(known[name], given)
