"""E-mail that a provider receives for us and posts to `/webhooks/mail/<name>`, read like mail from a mailbox."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import ClassVar

from channels.base import (
    Accepted,
    Check,
    DeliveryUpdate,
    Inbound,
    Limits,
    Outbound,
    Pace,
    Raw,
    SendFailed,
    Settings,
    SignedRequest,
    Unreadable,
)
from channels.mail import EmailChannel
from channels.mail.acknowledgement import KEYS, read_acknowledgement
from channels.mail.oauth import OAuthClient
from channels.mailhook.bodies import READERS, Arrived, mails_in, retold_header
from channels.mailhook.trust import CHECKS, Proof, public_key
from channels.seals import Seals, Verify
from channels.settings import checked, unfit
from config.language import N_
from config.retold import stored

NEEDS = {
    "cloudmailin": ("user", "secret"),
    "mailgun": ("signing_key",),
    "mandrill": ("signing_key",),
    "postmark": ("user", "secret"),
    "raw": ("secret",),
    "sendgrid": (),
    "ses": ("topic_arn",),
}
OURS = ("provider", "user", "secret", "signing_key", "topic_arn", "sns_url")


class MailhookChannel:
    """One address at a provider.

    Settings: `provider`; how it proves itself (`signing_key`, `user` and `secret`, or `topic_arn`); and where answers
    leave, with the same `smtp_…` and other settings as a channel of kind email. Raises NotConfigured.
    """

    kind: ClassVar[str] = "mailhook"
    limits: ClassVar[Limits] = EmailChannel.limits

    def __init__(self, *, name: str, address: str, settings: Settings):
        self.name, self.address = name, address
        ours = {key: value for key, value in settings.items() if key in OURS}
        rest = {key: value for key, value in settings.items() if key not in OURS}
        self.acknowledgement = read_acknowledgement(name, settings, sends="smtp_host" in rest)
        provider = str(ours.get("provider") or "")
        checked(name, ours, required=("provider", *NEEDS.get(provider, ())), optional=OURS)
        if provider not in READERS:
            raise unfit(
                name,
                stored(
                    "provider is {provider}; use one of {known}.",
                    provider=repr(provider),
                    known=", ".join(sorted(READERS)),
                ),
            )
        if provider == "sendgrid" and not (ours.get("signing_key") or ours.get("secret")):
            raise unfit(name, N_("set signing_key, or user and secret, so that SendGrid can be known."))
        self.provider = provider
        self._proof = Proof(*(str(ours.get(key) or "") for key in ("user", "secret", "signing_key")))
        if provider == "sendgrid" and self._proof.signing_key:
            public_key(self._proof.signing_key)
        self._topic = None
        if provider == "ses":
            from channels.mailhook.sns import Topic  # here, with the certificates it reads: only Amazon has them

            self._topic = Topic(str(ours.get("topic_arn")), str(ours.get("sns_url") or ""))
        self.pace = Pace()
        # Of this account only the way out is used; its mailbox is never opened.
        self._out = None
        if "smtp_host" in rest:
            account = {"imap_host": rest["smtp_host"], **rest}
            self._out = EmailChannel(name=name, address=address, settings=account)
            self.pace = self._out.pace
        else:
            checked(name, rest, optional=("smtp_host", *OURS, *KEYS))

    @property
    def oauth(self) -> OAuthClient | None:
        """Who gives the way out its tokens, where it logs in with such."""
        return self._out.oauth if self._out else None

    @property
    def secret_expires(self) -> date | None:
        """The day on which a secret of this account runs out, as far as its settings say so."""
        return self._out.secret_expires if self._out else None

    def signature(self, agent: str, own: str) -> str:
        """What stands under the mails of an agent."""
        return self._out.signature(agent, own) if self._out else ""

    def use_tokens(self, fetch: Callable[[], str]) -> None:
        """Log in to send with what `fetch` gives from now on."""
        if self._out is not None:
            self._out.use_tokens(fetch)

    @staticmethod
    def parse(raw: Raw) -> Inbound:
        """Read the mail in a request. Pure; raises Unreadable."""
        from channels.mail.parse import parse as parse_mail  # what it stands on is loaded where mail is read

        found = mails_in(raw.headers.get("provider", "raw"), raw.content_type, raw.body)
        number = int(raw.headers.get("number", "0"))
        if number >= len(found):
            raise Unreadable(N_("The request has no mail in it."))
        arrived = found[number]
        envelope = retold_header(("Delivered-To", each) for each in arrived.recipients[:20])
        if not arrived.mail.strip():
            raise Unreadable(N_("The mail is empty: not even a header arrived. Ask the sender to send it again."))
        read = parse_mail(replace(raw, body=envelope + arrived.mail, content_type="message/rfc822"))
        return replace(read, results=(arrived.results,) if arrived.results else ())  # anybody can write the mail's own

    @staticmethod
    def rehearse() -> None:
        """Load everything that reading a mail needs."""
        EmailChannel.rehearse()

    def keys(self, raw: Raw) -> Mapping[str, str | None]:
        """None: the provider has judged them."""
        return {}

    def authenticate(self, raw: Raw, inbound: Inbound, verify: Verify, judged: Seals | None = None) -> Inbound:
        """The mail with what its provider, whose request is proved, found out about where it really comes from.

        Nothing is verified here: most providers tell a mail anew, and no signature survives that.
        """
        from channels.mail.authentic import Trusted, authenticated  # what it stands on is loaded where mail is judged

        return authenticated(raw, inbound, Trusted((self.provider,)), None, verify)

    def hear(self, request: SignedRequest) -> list[Raw | DeliveryUpdate]:
        """Verify, then one Raw for each mail: the whole request, under the mail's own digest.

        Raises NotAuthentic, or NotConfigured when Amazon can't be asked about a certificate just now.
        """
        if self._topic is not None:
            told = _notification(request.body)
            self._topic.verify(told, request.now)
            if told["Type"] == "SubscriptionConfirmation":
                self._topic.confirm(told)
            if told["Type"] != "Notification":
                return []
        else:
            CHECKS[self.provider](self._proof, request)
        content_type = request.headers.get("content-type", "")
        try:
            found = mails_in(self.provider, content_type, request.body)
        except Unreadable:
            found = [Arrived(request.body)]  # it is authentic: it is kept, and parsing says what is wrong with it
        return [self._raw(request.body, content_type, number, each) for number, each in enumerate(found)]

    def _raw(self, body: bytes, content_type: str, number: int, arrived: Arrived) -> Raw:
        headers = {"provider": self.provider, "address": self.address} | ({"number": str(number)} if number else {})
        return Raw(f"sha256:{hashlib.sha256(arrived.mail).hexdigest()}", body, content_type, headers)

    @property
    def sends(self) -> bool:
        """Whether it has a way out of its own."""
        return self._out is not None

    def check(self) -> None:
        """Log in to the SMTP server, where there is one. Raises CheckFailed."""
        for each in self.checks():
            each.run()

    def checks(self) -> tuple[Check, ...]:
        """The way out, if it has one; the way in is proved by a mail alone."""
        return (Check(N_("Hand over mail (SMTP)"), self._out.check_sending),) if self._out is not None else ()

    def send(self, message: Outbound) -> Accepted:
        """Hand it to the SMTP server, once. Raises SendFailed or SendUncertain."""
        if self._out is None:
            raise SendFailed(
                N_("This channel only receives; set its smtp_host, or answer from another mail channel."),
                permanent=True,
            )
        return self._out.send(message)


def _notification(body: bytes) -> dict[str, object]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    return told if isinstance(told, dict) else {}
