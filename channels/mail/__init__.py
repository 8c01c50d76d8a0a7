"""E-mail: fetched by IMAP, sent by SMTP."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from datetime import date
from email.utils import localtime
from typing import ClassVar

from channels.base import Accepted, CheckFailed, Inbound, Limits, Outbound, Raw, SendFailed, Settings
from channels.mail.compose import compose, own_id, plus_address
from channels.mail.headers import normalised
from channels.mail.mailbox import ConnectionLost, Mailbox, check_folders
from channels.mail.oauth import OAuthClient
from channels.mail.settings import explain, read_settings
from channels.mail.submit import session, submit

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
        self._settings = read_settings(name, settings)

    @property
    def oauth(self) -> OAuthClient | None:
        """Who gives this account its tokens, where it logs in with such."""
        return self._settings.oauth

    @property
    def secret_expires(self) -> date | None:
        """The day on which a secret of this account runs out, as far as its settings say so."""
        return self._settings.secret_expires

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

    def send(self, message: Outbound) -> Accepted:
        """Hand it to the SMTP server, once. Raises SendFailed or SendUncertain."""
        if sum(len(each.data) for each in message.files) > MAX_FILE_BYTES:
            raise SendFailed("The files are larger than 25 MB together; send them by a link.", permanent=True)
        if not message.to:
            raise SendFailed("The mail has no recipient; choose one.", permanent=True)
        reply_to, bounces_to = "", self.address
        if self._settings.plus_addresses:
            reply_to = plus_address(self.address, message.reply_token)
            bounces_to = plus_address(self.address, message.bounce_token)
        data = compose(message, self._settings.from_name, self.address, localtime(), reply_to)
        recipients = dict.fromkeys(normalised(each) for each in (*message.to, *message.cc))
        submit(self._settings.smtp, bounces_to, tuple(recipients), data)
        return Accepted(external_id=own_id(message, self.address))

    def folders(self) -> tuple[str, ...]:
        """Those that are read, each over a connection of its own."""
        return self._settings.folders

    def follow(self, folder: str) -> Mailbox:
        """One of them; nothing is connected yet. It raises ConnectionLost."""
        return Mailbox(self._settings, self.address, folder)

    def check(self) -> None:
        """Log in to both servers and open every folder. Raises CheckFailed."""
        check_folders(self._settings)
        self.check_sending()

    def check_sending(self) -> None:
        """Log in to the SMTP server. Raises CheckFailed."""
        try:
            with session(self._settings.smtp) as smtp:
                smtp.noop()
        except (smtplib.SMTPException, OSError) as error:
            raise CheckFailed(explain(self._settings.smtp, error)) from error
