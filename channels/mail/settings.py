"""What a mailbox's row of configuration says, checked, and sentences for what goes wrong with it."""

from __future__ import annotations

import imaplib
import re
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from imapclient.exceptions import LoginError

from channels.base import Settings
from channels.mail import acknowledgement, outgoing
from channels.mail.oauth import KEYS, Bearer, OAuthClient, TokenTrouble, read_client
from channels.mail.relays import NO_RELAYS, Relays, read_relays
from channels.settings import checked, texts, unfit
from config.language import N_
from config.retold import S_, stored

Tls = Literal["tls", "starttls", "none"]
PORTS: dict[tuple[str, str], int] = {
    ("imap", "tls"): 993,
    ("imap", "starttls"): 143,
    ("imap", "none"): 143,
    ("smtp", "tls"): 465,
    ("smtp", "starttls"): 587,
    ("smtp", "none"): 25,
}
REQUIRED = ("imap_host", "smtp_host", "username")
OPTIONAL = (
    *("imap_port", "imap_tls", "password", "oauth_token", "folder", "folders", "max_bytes", "from_name", "timeout"),
    *(*KEYS, "secret_expires", "since"),
    *("mark_seen", "add_label", "move_to", "delete_after"),
    *("smtp_port", "smtp_tls", "smtp_username", "smtp_password", "ca_file"),
    *("plus_addresses", "trusted_authserv_ids", "trusted_relays", "trusted_sealers", "check_senders", "dns_server"),
    *outgoing.OPTIONAL,
    *acknowledgement.KEYS,
)
MAX_BYTES = 40 * 1024 * 1024
MAX_FOLDERS = 10


@dataclass(frozen=True, slots=True)
class Server:
    """One of the account's two servers. Without a username there is no login."""

    side: Literal["imap", "smtp"]
    host: str
    port: int
    tls: Tls
    username: str
    password: str = field(repr=False)
    bearer: Bearer | None = field(repr=False, compare=False)
    timeout: float
    ca_file: str = ""

    @property
    def oauth_token(self) -> str:
        """The access token to log in with, empty where a password does. Raises TokenTrouble."""
        return self.bearer.fetch() if self.bearer is not None else ""

    def context(self) -> ssl.SSLContext:
        """Verifies the certificate and the host name, against `ca_file` where one is set."""
        return ssl.create_default_context(cafile=self.ca_file or None)


@dataclass(frozen=True, slots=True)
class MailSettings:
    """An account: where mail is fetched, where it is handed over."""

    imap: Server
    smtp: Server
    folders: tuple[str, ...]
    from_name: str
    max_bytes: int
    outgoing: outgoing.Outgoing
    mark_seen: bool = False
    add_label: str = ""  # a keyword, at Gmail a label
    move_to: str = ""
    delete_after: bool = False
    oauth: OAuthClient | None = None
    secret_expires: date | None = None
    since: date | None = None  # mail that arrived earlier is left alone; a backfill brings it in
    trusted_authserv_ids: tuple[str, ...] = ()  # mail servers whose Authentication-Results are believed
    trusted_relays: Relays = NO_RELAYS  # our own mail servers: their Received fields tell who connected, for SPF
    trusted_sealers: frozenset[str] = frozenset()  # domains of forwarders and lists whose ARC seals are believed
    check_senders: bool = True  # whether signatures are verified where none of those says anything; asks the DNS
    dns_server: str = ""  # "host:port"; empty means the system's
    acknowledgement: acknowledgement.Acknowledgement | None = None
    plus_addresses: bool = False  # whether mail to support+anything@ reaches this account


