"""Slack: customers who write in shared channels, and the calls that notices and buttons are made with.

Sources: docs.slack.dev/authentication/verifying-requests-from-slack, /apis/events-api, /reference/methods,
/messaging/formatting-message-text, /apis/web-api/rate-limits.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
import urllib.error
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.client import HTTPException
from typing import Any, ClassVar

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.signature import Clock, SignatureVerifier
from slack_sdk.web import WebClient

from channels.base import (
    Accepted,
    CheckFailed,
    ContactPoint,
    Ignored,
    Inbound,
    Limits,
    NotAuthentic,
    Outbound,
    Raw,
    Sender,
    SendFailed,
    SendUncertain,
    Settings,
    SignedRequest,
    Strength,
    Unreadable,
)
from channels.settings import checked, texts
from channels.text import storable, storable_json
from config.language import N_
from config.retold import stored

JSON = "application/json"
TIMEOUT = 10.0  # seconds
MAX_CHARS = 4000  # Slack's own advice; it cuts at 40,000
EVENT_TYPE = "switchyard_message"  # of the metadata that finds our message again after a broken line
_TOO_FAST = timedelta(seconds=30)
_PAGE, _PAGES = 200, 10

_HEARD = ("", "file_share", "thread_broadcast")  # subtypes that are somebody writing; others are edits and notices
_GONE = ("message_not_found", "cant_update_message", "edit_window_closed")
_UNKNOWN_OUTCOME = ("fatal_error", "internal_error", "request_timeout")  # documented: part of it may have happened
_PASSING = ("ratelimited", "rate_limited", "service_unavailable", "team_added_to_org")
_SENTENCES = {
    "channel_not_found": N_("Slack doesn't know that channel; check its id and that our app may see it."),
    "not_in_channel": N_("Our Slack app isn't in that channel; invite it there."),
    "is_archived": N_("That Slack channel is archived; choose another one."),
    "msg_too_long": N_("The message is too long for Slack; shorten it."),
    "no_text": N_("The message is empty; write something first."),
    "invalid_blocks": N_("Slack refused the layout of the message; an administrator has to look at it."),
    "invalid_auth": N_("Slack refused our token; an administrator has to check bot_token."),
    "not_authed": N_("Slack refused our token; an administrator has to check bot_token."),
    "account_inactive": N_("Our Slack app was removed from the workspace; an administrator has to install it again."),
    "token_revoked": N_("Our Slack token was revoked; an administrator has to install the app again."),
    "missing_scope": N_(
        "Our Slack app lacks a permission; an administrator has to install it with the current manifest."
    ),
    "restricted_action": N_("The workspace doesn't let our Slack app post there; an administrator has to allow it."),
}

_MARKUP = re.compile(r"<([^<>\n]+)>")
_NAMED = {"here": "@here", "channel": "@channel", "everyone": "@everyone"}


def escape(text: str) -> str:
    """Text for mrkdwn: Slack knows these three characters as markup and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(mrkdwn: str) -> str:
    """What somebody wrote, without Slack's escapes: links as label and address, mentions as @name or @id."""
    text = _MARKUP.sub(_spelled_out, mrkdwn)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _spelled_out(markup: re.Match[str]) -> str:
    target, _, label = markup[1].partition("|")
    if target[0] in "@#":
        return target[0] + (label or target[1:])
    if target[0] == "!":
        return label or _NAMED.get(target[1:], target[1:])
    address = target.removeprefix("mailto:").removeprefix("tel:")
    return f"{label} ({address})" if label and label not in (address, target) else address


class _At(Clock):
    def __init__(self, now: datetime):
        self._now = now.timestamp()

    def now(self) -> float:
        return self._now


def verify(request: SignedRequest, signing_secret: str) -> None:
    """Slack signed these bytes within five minutes of `request.now`. Raises NotAuthentic."""
    timestamp = request.headers.get("x-slack-request-timestamp")
    signature = request.headers.get("x-slack-signature")
    try:
        valid = SignatureVerifier(signing_secret, _At(request.now)).is_valid(request.body, timestamp, signature)
    except (ValueError, TypeError) as odd:
        raise NotAuthentic("The Slack signature can't be checked: a header, the body or our secret is odd.") from odd
    if not valid:
        raise NotAuthentic("The Slack signature is missing, wrong or older than five minutes; check signing_secret.")


