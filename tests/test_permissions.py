"""What each role may do: every route of the inbox and the API asks for exactly the permission that stands here.

A new route fails this test until somebody has said who may use it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import col, select
from werkzeug.test import TestResponse

import api
from chatops.actions import VERBS
from hub import macros, roles, savedreplies
from hub.apitokens import create_token, make_token, revoke_token
from hub.desk import apply, export, read
from hub.deskfile import DeskError
from hub.macros import Does
from hub.people import create_agent
from hub.refusals import FieldRefused
from hub.roles import RoleForm
from hub.savedreplies import Wanted
from hub.staff import change_person, person
from storage.access import (
    ANSWER,
    AUDIT,
    CONTACTS,
    ERASE,
    EVERYTHING,
    LAB,
    PEOPLE,
    PERMISSIONS,
    RECEIPTS,
    REPLIES,
    SEE_ALL,
    SETTINGS,
    SUPERVISE,
    SYSTEM,
    TOKENS,
    WEBHOOKS,
    Conflict,
    Forbidden,
    actor_for,
    completed,
)
from storage.people import Agent, Role
from tests.browser.room import PASSWORD, Browser, attr, words
from tests.desk import Desk

OPEN = "open to all"  # also without a sign-in
ANY = "anybody who is signed in"
EITHER = f"{ANSWER} or {SUPERVISE}"

INBOX: dict[str, str] = {
    **dict.fromkeys(
        ("home", "sign_in_page", "sign_in_form", "second_step_page", "second_step_form", "forgot_page", "forgot_form",
         "choose_page", "choose_form", "oidc_begin", "oidc_back", "picture", "first_account",
         "first_account_form"), OPEN),
    **dict.fromkeys(
        ("mine", "view_page", "account", "own_password", "own_language", "own_step", "own_step_begin", "own_step_codes",
         "own_step_confirm", "own_step_off", "own_sign_in_end", "own_sign_ins_end", "conversation_page", "draft",
         "merge_preview", "people", "read_form", "unread_form", "attachment", "live", "mail_html", "message_raw",
         "notifications", "notifications_keep",
         "preferences", "raw", "status", "stream", "unreadable", "sign_out_form", "suggest", "draft_elsewhere", "saved",
         "saved_new", "saved_create", "saved_preview", "saved_one", "saved_change", "saved_delete",
         "saved_delete_form", "macros", "macro", "macro_preview", "undo_macro", "here", "watching",
         "unread_form", "about",
         "wrapped_up", "bulk_all", "bulk_menu", "bulk_tags", "bulk_undo"), ANY),
    **dict.fromkeys(
        ("typed", "views", "view_counts", "view_new", "view_form", "view_one", "view_delete", "view_delete_form"), ANY),
    **dict.fromkeys(
        ("attach", "claim_form", "reopen_form", "resolve_form", "send", "snooze_form", "wake_form", "try_again", "undo",
         "take_next", "split_form", "join_form", "also_form", "also_drop_form", "undo_move",
         "accept", "decline", "run_macro", "tag_form", "untag_form", "now"), ANSWER),
    **dict.fromkeys(("assign_form", "release_form", "transfer_form", "bulk"), EITHER),
    **dict.fromkeys(("allow_form", "merge_form", "unmerge_form", "details", "details_form", "contact_note", "apart",
                     "contact_note_form", "contact_note_drop", "consent", "consent_form", "block_form"), CONTACTS),
    **dict.fromkeys(("export_contact", "erase_contact", "erase_contact_form"), ERASE),
    **dict.fromkeys(
        ("floor", "floor_agents", "floor_agents_do", "floor_conversations", "floor_conversations_do", "floor_queues",
         "floor_queues_do"), SUPERVISE),
    **dict.fromkeys(("macro_new", "macro_create", "macro_change", "macro_delete", "macro_delete_form"), REPLIES),
    **dict.fromkeys(("lab", "lab_experiment", "lab_cancel", "lab_state", "lab_form"), LAB),
    **dict.fromkeys(
        ("lab_apply", "lab_apply_form", "rules", "rule", "rule_delete", "rule_delete_form", "rule_move", "rule_switch",
         "rule_switch_form", "rule_form", "rule_new", "contact_fields", "contact_field", "contact_field_new",
         "contact_field_create", "contact_field_change", "contact_field_move", "contact_field_delete",
         "contact_field_delete_form", "settings", "channels", "channel_kinds", "channel_new",
         "channel_add", "channel", "channel_save", "channel_switch", "channel_switch_form", "channel_test",
         "channel_test_step", "tags", "tag", "tag_rename", "tag_remove", "first_steps", "first_steps_serve",
         "queues", "calendars", "skills", "profiles",
         *(f"{noun}{verb}" for noun in ("queue", "calendar", "skill", "profile")
           for verb in ("", "_new", "_add", "_save", "_remove", "_remove_form"))), SETTINGS),
    **dict.fromkeys(
        ("ledger", "ledger_entry", "ledger_retry", "ledger_replay", "ledger_replay_form", "leave_unreadable", "retry"),
        RECEIPTS),
    **dict.fromkeys(
        ("people_list", "person", "person_save", "person_invite", "person_reset_step", "person_sign_out",
         "person_switch", "person_new", "person_add", "people_second_step", "roles", "role", "role_save",
         "role_delete", "role_new", "role_add"), PEOPLE),
    **dict.fromkeys(("tokens", "token_make", "token_revoke"), TOKENS),
    **dict.fromkeys(
        ("webhooks", "webhook_new", "webhook_add", "webhook", "webhook_save", "webhook_log", "webhook_test",
         "webhook_switch", "webhook_secret", "webhook_remove", "webhook_remove_form", "webhook_replay"), WEBHOOKS),
    "audit": AUDIT,
}  # fmt: skip

API: dict[str, str] = {
    **dict.fromkeys(("nowhere", "list_calendars", "list_contacts", "get_contact", "get_timeline",
                     "list_conversations", "get_conversation", "list_messages", "explain_conversation",
                     "recompute_conversation", "list_choices", "list_event_types", "list_events", "list_receipts",
                     "get_receipt", "get_raw", "list_saved_replies", "get_saved_reply", "list_contact_fields",
                     "list_contact_events", "list_contact_notes", "list_consents", "list_told_apart"), ANY),
    "list_views": ANY,
    **dict.fromkeys(
        ("claim_conversation", "add_note", "reopen_conversation", "send_reply", "resolve_conversation",
         "snooze_conversation", "wake_conversation", "take_next_conversation"), ANSWER),
    **dict.fromkeys(
        ("assign_conversation", "release_conversation", "transfer_conversation", "label_conversation"), EITHER),
    **dict.fromkeys(("add_contact_identity", "allow_identity", "merge_contacts", "undo_merge", "change_contact",
                     "tell_contact_event", "drop_contact_event", "add_contact_note", "forget_contacts_apart",
                     "record_contact_consent", "block_contact", "unblock_contact", "tell_contacts_apart"), CONTACTS),
    **dict.fromkeys(("export_contact", "erase_contact"), ERASE),
    **dict.fromkeys(
        ("drain_agent", "undrain_agent", "set_agent_status", "end_agent_wrap_up", "pin_conversation",
         "unpin_conversation",
         "prioritise_conversation", "take_over_conversation", "pause_queue", "resume_queue"), SUPERVISE),
    **dict.fromkeys(("leave_one", "retry_one", "replay_receipts"), RECEIPTS),
    **dict.fromkeys(("list_rules", "get_rule", "try_rule"), LAB),
    **dict.fromkeys(("create_rule", "replace_rule", "delete_rule", "reorder_rules"), SETTINGS),
    **dict.fromkeys(("list_endpoints", "create_endpoint", "get_endpoint", "delete_endpoint", "list_deliveries",
                     "replay_delivery"), WEBHOOKS),
}  # fmt: skip

RULE = {"name": "A rule", "when": {"field": "item.text", "op": "has_any", "value": ["x"]}, "then": {"queue": "General"}}
BODIES: dict[str, Any] = {
    "add_note": {"text": "A note"}, "send_reply": {"text": "Hello"}, "snooze_conversation": {"until": None},
    "assign_conversation": {"agent_id": 2}, "transfer_conversation": {"queue_id": 3}, "merge_contacts": {"other_id": 2},
    "add_contact_identity": {"kind": "email", "value": "new@example.com"}, "set_agent_status": {"status": "away"},
    "prioritise_conversation": {"priority": 5}, "take_over_conversation": {"reason": "because"},
    "pause_queue": {"reason": "because"}, "replay_receipts": {"dry_run": True},
    "create_rule": {"version": 0, "rule": RULE}, "replace_rule": {"version": 0, "rule": RULE},
    "try_rule": {"rule": RULE}, "label_conversation": {"labels": ["urgent"]}, "tell_contacts_apart": {"other_id": 2},
    "change_contact": {"name": "Mara"}, "add_contact_note": {"text": "Ring twice"},
    "tell_contact_event": {"kind": "order", "id": "1", "title": "Order 1", "at": "2026-11-24T10:00:00Z"},
    "record_contact_consent": {"purpose": "marketing", "given": True, "source": "told us"},
    "reorder_rules": {"version": 0, "ids": [1, 2]}, "create_endpoint": {"name": "crm", "url": "https://example.com/"},
}  # fmt: skip
QUERIES = {"delete_rule": "?version=0", "list_events": "?wait=0"}


@pytest.fixture
def noor(desk: Desk) -> Agent:
    """Somebody whose role the tests change, with something of everything to try it on."""
    desk.mail("Order", "Where is my lamp?")
    desk.text("And my parcel?", sender="+46701740699")
    with desk.hub.store.write() as tx:
        tx.add(Role(name="Probe"))
        tx.flush()
        return create_agent(
            tx, name="Noor Haddad", email="noor@desk.example", password=PASSWORD, role="Probe", queues=["Shipping"]
        )


def allow(desk: Desk, permissions: frozenset[str]) -> None:
    with desk.hub.store.write() as tx:
        row = tx.exec(select(Role).where(Role.name == "Probe")).one()
        row.permissions = sorted(permissions)
        tx.add(row)


def ids(rule: Any) -> dict[str, Any]:
    """For every part of an address something that is there, somebody else where a person is meant."""
    values: dict[str, Any] = {}
    for name in rule.arguments:
        others = ("/inbox/people/<", "/inbox/people/roles/<", "/inbox/floor/agents")
        about_people = name == "agent_id" or rule.rule.startswith(others)
        values[name] = 2 if about_people or name in ("person", "other_id") else 1
    values |= rule.defaults or {}
    return values | {name: "x" for name in ("view", "token", "rest", "name", "filename") if name in rule.arguments}


FORM: dict[str, Any] = {
    "agent": "2", "queue": "3", "until": "later", "identity": "1", "merge": "1", "other": "2", "person": "2",
    "name": "Mara", "text": "Hello", "reply": "Hello", "kind": "reply", "channel": "1:1", "status": "away", "to": "up",
    "seen": "1", "version": "0", "do": "release", "reason": "because", "on": "1", "wanted": "0", "email": "x@y.example",
    "label": "Tier", "message": "1", "purpose": "marketing", "source": "told us", "note": "1",
    "role": "agent", "capacity": "100", "allow": "answer", "run": "1", "tag": "urgent",
}  # fmt: skip


def test_every_route_of_the_inbox_asks_for_its_permission(app: Flask, desk: Desk, noor: Agent) -> None:
    rules = {rule.endpoint.removeprefix("inbox."): rule for rule in app.url_map.iter_rules() if
             rule.endpoint.startswith("inbox.")}  # fmt: skip
    assert rules.keys() == INBOX.keys(), "say in INBOX which permission a new route asks for"
    assert {*INBOX.values()} == {*PERMISSIONS, OPEN, ANY, EITHER} - {SEE_ALL}
    with desk.hub.store.write() as tx:
        tx.add(Role(name="Other", permissions=[ANSWER]))
        macros.create(tx, SYSTEM, macros.Wanted("Calm down", Does(tags=("calm",))))
    stranger = Browser(app)
    for name, needed in INBOX.items():
        browser = Browser(app)
        browser.sign_in("noor@desk.example")
        if needed in (OPEN, ANY):
            allow(desk, frozenset())
            answer = ask(browser, app, rules[name])
            assert answer.status_code != 403 or needed == OPEN, (name, answer.text[:600])
            answer.close()  # of the stream, which has no end
            shut = ask(stranger, app, rules[name])
            assert needed == OPEN or sent_away(shut), (name, shut.status_code)
            continue
        any_of = needed.split(" or ")
        allow(desk, EVERYTHING - {*any_of})
        refused = ask(browser, app, rules[name])
        assert refused.status_code == 403, (name, refused.status_code, refused.text[:600])
        assert any_of[0] in refused.text and "signed in as Probe" in refused.text, name
        for each in any_of:
            allow(desk, enough(each))
            let = ask(browser, app, rules[name])
            assert let.status_code != 403 and let.status_code < 500, (name, each, let.text[:600])
        assert sent_away(ask(stranger, app, rules[name])), name


def enough(needed: str) -> frozenset[str]:
    """Nothing else; only who changes people or makes tokens has to have what those have."""
    return completed({needed, ANSWER, CONTACTS} if needed in (PEOPLE, TOKENS) else {needed})


def sent_away(answer: TestResponse) -> bool:
    return answer.status_code in (401, 403) or (answer.location or "").startswith("/sign-in")


def ask(browser: Browser, app: Flask, rule: Any) -> Any:
    with app.test_request_context():
        path = app.url_map.bind("localhost").build(rule.endpoint, ids(rule), force_external=False)
    if "GET" in rule.methods:
        return browser.client.get(path)
    browser.get("/inbox/account")
    files = (io.BytesIO(b"x"), "x.txt") if rule.endpoint == "inbox.attach" else None
    return browser.post(path, files=files, **FORM)


@contextmanager
def api_of(desk: Desk) -> Iterator[Flask]:
    app = Flask("api_test", static_folder=None)
    app.extensions["hub"] = desk.hub
    app.register_blueprint(api.create_blueprint())
    yield app


def test_every_route_of_the_api_asks_for_its_permission(desk: Desk, noor: Agent) -> None:
    with api_of(desk) as app, desk.hub.store.write() as tx:
        token = create_token(tx, name="probe", role="Probe", agent_id=noor.id)
    rules: dict[str, Any] = {}
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("api.v1."):
            rules[rule.endpoint.rpartition(".")[2]] = rule
    assert rules.keys() == API.keys(), "say in API which permission a new route asks for"
    client = app.test_client()
    for name, needed in API.items():
        if needed == ANY:
            allow(desk, frozenset())
            answer = call(client, app, rules[name], token)
            assert answer.status_code in (200, 404, 405), (name, answer.text[:600])
        else:
            any_of = needed.split(" or ")
            allow(desk, EVERYTHING - {*any_of})
            refused = call(client, app, rules[name], token)
            assert refused.status_code == 403, (name, refused.status_code, refused.text[:600])
            assert any_of[0] in refused.json["error"]["message"], name
            for each in any_of:
                allow(desk, enough(each))
                let = call(client, app, rules[name], token)
                assert let.status_code not in (400, 403, 422) and let.status_code < 500, (name, each, let.text[:600])
        assert call(client, app, rules[name], "swy_wrong").status_code == 401, name


def call(client: FlaskClient, app: Flask, rule: Any, token: str) -> Any:
    path = app.url_map.bind("localhost").build(rule.endpoint, ids(rule), force_external=False)
    name = rule.endpoint.rpartition(".")[2]
    method = next(each for each in ("GET", "POST", "PUT", "PATCH", "DELETE") if each in rule.methods)
    body: Mapping[str, Any] | None = BODIES.get(name, {} if method == "POST" else None)
    headers = {"Authorization": f"Bearer {token}"}
    return client.open(path + QUERIES.get(name, ""), method=method, json=body, headers=headers)


def test_what_everybody_says_is_edited_by_whom_the_role_lets(desk: Desk, noor: Agent) -> None:
    allow(desk, EVERYTHING - {REPLIES})
    with pytest.raises(Forbidden), desk.hub.store.write() as tx:
        savedreplies.create(tx, actor_for(tx, noor), Wanted("hi", "Hello"))
    allow(desk, frozenset({REPLIES}))
    with desk.hub.store.write() as tx:
        assert savedreplies.create(tx, actor_for(tx, noor), Wanted("hi", "Hello")).agent_id is None


def test_slack_asks_as_the_inbox_does(desk: Desk, noor: Agent) -> None:
    allow(desk, EVERYTHING - {ANSWER})
    for verb in VERBS.values():
        with pytest.raises(Forbidden, match="answer"), desk.hub.store.write() as tx:
            verb(tx, actor_for(tx, noor), 1)


def test_a_role_sees_queues_that_its_people_do_not_serve(app: Flask, desk: Desk, noor: Agent) -> None:
    desk.text("My invoice please", sender="+46701740611")
    desk.route()
    browser = Browser(app)
    browser.sign_in("noor@desk.example")
    number = desk.conversations()[-1].id
    for path in (f"/inbox/c/{number}", f"/inbox/c/{number}/people", "/inbox/files/1"):
        assert browser.get(path).status_code == 404
    assert "invoice" not in browser.get("/inbox/all").text
    with desk.hub.store.write() as tx:
        row = tx.exec(select(Role).where(Role.name == "Probe")).one()
        roles.save_role(tx, SYSTEM, row.id, RoleForm("Probe", {ANSWER}, {"Billing"}))
        token = create_token(tx, name="reports", role="Probe")
    assert browser.get(f"/inbox/c/{number}").status_code == 200
    assert "invoice" in browser.get("/inbox/all").text
    assert "Billing" in words(browser.page("/inbox/all"), "#nav-views a > span")
    with api_of(desk) as api_app:
        found = api_app.test_client().get("/api/v1/conversations", headers={"Authorization": f"Bearer {token}"}).json
    assert found is not None and [each["id"] for each in found["conversations"]] == [number], "and no other queue"


# --- making roles -----------------------------------------------------------------------------------------------------

ROLES = "/inbox/people/roles"


def test_ines_makes_a_role_and_gives_it_to_amara(app: Flask, desk: Desk, ines: Browser) -> None:
    ines.page(f"{ROLES}/new")
    assert (
        ines.post(f"{ROLES}/new", name="Team lead", allow=["answer", "supervise"], queue=["Billing"]).status_code == 303
    )
    (row,) = [text for text in words(ines.page(ROLES), ".card-row") if "Team lead" in text]
    assert "0 people Sees Billing" in row and PERMISSIONS[SEE_ALL] in row, "stepping in shows everything"
    ines.page(f"/inbox/people/{desk.amara.agent_id}")
    ines.post(f"/inbox/people/{desk.amara.agent_id}", name="Amara Obi", email="amara@desk.example", role="Team lead",
              capacity="100", queue=["Shipping"])  # fmt: skip
    amara = Browser(app)
    amara.sign_in("amara@desk.example")
    assert amara.get("/inbox/floor").status_code == 200
    assert amara.get("/inbox/people").status_code == 403
    assert "Team lead" in amara.get("/inbox/account").text

    number = role_id(desk)
    ines.page(f"{ROLES}/{number}")
    ines.post(f"{ROLES}/{number}", name="Lead", allow=["answer"])
    assert amara.get("/inbox/floor").status_code == 403, "at once"
    assert desk.agent(desk.amara).role == "Lead", "a new name goes along"
    kept = ines.post(f"{ROLES}/{number}/delete")
    assert kept.status_code == 409 and "Amara Obi has this role" in kept.text


def role_id(desk: Desk) -> int:
    with desk.hub.store.read() as tx:
        return tx.exec(select(Role.id).where(col(Role.name).in_(("Probe", "Team lead", "Lead")))).one() or 0


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"name": " "}, "name", "Give it a name"),
        ({"name": "Admin"}, "name", "is built in"),
        ({"name": "x" * 65}, "name", "at most 64 characters"),
        ({"allow": ["nothing"]}, "permissions", "at least one thing"),
    ],
)
def test_what_is_wrong_with_a_role_is_said_beside_it(
    desk: Desk, ines: Browser, typed: dict[str, Any], field: str, sentence: str
) -> None:
    ines.page(f"{ROLES}/new")
    answer = ines.post(
        f"{ROLES}/new", **({"name": "Team lead", "allow": ["answer", "lab"], "queue": ["Billing"]} | typed)
    )
    page = Page(answer.text)
    assert answer.status_code == 422 and sentence in words(page, f"#wrong-{field}")[0]
    assert attr(page, "input[value=Billing]", "checked") == ""
    assert field == "permissions" or "checked" in page.css_first("input[value=lab]").attributes  # type: ignore[union-attr]


def test_nobody_gives_what_they_do_not_have(desk: Desk, noor: Agent) -> None:
    allow(desk, frozenset({ANSWER, CONTACTS, PEOPLE, TOKENS}))
    with desk.hub.store.read() as tx:
        actor = actor_for(tx, noor)
    for verb in (
        lambda tx: roles.save_role(tx, actor, None, RoleForm("Boss", {SETTINGS})),
        lambda tx: make_token(tx, actor, name="crm", role="admin", days=None, own=False),
        lambda tx: promote(tx, actor, noor.id or 0, "admin"),
        lambda tx: promote(tx, actor, desk.ines.agent_id or 0, "agent"),
        lambda tx: apply(tx, actor, {"agents": []}),
    ):
        with pytest.raises(Forbidden), desk.hub.store.write() as tx:
            verb(tx)
    with desk.hub.store.write() as tx:
        roles.save_role(tx, actor, None, RoleForm("Helper", {ANSWER}))
        assert make_token(tx, actor, name="crm", role="agent", days=None, own=True)


def promote(tx: Any, actor: Any, number: int, role: str) -> None:
    form = person(tx, SYSTEM, number)[1]
    form.role = role
    change_person(tx, actor, number, form)


def test_who_serves_queues_must_be_able_to_answer(desk: Desk, noor: Agent) -> None:
    with pytest.raises(FieldRefused, match="serves queues"), desk.hub.store.write() as tx:
        roles.save_role(tx, SYSTEM, role_id(desk), RoleForm("Probe", {AUDIT}))
    with desk.hub.store.write() as tx:
        roles.save_role(tx, SYSTEM, None, RoleForm("Auditor", {AUDIT}))
    with pytest.raises(FieldRefused, match="does not answer"), desk.hub.store.write() as tx:
        promote(tx, SYSTEM, desk.amara.agent_id or 0, "Auditor")


def test_roles_are_kept_in_the_desk_file(desk: Desk, noor: Agent) -> None:
    with desk.hub.store.write() as tx:
        roles.save_role(tx, SYSTEM, role_id(desk), RoleForm("Probe", {ANSWER, LAB}, {"Billing"}))
        text = export(tx)
        assert apply(tx, SYSTEM, read(text)) == []
    document = read(text)
    assert document["roles"] == [{"name": "Probe", "permissions": ["answer", "lab", "see_all"], "queues": ["Billing"]}]
    assert document["sign_in"] == {"second_step": "optional"}
    document["roles"][0]["permissions"] = ["answer", "supervise"]
    document["sign_in"] = {"second_step": "required"}
    with desk.hub.store.write() as tx:
        assert [str(change) for change in apply(tx, SYSTEM, document)] == [
            "~ role Probe", "~ sign_in: second_step required",
        ]  # fmt: skip
        row = tx.exec(select(Role)).one()
        assert set(row.permissions) == {ANSWER, SUPERVISE, SEE_ALL}
    for broken, sentence in (
        ({"roles": []}, "agent noor@desk.example: 'Probe' is no role; known are agent, supervisor, admin"),
        ({"roles": [{"name": "admin", "permissions": []}]}, "'admin' is built in"),
        ({"roles": [{"name": "X", "permissions": ["anser"]}]}, "did you mean 'answer'"),
        ({"roles": [{"name": "X", "permissions": [], "queues": ["Biling"]}]}, "did you mean 'Billing'"),
        ({"roles": [{"name": "Probe", "permissions": ["audit"]}]}, "does not answer, so it can't serve queues"),
        ({"sign_in": {"second_step": "perhaps"}}, "sign_in.second_step must be"),
        ({"sign_in": {"second_step": "optional", "third": "x"}}, "sign_in: unknown key 'third'; known are second_step"),
    ):
        with pytest.raises(DeskError) as refused, desk.hub.store.write() as tx:
            apply(tx, SYSTEM, broken)
        assert sentence in str(refused.value)
    with desk.hub.store.write() as tx:
        people = [each for each in document["agents"] if each["role"] != "Probe"]
        assert len(apply(tx, SYSTEM, {"agents": people, "roles": []})) == 2


# --- API tokens -------------------------------------------------------------------------------------------------------

TOKEN_PAGE = "/inbox/people/tokens"


def test_a_token_is_shown_once_used_and_revoked(desk: Desk, ines: Browser) -> None:
    ines.page(TOKEN_PAGE)
    page = Page(ines.post(TOKEN_PAGE, name="crm", role="agent", days="30", own="on").text)
    (token,) = words(page, ".shown-once code")
    assert "acts as Ines Novak · never used · until Thu 24 Dec, 10:00" in words(page, ".card-row p")[0]
    assert token not in ines.get(TOKEN_PAGE).text
    with api_of(desk) as app:
        client, headers = app.test_client(), {"Authorization": f"Bearer {token}"}
        assert client.get("/api/v1/conversations", headers=headers).status_code == 200
        assert client.get("/api/v1/rules", headers=headers).status_code == 403, "an agent's, though an admin's own"
        assert "last used Tue 24 Nov, 10:00" in words(ines.page(TOKEN_PAGE), ".card-row p")[0]
        assert ines.post(attr(ines.page(TOKEN_PAGE), ".card-row form", "action")).status_code == 303
        assert client.get("/api/v1/conversations", headers=headers).status_code == 401
    assert "Revoked" in words(ines.page(TOKEN_PAGE), ".card-row")[0]
    log = words(ines.page("/inbox/people/audit?topic=tokens"), ".audit .what")
    assert log == ["Revoked API token crm", "Made API token crm"]


def test_a_token_without_a_name_is_refused_with_everything_kept(ines: Browser) -> None:
    ines.page(TOKEN_PAGE)
    answer = ines.post(TOKEN_PAGE, name=" ", role="supervisor", days="90", own="on")
    page = Page(answer.text)
    assert answer.status_code == 422 and "Say what it is for" in words(page, "#wrong-name")[0]
    assert attr(page, "#role option[selected]", "value") == "supervisor"
    assert attr(page, "#days option[selected]", "value") == "90"


def test_a_token_of_an_agent_may_not_more_than_they(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        token = create_token(tx, name="old", role="admin", agent_id=desk.jonas.agent_id)
    with api_of(desk) as app:
        client = app.test_client()
        assert client.get("/api/v1/rules", headers={"Authorization": f"Bearer {token}"}).status_code == 403


def test_a_revoked_token_is_not_revoked_again(desk: Desk, ines: Browser) -> None:
    with desk.hub.store.write() as tx:
        create_token(tx, name="old", role="admin")
        revoke_token(tx, desk.ines, 1)
    with pytest.raises(Conflict), desk.hub.store.write() as tx:
        revoke_token(tx, desk.ines, 1)
