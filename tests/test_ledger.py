"""The ledger: everything that arrived is found, saved, and read again without becoming two."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from channels.base import DeliveryState, DeliveryUpdate, Raw
from channels.form import FormChannel
from cli.doctor import _stuck
from hub.delivery import settle_update
from hub.intake import Taken, take_in
from hub.mailboxes import file_left_over
from storage import ledger
from storage.access import SYSTEM, Actor
from storage.ledger import Filter, entries
from storage.writer import Writer
from tests.browser.scene import quarantine
from tests.desk import MARA_MAIL, OUR_NUMBER, Desk
from tests.doors import Client, compose, served
from tests.processes import until
from tests.test_api import Program, refused


@pytest.fixture
def server(desk: Desk) -> Iterator[Client]:
    with served(compose(desk.hub)) as client:
        yield client


@pytest.fixture
def crm(desk: Desk, server: Client) -> Program:
    return Program(desk, server)


def spoiled(desk: Desk, body: bytes, why: str, key: str = "spoiled") -> int:
    with desk.hub.store.write() as tx:
        return quarantine(tx, body, why, key)


def honeypot(desk: Desk, message: str) -> Taken:
    """A browser filled in the hidden field for somebody who meant no harm."""
    body = json.dumps({"email": MARA_MAIL, "message": message, "website": "https://shop.example"}).encode()
    opened = desk.hub.channel_named("contact-form")
    return take_in(desk.hub, opened, cast(FormChannel, opened.must()).raw("form:1", body, "application/json"))


def callback(desk: Desk) -> str:
    """Twilio tells of a message that we never sent."""
    told = DeliveryUpdate(Raw("status:SM9:failed:", b"MessageStatus=failed"), DeliveryState.FAILED, id="u9")
    return settle_update(desk.hub.store, desk.hub.channel_named("support-sms").id, told)


def found(desk: Desk, actor: Actor = SYSTEM, **wanted: Any) -> list[int]:
    with desk.hub.store.read() as tx:
        return [each.id for each in entries(tx, actor, Filter(**wanted)).entries]


def test_a_receipt_is_found_by_channel_state_sort_time_and_words(desk: Desk) -> None:
    mail = desk.mail("Lamp", "It flickers.", message_id="<lamp-77@customer.example>").receipt_id or 0
    desk.clock.forward(hours=1)
    text = desk.text("Where is my parcel?", sid="SM" + "7" * 32).receipt_id or 0
    ghost = spoiled(desk, b"?", "It names no sender.")
    callback(desk)
    told = found(desk, sort="callback")
    now = desk.clock()

    assert found(desk) == [*told, ghost, text, mail]
    assert found(desk, channel="support-mail") == [ghost, mail]
    assert found(desk, state="quarantined") == found(desk, words=("NAMES", "sender")) == [ghost]
    assert found(desk, sort="message", state="accepted") == [text, mail]
    assert found(desk, until=now) == [mail]
    assert found(desk, since=now) == [*told, ghost, text]
    assert found(desk, words=("lindqvist",)) == found(desk, words=("lamp-77@",)) == [mail]
    assert found(desk, words=("sm7777",)) == [text]
    assert found(desk, words=("100%",)) == []


def test_an_end_of_the_range_hides_nothing_of_the_same_moment_or_of_a_node_whose_clock_is_behind(desk: Desk) -> None:
    first, second = desk.text("one").receipt_id or 0, desk.text("two").receipt_id or 0
    third = desk.text("three").receipt_id or 0
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE receipt SET received_at = ? WHERE id = ?", tx.now - timedelta(seconds=2), third)
    assert found(desk, until=desk.clock() + timedelta(days=1)) == [third, second, first]


def test_a_page_looks_through_a_bounded_part_and_says_where_to_go_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SPAN", 5)
    wanted = desk.text("the first").receipt_id
    for number in range(11):
        desk.clock.forward(minutes=1)
        desk.mail(f"Matter {number}", "hello")
    seen: list[int] = []
    before, pages = None, 0
    while pages == 0 or before is not None:
        with desk.hub.store.read() as tx:
            page = entries(tx, SYSTEM, Filter(channel="support-sms"), before=before)
        seen += [each.id for each in page.entries]
        before, pages = page.following, pages + 1
    assert (seen, pages) == ([wanted], 3)
    with desk.hub.store.read() as tx:
        recent = Filter(channel="support-sms", since=desk.clock() - timedelta(seconds=30))
        assert entries(tx, SYSTEM, recent).following is not None  # ids are only nearly in the order of time
        recent = Filter(channel="support-sms", since=desk.clock() + timedelta(hours=1))
        assert entries(tx, SYSTEM, recent).following is None


def test_a_program_pages_through_the_ledger_and_sees_what_became_of_each(desk: Desk, crm: Program) -> None:
    taken = [desk.text(f"line {number}") for number in range(5)]
    callback(desk)
    seen: list[dict[str, Any]] = []
    cursor: dict[str, int] = {}
    while True:
        page = crm.get("/receipts", limit=2, **cursor)
        seen += page["receipts"]
        if page["next"] is None:
            break
        cursor = {"before": page["next"]}
    assert [row["id"] for row in seen[1:]] == [each.receipt_id for each in reversed(taken)]
    assert (seen[0]["origin"], seen[0]["state"], seen[0]["why"]) == ("status", "ignored", "no such message of ours")
    first = crm.get(f"/receipts/{taken[0].receipt_id}")
    assert first == seen[-1]
    assert (first["channel"]["name"], first["sender"], first["seen"]) == ("support-sms", "+46701740605", 1)
    assert (first["message_id"], first["conversation_id"]) == (taken[0].message_id, taken[0].conversation_id)


def test_raw_bytes_are_saved_and_never_run(desk: Desk, crm: Program) -> None:
    body = b"From: mara@example.com\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>"
    number = desk.raw_mail(body).receipt_id
    saved = crm.ask("GET", f"/receipts/{number}/raw")
    assert saved.content == body
    assert saved.headers["Content-Type"] == "application/octet-stream"
    assert saved.headers["Content-Disposition"].startswith(f'attachment; filename="receipt-{number}.txt"')
    assert saved.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in saved.headers["Content-Security-Policy"]
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE receipt SET body = NULL, dropped_at = ? WHERE id = ?", tx.now, number)
    assert "not kept any more" in refused(crm.ask("GET", f"/receipts/{number}/raw"), 404, "not_found")
    assert crm.get(f"/receipts/{number}")["raw"] is False


def test_a_retry_makes_a_message_once(desk: Desk, crm: Program) -> None:
    number = spoiled(desk, b"From: Mara <mara@example.com>\nSubject: Lamp\n\nHello", "A bug of ours.")
    done = crm.post(f"/receipts/{number}/retry")
    assert (done.status_code, done.json()["state"], done.json()["sender"]) == (200, "accepted", "mara@example.com")
    refused(crm.post(f"/receipts/{number}/retry"), 409, "conflict")
    assert len(desk.conversations()) == 1


def test_an_agents_token_sees_the_receipts_of_its_own_matters_alone(desk: Desk, server: Client) -> None:
    lamp = desk.mail("Lamp", "My lamp flickers").receipt_id
    refund = desk.mail("Refund", "A refund please", sender="Claire <claire@example.com>").receipt_id
    ghost = spoiled(desk, b"Subject: Salary of Tomas\n\n?", "It names no sender.")
    desk.route()
    tomas = Program(desk, server, "agent", desk.tomas)

    assert [row["id"] for row in tomas.get("/receipts")["receipts"]] == [refund]
    for number in (lamp, ghost):
        for path in (f"/receipts/{number}", f"/receipts/{number}/raw"):
            refused(tomas.ask("GET", path), 404, "not_found")
        refused(tomas.post(f"/receipts/{number}/retry"), 403, "forbidden")
    refused(tomas.post("/receipts/replay", {}), 403, "forbidden")
    refused(tomas.post("/receipts/replay", {"dry_run": False}), 403, "forbidden")


def test_a_replay_counts_first_and_doubles_nothing(desk: Desk, crm: Program) -> None:
    desk.text("hello")
    desk.mail("Lamp", "It flickers.")
    ghost = spoiled(desk, b"From: Mara <mara@example.com>\nSubject: Lost\n\nHello", "A bug of ours.", "one")
    hopeless = spoiled(desk, b"", "It is empty.", "two")
    callback(desk)

    planned = crm.post("/receipts/replay", {}).json()
    assert planned == {"dry_run": True, "matched": 5, "to_read": 2, "messages": 2, "left": 1}
    assert crm.get(f"/receipts/{ghost}")["state"] == "quarantined"
    assert crm.post("/receipts/replay", {"dry_run": False}).json() == planned | {"dry_run": False}
    desk.clock.forward(minutes=1)
    file_left_over(desk.hub)

    assert crm.get(f"/receipts/{ghost}")["state"] == "accepted"
    assert crm.get(f"/receipts/{hopeless}")["state"] in ("accepted", "quarantined")
    before = len(desk.conversations())
    for _ in range(2):
        crm.post("/receipts/replay", {"dry_run": False})
        desk.clock.forward(minutes=1)
        file_left_over(desk.hub)
    assert len(desk.conversations()) == before
    with desk.hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM message GROUP BY receipt_id HAVING count(*) > 1").fetchall() == []
    assert "receipts.replayed" in [event["type"] for event in crm.get("/events")["events"]]


def test_a_replay_keeps_to_its_filter(desk: Desk, crm: Program) -> None:
    one = spoiled(desk, b"From: a@example.com\n\nHello", "A bug of ours.", "one")
    other = spoiled(desk, b"From: b@example.com\n\nHello", "It is too large.", "two")
    asked = {"state": "quarantined", "query": "bug", "dry_run": False}
    assert crm.post("/receipts/replay", asked).json()["to_read"] == 1
    assert [crm.get(f"/receipts/{number}")["state"] for number in (one, other)] == ["received", "quarantined"]


def test_a_form_that_was_taken_for_spam_is_believed_by_a_person_alone(desk: Desk, crm: Program) -> None:
    taken = honeypot(desk, "Where is order 48213?")
    assert taken.state == "ignored"
    assert crm.post("/receipts/replay", {"state": "ignored", "dry_run": False}).json()["to_read"] == 0
    assert crm.post(f"/receipts/{taken.receipt_id}/retry").json()["state"] == "accepted"
    refused(crm.post(f"/receipts/{taken.receipt_id}/retry"), 409, "conflict")
    assert [message.text for message in desk.messages(desk.only_conversation().id or 0)] == ["Where is order 48213?"]


@pytest.mark.parametrize(
    "change", ["active = ?", "settings = ?, active = true"], ids=["switched off", "settings that don't work"]
)
def test_a_channel_that_does_not_work_holds_nobody_up(desk: Desk, crm: Program, change: str) -> None:
    raw = Raw("SM1", f"MessageSid=SM1&From=%2B46701740605&To=%2B{OUR_NUMBER[1:]}&Body=hi&NumMedia=0".encode())
    waits = take_in(desk.hub, desk.hub.channel_named("support-sms"), raw).receipt_id
    ghost = spoiled(desk, b"From: a@example.com\n\nHello", "A bug of ours.")
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE receipt SET state = 'received' WHERE id IN (?, ?)", waits, ghost)
        value = {"no": "such setting"} if "settings" in change else False
        tx.sql(f"UPDATE channel SET {change} WHERE name = 'support-sms'", value)
        tx.sql("UPDATE desk_version SET version = version + 1")
    desk.hub.look_again()
    desk.clock.forward(minutes=1)
    assert crm.post("/receipts/replay", {}).json()["to_read"] == (2 if "settings" in change else 1)
    assert file_left_over(desk.hub) == 1
    assert [crm.get(f"/receipts/{number}")["state"] for number in (waits, ghost)] == ["received", "accepted"]


def test_what_is_stuck_is_a_number_that_must_be_0(desk: Desk, crm: Program) -> None:
    desk.text("hello")
    late = spoiled(desk, b"From: a@example.com\n\nHello", "A bug of ours.", "late")
    ghost = spoiled(desk, b"?", "It names no sender.", "ghost")
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE receipt SET state = 'received' WHERE id = ?", late)

    def stuck() -> tuple[list[str], bool, str]:
        metrics = crm.server.get("/metrics").text.splitlines()
        lines = [line.partition("_stuck")[2] for line in metrics if line.startswith("switchyard_receipts_stuck{")]
        ready = crm.server.get("/readyz")
        assert (ready.status_code, crm.server.get("/healthz").status_code) == (200, 200)
        findings = [finding for finding in _stuck(desk.hub) if not finding.well]
        return sorted(lines), not findings, ready.json()["checks"]["receipts"]

    assert stuck()[0] == ['{why="unread"} 0.0', '{why="unreadable"} 1.0']
    desk.clock.forward(minutes=10)
    told = "some are stuck: `python app.py doctor` tells which"  # to strangers no number
    assert stuck() == (['{why="unread"} 1.0', '{why="unreadable"} 1.0'], False, told)
    file_left_over(desk.hub)
    left = crm.post(f"/receipts/{ghost}/leave")
    assert (left.status_code, left.json()["state"], bool(left.json()["looked_at"])) == (200, "quarantined", True)
    assert stuck() == (['{why="unread"} 0.0', '{why="unreadable"} 0.0'], True, "ok")
    refused(crm.post(f"/receipts/{late}/leave"), 409, "conflict")


def test_how_much_waits_for_the_writer_is_told(crm: Program) -> None:
    told = dict(line.rsplit(" ", 1) for line in crm.server.get("/metrics").text.splitlines() if line[:1] != "#")
    assert (told["switchyard_writer_queue"], told["switchyard_writer_seconds"]) == ("0.0", "0.0")

    begun, go_on = threading.Event(), threading.Event()

    def run(units: Sequence[Callable[[Any], Any]]) -> list[Any]:
        begun.set()
        go_on.wait(30)
        return [unit(None) for unit in units]

    writer = Writer(run)
    callers = [threading.Thread(target=writer.submit_all, args=([lambda _: None],)) for _ in range(2)]
    callers[0].start()
    begun.wait(30)
    callers[1].start()
    until(lambda: writer.waiting == 1 and writer.behind > 0, "a call to wait")
    go_on.set()
    for caller in callers:
        caller.join(30)
    assert (writer.waiting, writer.behind) == (0, 0)
    writer.close()


@pytest.mark.parametrize(
    "asked", [{"state": "lost"}, {"sort": "mail"}, {"since": "2026-11-24T10:00:00"}, {"limit": 0}, {"colour": "red"}]
)
def test_a_filter_that_does_not_fit_is_refused(crm: Program, asked: dict[str, Any]) -> None:
    answer = crm.server.get("/api/v1/receipts", params=asked, headers=crm.headers)
    refused(answer, 422, "invalid")
