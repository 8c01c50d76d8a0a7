"""A local double of Slack over real HTTP: the methods we call, its limits and moods, and people who press and write.

Shapes follow docs.slack.dev/reference/methods, /reference/events/message and
/reference/interaction-payloads/block_actions-payload.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from sandbox.wire import Answer, Call, Caller, Wire, await_one, json_answer

KEPT = 1000  # messages; older ones are forgotten
EVENTS, ACTIONS = "/webhooks/slack/events", "/webhooks/slack/actions"
BOT = "U0HUB"
_TRIGGER_SECONDS = 3.0


@dataclass(slots=True)
class Post:
    """A message. `before` holds its earlier (text, blocks); `only_for` is set when one person alone sees it."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    thread_ts: str = ""
    metadata: dict[str, Any] | None = None
    only_for: str = ""
    before: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list, repr=False)

    @property
    def buttons(self) -> dict[str, str]:
        """action_id → value of the buttons it shows."""
        elements = [each for block in self.blocks for each in block.get("elements", ()) if each.get("type") == "button"]
        return {each["action_id"]: each.get("value", "") for each in elements}


@dataclass(frozen=True, slots=True)
class SlackMood:
    """How one call goes: an HTTP status, an `error` with ok:false, late by `delay` seconds, or the line dropped.

    `drop` is "before" or "after" the call took effect; `html` answers like a gateway instead of like Slack.
    """

    status: int = 200
    error: str = ""
    retry_after: int | None = None
    delay: float = 0.0
    drop: str = ""
    html: bool = False