def read_settings(name: str, settings: Settings, address: str) -> MailSettings:
    """Check the settings of the channel `name` at `address`. Raises NotConfigured with the key to mend."""
    checked(name, settings, required=REQUIRED, optional=OPTIONAL)
    if sum(bool(settings.get(key)) for key in ("password", "oauth_token", "oauth")) != 1:
        raise unfit(name, N_("set either password or oauth_token or oauth, and only one of them."))
    client, token = read_client(name, settings), str(settings.get("oauth_token") or "")
    bearer = Bearer(token) if client or token else None
    return MailSettings(
        imap=_server(name, settings, "imap", "tls", bearer),
        smtp=_server(name, settings, "smtp", "starttls", bearer),
        folders=_folders(name, settings),
        from_name=str(settings.get("from_name") or ""),
        max_bytes=int(_number(name, settings, "max_bytes", MAX_BYTES)),
        outgoing=outgoing.read_outgoing(
            name, settings, address, (str(settings["imap_host"]), str(settings["smtp_host"])),
            lambda key, default: _number(name, settings, key, default),
        ),
        mark_seen=_switch(name, settings, "mark_seen"),
        add_label=_label(name, settings),
        move_to=str(settings.get("move_to") or ""),
        delete_after=_switch(name, settings, "delete_after"),
        oauth=client,
        secret_expires=_day(name, settings, "secret_expires"),
        since=_day(name, settings, "since"),
        trusted_authserv_ids=texts(name, settings, "trusted_authserv_ids"),
        trusted_relays=_relays(name, settings),
        trusted_sealers=frozenset(each.lower().rstrip(".") for each in texts(name, settings, "trusted_sealers")),
        check_senders=_switch(name, {"check_senders": True, **settings}, "check_senders"),
        dns_server=_dns_server(name, settings),
        acknowledgement=acknowledgement.read_acknowledgement(name, settings, sends=True),
        plus_addresses=_switch(name, settings, "plus_addresses"),
    )  # fmt: skip


def _label(name: str, settings: Settings) -> str:
    label = str(settings.get("add_label") or "")
    if label and not re.fullmatch(r"[A-Za-z0-9$_.\-/]{1,60}", label):
        raise unfit(
            name,
            stored("add_label is {label}; use letters, digits and $ _ . - / without spaces.", label=repr(label)),
        )
    return label


def _folders(name: str, settings: Settings) -> tuple[str, ...]:
    if settings.get("folder") and settings.get("folders"):
        raise unfit(name, N_("set folder for one or folders for several, not both."))
    folders = tuple(dict.fromkeys(texts(name, settings, "folders") or texts(name, settings, "folder") or ("INBOX",)))
    if len(folders) > MAX_FOLDERS:
        raise unfit(
            name,
            stored(
                "folders has {count} entries; each takes a connection, and providers allow few (Gmail 15): use at most "
                "{most}, and let the mail server's own rules put several into one.",
                count=len(folders),
                most=MAX_FOLDERS,
            ),
        )
    if settings.get("move_to") in folders:
        raise unfit(name, N_("move_to names a folder that is read; choose another one."))
    return folders


def _relays(name: str, settings: Settings) -> Relays:
    try:
        found = read_relays(texts(name, settings, "trusted_relays"))
    except ValueError as wrong:
        raise unfit(
            name,
            stored(
                "trusted_relays: {wrong}; write your mail servers' names as they stand behind “by” in Received "
                "fields, and their addresses or networks.",
                wrong=wrong,
            ),
        ) from wrong
    if found.networks and not found.names:
        raise unfit(
            name,
            N_(
                "trusted_relays has addresses but no name; add the names that your mail servers write behind “by” in "
                "Received fields."
            ),
        )
    return found


def _dns_server(name: str, settings: Settings) -> str:
    written = str(settings.get("dns_server") or "")
    if written and not re.fullmatch(r"[0-9.]{7,15}(:[0-9]{1,5})?", written):
        raise unfit(
            name,
            stored("dns_server is {written}; write its IPv4 address, like 192.0.2.53:53.", written=repr(written)),
        )
    return written


