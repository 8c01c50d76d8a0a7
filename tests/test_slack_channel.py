"""Slack: who may call us, what a customer's message becomes, and what Slack says to our calls."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from channels.base import (
    CheckFailed,
    Ignored,
    NotAuthentic,
    Outbound,
    Raw,
    SendFailed,
    SendUncertain,
    SignedRequest,
    Strength,
    Unreadable,
)
from channels.slack import SlackChannel, SlackClient, escape, plain, verify
from sandbox.slack import SlackDouble, SlackMood
from sandbox.wire import Answer, Call, Caller, Wire

CUSTOMERS, NOTICES = "C0CUSTOMER", "C0NOTICES"
MARA, JONAS = "U0MARA", "U0JONAS"
BUTTON = {
    "type": "actions",
    "elements": [
        {"type": "button", "action_id": "claim", "value": "17", "text": {"type": "plain_text", "text": "Claim"}}
    ],
}


@pytest.fixture
def slack() -> Iterator[SlackDouble]:
    with SlackDouble(hub_url="http://127.0.0.1:9") as double:
        double.add_user(MARA, "Mara Lindqvist", "mara.lindqvist@example.com")
        double.add_user(JONAS, "Jonas Weber", "Jonas.Weber@example.com")
        yield double


def channel(double: SlackDouble, **settings: Any) -> SlackChannel:
    usual = {
        "bot_token": double.bot_token,
        "signing_secret": double.signing_secret,
        "base_url": double.url,
        "customer_channels": [CUSTOMERS],
    }
    return SlackChannel(name="slack", address=CUSTOMERS, settings={**usual, **settings})


def client(double: SlackDouble) -> SlackClient:
    return SlackClient(double.bot_token, double.url)


def request(
    double: SlackDouble, event: dict[str, Any], age: int = 0, headers: dict[str, str] | None = None
) -> SignedRequest:
    url, body, signed = double.signed_event(event)
    now = datetime.now(UTC)
    signed = {**signed, **double.sign(body, int(now.timestamp()) - age)}
    return SignedRequest("POST", url, {**{k.lower(): v for k, v in signed.items()}, **(headers or {})}, body, now=now)


def written(text: str = "Is it &lt;shipped&gt;?", **changes: Any) -> dict[str, Any]:
    event = {"type": "message", "channel": CUSTOMERS, "user": MARA, "text": text, "ts": "1763802000.000100"}
    return {**event, "team": "T0SHOP", **changes}


def heard(double: SlackDouble, **changes: Any) -> list[Any]:
    return channel(double).hear(request(double, written(**changes)))


def test_a_customer_s_message_names_its_writer_and_where_an_answer_goes(slack: SlackDouble) -> None:
    (raw,) = heard(slack, user_profile={"real_name": "Mara Lindqvist"})
    assert isinstance(raw, Raw) and raw.dedupe_key == f"{CUSTOMERS}:1763802000.000100"
    inbound = SlackChannel.parse(raw)
    (point,) = inbound.sender.points
    assert (point.kind, point.value, point.strength) == ("slack", f"T0SHOP:{MARA}", Strength.SLACK)
    assert (inbound.sender.name, inbound.text, inbound.to) == ("Mara Lindqvist", "Is it <shipped>?", CUSTOMERS)
    assert (inbound.external_id, inbound.references) == ("1763802000.000100", ())
    assert inbound.fields["thread"] == f"{CUSTOMERS}:1763802000.000100"
    assert inbound.sent_at == datetime(2025, 11, 22, 9, 0, 0, 100, tzinfo=UTC)


def test_a_message_in_a_thread_refers_to_its_first_message(slack: SlackDouble) -> None:
    (raw,) = heard(slack, ts="1763802060.000200", thread_ts="1763802000.000100")
    inbound = SlackChannel.parse(raw)
    assert inbound.references == ("1763802000.000100",)
    assert inbound.fields["thread"] == f"{CUSTOMERS}:1763802000.000100"


def test_a_file_is_named_for_fetching_later(slack: SlackDouble) -> None:
    files = [{"url_private": "https://files.slack.com/f/1", "mimetype": "image/png"}]
    (raw,) = heard(slack, subtype="file_share", text="", files=files)
    inbound = SlackChannel.parse(raw)
    assert inbound.fields["media.0"] == "https://files.slack.com/f/1" and inbound.flags == ("media",)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bot_id": "B1"}, "A bot wrote it"),
        ({"subtype": "message_changed"}, "an edit"),
        ({"subtype": "channel_join"}, "a notice"),
        ({"channel": NOTICES}, "not among customer_channels"),
        ({"user": None}, "names no writer"),
        ({"type": "reaction_added"}, "no message"),
    ],
)
def test_bots_edits_and_other_channels_are_not_customers(slack: SlackDouble, changes: dict[str, Any], why: str) -> None:
    (heard_of,) = heard(slack, **changes)
    assert isinstance(heard_of, Ignored)
    assert why in heard_of.why
    assert heard_of.private == ("channel" in changes)


def test_a_signed_body_that_is_no_event_is_nothing_to_us(slack: SlackDouble) -> None:
    for body in (b"null", b"{", b'{"event": 7}', b"[" * 100_000):
        headers = {name.lower(): value for name, value in slack.sign(body).items()}
        (told,) = channel(slack).hear(SignedRequest("POST", "https://x/", headers, body, now=datetime.now(UTC)))
        assert isinstance(told, Ignored) and told.why == "This call from Slack holds no event."


@pytest.mark.parametrize("age", [301, -301])
def test_an_old_or_future_signature_is_refused(slack: SlackDouble, age: int) -> None:
    with pytest.raises(NotAuthentic):
        channel(slack).hear(request(slack, written(), age=age))
    assert channel(slack).hear(request(slack, written(), age=299 if age > 0 else -299))


@pytest.mark.parametrize(
    "headers",
    [
        {"x-slack-signature": "v0=0"},
        {"x-slack-signature": "v0=é"},
        {"x-slack-signature": ""},
        {"x-slack-request-timestamp": "soon"},
        {"x-slack-request-timestamp": ""},
        {"x-slack-request-timestamp": "9" * 5000},
    ],
)
def test_an_odd_or_wrong_signature_is_refused(slack: SlackDouble, headers: dict[str, str]) -> None:
    with pytest.raises(NotAuthentic):
        channel(slack).hear(request(slack, written(), headers=headers))


def test_an_unsigned_or_foreign_request_is_refused(slack: SlackDouble) -> None:
    now = datetime.now(UTC)
    with pytest.raises(NotAuthentic):
        verify(SignedRequest("POST", "https://x/", {}, b"{}", now=now), slack.signing_secret)
    signed = {name.lower(): value for name, value in slack.sign(b"\xff").items()}
    for body, secret in ((b"\xff", slack.signing_secret), (b"{}", "another"), (b"\xff", "")):
        with pytest.raises(NotAuthentic):
            verify(SignedRequest("POST", "https://x/", signed, body, now=now), secret)


@pytest.mark.parametrize("body", [b"{}", b"x", b'{"event": {"channel": "C", "ts": "x", "user": "U"}}', b'{"event": 1}'])
def test_a_kept_event_without_a_message_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        SlackChannel.parse(Raw("k", body, "application/json"))


def test_markup_is_read_and_written_as_slack_means_it() -> None:
    assert plain("<@U1> see <https://x.example/a?b=1&amp;c=2|this> &lt;b&gt; &amp;lt; <!here>") == (
        "@U1 see this (https://x.example/a?b=1&c=2) <b> &lt; @here"
    )
    assert plain("<mailto:mara@example.com|mara@example.com> <#C1|help> a < b") == "mara@example.com #help a < b"
    assert escape("<!channel> & <@U1>") == "&lt;!channel&gt; &amp; &lt;@U1&gt;"


def test_an_answer_goes_into_the_thread_and_cannot_ping_anybody(slack: SlackDouble) -> None:
    slack.say(CUSTOMERS, MARA, "Where is my lamp?")
    root = slack.messages[0].ts
    accepted = channel(slack).send(Outbound("uuid-1", (f"{CUSTOMERS}:{root}",), "<!channel> On its way"))
    post = slack.wait_for(lambda post: post.ts == accepted.external_id)
    assert (post.thread_ts, post.text) == (root, "&lt;!channel&gt; On its way")
    assert accepted.state == "delivered"


def test_a_notice_is_posted_updated_and_whispered_about(slack: SlackDouble) -> None:
    slack_client = client(slack)
    ts = slack_client.post(NOTICES, "Mara waits", [BUTTON], "https://hub.example.com/conversations/17")
    assert slack.messages[0].buttons == {"claim": "17"}
    assert slack_client.update(NOTICES, ts, "With Jonas", [], "https://hub.example.com/conversations/17")
    assert slack.messages[0].text == "With Jonas" and slack.messages[0].before[0][0] == "Mara waits"
    assert not slack_client.update(NOTICES, "1.000001", "With Jonas")
    slack_client.ephemeral(NOTICES, JONAS, "It is yours.")
    assert slack.messages[-1].only_for == JONAS


def test_people_are_matched_by_e_mail(slack: SlackDouble) -> None:
    slack_client = client(slack)
    assert slack_client.user_by_email("jonas.weber@example.com") == JONAS
    assert slack_client.user_by_email("tomas@example.com") == ""
    assert slack_client.email_of(JONAS) == "jonas.weber@example.com" and slack_client.email_of("U404") == ""


def test_a_dialog_opens_only_on_a_fresh_press(slack: SlackDouble) -> None:
    words = {"type": "section", "text": {"type": "plain_text", "text": "What shall Mara read?"}}
    view = {"type": "modal", "title": {"type": "plain_text", "text": "Reply"}, "blocks": [words]}
    assert client(slack).open_modal(slack.trigger(), view) in slack.views
    with pytest.raises(SendFailed, match="invalid_trigger_id"):
        client(slack).open_modal("stale", view)
    with pytest.raises(SendFailed, match="invalid_arguments"):
        client(slack).open_modal(slack.trigger(), {**view, "blocks": []})


def test_a_press_and_a_written_message_reach_the_hub_signed(slack: SlackDouble) -> None:
    calls: list[Call] = []

    def judge(call: Call) -> Answer:
        verify(
            SignedRequest(call.method, call.path, call.headers, call.body, now=datetime.now(UTC)), slack.signing_secret
        )
        calls.append(call)
        return Answer(200)

    hub = Wire(judge)
    hub.start()
    slack.caller = Caller(hub.url)
    ts = client(slack).post(NOTICES, "Mara waits", [BUTTON])
    assert slack.press("claim", "17", JONAS, NOTICES, ts, copies=3) == 200
    assert slack.say(CUSTOMERS, MARA, "Hello") == 200
    assert slack.challenge()[0] == 200
    hub.stop()
    pressed = json.loads(calls[0].form()["payload"])
    assert [call.path.rpartition("/")[2] for call in calls] == ["actions"] * 3 + ["events"] * 2
    assert (pressed["actions"][0]["action_id"], pressed["user"]["id"]) == ("claim", JONAS)
    assert (pressed["container"]["message_ts"], pressed["message"]["text"]) == (ts, "Mara waits")
    assert channel(slack).hear(
        SignedRequest("POST", calls[3].path, calls[3].headers, calls[3].body, now=datetime.now(UTC))
    )


@pytest.mark.parametrize(
    ("mood", "permanent", "wait"),
    [
        (SlackMood(429, retry_after=42), False, timedelta(seconds=42)),
        (SlackMood(error="ratelimited"), False, timedelta(seconds=30)),
        (SlackMood(503, html=True), False, None),
        (SlackMood(error="invalid_auth"), True, None),
        (SlackMood(error="is_archived"), True, None),
        (SlackMood(error="brand_new_error"), True, None),
    ],
)
def test_a_refusal_says_whether_to_try_again(
    slack: SlackDouble, mood: SlackMood, permanent: bool, wait: timedelta | None
) -> None:
    slack.moods.append(mood)
    with pytest.raises(SendFailed) as refused:
        client(slack).post(NOTICES, "hello")
    assert (refused.value.permanent, refused.value.retry_after) == (permanent, wait) and refused.value.why
    assert slack.messages == []


@pytest.mark.parametrize(
    ("mood", "taken"),
    [
        (SlackMood(drop="after"), True),
        (SlackMood(drop="before"), False),
        (SlackMood(500, html=True), False),
        (SlackMood(error="fatal_error"), False),
        (SlackMood(html=True), False),
    ],
)
@pytest.mark.parametrize("thread", ["", "in a thread"])
def test_an_unknown_outcome_is_looked_up_by_our_mark(
    slack: SlackDouble, mood: SlackMood, taken: bool, thread: str
) -> None:
    slack.say(CUSTOMERS, MARA, "Where is my lamp?")
    to = f"{CUSTOMERS}:{slack.messages[0].ts}" if thread else CUSTOMERS
    since = datetime.now(UTC) - timedelta(minutes=1)
    message = Outbound("uuid-7", (to,), "On its way")
    slack.moods.append(mood)
    with pytest.raises(SendUncertain):
        channel(slack).send(message)
    outcome = channel(slack).outcome(message, since)
    assert (outcome is not None) is taken
    assert channel(slack).outcome(Outbound("uuid-8", (to,), "On its way"), since) is None


def test_a_slow_slack_leaves_the_outcome_open(slack: SlackDouble) -> None:
    slack.moods.append(SlackMood(delay=1.5))
    with pytest.raises(SendUncertain):
        SlackClient(slack.bot_token, slack.url, timeout=1).post(NOTICES, "hello")


def test_when_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = SlackClient("xoxb-1", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(SendFailed, match="reached") as failed:
            nobody.post(NOTICES, "hello")
        assert not failed.value.permanent
        with pytest.raises(CheckFailed):
            nobody.check()


@pytest.mark.parametrize(
    "message",
    [
        Outbound("1", (CUSTOMERS,), "x" * 4001),
        Outbound("1", (CUSTOMERS,), " "),
        Outbound("1", (), "Hello"),
        Outbound("1", ("C404",), "Hello"),
    ],
)
def test_what_slack_can_never_take_fails_for_good(slack: SlackDouble, message: Outbound) -> None:
    with pytest.raises(SendFailed) as refused:
        channel(slack).send(message)
    assert refused.value.permanent and slack.messages == []


def test_a_layout_over_slack_s_limits_is_refused(slack: SlackDouble) -> None:
    long = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}
    for blocks in ([long], [BUTTON] * 51):
        with pytest.raises(SendFailed, match="layout"):
            client(slack).post(NOTICES, "hello", blocks)


def test_messages_whose_events_were_lost_are_found_in_the_history(slack: SlackDouble) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    slack.say(CUSTOMERS, MARA, "Where is my lamp?", lost=True)
    root = slack.messages[0].ts
    channel(slack).send(Outbound("uuid-1", (f"{CUSTOMERS}:{root}",), "On its way"))
    slack.say(CUSTOMERS, MARA, "Thanks &amp; bye", root, lost=True)
    found = [SlackChannel.parse(raw) for raw in channel(slack).missing(since)]
    assert [(inbound.text, inbound.references) for inbound in found] == [
        ("Where is my lamp?", ()),
        ("Thanks & bye", (root,)),
    ]
    assert {raw.dedupe_key for raw in channel(slack).missing(since)} == {
        f"{CUSTOMERS}:{slack.messages[0].ts}",
        f"{CUSTOMERS}:{slack.messages[2].ts}",
    }


def test_check_asks_slack_who_we_are(slack: SlackDouble) -> None:
    channel(slack).check()
    with pytest.raises(CheckFailed, match="bot_token"):
        channel(slack, bot_token="xoxb-wrong").check()


def test_nothing_of_a_message_or_token_is_logged(slack: SlackDouble, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    slack.moods.append(SlackMood(html=True))
    with pytest.raises(SendUncertain):
        client(slack).post(NOTICES, "a secret between us")
    client(slack).post(NOTICES, "a secret between us")
    assert "secret between" not in caplog.text and slack.bot_token not in caplog.text


def test_the_same_event_told_twice_has_one_key(slack: SlackDouble) -> None:
    first, second = heard(slack)[0], heard(slack)[0]
    assert first.dedupe_key == second.dedupe_key
    assert json.loads(first.body)["event_id"] != json.loads(second.body)["event_id"]