class SlackDouble:
    """One workspace with our app in it. `moods` are for the next calls that write."""

    def __init__(
        self,
        *,
        hub_url: str = "",
        public_url: str = "",
        bot_token: str = "xoxb-double",
        signing_secret: str = "5lack" + "0" * 27,
        team: str = "T0HUB",
    ):
        self.bot_token, self.signing_secret, self.team = bot_token, signing_secret, team
        self.channels: dict[str, bool] = {"C0NOTICES": True, "C0CUSTOMER": True}  # id → our app is a member
        self.users: dict[str, tuple[str, str]] = {}  # id → name, e-mail
        self.messages: list[Post] = []
        self.views: dict[str, dict[str, Any]] = {}
        self.moods: deque[SlackMood] = deque()
        self.calls: deque[str] = deque(maxlen=KEPT)  # methods, in their order
        self.responses: deque[dict[str, Any]] = deque(maxlen=KEPT)  # what came to a response_url
        self._triggers: dict[str, float] = {}
        self._last = 0
        self._changed = threading.Condition()
        self._wire = Wire(self._answer)
        self.caller = Caller(hub_url, public_url)

    # -- life

    @property
    def url(self) -> str:
        """What `base_url` of the channel is set to."""
        return self._wire.url

    @property
    def port(self) -> int:
        return self._wire.port

    def start(self, port: int = 0) -> None:
        self._wire.start(port)

    def stop(self) -> None:
        self._wire.stop()

    def __enter__(self) -> SlackDouble:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what a test or the sandbox page sees and does

    def add_user(self, user: str, name: str, email: str = "") -> None:
        self.users[user] = (name, email)

    def wait_for(self, predicate: Callable[[Post], bool], timeout: float = 5.0) -> Post:
        """The first message that fulfils the predicate. Raises TimeoutError."""
        return await_one(self._changed, lambda: list(self.messages), predicate, timeout)

    def say(
        self, channel: str, user: str, text: str, thread_ts: str = "", *, copies: int = 1, lost: bool = False
    ) -> int:
        """Somebody writes; the hub's worst answer, 0 without any. `lost` keeps the event from being sent."""
        post = self._keep(Post(channel, self._ts(), user, text, thread_ts=thread_ts))
        if lost:
            return 0
        event = {**self._resource(post), "channel": channel, "channel_type": "channel", "event_ts": post.ts}
        answers = self.caller.post_often(copies, *self.signed_event(event))
        return 0 if 0 in answers else max(answers)

    def signed_event(self, event: Mapping[str, Any]) -> tuple[str, bytes, dict[str, str]]:
        """Address, body and headers of an event as Slack posts it."""
        payload = {
            "token": "not-used",
            "team_id": self.team,
            "api_app_id": "A0HUB",
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{uuid4().hex[:10].upper()}",
            "event_time": int(time.time()),
        }
        body = json.dumps(payload).encode()
        return self.caller.public_url + EVENTS, body, {"Content-Type": "application/json", **self.sign(body)}

    def challenge(self) -> tuple[int, bytes]:
        """Slack's handshake when the events address is entered; status and body of the hub's answer."""
        body = json.dumps({"type": "url_verification", "token": "not-used", "challenge": "3eZbrw1aB"}).encode()
        headers = {"Content-Type": "application/json", **self.sign(body)}
        return self.caller.ask(self.caller.public_url + EVENTS, body, headers)

    def press(self, action_id: str, value: str, user: str, channel: str, ts: str, *, copies: int = 1) -> int:
        """Somebody presses a button of a message; the hub's worst answer, 0 without any."""
        post = next((each for each in self.messages if (each.channel, each.ts) == (channel, ts)), None)
        payload = {
            "type": "block_actions",
            "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": False},
            "trigger_id": self.trigger(),
            "channel": {"id": channel, "name": channel.lower()},
            "message": self._resource(post) if post else {"ts": ts},
            "state": {"values": {}},
            "response_url": f"{self.url}/response/{uuid4().hex}",
            "actions": [
                {
                    "type": "button",
                    "action_id": action_id,
                    "block_id": "b1",
                    "text": {"type": "plain_text", "text": action_id, "emoji": True},
                    "value": value,
                    "action_ts": self._ts(),
                }
            ],
        }
        answers = self.caller.post_often(copies, *self._interaction(payload, user))
        return 0 if 0 in answers else max(answers)

    def submit(self, view_id: str, user: str, values: Mapping[str, Any]) -> tuple[int, bytes]:
        """Somebody sends a dialog; `values` are the view's state. Status and body of the hub's answer."""
        view = {**self.views[view_id], "id": view_id, "state": {"values": values}}
        return self.caller.ask(*self._interaction({"type": "view_submission", "view": view}, user))

    def sign(self, body: bytes, at: int | None = None) -> dict[str, str]:
        """Slack's two signature headers, for `at` in Unix seconds or now."""
        timestamp = str(int(time.time()) if at is None else at)
        digest = hmac.new(self.signing_secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256)
        return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={digest.hexdigest()}"}

    def trigger(self) -> str:
        """What a press gives us to open a dialog with, for three seconds."""
        trigger = uuid4().hex
        for old in list(self._triggers)[:-KEPT]:
            self._triggers.pop(old, None)
        self._triggers[trigger] = time.monotonic()
        return trigger

    def _interaction(self, payload: Mapping[str, Any], user: str) -> tuple[str, bytes, dict[str, str]]:
        name = self.users.get(user, ("", ""))[0]
        full = {
            "user": {"id": user, "username": name.lower(), "name": name.lower(), "team_id": self.team},
            "api_app_id": "A0HUB",
            "team": {"id": self.team, "domain": "double"},
            "enterprise": None,
            "is_enterprise_install": False,
            **payload,
        }
        body = urlencode({"payload": json.dumps(full)}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", **self.sign(body)}
        return self.caller.public_url + ACTIONS, body, headers

    # -- the Web API

    def _answer(self, call: Call) -> Answer:
        if call.path.startswith("/response/"):
            self.responses.append(json.loads(call.body))
            return Answer(200, b"ok")
        method = call.path.removeprefix("/api/")
        answer = _METHODS.get(method)
        if answer is None:
            return _no("unknown_method")
        if call.headers.get("authorization") != f"Bearer {self.bot_token}":
            return _no("invalid_auth" if "authorization" in call.headers else "not_authed")
        self.calls.append(method)
        is_json = call.headers.get("content-type", "").startswith("application/json")
        given = {**call.query, **(json.loads(call.body or b"{}") if is_json else call.form())}
        mood = self.moods.popleft() if self.moods and method in _WRITING else SlackMood()
        if mood.delay:
            time.sleep(mood.delay)
        if mood.drop == "before":
            return Answer(drop=True)
        if mood.html:
            return Answer(mood.status, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})
        if mood.status != 200 or mood.error:
            waits = {} if mood.retry_after is None else {"Retry_After": str(mood.retry_after)}
            return json_answer({"ok": False, "error": mood.error or "ratelimited"}, mood.status, **waits)
        result = answer(self, given)
        return Answer(drop=True) if mood.drop == "after" else result

    def _auth_test(self, given: dict[str, Any]) -> Answer:
        return _yes(url="https://double.slack.com/", team="Double", user="hub", team_id=self.team, user_id=BOT)

    def _post_message(self, given: dict[str, Any]) -> Answer:
        if refused := self._unfit(given):
            return _no(refused)
        post = self._keep(
            Post(
                given["channel"],
                self._ts(),
                BOT,
                given.get("text") or "",
                given.get("blocks") or [],
                thread_ts=given.get("thread_ts") or "",
                metadata=given.get("metadata"),
            )
        )
        return _yes(channel=post.channel, ts=post.ts, message=self._resource(post))

    def _update(self, given: dict[str, Any]) -> Answer:
        if refused := self._unfit(given):
            return _no(refused)
        post = self._own(given)
        if post is None:
            return _no("message_not_found")
        with self._changed:
            post.before.append((post.text, post.blocks))
            post.text, post.blocks = given.get("text") or "", given.get("blocks") or []
            post.metadata = given.get("metadata") or post.metadata
            self._changed.notify_all()
        return _yes(channel=post.channel, ts=post.ts, text=post.text)

    def _post_ephemeral(self, given: dict[str, Any]) -> Answer:
        if refused := self._unfit(given):
            return _no(refused)
        if given.get("user") not in self.users:
            return _no("user_not_in_channel")
        post = Post(given["channel"], self._ts(), BOT, given.get("text") or "", only_for=given["user"])
        self._keep(post)
        return _yes(message_ts=post.ts)

    def _views_open(self, given: dict[str, Any]) -> Answer:
        asked = self._triggers.pop(given.get("trigger_id", ""), None)
        if asked is None:
            return _no("invalid_trigger_id")
        if time.monotonic() - asked > _TRIGGER_SECONDS:
            return _no("expired_trigger_id")
        view = given.get("view") or {}
        try:
            View(**view).to_dict()
        except (SlackObjectFormationError, TypeError) as odd:
            return _no("invalid_arguments", response_metadata={"messages": [str(odd)]})
        identifier = f"V{uuid4().hex[:10].upper()}"
        self.views[identifier] = view
        return _yes(view={**view, "id": identifier})

    def _lookup(self, given: dict[str, Any]) -> Answer:
        wanted = given.get("email", "").lower()
        found = next((user for user, (_, email) in self.users.items() if wanted and email.lower() == wanted), None)
        return _yes(user=self._user(found)) if found else _no("users_not_found")

    def _user_info(self, given: dict[str, Any]) -> Answer:
        user = given.get("user", "")
        return _yes(user=self._user(user)) if user in self.users else _no("user_not_found")

    def _history(self, given: dict[str, Any]) -> Answer:
        return self._page(given, [each for each in self._told(given) if not each.thread_ts][::-1])

    def _replies(self, given: dict[str, Any]) -> Answer:
        root = given.get("ts", "")
        if not any(each.ts == root for each in self.messages):
            return _no("thread_not_found")
        return self._page(given, [each for each in self._told(given) if root in (each.ts, each.thread_ts)])

    # -- state

    def _page(self, given: Mapping[str, Any], found: list[Post]) -> Answer:
        if given.get("channel") not in self.channels:
            return _no("channel_not_found")
        start, limit = int(given.get("cursor") or 0), int(given.get("limit") or 100)
        onward = str(start + limit) if len(found) > start + limit else ""
        shown = [self._resource(each) for each in found[start : start + limit]]
        if str(given.get("include_all_metadata", "")).lower() not in ("1", "true"):
            shown = [{name: value for name, value in each.items() if name != "metadata"} for each in shown]
        return _yes(messages=shown, has_more=bool(onward), response_metadata={"next_cursor": onward})

    def _told(self, given: Mapping[str, Any]) -> list[Post]:
        oldest = float(given.get("oldest") or 0)
        return [
            each
            for each in list(self.messages)
            if each.channel == given.get("channel") and float(each.ts) > oldest and not each.only_for
        ]

    def _unfit(self, given: Mapping[str, Any]) -> str:
        channel = str(given.get("channel"))
        member = channel in self.users or self.channels.get(channel)  # a user's id stands for the talk with that user
        if member is None:
            return "channel_not_found"
        if not member:
            return "not_in_channel"
        text, blocks = given.get("text") or "", given.get("blocks") or []
        if not text and not blocks:
            return "no_text"
        if len(text) > 40_000:
            return "msg_too_long"
        return "invalid_blocks" if blocks and not _are_valid(blocks) else ""

    def _own(self, given: Mapping[str, Any]) -> Post | None:
        for each in list(self.messages):
            if (each.channel, each.ts, each.user) == (given["channel"], given.get("ts"), BOT) and not each.only_for:
                return each
        return None

    def _user(self, user: str) -> dict[str, Any]:
        name, email = self.users[user]
        return {"id": user, "team_id": self.team, "real_name": name, "profile": {"real_name": name, "email": email}}

    def _resource(self, post: Post) -> dict[str, Any]:
        replies = sum(1 for each in list(self.messages) if each.thread_ts == post.ts and each.channel == post.channel)
        own = {"bot_id": "B0HUB", "blocks": post.blocks} if post.user == BOT else {"client_msg_id": post.ts}
        profile = {"user_profile": {"real_name": self.users[post.user][0]}} if post.user in self.users else {}
        return {
            "type": "message",
            "user": post.user,
            "team": self.team,
            "text": post.text,
            "ts": post.ts,
            **own,
            **profile,
            **({"thread_ts": post.thread_ts or post.ts} if post.thread_ts or replies else {}),
            **({"reply_count": replies} if replies else {}),
            **({"metadata": post.metadata} if post.metadata else {}),
        }

    def _ts(self) -> str:
        """Unique and rising, as Slack's are."""
        with self._changed:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"

    def _keep(self, post: Post) -> Post:
        with self._changed:
            self.messages.append(post)
            del self.messages[:-KEPT]
            self._changed.notify_all()
        return post