def _server(
    name: str, settings: Settings, side: Literal["imap", "smtp"], default: Tls, bearer: Bearer | None
) -> Server:
    tls = settings.get(f"{side}_tls", default)
    if tls not in ("tls", "starttls", "none"):
        raise unfit(name, stored("{side}_tls is {tls}; use tls, starttls or none.", side=side, tls=repr(tls)))
    own_login = side == "smtp" and "smtp_username" in settings
    if own_login and settings["smtp_username"] and not settings.get("smtp_password"):
        raise unfit(name, N_("smtp_username is set, so smtp_password has to be set too."))
    return Server(
        side=side,
        host=str(settings[f"{side}_host"]),
        port=int(_number(name, settings, f"{side}_port", PORTS[side, tls])),
        tls=tls,
        username=str(settings["smtp_username"] or "" if own_login else settings["username"]),
        password=str(settings.get("smtp_password") or "" if own_login else settings.get("password") or ""),
        bearer=None if own_login else bearer,
        timeout=_number(name, settings, "timeout", 30),
        ca_file=str(settings.get("ca_file") or ""),
    )


def _number(name: str, settings: Settings, key: str, default: float) -> float:
    written: Any = settings.get(key, default)
    try:
        number = float(written)
    except (TypeError, ValueError):
        number = 0
    if number <= 0:
        raise unfit(name, stored("{key} is {written}; use a number above 0.", key=key, written=repr(written)))
    return number


def _day(name: str, settings: Settings, key: str) -> date | None:
    written: Any = settings.get(key)
    if not written or isinstance(written, date):
        return written or None
    try:
        return date.fromisoformat(str(written))
    except ValueError as wrong:
        raise unfit(
            name, stored("{key} is {written}; write a day as 2027-01-31.", key=key, written=repr(written))
        ) from wrong


def _switch(name: str, settings: Settings, key: str) -> bool:
    written = settings.get(key, False)
    if not isinstance(written, bool):
        raise unfit(name, stored("{key} is {written}; use true or false.", key=key, written=repr(written)))
    return written


PLACES = {"imap": S_("IMAP server {address}"), "smtp": S_("SMTP server {address}")}


def explain(server: Server, error: Exception) -> str:
    """What went wrong with one of the servers, and which setting to look at."""
    if isinstance(error, TokenTrouble):
        return str(error)
    side, place = server.side, stored(PLACES[server.side], address=f"{server.host}:{server.port}")
    if isinstance(error, LoginError | smtplib.SMTPAuthenticationError):
        return stored(
            "{place} refused the login ({said}). Check {keys}.", place=place, said=said(error), keys=_keys(server)
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
        return stored(
            "{place} has a certificate that can't be trusted ({reason}). Check {side}_host, or set ca_file.",
            place=place, reason=reason, side=side,
        )  # fmt: skip
    if isinstance(error, ssl.SSLError | smtplib.SMTPNotSupportedError):
        return stored(
            "{place} does not speak {tls} on this port ({said}). Check {side}_tls and {side}_port.",
            place=place, tls=server.tls, said=said(error), side=side,
        )  # fmt: skip
    if isinstance(error, socket.gaierror):
        return stored("{place}: no such host. Check {side}_host.", place=place, side=side)
    if isinstance(error, ConnectionRefusedError):
        return stored(
            "{place}: nothing listens there. Check {side}_port, and that the server is up.", place=place, side=side
        )
    if isinstance(error, TimeoutError):
        return stored(
            "{place} did not answer within {seconds} s. Check {side}_host and {side}_port, or try later.",
            place=place, seconds=f"{server.timeout:g}", side=side,
        )  # fmt: skip
    if isinstance(error, imaplib.IMAP4.abort | smtplib.SMTPServerDisconnected | OSError):
        return stored("{place}: the connection was lost ({said}).", place=place, said=said(error))
    return stored("{place} answered with an error ({said}).", place=place, said=said(error))


def _keys(server: Server) -> str:
    keys = N_("oauth_token or oauth, and username") if server.bearer else N_("username and password")
    return stored("{keys} (or smtp_username and smtp_password)", keys=keys) if server.side == "smtp" else keys


def said(error: Exception) -> str:
    """A server's own words, on one line and not too many."""
    words: object = error
    if isinstance(error, smtplib.SMTPResponseException):
        words = f"{error.smtp_code} {_words(error.smtp_error)}"
    elif error.args and isinstance(error.args[-1], bytes):
        words = _words(error.args[-1])
    return " ".join(str(words).split())[:200] or type(error).__name__


def _words(reply: object) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
