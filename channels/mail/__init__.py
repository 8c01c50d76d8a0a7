"""E-mail: fetched by IMAP, sent by SMTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from email.utils import localtime
from typing import TYPE_CHECKING, ClassVar

from channels.base import Accepted, Check, CheckFailed, Inbound, Limits, Outbound, Raw, SendFailed, Settings
from channels.mail.compose import compose, own_id, plus_address
from channels.mail.connections import LINE_ERRORS, Connections
from channels.mail.headers import normalised
from channels.mail.letter import signature_of
from channels.mail.mailbox import ConnectionLost, Mailbox, check_folders
from channels.mail.oauth import OAuthClient
from channels.mail.outgoing import OFF
from channels.mail.sentfolder import file_copy
from channels.mail.settings import explain, read_settings
from channels.mail.signing import signed
from channels.mail.submit import TOTAL_SECONDS, Mail, submit
from channels.seals import Seals, Verify
from config.language import N_
from config.retold import stored

if TYPE_CHECKING:
    from channels.mail.acknowledgement import Acknowledgement
    from channels.mail.lookups import Lookups

__all__ = ["ConnectionLost", "EmailChannel"]

MAX_FILE_BYTES = 25 * 1024 * 1024


class EmailChannel:
    """One mail account."""

    kind: ClassVar[str] = "email"
    limits: ClassVar[Limits] = Limits(html=True, subject=True, files=True, max_file_bytes=MAX_FILE_BYTES)

    def __init__(self, *, name: str, address: str, settings: Settings) -> None:
        """Nothing is connected yet. Raises NotConfigured."""
        self.name = name
        self.address = address
        self._settings = read_settings(name, settings, address)
        self._lookups: Lookups | None = None
        out = self._settings.outgoing
        self._lines = Connections(self._settings.smtp, out.connections, out.mails_per_connection)
        self.pace = out.pace
        self.files_copies = out.sent_folder != OFF

    @property
    def oauth(self) -> OAuthClient | None:
        """Who gives this account its tokens, where it logs in with such."""
        return self._settings.oauth

    @property
    def secret_expires(self) -> date | None:
        """The day on which a secret of this account runs out, as far as its settings say so."""
        return self._settings.secret_expires

    @property
    def acknowledgement(self) -> Acknowledgement | None:
        """What a customer is told at once, if anything."""
        return self._settings.acknowledgement

    def use_tokens(self, fetch: Callable[[], str]) -> None:
        """Log in with what `fetch` gives from now on; it may raise TokenTrouble."""
        if self._settings.imap.bearer is not None:
            self._settings.imap.bearer.fetch = fetch

    @staticmethod
    def parse(raw: Raw) -> Inbound:
        """Read a mail. Pure; raises Unreadable."""
        from channels.mail.parse import parse  # what it stands on is loaded where mail is read

        return parse(raw)

    @staticmethod
    def rehearse() -> None:
        """Load everything that reading a mail needs."""
        from channels.mail.rehearsal import rehearse

        rehearse()

    @staticmethod
    def verify(raw: Raw, question: str, keys: Mapping[str, str | None]) -> Seals:
        """What a mail's signatures amount to, given their keys. Pure."""
        from channels.mail.seals import verified

        return verified(raw, question, keys)

    def keys(self, raw: Raw) -> Mapping[str, str | None]:
        """Those of its signatures; none where a trusted server has looked at them, or nobody shall. May ask the DNS."""
        if self._settings.trusted_authserv_ids or not (lookups := self._dns()):
            return {}
        from channels.mail.authentic import signing_keys

        return signing_keys(raw, lookups)

    def authenticate(self, raw: Raw, inbound: Inbound, verify: Verify, judged: Seals | None = None) -> Inbound:
        """The mail with what is known of where it really comes from. May ask the DNS; never raises."""
        from channels.mail.authentic import Trusted, authenticated

        known = self._settings
        trusted = Trusted(known.trusted_authserv_ids, known.trusted_relays, known.trusted_sealers)
        return authenticated(raw, inbound, trusted, self._dns(), verify, judged)

    def _dns(self) -> Lookups | None:
        """The DNS; None where senders are not checked. What that stands on is loaded where mail is judged."""
        if self._settings.check_senders and self._lookups is None:
            from channels.mail.lookups import Lookups

            self._lookups = Lookups(self._settings.dns_server)
        return self._lookups

    def send(self, message: Outbound) -> Accepted:
        """Hand it to the SMTP server once, for all or for those in `only`. Raises SendFailed or SendUncertain."""
        if sum(len(each.data) for each in message.files) > MAX_FILE_BYTES:
            raise SendFailed(N_("The files are larger than 25 MB together; send them by a link."), permanent=True)
        if not message.to:
            raise SendFailed(N_("The mail has no recipient; choose one."), permanent=True)
        data, key = self._composed(message, localtime()), self._settings.outgoing.key
        if key is not None:
            data = signed(data, key)
        everybody = dict.fromkeys(normalised(each) for each in (*message.to, *message.cc, *message.bcc))
        wanted = [each for each in everybody if not message.only or each in message.only]
        handed = submit(self._lines, Mail(self._envelope_sender(message), wanted, normalised(message.to[0]), data))
        return Accepted(own_id(message, self.address), refused=handed.refused, waiting=handed.waiting)

    def file_copy(self, message: Outbound, at: datetime) -> str:
        """Put a copy of a sent mail into the Sent folder, unless it is there. The folder; raises SendFailed."""
        data = self._composed(message, at, own_copy=True)
        folder = self._settings.outgoing.sent_folder
        return file_copy(self._settings.imap, folder, own_id(message, self.address), data, at)

    def signature(self, agent: str, own: str) -> str:
        """What stands under the mails of an agent."""
        settings = self._settings
        return signature_of(settings.outgoing.style, agent, own, settings.from_name, self.address)

    def _envelope_sender(self, message: Outbound) -> str:
        """Where reports go: to an address that names the message, to our own, or nowhere."""
        if self._settings.plus_addresses and message.bounce_token:
            return plus_address(self.address, message.bounce_token)
        return "" if message.automatic and self._settings.outgoing.null_sender else self.address

    def _composed(self, message: Outbound, at: datetime, *, own_copy: bool = False) -> bytes:
        reply_to = plus_address(self.address, message.reply_token) if self._settings.plus_addresses else ""
        style = self._settings.outgoing.style
        return compose(message, self._settings.from_name, self.address, at, reply_to, style, own_copy=own_copy)

    def folders(self) -> tuple[str, ...]:
        """Those that are read, each over a connection of its own."""
        return self._settings.folders

    def follow(self, folder: str) -> Mailbox:
        """One of them; nothing is connected yet. It raises ConnectionLost."""
        return Mailbox(self._settings, self.address, folder)

    def check(self) -> None:
        """Log in to both servers and open every folder. Raises CheckFailed."""
        for each in self.checks():
            each.run()

    def checks(self) -> tuple[Check, ...]:
        """Where mail is fetched, then where it is handed over."""
        return Check(N_("Fetch mail (IMAP)"), self._check_fetching), Check(
            N_("Hand over mail (SMTP)"), self.check_sending
        )

    def _check_fetching(self) -> str:
        check_folders(self._settings)
        server = self._settings.imap
        return stored(
            "Logged in to {host} as {username}, and opened {folders}.",
            host=server.host, username=server.username, folders=", ".join(self._settings.folders),
        )  # fmt: skip

    def check_sending(self) -> str:
        """Log in to the SMTP server. Raises CheckFailed."""
        server = self._settings.smtp
        try:
            with self._lines.borrowed(time.monotonic() + TOTAL_SECONDS, fresh=True) as line:
                line.smtp.noop()
        except LINE_ERRORS as error:
            raise CheckFailed(explain(server, error)) from error
        if server.username:
            return stored("Logged in to {host}.", host=server.host)
        return stored("Connected to {host}.", host=server.host)