_METHODS: dict[str, Callable[[SlackDouble, dict[str, Any]], Answer]] = {
    "auth.test": SlackDouble._auth_test,
    "chat.postMessage": SlackDouble._post_message,
    "chat.update": SlackDouble._update,
    "chat.postEphemeral": SlackDouble._post_ephemeral,
    "views.open": SlackDouble._views_open,
    "users.lookupByEmail": SlackDouble._lookup,
    "users.info": SlackDouble._user_info,
    "conversations.history": SlackDouble._history,
    "conversations.replies": SlackDouble._replies,
}
_WRITING = ("chat.postMessage", "chat.update", "chat.postEphemeral", "views.open")


def _are_valid(blocks: list[dict[str, Any]]) -> bool:
    """Slack's limits, through its own models: 50 blocks, 3000 characters a section, 25 buttons, and so on."""
    try:
        parsed = [Block.parse(block) for block in blocks]
        return len(blocks) <= 50 and all(block is not None and block.to_dict() for block in parsed)
    except (SlackObjectFormationError, TypeError, KeyError, AttributeError):
        return False


def _yes(**content: Any) -> Answer:
    return json_answer({"ok": True, **content})


def _no(error: str, **content: Any) -> Answer:
    return json_answer({"ok": False, "error": error, **content})
