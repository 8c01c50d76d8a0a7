"""A local double of Twilio over real HTTP: its REST interface, its signed webhooks, its moods, and a phone to play.

Shapes and numbers follow twilio.com/docs/messaging/api/message-resource, /docs/iam/test-credentials (magic numbers)
and /docs/usage/security (signatures).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from channels.sms import segments
from sandbox.wire import Answer, Call, Caller, Wire, await_one, json_answer

KEPT = 1000  # messages; older ones are forgotten
MESSAGES = "/webhooks/twilio/messages"
_STOP = {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"}
_START = {"start", "unstop", "yes"}
_MAGIC_TO = {
    "+15005550001": (21211, "The 'To' number is not a valid phone number."),
    "+15005550002": (21612, "The 'To' phone number is not currently reachable."),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region."),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}
_MAGIC_FROM = {
    "+15005550001": (21212, "The 'From' number is not a valid phone number."),
    "+15005550007": (21606, "The 'From' phone number is not a valid, SMS-capable number for your account."),
    "+15005550008": (21611, "The 'From' number has exceeded the maximum number of queued messages"),
}
_MAGIC_SENDER = "+15005550006"


@dataclass(slots=True)
class Text:
    """A message at the double. `status` moves as its callbacks are posted."""

    sid: str
    direction: str  # inbound, outbound-api or outbound-reply
    from_: str
    to: str
    body: str
    status: str
    created: datetime
    callback: str = ""
    service: str = ""
    error_code: int | None = None
    media: list[tuple[str, str, bytes]] = field(default_factory=list, repr=False)  # sid, type, bytes


@dataclass(frozen=True, slots=True)
class Mood:
    """How one send goes: refused with `status` and `code`, late by `delay` seconds, or with the line dropped.

    `drop` is "before" or "after" the message was taken; `html` answers like a gateway instead of like Twilio.
    """

    status: int = 201
    code: int = 0
    retry_after: int | None = None
    delay: float = 0.0
    drop: str = ""
    html: bool = False


class TwilioDouble:
    """One account with one or more numbers.

    `lifecycle` are the statuses that every taken message reports, in that order, "undelivered:30006" with an error;
    repeat or swap them to see duplicates or disorder. `early` reports them before the send itself is answered.
    """

    def __init__(
        self,
        *,
        hub_url: str = "",
        public_url: str = "",
        numbers: Sequence[str] = ("+46700000000",),
        account_sid: str = "AC" + "0" * 32,
        auth_token: str = "d0ub1e" + "0" * 26,
        lifecycle: Sequence[str] = ("sent", "delivered"),
        early: bool = False,
    ):
        self.account_sid, self.auth_token, self.numbers = account_sid, auth_token, set(numbers)
        self.lifecycle, self.early = tuple(lifecycle), early
        self.moods: deque[Mood] = deque()
        self.messages: list[Text] = []
        self.callbacks: deque[tuple[str, str, int]] = deque(maxlen=KEPT)  # sid, status, the hub's answer
        self.webhooks: list[tuple[str, dict[str, str], dict[str, str]]] = []  # url, form, headers
        self._stopped: set[tuple[str, str]] = set()  # customer, our number
        self._changed = threading.Condition()
        self._reports: queue.Queue[tuple[Text, str] | None] = queue.Queue()
        self._reporter: threading.Thread | None = None
        self._wire = Wire(self._answer)
        self.caller = Caller(hub_url, public_url)
        self.sms_url = self.caller.public_url + MESSAGES  # what is set at our numbers

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
        self._reporter = threading.Thread(target=self._report_all, name="twilio-double", daemon=True)
        self._reporter.start()

    def stop(self) -> None:
        self._wire.stop()
        if self._reporter is not None:
            self._reports.put(None)
            self._reporter.join(timeout=5)
            self._reporter = None

    def __enter__(self) -> TwilioDouble:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what a test or the sandbox page sees and does

    @property
    def sent(self) -> list[Text]:
        """What the hub sent and Twilio took, oldest first."""
        with self._changed:
            return [text for text in self.messages if text.direction == "outbound-api"]

    def phone(self, number: str) -> list[Text]:
        """The thread as that phone shows it, both ways, with Twilio's own answers to STOP and START."""
        with self._changed:
            return [text for text in self.messages if number in (text.from_, text.to)]

    def wait_for(self, predicate: Callable[[Text], bool], timeout: float = 5.0) -> Text:
        """The first sent text that fulfils the predicate. Raises TimeoutError."""
        return await_one(self._changed, lambda: self.sent, predicate, timeout)

    def wait_for_callback(self, sid: str, status: str, timeout: float = 5.0) -> int:
        """How the hub answered that callback, once it was posted. Raises TimeoutError."""
        wanted = await_one(self._changed, lambda: self.callbacks, lambda each: each[:2] == (sid, status), timeout)
        return wanted[2]

    def text_in(
        self, from_: str, to: str, body: str, media: Sequence[tuple[str, bytes]] = (), *, copies: int = 1, **extra: str
    ) -> int:
        """A phone texts the hub: a signed webhook, `copies` of it at once. The worst answer; 0 when nobody answered.

        `media` are (content type, bytes); `extra` are further parameters, such as ProfileName.
        """
        kept = [("ME" + uuid4().hex, content_type, data) for content_type, data in media]
        text = self._keep("inbound", from_, to, body, "received", media=kept)
        self._obey(from_, to, body)
        answers = self.caller.post_often(
            copies, *self._signed(self.caller.public_url + MESSAGES, self._webhook(text, extra))
        )
        return 0 if 0 in answers else max(answers)

    def text_lost(self, from_: str, to: str, body: str) -> Text:
        """A phone texts the hub, but the webhook never arrives: only Twilio's list has it."""
        return self._keep("inbound", from_, to, body, "received")

    def report(self, text: Text, status: str) -> int:
        """Post one signed status callback ("delivered", "undelivered:30006"); the hub's answer, 0 without any."""
        state, _, code = status.partition(":")
        with self._changed:
            text.status, text.error_code = state, int(code) if code else None
        form = {
            "SmsSid": text.sid,
            "SmsStatus": state,
            "MessageStatus": state,
            "To": text.to,
            "MessageSid": text.sid,
            "AccountSid": self.account_sid,
            "From": text.from_,
            "ApiVersion": "2010-04-01",
            **({"ErrorCode": code} if code else {}),
        }
        answer = self.caller.post(*self._signed(text.callback, form)) if text.callback else 0
        with self._changed:
            self.callbacks.append((text.sid, state, answer))
            self._changed.notify_all()
        return answer

    def sign(self, url: str, form: Mapping[str, str]) -> str:
        """The value of X-Twilio-Signature."""
        text = url + "".join(name + form[name] for name in sorted(form))
        return base64.b64encode(hmac.new(self.auth_token.encode(), text.encode(), hashlib.sha1).digest()).decode()

    # -- webhooks out

    def _signed(self, url: str, form: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": self.sign(url.partition("#")[0], form),
            "I-Twilio-Idempotency-Token": str(uuid4()),
            "User-Agent": "TwilioProxy/1.1",
        }
        with self._changed:
            self.webhooks = [*self.webhooks[-KEPT:], (url, form, headers)]
        return url, urlencode(form).encode(), headers

    def _webhook(self, text: Text, extra: Mapping[str, str]) -> dict[str, str]:
        form = {
            "SmsMessageSid": text.sid,
            "NumMedia": str(len(text.media)),
            "SmsSid": text.sid,
            "SmsStatus": "received",
            "Body": text.body,
            "To": text.to,
            "NumSegments": str(max(1, segments(text.body)[0])),
            "MessageSid": text.sid,
            "AccountSid": self.account_sid,
            "From": text.from_,
            "ApiVersion": "2010-04-01",
            "FromCity": "",
            **extra,
        }
        for number, (sid, content_type, _) in enumerate(text.media):
            form[f"MediaUrl{number}"] = f"{self.url}{self._path}/Messages/{text.sid}/Media/{sid}"
            form[f"MediaContentType{number}"] = content_type
        return form

    def _obey(self, customer: str, ours: str, body: str) -> None:
        word, pair = body.strip().lower(), (customer, ours)
        if customer.startswith("whatsapp:"):
            return
        if word in _STOP and pair not in self._stopped:
            self._stopped.add(pair)
            self._keep("outbound-reply", ours, customer, "You will not receive any more messages.", "delivered")
        elif word in _START and pair in self._stopped:
            self._stopped.discard(pair)
            self._keep("outbound-reply", ours, customer, "You will receive messages again.", "delivered")

    def _report_all(self) -> None:
        while (due := self._reports.get()) is not None:
            self.report(*due)

    # -- REST

    @property
    def _path(self) -> str:
        return f"/2010-04-01/Accounts/{self.account_sid}"

    def _answer(self, call: Call) -> Answer:
        if call.path.startswith("/cdn/"):
            return self._media_bytes(call.path.rpartition("/")[2])
        wanted = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if call.headers.get("authorization") != f"Basic {wanted}":
            return _refusal(401, 20003, "Authenticate")
        if call.path == f"{self._path}.json":
            return json_answer(
                {"sid": self.account_sid, "status": "active", "friendly_name": "Double", "type": "Trial"}
            )
        if call.path == f"{self._path}/IncomingPhoneNumbers.json":
            asked = [each for each in sorted(self.numbers) if each == call.query.get("PhoneNumber", each)]
            return json_answer({"incoming_phone_numbers": [self._number(each) for each in asked]})
        if call.path == f"{self._path}/Messages.json":
            return self._create(call.form()) if call.method == "POST" else self._list(call.query)
        found = self._found(call.path.removeprefix(f"{self._path}/Messages/"))
        return found or _refusal(404, 20404, f"The requested resource {call.path} was not found")

    def _number(self, number: str) -> dict[str, Any]:
        return {"sid": "PN" + "0" * 32, "phone_number": number, "sms_url": self.sms_url, "sms_method": "POST"}

    def _found(self, rest: str) -> Answer | None:
        sid, _, below = rest.removesuffix(".json").partition("/")
        text = next((each for each in list(self.messages) if each.sid == sid), None)
        if text is None:
            return None
        if not below:
            return json_answer(self._resource(text))
        if below == "Media":
            listed = [
                {
                    "sid": media,
                    "parent_sid": sid,
                    "content_type": kind,
                    "uri": f"{self._path}/Messages/{sid}/Media/{media}.json",
                }
                for media, kind, _ in text.media
            ]
            return json_answer({"media_list": listed, "next_page_uri": None, "page": 0, "page_size": 50})
        media = below.removeprefix("Media/")
        return Answer(307, headers={"Location": f"{self.url}/cdn/{media}"})

    def _media_bytes(self, sid: str) -> Answer:
        for text in list(self.messages):
            for media, content_type, data in text.media:
                if media == sid:
                    return Answer(200, data, {"Content-Type": content_type})
        return Answer(404)

    def _create(self, form: dict[str, str]) -> Answer:
        mood = self.moods.popleft() if self.moods else Mood()
        if mood.delay:
            time.sleep(mood.delay)
        if mood.drop == "before":
            return Answer(drop=True)
        if mood.status != 201:
            waits = {} if mood.retry_after is None else {"Retry_After": str(mood.retry_after)}
            if mood.html:
                return Answer(mood.status, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})
            return _refusal(mood.status, mood.code, "Scripted refusal", **waits)
        if refused := self._objection(form):
            return _refusal(400, *refused)
        text = self._keep(
            "outbound-api",
            form.get("From") or min(self.numbers),
            form["To"],
            form["Body"],
            "accepted" if form.get("MessagingServiceSid") else "queued",
            callback=form.get("StatusCallback", ""),
            service=form.get("MessagingServiceSid", ""),
        )
        answer = json_answer(self._resource(text), 201)
        for status in self.lifecycle:
            if self.early:
                self.report(text, status)
            else:
                self._reports.put((text, status))
        if mood.html:
            return Answer(201, b"<html></html>", {"Content-Type": "text/html"})
        return Answer(drop=True) if mood.drop == "after" else answer

    def _objection(self, form: Mapping[str, str]) -> tuple[int, str] | None:
        to, sender, service = form.get("To", ""), form.get("From", ""), form.get("MessagingServiceSid", "")
        callback = urlsplit(form.get("StatusCallback", ""))
        if not to:
            return 21604, "A 'To' phone number is required."
        if not sender and not service:
            return 21603, "A 'From' phone number is required."
        if not form.get("Body"):
            return 21602, "Message body is required."
        if len(form["Body"]) > 1600:
            return 21617, "The concatenated message body exceeds the 1600 character limit"
        if to in _MAGIC_TO:
            return _MAGIC_TO[to]
        if sender in _MAGIC_FROM:
            return _MAGIC_FROM[sender]
        if not to.rpartition(":")[2].removeprefix("+").isdecimal():
            return 21211, f"Invalid 'To' Phone Number: {to}"
        if sender and sender not in self.numbers and sender != _MAGIC_SENDER:
            return 21606, "The 'From' phone number is not a valid, SMS-capable number for your account."
        if form.get("StatusCallback") and (callback.scheme not in ("http", "https") or not callback.hostname):
            return 21609, "The 'StatusCallback' URL is not a valid URL."
        ours = {sender} if sender else self.numbers
        if any((to, number) in self._stopped for number in ours):
            return 21610, "Attempt to send to unsubscribed recipient"
        return None

    def _list(self, query: Mapping[str, str]) -> Answer:
        with self._changed:
            found = [text for text in reversed(self.messages) if _fits(text, query)]
        size, page = int(query.get("PageSize", 50)), int(query.get("Page", 0))
        shown = found[page * size : (page + 1) * size]
        onward = None
        if len(found) > (page + 1) * size:
            onward = f"{self._path}/Messages.json?{urlencode({**query, 'PageSize': size, 'Page': page + 1})}"
        resources = [self._resource(text) for text in shown]
        return json_answer({"messages": resources, "next_page_uri": onward, "page": page, "page_size": size})

    def _resource(self, text: Text) -> dict[str, Any]:
        at = format_datetime(text.created)
        uri = f"{self._path}/Messages/{text.sid}"
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": text.body,
            "date_created": at,
            "date_sent": None if text.status in ("queued", "accepted") else at,
            "date_updated": at,
            "direction": text.direction,
            "error_code": text.error_code,
            "error_message": None,
            "from": None if text.service and text.status == "accepted" else text.from_,
            "messaging_service_sid": text.service or None,
            "num_media": str(len(text.media)),
            "num_segments": str(max(1, segments(text.body)[0])),
            "price": None,
            "price_unit": "USD",
            "sid": text.sid,
            "status": text.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": text.to,
            "uri": f"{uri}.json",
        }

    def _keep(self, direction: str, from_: str, to: str, body: str, status: str, **more: Any) -> Text:
        sid = ("MM" if more.get("media") else "SM") + uuid4().hex
        text = Text(sid, direction, from_, to, body, status, datetime.now(UTC).replace(microsecond=0), **more)
        with self._changed:
            self.messages.append(text)
            del self.messages[:-KEPT]
            self._changed.notify_all()
        return text


def _fits(text: Text, query: Mapping[str, str]) -> bool:
    at = text.created.strftime("%Y-%m-%dT%H:%M:%SZ")
    after, before = query.get("DateSent>", ""), query.get("DateSent<", "")
    return (
        query.get("To", text.to) == text.to
        and query.get("From", text.from_) == text.from_
        and at >= after
        and (not before or at <= before)
    )


def _refusal(status: int, code: int, message: str, **headers: str) -> Answer:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return json_answer({"code": code, "message": message, "more_info": more, "status": status}, status, **headers)