class SlackClient:
    """The calls to Slack that we make. Safe to share between threads; nothing is retried in here."""

    def __init__(self, token: str, base_url: str = "", timeout: float = TIMEOUT):
        quiet = logging.Logger("switchyard.slack", level=logging.CRITICAL)  # the vendor's logs whole messages
        address = f"{base_url.rstrip('/')}/api/" if base_url else WebClient.BASE_URL
        self._web = WebClient(token, base_url=address, timeout=int(timeout), retry_handlers=[], logger=quiet)

    def post(
        self,
        channel: str,
        text: str,
        blocks: Sequence[dict[str, Any]] | None = None,
        mark: str = "",
        *,
        thread_ts: str = "",
    ) -> str:
        """Post once; the message's timestamp. `mark` is kept with the message for `find`.

        `text` is mrkdwn (see `escape`). Raises SendFailed or SendUncertain.
        """
        with _calling():
            answer = self._web.chat_postMessage(
                channel=channel,
                text=text,
                blocks=list(blocks or []) or None,
                thread_ts=thread_ts or None,
                metadata=_metadata(mark),
                unfurl_links=False,
                unfurl_media=False,
                parse="none",
                link_names=False,
            )
            return str(answer["ts"])

    def update(
        self, channel: str, ts: str, text: str, blocks: Sequence[dict[str, Any]] | None = None, mark: str = ""
    ) -> bool:
        """Show something else in a message of ours; False when it is gone. Doing it twice does no harm.

        Raises SendFailed or SendUncertain.
        """
        try:
            with _calling():
                self._web.chat_update(
                    channel=channel,
                    ts=ts,
                    text=text,
                    blocks=list(blocks or []) or None,
                    metadata=_metadata(mark),
                    parse="none",
                    link_names=False,
                )
        except SendFailed as refused:
            if _error(refused.__cause__) in _GONE:
                return False
            raise
        return True

    def ephemeral(self, channel: str, user: str, text: str) -> None:
        """Say something that only one person sees. Raises SendFailed or SendUncertain."""
        with _calling():
            self._web.chat_postEphemeral(channel=channel, user=user, text=text, parse="none", link_names=False)

    def open_modal(self, trigger_id: str, view: Mapping[str, Any]) -> str:
        """Open a dialog within three seconds of a press; the view's id. Raises SendFailed or SendUncertain."""
        with _calling():
            answer = self._web.views_open(trigger_id=trigger_id, view=dict(view))
            return str(answer["view"]["id"])

    def user_by_email(self, email: str) -> str:
        """The id of the workspace's user with that address, "" without one. Raises SendFailed."""
        try:
            with _reading():
                return str(self._web.users_lookupByEmail(email=email)["user"]["id"])
        except SendFailed as refused:
            if _error(refused.__cause__) in ("users_not_found", "user_not_found"):
                return ""
            raise

    def email_of(self, user: str) -> str:
        """The address in a user's profile in lower case, "" without one. Raises SendFailed."""
        try:
            with _reading():
                profile = self._web.users_info(user=user)["user"].get("profile") or {}
                return str(profile.get("email") or "").lower()
        except SendFailed as refused:
            if _error(refused.__cause__) in ("user_not_found", "user_not_visible"):
                return ""
            raise

    def find(self, channel: str, mark: str, since: datetime, thread_ts: str = "") -> str | None:
        """The timestamp of our message with that mark, None when Slack certainly has none. Raises SendFailed."""
        for message in self.messages(channel, since, thread_ts):
            metadata = message.get("metadata") or {}
            if metadata.get("event_type") == EVENT_TYPE and (metadata.get("event_payload") or {}).get("id") == mark:
                return str(message["ts"])
        return None

    def messages(self, channel: str, since: datetime, thread_ts: str = "") -> Iterator[dict[str, Any]]:
        """What was written in a channel, or in one thread, since then: newest page first. Raises SendFailed."""
        cursor, pages = "", 0
        while cursor or not pages:
            options: dict[str, Any] = {"channel": channel, "oldest": f"{since.timestamp():.6f}", "limit": _PAGE}
            with _reading():
                if thread_ts:
                    answer = self._web.conversations_replies(
                        ts=thread_ts, cursor=cursor or None, include_all_metadata=True, **options
                    )
                else:
                    answer = self._web.conversations_history(
                        cursor=cursor or None, include_all_metadata=True, **options
                    )
                found: list[dict[str, Any]] = answer["messages"]
                cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            yield from found
            pages += 1
            if cursor and pages >= _PAGES:
                raise SendFailed(N_("Too much was written in that Slack channel to look through; look at it by hand."))

    def check(self) -> None:
        """Ask Slack who we are. Raises CheckFailed."""
        try:
            with _reading():
                self._web.auth_test()
        except SendFailed as refused:
            raise CheckFailed(refused.why) from refused


