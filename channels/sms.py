"""Texts through Twilio: SMS, MMS and, with a whatsapp: address, WhatsApp.

Sources: twilio.com/docs/messaging/guides/webhook-request, /guides/outbound-message-status-in-status-callbacks,
/api/message-resource, /docs/messaging/tutorials/advanced-opt-out; GSM 03.38 for the segments.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from channels import phone, twilio
from channels.base import (
    Accepted,
    Check,
    CheckFailed,
    ContactPoint,
    DeliveryState,
    DeliveryUpdate,
    File,
    Inbound,
    Limits,
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
from config.language import N_
from config.retold import stored

MAX_CHARS = 1600
MAX_ADDRESS = 320  # characters
FORM = "application/x-www-form-urlencoded"

# Twilio acts on these itself, but only when they are the whole message. WhatsApp has no such rule: there the words
# that are also plain answers ("cancel", "yes") mean what they say.
_STOP = frozenset(("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"))
_START = frozenset(("start", "unstop", "yes"))
_ALSO_PLAIN_ANSWERS = frozenset(("cancel", "end", "quit", "revoke", "yes"))

_STATES = {
    "accepted": DeliveryState.SENT,
    "scheduled": DeliveryState.SENT,
    "queued": DeliveryState.SENT,
    "sending": DeliveryState.SENT,
    "sent": DeliveryState.SENT,
    "undelivered": DeliveryState.FAILED,
    "failed": DeliveryState.FAILED,
    "canceled": DeliveryState.FAILED,
    "delivered": DeliveryState.DELIVERED,
    "partially_delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.READ,
}
_RECEIVED = ("", "received", "receiving")
_PLACE = ("Latitude", "Longitude", "Address", "Label")

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("\f^{}\\[~]|€")  # two units each


def segments(text: str) -> tuple[int, int, str]:
    """How many texts this is sent and billed as, the units left in the last one, and "GSM-7" or "UCS-2".

    One character outside GSM 03.38 (an emoji, a curly quote, "ç") makes the whole text UCS-2, which holds 70 UTF-16
    units instead of 160 septets. Pairs are never split over two segments.
    """
    if all(char in _GSM or char in _GSM_EXTENDED for char in text):
        widths = [2 if char in _GSM_EXTENDED else 1 for char in text]
        single, multiple, encoding = 160, 153, "GSM-7"
    else:
        widths = [2 if ord(char) > 0xFFFF else 1 for char in text]
        single, multiple, encoding = 70, 67, "UCS-2"
    if (total := sum(widths)) <= single:
        return (1 if text else 0), single - total, encoding
    count, used = 1, 0
    for width in widths:
        if used + width > multiple:
            count, used = count + 1, 0
        used += width
    return count, multiple - used, encoding


class SmsChannel:
    """One sender at Twilio: a number, a short code or a messaging service.

    Settings: `account_sid`; `auth_token`, one or, while it is being rotated, several with the new one first;
    `messaging_service_sid` to let Twilio pick the sender; `shared_keys` for HMAC-SHA256 signatures; `status_url`, the
    full public address of our status webhook; `base_url` of a local double. Raises NotConfigured.
    """

    kind: ClassVar[str] = "sms"
    limits: ClassVar[Limits] = Limits(max_chars=MAX_CHARS, segments=True)

    def __init__(self, *, name: str, address: str, settings: Settings):
        checked(
            name,
            settings,
            required=("account_sid", "auth_token"),
            optional=("messaging_service_sid", "shared_keys", "status_url", "base_url"),
        )
        self.name, self.address = name, address
        self._service: str = settings.get("messaging_service_sid") or ""
        self._status_url: str = settings.get("status_url") or ""
        self._account = twilio.Account(
            settings["account_sid"],
            texts(name, settings, "auth_token"),
            texts(name, settings, "shared_keys"),
            settings.get("base_url") or "",
        )

    def hear(self, request: SignedRequest) -> list[Raw | DeliveryUpdate]:
        """A message or a status callback. Raises NotAuthentic.

        Twilio's scheme has no timestamp: the dedupe key is what makes a replay harmless.
        """
        form = self._account.verified(request)
        sid, status = form.first("MessageSid"), form.first("MessageStatus")
        content_type = request.headers.get("content-type", FORM)
        if not (sid.isalnum() and len(sid) <= 64 and len(status) <= 64):
            return [Raw(f"sha256:{sha256(request.body).hexdigest()}", request.body, content_type)]
        if status in _RECEIVED:
            return [Raw(sid, request.body, content_type)]
        code = form.first("ErrorCode")[:16]
        query = urlsplit(request.url).query
        raw = Raw(f"status:{sid}:{status}:{code}", request.body, content_type, {"query": query})
        state = _STATES.get(status, DeliveryState.SENT)
        failed = state is DeliveryState.FAILED
        return [
            DeliveryUpdate(
                raw,
                state,
                id=dict(parse_qsl(query)).get("m", ""),
                external_id=sid,
                why=_why(status, code) if failed else "",
                opted_out=failed and code == "21610",
            )
        ]

    @staticmethod
    def parse(raw: Raw) -> Inbound:
        """A message webhook's form as a message. Raises Unreadable."""
        form = _form(raw.body)
        first = form.first
        origin, body = first("From"), first("Body")
        if not origin or len(origin) > MAX_ADDRESS:
            raise Unreadable(N_("This Twilio request names no sender; is the address set as a messaging webhook?"))
        fields = _media(form)
        flags: tuple[str, ...] = ("media",) if fields else ()
        if "Latitude" in form:
            fields.update((name.lower(), first(name)) for name in _PLACE if name in form)
            flags += ("place",)
        if not body.strip() and not flags:
            flags = ("empty",)
        replied = first("OriginalRepliedMessageSid")
        sent = first("DateSent")
        return Inbound(
            Sender(_points(origin), first("ProfileName")),
            body,
            to=first("To"),
            sent_at=datetime.fromisoformat(sent) if sent else None,
            external_id=first("MessageSid"),
            references=(replied,) if replied else (),
            fields=fields,
            command=_command(body, first("OptOutType"), whatsapp=origin.startswith("whatsapp:")),
            flags=flags,
        )

    def send(self, message: Outbound) -> Accepted:
        """Hand one text to Twilio, which has no idempotency key: an unknown outcome is for `outcome` to settle.

        Our uuid travels in the callback's address because a callback may come before the answer to this request.
        """
        if not message.to:
            raise SendFailed(N_("The text has no recipient; choose a number."), permanent=True)
        if message.files:
            raise SendFailed(N_("Texts can't carry files here; send the file by e-mail."), permanent=True)
        if not message.text.strip():
            raise SendFailed(N_("The text is empty; write something first."), permanent=True)
        if len(message.text) > MAX_CHARS:
            raise SendFailed(
                stored("A text has at most {most} characters; shorten it.", most=MAX_CHARS), permanent=True
            )
        options: dict[str, Any] = {"to": self._recipient(message), "body": message.text}
        if self._service:
            options["messaging_service_sid"] = self._service
        else:
            options["from_"] = self.address
        if self._status_url:
            joint = "&" if "?" in self._status_url else "?"
            options["status_callback"] = f"{self._status_url}{joint}{urlencode({'m': message.id})}"
        with twilio.sending():
            created = self._account.client.messages.create(**options)
        if not created.sid:
            raise SendUncertain(N_("Twilio's answer named no message; the text is being checked."))
        return Accepted(created.sid)

    def missing(self, since: datetime) -> Iterator[Raw]:
        """What reached this number since then, in the shape of the webhooks that may never have come.

        Raises CheckFailed when Twilio can't be asked.
        """
        with twilio.asking():
            found = self._account.client.messages.list(to=self.address, date_sent_after=since)
            for item in reversed(found):
                if item.direction == "inbound" and (item.date_sent is None or item.date_sent >= since):
                    yield Raw(str(item.sid), urlencode(self._as_webhook(item)).encode(), FORM, {"source": "list"})

    def outcome(self, message: Outbound, since: datetime, known: Container[str] = ()) -> Accepted | None:
        """Whether Twilio has a text with this recipient and wording created since then, else None.

        `known` are the ids of our other texts: the same words may have gone to the same person before.
        Ask some seconds after the send: Twilio's list trails its answers a little. Raises SendUncertain when Twilio
        can't be asked.
        """
        earliest = since.astimezone(UTC).replace(microsecond=0) - timedelta(seconds=5)
        try:
            with twilio.asking():
                found = self._account.client.messages.list(to=self._recipient(message), limit=200)
        except CheckFailed as lost:
            raise SendUncertain(N_("Twilio can't be asked about the text right now; it is asked again.")) from lost
        for item in found:
            created = item.date_created
            if item.direction == "inbound" or item.body != message.text or created is None or created < earliest:
                continue
            if item.sid in known:
                continue
            state = _STATES.get(str(item.status), DeliveryState.SENT)
            arrived = state in (DeliveryState.DELIVERED, DeliveryState.READ)
            return Accepted(str(item.sid), "delivered" if arrived else "sent")
        return None

    def fetch(self, url: str) -> File:
        """A picture or file of a message (`Inbound.fields["media.0"]`). Raises channels.twilio.MediaUnavailable."""
        return self._account.fetch(url)

    def check(self) -> None:
        """Ask Twilio for the account. Raises CheckFailed."""
        self._check_account()

    def checks(self) -> tuple[Check, ...]:
        """The account; then, for a number, whether it is ours and whom Twilio tells of its texts."""
        number = (Check(N_("The number"), self._check_number),) if self.address.startswith("+") else ()
        return Check(N_("The Twilio account"), self._check_account), *number

    def _check_account(self) -> str:
        with twilio.asking():
            account = self._account.client.api.accounts(self._account.sid).fetch()
        if account.status != "active":
            raise CheckFailed(
                stored(
                    "The Twilio account is {status}; an administrator has to look at the console.",
                    status=account.status,
                )
            )
        return stored("Twilio knows the account “{name}”.", name=account.friendly_name)

    def _check_number(self) -> str:
        """twilio.com/docs/phone-numbers/api/incomingphonenumber-resource"""
        base, ours, _ = self._status_url.rpartition("/webhooks/twilio/status")
        wanted = f"{base}/webhooks/twilio/messages"
        with twilio.asking():
            found = self._account.client.incoming_phone_numbers.list(phone_number=self.address, limit=1)
        if not found:
            raise CheckFailed(
                stored("The account has no number {address}; write it as +46701234567.", address=self.address)
            )
        if self._service or not ours:
            return stored(
                "{address} is the account's; whom Twilio tells of its texts is said elsewhere.", address=self.address
            )
        if found[0].sms_url != wanted:
            where = stored("Texts to {address} go to {url}.", address=self.address, url=found[0].sms_url)
            nowhere = stored("Texts to {address} go nowhere.", address=self.address)
            mend = stored(
                "At Twilio, Phone Numbers, set “A message comes in” to {wanted} with HTTP POST.", wanted=wanted
            )
            raise CheckFailed(f"{where if found[0].sms_url else nowhere} {mend}")
        return stored("{address} is the account's, and Twilio tells us of its texts.", address=self.address)

    def _recipient(self, message: Outbound) -> str:
        to = message.to[0]
        return f"whatsapp:{to}" if self.address.startswith("whatsapp:") and ":" not in to else to

    def _as_webhook(self, item: Any) -> dict[str, str]:
        form = {
            "MessageSid": item.sid,
            "AccountSid": item.account_sid or self._account.sid,
            "From": item.from_ or "",
            "To": item.to or "",
            "Body": item.body or "",
            "NumMedia": str(item.num_media or 0),
        }
        if item.date_sent:
            form["DateSent"] = item.date_sent.isoformat()
        if int(item.num_media or 0):
            for number, media in enumerate(self._account.client.messages(item.sid).media.list(limit=10)):
                form[f"MediaUrl{number}"] = f"https://api.twilio.com{str(media.uri).removesuffix('.json')}"
                form[f"MediaContentType{number}"] = media.content_type or ""
        return form


