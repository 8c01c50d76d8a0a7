"""Programs use the hub: they read, answer and keep up, and see and do what their token may and nothing more."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from requests import Response
from sqlmodel import select

from hub.apitokens import create_token
from hub.desk import apply
from hub.feed import TYPES, type_of
from hub.replies import reply
from hub.suppression import suppress
from routing.router import Router
from storage import accountfacts
from storage.access import SYSTEM, Actor
from storage.facts import Fact
from storage.people import ApiToken
from tests.clock import Clock
from tests.desk import MARA_MAIL, MARA_PHONE, Desk
from tests.doors import Client, compose, served


@pytest.fixture
def server(desk: Desk) -> Iterator[Client]:
    with served(compose(desk.hub)) as client:
        yield client


class Program:
    """Somebody with a token. An agent's token sees what the agent sees."""

    def __init__(self, desk: Desk, server: Client, role: str = "admin", agent: Actor | None = None):
        self.server = server
        with desk.hub.store.write() as tx:
            token = create_token(tx, name=f"{role} program", role=role)
            if agent is not None:
                row = tx.exec(select(ApiToken).order_by(ApiToken.id.desc())).first()  # type: ignore[union-attr]
                assert row is not None
                row.agent_id = agent.agent_id
                tx.add(row)
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str, **query: Any) -> Any:
        answer = self.server.get(f"/api/v1{path}", params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        answer: Response = self.server.request(method, f"/api/v1{path}", json=body, headers=self.headers | headers)
        return answer

    def post(self, path: str, body: Any = None, **headers: str) -> Response:
        return self.ask("POST", path, body, **headers)


@pytest.fixture
def crm(desk: Desk, server: Client) -> Program:
    return Program(desk, server)


def refused(answer: Response, status: int, code: str) -> str:
    """The sentence of a refusal in the API's shape."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    return str(error["message"])


def test_a_program_reads_mara_s_one_history(desk: Desk, crm: Program) -> None:
    desk.mail("Lamp", "It flickers.")
    desk.clock.forward(minutes=1)
    desk.text("Where is my parcel?")
    first, second = crm.get("/conversations")["conversations"]
    assert (first["channel"], second["channel"]) == ("sms", "email")
    detail = crm.get(f"/conversations/{second['id']}")
    assert detail["queue"]["name"] == "Shipping"
    assert detail["why_waiting"]
    (message,) = crm.get(f"/conversations/{second['id']}/messages")["messages"]
    assert (message["kind"], message["text"].strip()) == ("inbound", "It flickers.")
    person = crm.get(f"/contacts/{second['contact']['id']}")
    assert person["name"] == "Mara Lindqvist"
    assert [identity["value"] for identity in person["identities"]] == [MARA_MAIL]


def test_a_program_reads_who_takes_part_beside_the_customer(desk: Desk, crm: Program) -> None:
    taken = desk.raw_mail(
        b"From: Mara <mara.lindqvist@example.com>\r\nTo: support@desk.example\r\nCc: nora@example.com\r\n\r\nHello\r\n"
    )
    (other,) = crm.get(f"/conversations/{taken.conversation_id}")["participants"]
    assert (other["address"], other["how"], other["contact_id"]) == ("nora@example.com", "copied", None)


def test_a_program_allows_an_address_again_but_never_a_stop(desk: Desk, server: Client, crm: Program) -> None:
    mail, text = desk.mail("Lamp", "It flickers."), desk.text("Hello")
    with desk.hub.store.write() as tx:
        suppress(tx, "email", MARA_MAIL, reason="bounce", source="test")
        suppress(tx, "phone", MARA_PHONE, reason="stop", source="test")
    desk.route()
    (address,) = crm.get(f"/contacts/{mail.contact_id}")["identities"]
    (phone,) = crm.get(f"/contacts/{text.contact_id}")["identities"]
    assert (address["suppressed"], phone["suppressed"]) == ("bounce", "stop")
    allow = f"/contacts/{mail.contact_id}/identities/{address['id']}/allow"
    tomas = Program(desk, server, "agent", desk.tomas)
    refused(tomas.post(allow), 404, "not_found")
    refused(crm.post(f"/contacts/{text.contact_id}/identities/{address['id']}/allow"), 404, "not_found")
    assert crm.post(allow).json()["identities"][0]["suppressed"] == ""
    assert "allowed already" in refused(crm.post(allow), 409, "conflict")
    stop = f"/contacts/{text.contact_id}/identities/{phone['id']}/allow"
    assert "STOP" in refused(crm.post(stop), 409, "conflict")
    (event,) = [each for each in crm.get("/events")["events"] if each["type"] == "address.allowed"]
    assert (event["data"]["identity_id"], event["data"]["reason"]) == (address["id"], "bounce")


def test_merged_records_are_one_person_with_one_timeline_until_it_is_undone(desk: Desk, crm: Program) -> None:
    mail, text = desk.mail("Lamp", "It flickers."), desk.text("Where is my parcel?")
    merged = crm.post(f"/contacts/{mail.contact_id}/merge", {"other_id": text.contact_id})
    assert merged.status_code == 201
    assert [m["channel"] for m in crm.get(f"/contacts/{mail.contact_id}/timeline")["messages"]] == ["sms", "email"]
    person = crm.get(f"/contacts/{text.contact_id}")
    assert person["id"] == mail.contact_id
    assert person["records"] == sorted([mail.contact_id or 0, text.contact_id or 0])
    assert len(crm.get("/conversations", contact=text.contact_id)["conversations"]) == 2
    refused(crm.post(f"/contacts/{mail.contact_id}/merge", {"other_id": text.contact_id}), 409, "conflict")
    assert crm.post(f"/merges/{merged.json()['id']}/undo").json()["undone"]
    assert len(crm.get(f"/contacts/{mail.contact_id}/timeline")["messages"]) == 1


def test_a_number_written_down_by_hand_brings_the_next_text_home(desk: Desk, crm: Program) -> None:
    mail = desk.mail("Lamp", "It flickers.")
    path = f"/contacts/{mail.contact_id}/identities"
    made = crm.post(path, {"kind": "phone", "value": MARA_PHONE})
    assert made.status_code == 201
    assert MARA_PHONE in [identity["value"] for identity in made.json()["identities"]]
    assert desk.text("Where is my parcel?").contact_id == mail.contact_id
    refused(crm.post(path, {"kind": "telepathy", "value": "hello"}), 422, "invalid")


def test_people_are_found_by_name_and_address(desk: Desk, crm: Program) -> None:
    desk.mail("Lamp", "hello")
    desk.mail("Other", "hello", sender="Per Cent <100%@example.com>")
    for typed in ("lindq", "MARA.LINDQVIST@", "Mara"):
        assert [c["name"] for c in crm.get("/contacts", query=typed)["contacts"]] == ["Mara Lindqvist"]
    assert [c["name"] for c in crm.get("/contacts", query="0%@")["contacts"]] == ["Per Cent"]
    assert crm.get("/contacts", query="%%")["contacts"] == []
    page = crm.get("/contacts", limit=1)
    assert [c["name"] for c in page["contacts"]] == ["Per Cent"]
    assert [c["name"] for c in crm.get("/contacts", limit=1, before=page["next"])["contacts"]] == ["Mara Lindqvist"]


def test_a_list_is_paged_without_gaps_or_repeats(desk: Desk, crm: Program) -> None:
    for number in range(7):
        desk.mail(f"Matter {number}", "hello", sender=f"Person {number} <p{number}@example.com>")
        desk.clock.forward(seconds=number % 2)
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = crm.get("/conversations", limit=3, **cursor)
        seen += [row["id"] for row in page["conversations"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == len(set(seen)) == 7
    assert seen == [row["id"] for row in crm.get("/conversations")["conversations"]]


def test_lists_are_narrowed_by_every_filter(desk: Desk, crm: Program) -> None:
    parcel, invoice = desk.text("Where is my parcel?"), desk.mail("Bill", "My invoice is wrong.")
    before = desk.clock()
    desk.clock.forward(minutes=5)
    late = desk.mail("Hello", "Just saying hello", sender="Li <li@example.com>")

    def ids(**query: Any) -> set[int]:
        return {row["id"] for row in crm.get("/conversations", **query)["conversations"]}

    billing = crm.get(f"/conversations/{invoice.conversation_id}")["queue"]["id"]
    assert ids(queue="Billing") == ids(queue=billing) == {invoice.conversation_id}
    assert ids(channel="sms") == {parcel.conversation_id}
    assert ids(contact=late.contact_id) == {late.conversation_id}
    assert ids(updated_after=before.isoformat()) == {late.conversation_id}
    assert ids(assignee="none") == {parcel.conversation_id, invoice.conversation_id, late.conversation_id}
    assert ids(assignee=desk.jonas.agent_id) == set()
    crm.post(f"/conversations/{late.conversation_id}/resolve")
    assert ids(state="resolved") == {late.conversation_id}


@pytest.mark.parametrize(
    "query",
    [{"state": "lost"}, {"limit": 0}, {"limit": "many"}, {"colour": "red"}, {"cursor": "!!"}, {"cursor": "AAAA"},
     {"updated_after": "yesterday"}, {"updated_after": "2026-11-24T10:00:00"}, {"assignee": "me"},
     {"assignee": "-1"}, {"contact": "9" * 30}],
)  # fmt: skip
def test_a_filter_that_nobody_knows_is_an_error_and_not_ignored(crm: Program, query: dict[str, Any]) -> None:
    answer = crm.server.get("/api/v1/conversations", params=query, headers=crm.headers)
    refused(answer, 422, "invalid")


@pytest.mark.parametrize("path", ["calendars", "rules", "event-types", "webhook-endpoints", "conversations/1"])
def test_what_takes_no_filter_ignores_none(crm: Program, path: str) -> None:
    answer = crm.server.get(f"/api/v1/{path}", params={"colour": "red"}, headers=crm.headers)
    refused(answer, 422, "invalid")


def test_a_reply_goes_out_once_under_one_key(desk: Desk, crm: Program) -> None:
    taken = desk.text("Where is my parcel?")
    path, key = f"/conversations/{taken.conversation_id}/replies", {"Idempotency-Key": "order-7-shipped"}
    body = {"text": "It is on its way.", "seen_message_id": taken.message_id}
    gate = threading.Barrier(6)

    def answer(_: int) -> Response:
        gate.wait()
        return crm.post(path, body, **key)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(answer, range(6)))
    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["id"] for each in answers}) == 1
    first = answers[0].json()
    assert (first["kind"], first["channel"], first["state"]) == ("outbound", "sms", "queued")
    refused(crm.post(path, body | {"text": "Something else"}, **key), 409, "conflict")
    assert len(desk.messages(taken.conversation_id or 0)) == 2
    assert crm.post(path, {"text": "Without a key"}).status_code == 201
    assert crm.post(path, {"text": "Without a key"}).status_code == 201
    assert len(desk.messages(taken.conversation_id or 0)) == 4


def test_a_program_sends_formatted_mail_with_copies(desk: Desk, crm: Program) -> None:
    taken = desk.mail("Lamp", "Has it left?")
    path = f"/conversations/{taken.conversation_id}/replies"
    body = {"html": "<p>It <b>left</b>.<script>x</script></p>", "cc": ["Nora@Example.com"], "bcc": ["otto@example.com"]}
    answer = crm.post(path, body)
    assert answer.status_code == 201
    sent = answer.json()
    assert (sent["text"], sent["cc"], sent["bcc"]) == ("It left.", ["nora@example.com"], ["otto@example.com"])
    assert desk.messages(taken.conversation_id or 0)[-1].html == "<p>It <b>left</b>.</p>"
    refused(crm.post(path, {"text": "hi", "cc": ["nobody"]}), 409, "conflict")


def test_a_reply_is_held_when_the_customer_wrote_meanwhile(desk: Desk, crm: Program) -> None:
    taken = desk.text("Where is my parcel?")
    desk.text("Forget it, it came!")
    path = f"/conversations/{taken.conversation_id}/replies"
    key = {"Idempotency-Key": "k1"}
    sentence = refused(
        crm.post(path, {"text": "Looking…", "seen_message_id": taken.message_id}, **key), 409, "conflict"
    )
    assert "wrote again" in sentence
    assert len(desk.messages(taken.conversation_id or 0)) == 2
    assert crm.post(path, {"text": "Looking…", "seen_message_id": taken.message_id}, **key).status_code == 409
    refused(crm.post(path, {"text": "hi", "channel": "telepathy"}), 404, "not_found")


def test_a_note_stays_in_the_house(desk: Desk, crm: Program) -> None:
    taken = desk.text("hello")
    made = crm.post(f"/conversations/{taken.conversation_id}/notes", {"text": "VIP 🌟"}, **{"Idempotency-Key": "n"})
    again = crm.post(f"/conversations/{taken.conversation_id}/notes", {"text": "VIP 🌟"}, **{"Idempotency-Key": "n"})
    assert (made.status_code, made.json()["kind"], again.json()["id"]) == (201, "note", made.json()["id"])


def test_work_changes_hands(desk: Desk, server: Client, crm: Program) -> None:
    taken = desk.text("Where is my parcel?")
    path = f"/conversations/{taken.conversation_id}"
    jonas = Program(desk, server, "agent", desk.jonas)
    assert jonas.post(f"{path}/claim").json()["assignee"]["name"] == "Jonas Weber"
    assert crm.post(f"{path}/assign", {"agent_id": desk.amara.agent_id}).json()["assignee"]["name"] == "Amara Obi"
    assert crm.post(f"{path}/release").json()["assignee"] is None
    until = (desk.clock() + timedelta(hours=3)).isoformat()
    assert crm.post(f"{path}/snooze", {"until": until}).json()["state"] == "snoozed"
    assert crm.post(f"{path}/wake").json()["state"] == "open"
    refused(crm.post(f"{path}/snooze", {"until": "2001-01-01T00:00:00Z"}), 409, "conflict")
    refused(crm.post(f"{path}/snooze", {"until": "2030-01-01T00:00:00"}), 422, "invalid")
    assert crm.post(f"{path}/resolve").json()["state"] == "resolved"
    assert crm.post(f"{path}/reopen").json()["state"] == "open"
    billing = next(q for q in (3, 2, 1) if q in desk.tomas.queue_ids)
    assert jonas.post(f"{path}/transfer", {"queue_id": billing}).json()["queue"]["name"] == "Billing"
    refused(jonas.ask("GET", path), 404, "not_found")


def test_tomas_sees_nothing_of_another_team(desk: Desk, server: Client) -> None:
    tomas = Program(desk, server, "agent", desk.tomas)
    parcel = desk.text("Where is my parcel?")
    path = f"/conversations/{parcel.conversation_id}"
    assert tomas.get("/conversations")["conversations"] == []
    assert tomas.get("/contacts")["contacts"] == []
    for hidden in (
        path,
        f"{path}/messages",
        f"/contacts/{parcel.contact_id}",
        f"/contacts/{parcel.contact_id}/timeline",
    ):
        refused(tomas.ask("GET", hidden), 404, "not_found")
    for verb, body in (("replies", {"text": "hi"}), ("notes", {"text": "hi"}), ("claim", None), ("resolve", None)):
        refused(tomas.post(f"{path}/{verb}", body), 404, "not_found")
    events = tomas.get("/events")
    assert events["events"] == []
    assert events["next"] > 0
    invoice = desk.mail("Bill", "My invoice is wrong.")
    assert [c["id"] for c in tomas.get("/conversations")["conversations"]] == [invoice.conversation_id]
    named = {event["type"] for event in tomas.get("/events", after=events["next"])["events"]}
    assert "message.received" in named
    refused(tomas.post(f"/contacts/{invoice.contact_id}/merge", {"other_id": parcel.contact_id}), 404, "not_found")
    for method, admins in (("GET", "/webhook-endpoints"), ("POST", "/deliveries/1/replay")):
        refused(tomas.ask(method, admins), 403, "forbidden")


def test_a_timeline_shows_only_the_conversations_one_may_see(desk: Desk, server: Client) -> None:
    tomas = Program(desk, server, "agent", desk.tomas)
    desk.mail("Parcel", "Where is my parcel?")
    bill = desk.mail("Bill", "My invoice is wrong.")
    (message,) = tomas.get(f"/contacts/{bill.contact_id}/timeline")["messages"]
    assert message["subject"] == "Bill"


def test_events_come_in_one_order_without_gaps(desk: Desk, crm: Program) -> None:
    for number in range(3):
        desk.text(f"line {number}")
    everything = crm.get("/events", limit=500)
    cursor, found = 0, []
    while page := crm.get("/events", after=cursor, limit=2)["events"]:
        found += page
        cursor = page[-1]["id"]
    assert found == everything["events"]
    assert [e["id"] for e in found] == sorted(e["id"] for e in found)
    assert crm.get("/events", after=everything["next"]) == {"events": [], "next": everything["next"]}
    assert "line" not in str(found)  # ids and small values, never what a customer wrote


def test_who_waits_hears_at_once(desk: Desk, crm: Program) -> None:
    start = crm.get("/events")["next"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(crm.get, "/events", after=start, wait=20)
        desk.text("Where is my parcel?")
        answer = waiting.result(timeout=10)
    assert answer["events"]
    nothing = crm.get("/events", after=crm.get("/events")["next"], wait=0.2)
    assert nothing["events"] == []


def test_every_fact_has_a_public_name() -> None:
    assert type_of("MessageReceived") == "message.received"
    assert type_of("FirstReplyBreached") == "first_reply.breached"
    assert type_of("OptOutChanged") == "opt_out.changed"
    assert set(TYPES.values()) == set(Fact.kinds) - accountfacts.NAMES


def test_endpoints_are_made_shown_and_removed(desk: Desk, crm: Program) -> None:
    desk.hub.settings = desk.hub.settings.changed(webhook_allow_private=True)
    body = {"name": "crm", "url": "http://127.0.0.1:9/hook", "events": ["message.received"]}
    made = crm.post("/webhook-endpoints", body)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    number = made.json()["id"]
    assert "secret" not in crm.get(f"/webhook-endpoints/{number}")
    assert [each["name"] for each in crm.get("/webhook-endpoints")["endpoints"]] == ["crm"]
    assert crm.get(f"/webhook-endpoints/{number}/deliveries") == {"deliveries": [], "next": None}
    assert "message.received" in crm.get("/event-types")["types"]
    for wrong in ({}, {"name": "b", "url": "http://169.254.169.254/"}, {"name": "c", "events": ["nothing.happened"]}):
        refused(crm.post("/webhook-endpoints", body | wrong), 422, "invalid")
    assert crm.ask("DELETE", f"/webhook-endpoints/{number}").status_code == 204
    refused(crm.ask("GET", f"/webhook-endpoints/{number}"), 404, "not_found")
    refused(crm.post("/deliveries/1/replay"), 404, "not_found")


def test_without_a_good_token_nothing_is_told(desk: Desk, server: Client, crm: Program) -> None:
    desk.text("hello")
    for header in ("", "Bearer", "Bearer nonsense", "Bearer swy_nonsense", "Basic c3d5Og==", "Bearer " + "x" * 5000):
        for path in ("/conversations", "/conversations/1", "/events", "/nowhere"):
            answer = server.get(f"/api/v1{path}", headers={"Authorization": header} if header else {})
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    with desk.hub.store.write() as tx:
        short = create_token(tx, name="short", role="admin", days=1)
    headers = {"Authorization": f"Bearer {short}"}
    assert server.get("/api/v1/conversations", headers=headers).status_code == 200
    desk.clock.forward(days=1, seconds=1)
    refused(server.get("/api/v1/conversations", headers=headers), 401, "bad_token")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"", 400), (b"\xff", 400), (b"[]", 422), (b'"hi"', 422), (b"{}", 422), (b'{"text": ""}', 422),
     (b'{"text": 7}', 422), (b'{"text": "hi", "colour": "red"}', 422), (b'{"text": "   "}', 409),
     (b'{"text": "hi", "then": "explode"}', 422), (b'{"text": "hi", "seen_message_id": 99999999999999999999}', 422)],
)  # fmt: skip
def test_a_reply_that_does_not_fit_is_refused_by_name(desk: Desk, crm: Program, body: bytes, status: int) -> None:
    taken = desk.text("hello")
    path = f"/api/v1/conversations/{taken.conversation_id}/replies"
    answer = crm.server.post(path, data=body, headers=crm.headers | {"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_what_is_not_there_is_said_in_json(crm: Program) -> None:
    for path in ("/conversations/999", "/contacts/999", "/nothing", "/conversations/abc", f"/contacts/{10**30}"):
        refused(crm.ask("GET", path), 404, "not_found")


def test_the_description_is_valid_and_complete(server: Client) -> None:
    description = server.get("/api/v1/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(description).validate()
    assert all(path.startswith("/api/v1/") for path in description["paths"])
    assert len(description["paths"]) >= 20
    reply_operation = description["paths"]["/api/v1/conversations/{conversation_id}/replies"]["post"]
    assert reply_operation["requestBody"]["required"]
    assert {"201", "401", "404", "409", "422"} <= set(reply_operation["responses"])
    operations = [operation for path in description["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_a_body_that_does_not_say_it_is_json_is_refused(desk: Desk, crm: Program) -> None:
    taken = desk.text("hello")
    path = f"/api/v1/conversations/{taken.conversation_id}/notes"
    form = crm.server.post(path, data={"text": "hi"}, headers=crm.headers)
    assert "application/json" in refused(form, 415, "wrong_type")


def test_health_says_what_is_wrong(desk: Desk, server: Client) -> None:
    assert server.get("/healthz").json() == {"status": "ok"}
    ready = server.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["schema"]) == (200, "ok")
    with desk.hub.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    old = server.get("/readyz")
    assert old.status_code == 503
    assert "db upgrade" in old.json()["checks"]["schema"]


def test_without_a_database_programs_are_asked_to_come_again(desk: Desk, server: Client, crm: Program) -> None:
    def gone(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    desk.hub.store.engine.dispose()
    desk.hub.store.engine.pool._creator = gone  # type: ignore[assignment]
    answer = crm.ask("GET", "/conversations")
    refused(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    ready = server.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["schema"]) == (503, "unknown")
    assert server.get("/healthz").status_code == 200


def test_figures_count_what_came_and_went(desk: Desk, server: Client, crm: Program) -> None:
    taken = desk.text("Where is my parcel?")
    desk.raw_mail(b"")
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, taken.conversation_id or 0, text="It is on its way.", tokens=desk.hub.tokens)
    desk.clock.forward(minutes=2)
    crm.get("/conversations")
    for _ in range(2):
        page = server.get("/metrics").text
    assert 'switchyard_messages_received_total{automatic="no",channel="sms"} 1.0' in page
    assert 'switchyard_outbox{sender="channel",state="queued"} 1.0' in page
    assert 'switchyard_outbox_seconds{sender="channel"} 110.0' in page
    assert "switchyard_load_drift 0.0" in page
    assert 'switchyard_http_seconds_count{rule="/api/v1/conversations",status="200"} 1.0' in page


def test_figures_tell_when_the_router_was_wrong_about_something(desk: Desk, server: Client, clock: Clock) -> None:
    router = Router(desk.hub.store, "node-1")
    router.run_once()
    with desk.hub.store.write() as tx:  # past everything that would tell of it
        tx.sql("UPDATE agent SET capacity = capacity + 1 WHERE name = 'Jonas Weber'")
    assert router.check_once() == 1
    clock.forward(seconds=30)
    page = server.get("/metrics").text
    assert "switchyard_routing_drift 1.0" in page and "switchyard_routing_drifts_total 1.0" in page
    assert "switchyard_routing_check_age_seconds 30.0" in page
    router.run_once()
    router.check_once()
    page = server.get("/metrics").text
    assert "switchyard_routing_drift 0.0" in page and "switchyard_routing_drifts_total 1.0" in page


def test_figures_are_for_this_machine_and_for_holders_of_a_token(server: Client, crm: Program) -> None:
    proxied = {"X-Forwarded-For": "203.0.113.9"}
    refused(server.get("/metrics", headers=proxied), 401, "no_token")
    assert server.get("/metrics", headers=proxied | crm.headers).status_code == 200


def test_programs_learn_when_somebody_is_there(desk: Desk, server: Client) -> None:
    office = {"name": "office", "time_zone": "Europe/Berlin", "hours": {"mon-fri": "09:00-17:00"}}
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, {"calendars": [office], "queues": [{"name": "Shipping", "calendar": "office"}]})
    desk.clock.moment = datetime(2026, 11, 27, 17, tzinfo=UTC)  # a Friday
    (told,) = Program(desk, server).get("/calendars")["calendars"]
    assert (told["name"], told["open"], told["opens_at"]) == ("office", False, "2026-11-30T08:00:00Z")
    assert told["openings"][0] == {"from": "2026-11-30T08:00:00Z", "until": "2026-11-30T16:00:00Z"}
    assert [queue["name"] for queue in told["queues"]] == ["Shipping"] and len(told["openings"]) == 10