class SlackChannel:
    """Customers who write in channels that they share with us; every thread is a conversation.

    Settings: `bot_token`; `signing_secret`; `customer_channels`, the ids of those channels; `base_url` of a local
    double. Raises NotConfigured.
    """

    kind: ClassVar[str] = "slack"
    limits: ClassVar[Limits] = Limits(max_chars=MAX_CHARS, per_second=1.0)

    def __init__(self, *, name: str, address: str, settings: Settings):
        checked(name, settings, required=("bot_token", "signing_secret"), optional=("customer_channels", "base_url"))
        self.name, self.address = name, address
        self._secret: str = settings["signing_secret"]
        self._channels = texts(name, settings, "customer_channels")
        self._client = SlackClient(settings["bot_token"], settings.get("base_url") or "")

    def hear(self, request: SignedRequest) -> list[Raw | Ignored]:
        """A customer's message among Slack's events; edits, bots and other channels are ignored with the reason.

        The key is the message's place, not the event's id: one message can be told in several events, and `missing`
        finds it without any. Slack's handshake (url_verification) is a question, so it leaves nothing. Raises
        NotAuthentic.
        """
        verify(request, self._secret)
        try:
            payload = json.loads(request.body)
        except (ValueError, RecursionError):
            payload = None
        told = payload if isinstance(payload, dict) else {}
        if told.get("type") == "url_verification":
            return []
        event = told.get("event")
        if not isinstance(event, dict):
            return [Ignored(_telling(told, request.body), N_("This call from Slack holds no event."))]
        if why := self._why_not(event):
            return [Ignored(_telling(told, request.body), why, private=event.get("channel") not in self._channels)]
        return [Raw(f"{event['channel']}:{event['ts']}"[:255], request.body, JSON)]

    @staticmethod
    def parse(raw: Raw) -> Inbound:
        """An event as a message; `fields["thread"]` is where an answer goes. Raises Unreadable."""
        try:
            payload = storable_json(json.loads(raw.body))
            event = payload["event"]
            channel, ts, user = str(event["channel"]), str(event["ts"]), str(event["user"])
            team = str(event.get("user_team") or event.get("team") or payload.get("team_id") or "")
            sent_at = datetime.fromtimestamp(float(ts), UTC)
            profile = event.get("user_profile") or {}
            name = profile.get("real_name") or profile.get("display_name") or ""
            files = [each for each in event.get("files") or () if isinstance(each, dict)]
            written = storable(plain(str(event.get("text") or "")))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError) as odd:
            raise Unreadable(N_("This Slack event holds no message that can be read.")) from odd
        thread = str(event.get("thread_ts") or "")
        fields = {"thread": f"{channel}:{thread or ts}"}
        for number, file in enumerate(files[:20]):
            fields[f"media.{number}"] = str(file.get("url_private") or "")
            fields[f"media.{number}.type"] = str(file.get("mimetype") or "")
        return Inbound(
            Sender((ContactPoint("slack", f"{team}:{user}"[:320], Strength.SLACK, str(name)),), storable(str(name))),
            written,
            to=channel,
            sent_at=sent_at,
            external_id=ts,
            references=(thread,) if thread and thread != ts else (),
            fields=fields,
            flags=("media",) if files else () if written.strip() else ("empty",),
        )

    def send(self, message: Outbound) -> Accepted:
        """Post into the channel or thread that `to` names as "<channel>" or "<channel>:<thread_ts>".

        Slack reports nothing further, so taken is delivered. Raises SendFailed or SendUncertain.
        """
        if not message.to:
            raise SendFailed(N_("The message has no Slack channel; answer in a thread."), permanent=True)
        if message.files:
            raise SendFailed(N_("Files can't be sent to Slack here; send the file by e-mail."), permanent=True)
        if not message.text.strip():
            raise SendFailed(_SENTENCES["no_text"], permanent=True)
        if len(message.text) > MAX_CHARS:
            raise SendFailed(
                stored("A Slack message has at most {most} characters; shorten it.", most=f"{MAX_CHARS:,}"),
                permanent=True,
            )
        channel, _, thread = message.to[0].partition(":")
        ts = self._client.post(channel, escape(message.text), mark=message.id, thread_ts=thread)
        return Accepted(ts, "delivered")

    def missing(self, since: datetime) -> Iterator[Raw]:
        """Customers' messages since then, whose events may never have come. Raises CheckFailed.

        Threads are followed when they began or were answered since then, as far as the channel's history shows.
        """
        try:
            for channel in self._channels:
                for found in self._client.messages(channel, since):
                    written = [found]
                    if found.get("reply_count"):
                        written += self._client.messages(channel, since, str(found["ts"]))
                    for each in {str(each.get("ts")): each for each in written}.values():
                        event = {**each, "type": "message", "channel": channel}
                        if not self._why_not(event):
                            body = json.dumps({"type": "event_callback", "event": event}).encode()
                            yield Raw(f"{channel}:{each['ts']}"[:255], body, JSON, {"source": "history"})
        except SendFailed as refused:
            raise CheckFailed(refused.why) from refused

    def outcome(self, message: Outbound, since: datetime, known: Container[str] = ()) -> Accepted | None:
        """Whether Slack has this message, found by our mark on it. Raises SendUncertain when it can't be asked."""
        channel, _, thread = message.to[0].partition(":")
        try:
            ts = self._client.find(channel, message.id, since, thread)
        except SendFailed as refused:
            raise SendUncertain(stored("Slack can't be asked about the message: {why}", why=refused.why)) from refused
        return Accepted(ts, "delivered") if ts else None

    def check(self) -> None:
        """Ask Slack who we are. Raises CheckFailed."""
        self._client.check()

    def _why_not(self, event: Mapping[str, Any]) -> str:
        """Why this event is no customer's message; empty when it is one."""
        if event.get("type") != "message":
            return N_("It tells of no message.")
        if event.get("channel") not in self._channels:
            return N_("It was written in a channel that is not among customer_channels.")
        if (event.get("subtype") or "") not in _HEARD:
            return N_("It is an edit, a deletion or a notice, not a new message.")
        if event.get("bot_id"):
            return N_("A bot wrote it.")
        if not isinstance(event.get("user"), str) or not isinstance(event.get("ts"), str):
            return N_("It names no writer or no place.")
        return ""


