"""Slack as a door: one notice per conversation, buttons that obey the same rules as the inbox, and nothing twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlmodel import col, select
from werkzeug.serving import BaseWSGIServer, make_server

import chatops
from channels.base import Raw
from channels.slack import EVENT_TYPE
from chatops import notices
from chatops.blocks import Card, drawn, summary
from config import Settings
from hub import Hub
from hub.delivery import Courier
from hub.desk import apply
from hub.followers import Followers
from hub.intake import take_in
from hub.outbound import reconcile_message, send_message
from hub.replies import reply
from routing.router import Router
from sandbox.slack import Post, SlackDouble, SlackMood
from sandbox.wire import Caller
from storage.access import SYSTEM, actor_for
from storage.clock import utcnow
from storage.conversations import Conversation, Message
from storage.deliveries import Delivery, SlackNotice
from storage.people import Agent, agent_by_email
from storage.receipts import Receipt
from storage.work import Assignment, open_assignment

NOTICES, CUSTOMERS = "C0NOTICES", "C0CUSTOMER"
MARA = "+46701740605"
JONAS, AMARA, TOMAS, STRANGER = "U0JONAS", "U0AMARA", "U0TOMAS", "U0STRANGER"

DESK: dict[str, Any] = {
    "queues": [{"name": "Shipping", "first_reply": "30m", "default": True}, {"name": "Billing"}],
    "skills": ["orders"],
    "agents": [
        {"name": "Jonas Weber", "email": "jonas@example.com", "queues": ["Shipping"]},
        {"name": "Amara Obi", "email": "amara@example.com", "queues": ["Shipping"]},
        {"name": "Tomás Silva", "email": "tomas@example.com", "queues": ["Billing"]},
    ],
    "channels": [
        {"name": "text-line", "kind": "sms", "address": "+46701740620", "settings": {"account_sid": "AC" + "0" * 32}},
        {"name": "shop-chat", "kind": "chat"},
        {"name": "partners", "kind": "slack", "settings": {"customer_channels": [CUSTOMERS]}},
    ],
    "rules": [],
}


@dataclass
class Desk:
    """A hub with its Slack door open, and the duties that a worker would do."""

    hub: Hub
    slack: SlackDouble
    app: Flask

    def __post_init__(self) -> None:
        senders = {"channel": send_message, "slack": notices.send}
        self.courier = Courier(self.hub, senders, reconcile_message)
        self.followers = Followers(self.hub, {"slack": notices.FOLLOWER}, "test")
        self.followers.run_once()  # its cursor starts at now

    def text(self, words: str, number: str = MARA) -> int:
        """A customer's text arrives; the conversation's id."""
        sid = f"SM{abs(hash((words, number))):032x}"[:34]
        form = urlencode({"MessageSid": sid, "From": number, "To": "+46701740620", "Body": words})
        raw = Raw(sid, form.encode(), "application/x-www-form-urlencoded")
        taken = take_in(self.hub, self.hub.channel_named("text-line"), raw)
        assert taken.conversation_id is not None
        return taken.conversation_id

    def work(self, forward: timedelta = timedelta()) -> None:
        """Everything that is due now, or after waiting so long."""
        self.hub.store.clock = lambda: utcnow() + forward
        while self.followers.run_once():
            pass
        while self.courier.run_once():
            pass

    @property
    def notice(self) -> Post:
        [post] = self.notices
        return post

    @property
    def notices(self) -> list[Post]:
        return [post for post in self.slack.messages if post.channel == NOTICES and not post.only_for]

    def whispered(self, user: str) -> list[str]:
        self.work()
        return [post.text for post in self.slack.messages if post.only_for == user]

    def press(self, action: str, conversation_id: int, user: str, **more: int) -> int:
        return self.slack.press(action, str(conversation_id), user, NOTICES, self.notice.ts, **more)

    def owner(self, conversation_id: int) -> str:
        with self.hub.store.read() as tx:
            found = open_assignment(tx, conversation_id)
            return tx.get_one(Agent, found.agent_id).name if found else ""


@pytest.fixture
def server() -> Iterator[tuple[Flask, BaseWSGIServer]]:
    app = Flask("test")
    served = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    yield app, served
    served.shutdown()


@pytest.fixture
def desk(database_url: str, tmp_path: Path, server: tuple[Flask, BaseWSGIServer]) -> Iterator[Desk]:
    app, served = server
    url = f"http://127.0.0.1:{served.server_port}"
    with SlackDouble(hub_url=url) as slack:
        for user, name in ((JONAS, "Jonas Weber"), (AMARA, "Amara Obi"), (TOMAS, "Tomás Silva")):
            slack.add_user(user, name, f"{name.split()[0].lower().replace('á', 'a')}@example.com")
        slack.add_user(STRANGER, "Sam Okafor", "sam@elsewhere.example")
        settings = Settings(
            database_url=database_url,
            data_dir=tmp_path,
            public_base_url=url,
            secret_key="0" * 32,
            slack_bot_token=slack.bot_token,
            slack_signing_secret=slack.signing_secret,
            slack_channel=NOTICES,
            slack_base_url=slack.url,
            twilio_auth_token="t" * 32,
        )
        hub = Hub(settings)
        with hub.store.write() as tx:
            apply(tx, SYSTEM, DESK)
        app.extensions["hub"] = hub
        app.register_blueprint(chatops.create_blueprint())
        yield Desk(hub, slack, app)
        hub.stop()


def plain_texts(post: Post) -> list[str]:
    return [block["text"]["text"] for block in post.blocks if block.get("text", {}).get("type") == "plain_text"]


def markup(post: Post) -> str:
    """Everything of a post that Slack reads as mrkdwn."""
    parts = [element["text"] for block in post.blocks if block["type"] == "context" for element in block["elements"]]
    parts += [block["text"]["text"] for block in post.blocks if block.get("text", {}).get("type") == "mrkdwn"]
    return "\n".join([post.text, *parts])


def test_a_new_conversation_is_announced_and_claimed_in_slack(desk: Desk) -> None:
    conversation_id = desk.text("Where is my parcel?")
    desk.work()

    assert "Where is my parcel?" in plain_texts(desk.notice)
    assert "Nobody has it yet" in markup(desk.notice) and "<!date^" in markup(desk.notice)
    assert set(desk.notice.buttons) == {"claim", "resolve", "open"}
    assert desk.press("claim", conversation_id, JONAS) == 200

    assert desk.owner(conversation_id) == "Jonas Weber"
    assert [text.partition(":")[0] for text in desk.whispered(JONAS)] == ["You have it now"]
    assert "With *Jonas Weber*" in markup(desk.notice)
    assert set(desk.notice.buttons) == {"resolve", "open"}
    with desk.hub.store.read() as tx:
        agent = agent_by_email(tx, "jonas@example.com")
        assert agent is not None and agent.slack_user_id == JONAS


def test_a_conversation_resolved_in_slack_is_resolved_and_keeps_one_message(desk: Desk) -> None:
    conversation_id = desk.text("Thanks, it has arrived!")
    desk.work()
    desk.press("claim", conversation_id, JONAS)
    desk.press("resolve", conversation_id, JONAS)
    desk.work()

    with desk.hub.store.read() as tx:
        assert tx.get_one(Conversation, conversation_id).state == "resolved"
    assert set(desk.notice.buttons) == {"open"}
    assert plain_texts(desk.notice)[0].startswith("Resolved · ")


def test_when_she_writes_again_after_that_the_same_message_shows_it(desk: Desk) -> None:
    conversation_id = desk.text("Thanks!")
    desk.work()
    desk.press("resolve", conversation_id, JONAS)
    desk.work()
    desk.text("Oh, one lamp is broken.")
    desk.work()

    assert "Oh, one lamp is broken." in plain_texts(desk.notice)
    assert set(desk.notice.buttons) == {"claim", "resolve", "open"}


def test_a_second_agent_is_told_who_was_faster(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.work()
    desk.press("claim", conversation_id, JONAS)
    assert desk.press("claim", conversation_id, AMARA) == 200

    assert desk.owner(conversation_id) == "Jonas Weber"
    assert desk.whispered(AMARA) == ["Jonas Weber has it already."]


def test_whoever_may_not_see_a_conversation_can_not_claim_it(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.work()
    assert desk.press("claim", conversation_id, TOMAS) == 200

    assert desk.owner(conversation_id) == ""
    assert desk.whispered(TOMAS) == [f"There is no conversation {conversation_id}."]


def test_a_slack_user_without_an_agent_is_told_what_to_do(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.work()
    desk.press("claim", conversation_id, STRANGER)

    assert desk.owner(conversation_id) == ""
    [sentence] = desk.whispered(STRANGER)
    assert "belongs to no agent" in sentence


def test_a_guest_of_another_workspace_is_not_believed(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.work()
    guest = {"id": JONAS, "team_id": "T0ELSEWHERE"}
    action = {"action_id": "claim", "value": str(conversation_id), "action_ts": "1.2"}
    payload = {
        "type": "block_actions",
        "user": guest,
        "team": {"id": desk.slack.team},
        "channel": {"id": NOTICES},
        "actions": [action],
    }
    body = urlencode({"payload": json.dumps(payload)}).encode()
    status = desk.slack.caller.post(f"{desk.slack.caller.hub_url}/webhooks/slack/actions", body, desk.slack.sign(body))

    assert (status, desk.owner(conversation_id)) == (200, "")


def test_one_press_told_five_times_is_one_claim_and_one_word(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.work()
    assert desk.press("claim", conversation_id, JONAS, copies=5) == 200

    with desk.hub.store.read() as tx:
        assert len(tx.exec(select(Assignment)).all()) == 1
        (press,) = tx.exec(select(Receipt).where(Receipt.origin == "press")).all()
        assert (press.state, press.seen, (press.body or b"")[:8]) == ("accepted", 5, b"payload=")
    assert len(desk.whispered(JONAS)) == 1


def test_a_refused_press_and_a_followed_link_are_kept_with_the_reason(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.work()
    desk.press("claim", conversation_id, STRANGER)
    desk.press("open", conversation_id, JONAS)

    with desk.hub.store.read() as tx:
        kept = tx.exec(select(Receipt).where(Receipt.origin == "press").order_by(col(Receipt.id))).all()
    assert [(receipt.state, receipt.channel_id) for receipt in kept] == [("ignored", None)] * 2
    assert "belongs to no agent" in kept[0].why
    assert "no press of a button" in kept[1].why


def test_what_is_said_in_other_channels_is_counted_and_not_kept(desk: Desk) -> None:
    desk.slack.say("C0INTERNAL", JONAS, "Mara is right, we forgot it")
    with desk.hub.store.read() as tx:
        (receipt,) = tx.exec(select(Receipt).where(Receipt.state == "ignored")).all()
    assert "not among customer_channels" in receipt.why
    assert receipt.body is None and receipt.dropped_at is not None


def test_an_overdue_first_reply_is_shown_clearly(desk: Desk) -> None:
    desk.text("Is anybody there?")
    desk.work()
    late = timedelta(minutes=31)
    desk.hub.store.clock = lambda: utcnow() + late
    router = Router(desk.hub.store, "test")
    router.run_once()
    router.breach_once()
    desk.work(late)

    assert "First reply overdue" in markup(desk.notice)
    assert desk.notice.text.startswith("First reply overdue")


def test_what_customers_write_is_never_markup(desk: Desk) -> None:
    evil = "<!channel> *now* <https://evil.example|your bank> :fire: &amp;"
    desk.text(evil)
    desk.work()

    assert evil in plain_texts(desk.notice)
    assert all(not block["text"].get("emoji") for block in desk.notice.blocks if "text" in block)
    card = Card(1, "<!here> & Co", evil, evil, "sms", "<@U1>", "open", "<#C1>", utcnow(), True, "https://hub.example/1")
    assert "<!here>" not in summary(card) and "&lt;!here&gt;" in summary(card)
    context = [e["text"] for block in drawn(card) if block["type"] == "context" for e in block["elements"]]
    assert not any("<@" in text or "<#" in text for text in context)


def test_a_nameless_visitor_is_called_one(desk: Desk) -> None:
    line = json.dumps({"id": "one", "visitor": "5f" * 32, "text": "Do you ship to Norway?"}).encode()
    take_in(desk.hub, desk.hub.channel_named("shop-chat"), Raw("one", line, "application/json"))
    desk.work()
    assert plain_texts(desk.notice) == ["Visitor", "Do you ship to Norway?"]


def test_the_longest_message_fits_into_a_notice(desk: Desk) -> None:
    desk.text("Lamp! " * 250)
    desk.work()
    assert len(max(plain_texts(desk.notice), key=len)) <= 3000


def test_a_line_that_breaks_after_the_post_leaves_one_message(desk: Desk) -> None:
    desk.slack.moods.append(SlackMood(drop="after"))
    desk.text("Hello?")
    desk.work()
    assert len(desk.notices) == 1
    desk.work(timedelta(seconds=20))
    desk.work(timedelta(seconds=200))

    with desk.hub.store.read() as tx:
        kept = tx.exec(select(SlackNotice)).one()
        states = [row.state for row in tx.exec(select(Delivery))]
    assert (kept.ts, states) == (desk.notice.ts, ["sent"])


def test_a_worker_killed_between_post_and_note_posts_nothing_twice(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    with desk.hub.store.write() as tx:
        card = notices.card_of(tx, desk.hub.settings, conversation_id)
        tx.add(SlackNotice(conversation_id=conversation_id, channel=NOTICES, updated_at=tx.now))
    ts = notices.client_of(desk.hub.settings).post(NOTICES, summary(card), drawn(card), card.url)
    desk.work()

    assert desk.notice.ts == ts
    with desk.hub.store.read() as tx:
        assert tx.get_one(SlackNotice, conversation_id).ts == ts


def test_a_line_that_breaks_before_the_post_is_tried_again(desk: Desk) -> None:
    desk.slack.moods.append(SlackMood(drop="before"))
    desk.text("Hello?")
    desk.work()
    assert desk.notices == []
    desk.work(timedelta(seconds=30))
    assert len(desk.notices) == 1


def test_when_slack_asks_to_slow_down_the_notice_waits_as_long(desk: Desk) -> None:
    desk.slack.moods.append(SlackMood(status=429, retry_after=40))
    desk.text("Hello?")
    desk.work()
    desk.work(timedelta(seconds=30))
    assert desk.notices == []
    desk.work(timedelta(seconds=50))
    assert len(desk.notices) == 1


def test_a_notice_that_somebody_deleted_is_posted_anew(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.work()
    first = desk.notice.ts
    desk.slack.messages.clear()
    with desk.hub.store.write() as tx:
        agent = agent_by_email(tx, "jonas@example.com")
        assert agent is not None
        reply(tx, actor_for(tx, agent), conversation_id, text="Here I am.", tokens=desk.hub.tokens)
    desk.work()

    assert desk.notice.ts != first and "With *Jonas Weber*" in markup(desk.notice)


def test_what_happens_while_slack_is_slow_is_shown_in_the_end(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.followers.run_once()
    desk.slack.moods.append(SlackMood(delay=0.4))
    posting = threading.Thread(target=desk.courier.run_once)
    posting.start()
    while "chat.postMessage" not in desk.slack.calls:
        assert posting.is_alive()
    with desk.hub.store.write() as tx:
        agent = agent_by_email(tx, "amara@example.com")
        assert agent is not None
        reply(tx, actor_for(tx, agent), conversation_id, text="Hello!", tokens=desk.hub.tokens)
    posting.join()

    assert "With *Amara Obi*" in markup(desk.notice)
    calls = list(desk.slack.calls)
    desk.work()
    assert list(desk.slack.calls) == calls  # the later delivery finds nothing left to do


def test_without_slack_nothing_is_written(desk: Desk) -> None:
    desk.hub.settings = desk.hub.settings.changed(slack_bot_token="")
    desk.text("Hello?")
    desk.work()
    with desk.hub.store.read() as tx:
        assert tx.exec(select(Delivery)).all() == []


def test_our_messages_carry_the_mark_they_are_found_by(desk: Desk) -> None:
    conversation_id = desk.text("Hello?")
    desk.work()
    url = f"{desk.hub.settings.base_url}/inbox/c/{conversation_id}"
    assert desk.notice.metadata == {"event_type": EVENT_TYPE, "event_payload": {"id": url}}


def test_a_partner_writes_in_a_shared_channel_and_is_answered_in_the_thread(desk: Desk) -> None:
    assert desk.slack.say(CUSTOMERS, STRANGER, "Our label export is stuck.", copies=5) == 200
    with desk.hub.store.write() as tx:
        message = tx.exec(select(Message)).one()
        assert message.text == "Our label export is stuck."
        agent = agent_by_email(tx, "jonas@example.com")
        assert agent is not None
        reply(tx, actor_for(tx, agent), message.conversation_id, text="On it.", tokens=desk.hub.tokens, undo_seconds=0)
    desk.work()

    asked, answer = [post for post in desk.slack.messages if post.channel == CUSTOMERS]
    assert (answer.text, answer.thread_ts) == ("On it.", asked.ts)


def test_chatter_in_other_channels_is_ignored(desk: Desk) -> None:
    assert desk.slack.say(NOTICES, JONAS, "Coffee?") == 200
    with desk.hub.store.read() as tx:
        assert tx.exec(select(Message)).all() == []


def test_the_handshake_is_answered_and_a_forged_one_is_not(desk: Desk) -> None:
    status, body = desk.slack.challenge()
    assert (status, json.loads(body)) == (200, {"challenge": "3eZbrw1aB"})
    desk.slack.signing_secret = "another" + "0" * 25
    assert desk.slack.challenge()[0] == 403


@pytest.mark.parametrize("door", ["events", "actions"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Slack-Signature": "v0=ü", "X-Slack-Request-Timestamp": "soon"}, 403),
        ({"X-Slack-Signature": "v0=" + "0" * 64, "X-Slack-Request-Timestamp": "1"}, 403),
    ],
)
def test_what_slack_did_not_sign_is_refused_with_a_sentence(
    desk: Desk, door: str, headers: dict[str, str], status: int
) -> None:
    answer = desk.app.test_client().post(f"/webhooks/slack/{door}", data=b"{}", headers=headers)
    assert answer.status_code == status
    assert answer.get_json()["error"].endswith(".") or "signing_secret" in answer.get_json()["error"]


@pytest.mark.parametrize("body", [b"", b"payload=", b"payload=%7B", b"payload=" + b"%5B" * 2000])
def test_a_signed_press_that_makes_no_sense_is_a_bad_request(desk: Desk, body: bytes) -> None:
    answer = desk.app.test_client().post("/webhooks/slack/actions", data=body, headers=desk.slack.sign(body))
    assert answer.status_code == 400 and "payload" in answer.get_json()["error"]


def test_a_signed_event_that_is_no_json_is_a_bad_request(desk: Desk) -> None:
    for body in (b"", b"[1]", b"{", b"[" * 100_000):
        answer = desk.app.test_client().post("/webhooks/slack/events", data=body, headers=desk.slack.sign(body))
        assert answer.status_code == 400


def test_an_oversized_call_is_refused_unread(desk: Desk) -> None:
    body = b"x" * (2 * 1024 * 1024)
    answer = desk.app.test_client().post("/webhooks/slack/events", data=body, headers=desk.slack.sign(body))
    assert answer.status_code == 413


def test_an_old_call_is_refused(desk: Desk) -> None:
    old = int(utcnow().timestamp()) - 301
    answer = desk.app.test_client().post("/webhooks/slack/events", data=b"{}", headers=desk.slack.sign(b"{}", old))
    assert answer.status_code == 403


def test_two_hubs_in_one_channel_do_not_take_each_others_notices(desk: Desk) -> None:
    assert isinstance(desk.slack.caller, Caller)
    conversation_id = desk.text("Hello?")
    with desk.hub.store.write() as tx:
        card = notices.card_of(tx, desk.hub.settings, conversation_id)
        tx.add(SlackNotice(conversation_id=conversation_id, channel=NOTICES, updated_at=tx.now))
    other = f"https://other.example/inbox/c/{conversation_id}"
    notices.client_of(desk.hub.settings).post(NOTICES, summary(card), drawn(card), other)
    desk.work()
    assert len(desk.notices) == 2