def _points(origin: str) -> tuple[ContactPoint, ...]:
    """WhatsApp's address is kept as it is, for answers, beside the number as texts and address books have it."""
    kind, prefixed, number = origin.rpartition(":")
    if not prefixed:
        return (ContactPoint("phone", phone.from_provider(origin), Strength.PHONE, origin),)
    number = number.strip()
    if kind == "whatsapp":
        value = phone.from_provider(number)
        return (
            ContactPoint("whatsapp", number, Strength.WHATSAPP, origin),
            ContactPoint("phone", value, Strength.PHONE, number),
        )
    if kind == "rcs":
        return (ContactPoint("phone", phone.from_provider(number), Strength.PHONE, origin),)
    return (ContactPoint("external", origin, Strength.CALLER_ID, origin),)


def _form(body: bytes) -> twilio.Form:
    """What was posted, without NUL, which PostgreSQL does not hold: taken from what the escapes mean, since taking
    one out of them ("%0%000") may make another."""
    form = twilio.read_form(body)
    if b"%00" not in body and b"\0" not in body:
        return form
    return twilio.Form({name: [each.replace("\0", "") for each in values] for name, values in form.items()})


def _media(form: twilio.Form) -> dict[str, str]:
    """Where the pictures are; they are fetched later, never while a webhook waits."""
    count = form.first("NumMedia")
    fields: dict[str, str] = {}
    for number in range(min(int(count), 20) if count.isdecimal() else 0):
        if url := form.first(f"MediaUrl{number}"):
            fields[f"media.{number}"] = url
            fields[f"media.{number}.type"] = form.first(f"MediaContentType{number}")
    return fields


def _command(body: str, opt_out: str, *, whatsapp: bool) -> str:
    if opt_out:
        return {"STOP": "stop", "START": "start"}.get(opt_out, "")
    if len(body) > 20:
        return ""
    word = body.strip().lower()
    if whatsapp and word in _ALSO_PLAIN_ANSWERS:
        return ""
    return "stop" if word in _STOP else "start" if word in _START else ""


def _why(status: str, code: str) -> str:
    if code.isdecimal():
        return twilio.why(int(code))
    if status == "canceled":
        return N_("The text was cancelled at Twilio before it was sent.")
    return N_("The carrier could not deliver the text and gave no reason; try again or use another channel.")