def _telling(payload: Mapping[str, Any], body: bytes) -> Raw:
    """An event that is no message, under the id that Slack repeats when it tells of it again."""
    known = payload.get("event_id")
    key = f"event:{storable(known)}" if isinstance(known, str) and known else f"sha256:{sha256(body).hexdigest()}"
    return Raw(key[:255], body, JSON)


def _metadata(mark: str) -> dict[str, Any] | None:
    return {"event_type": EVENT_TYPE, "event_payload": {"id": mark}} if mark else None


def _error(cause: BaseException | None) -> str:
    """Slack's own word for what was wrong."""
    data = cause.response.data if isinstance(cause, SlackApiError) and cause.response is not None else None
    return str(data.get("error") or "") if isinstance(data, dict) else ""


@contextmanager
def _calling() -> Iterator[None]:
    """Turn whatever goes wrong in a call into SendFailed or SendUncertain."""
    try:
        yield
    except SlackApiError as refused:
        raise _refusal(refused) from refused
    except (SlackClientError, ValueError, KeyError, TypeError) as odd:
        raise SendUncertain(N_("Slack's answer could not be read; the message is being looked for.")) from odd
    except (OSError, HTTPException) as lost:
        raise _lost(lost) from lost


@contextmanager
def _reading() -> Iterator[None]:
    """As `_calling`, for questions: they can always be asked again."""
    try:
        with _calling():
            yield
    except SendUncertain as lost:
        raise SendFailed(N_("Slack did not answer; it is asked again.")) from lost.__cause__


def _refusal(refused: SlackApiError) -> SendFailed | SendUncertain:
    status, error = refused.response.status_code, _error(refused)
    if status == 429 or error in _PASSING:
        headers = {str(name).lower(): str(value) for name, value in refused.response.headers.items()}
        seconds = headers.get("retry-after", "")
        wait = timedelta(seconds=int(seconds)) if seconds.isdecimal() else _TOO_FAST
        return SendFailed(N_("Slack asks us to slow down; the message is tried again shortly."), retry_after=wait)
    if status == 503:
        return SendFailed(N_("Slack is out of service; the message is tried again shortly."))
    if status >= 500 or error in _UNKNOWN_OUTCOME or " " in error:  # a sentence instead of a word is no answer of Slack
        return SendUncertain(
            N_("Slack answered with a fault after it may have taken the message; it is being looked for.")
        )
    return SendFailed(
        _SENTENCES.get(error, stored("Slack refused the message ({error}).", error=error or status)), permanent=True
    )


def _lost(lost: OSError | HTTPException) -> SendFailed | SendUncertain:
    """urllib wraps what goes wrong up to the end of sending; what breaks later comes as it is."""
    reason = lost.reason if isinstance(lost, urllib.error.URLError) else None
    if isinstance(reason, ConnectionRefusedError | socket.gaierror | TimeoutError | ssl.SSLCertVerificationError):
        return SendFailed(N_("Slack can't be reached; the message is tried again shortly."))
    return SendUncertain(N_("The line to Slack broke after it may have taken the message; it is being looked for."))
