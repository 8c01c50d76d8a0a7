"""A mail server of our own for demo and tests: IMAP mailboxes, and an SMTP door behind which every customer lives."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import warnings
from argparse import Namespace
from collections import defaultdict, deque
from collections.abc import Coroutine, Mapping
from datetime import datetime
from email.utils import localtime
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from proxyprotocol.reader import ProxyProtocolReader

with warnings.catch_warnings():
    # pymap hashes passwords with passlib, which tries a module that Python is about to drop.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pymap.backend.dict import Config, Login
    from pymap.backend.dict.filter import FilterSet
    from pymap.backend.dict.mailbox import MailboxData, MailboxSet
    from pymap.imap import IMAPServer
    from pymap.parsing.message import AppendMessage
    from pymap.user import Passwords, UserMetadata

KEPT = 500  # mails in a box; older ones go
MAX_BYTES = 33_554_432
PATIENCE = 30.0

# Both libraries log what they carry, and aiosmtpd warns of its own attributes.
for _name in ("pymap", "mail.log"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class MailServer:
    """Everything in memory, on 127.0.0.1, in a thread of its own.

    `users` are addresses with their passwords: they can log in by IMAP and SMTP. Mail to any other address is kept
    too, as if that customer's provider had taken it; `inbox_of` shows it.
    """

    host = "127.0.0.1"

    def __init__(self, users: Mapping[str, str], *, imap_port: int = 0, smtp_port: int = 0) -> None:
        """Port 0 is a free one, known after `start`."""
        self.imap_port = imap_port
        self.smtp_port = smtp_port
        self._users = {address.lower(): password for address, password in users.items()}
        self._inboxes: defaultdict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._boxes: dict[str, MailboxData] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failures: list[BaseException] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen. Raises OSError when a port is taken, RuntimeError when it runs already."""
        if self._thread is not None:
            raise RuntimeError("The mail server runs already; stop it first.")
        self._ready.clear()
        self._failures.clear()
        self._thread = threading.Thread(target=self._run, name="mail-server", daemon=True)
        self._thread.start()
        self._ready.wait(PATIENCE)
        if self._failures:
            self._thread = None
            raise self._failures[0]

    def stop(self) -> None:
        """Hang up on everybody and forget the connections; mails in `inbox_of` stay. Does nothing when not running."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)
        self._thread = None

    def deliver(self, user: str, mail: bytes) -> None:
        """Put a mail into a user's mailbox, byte for byte; whoever waits there is told. KeyError for strangers."""
        self._in_loop(self._file(self._boxes[user.lower()], user.lower(), mail, localtime()))

    def inbox_of(self, address: str) -> list[bytes]:
        """What arrived for an address, oldest first: at most the last 500 mails."""
        return list(self._inboxes.get(address.lower(), ()))

    @property
    def addresses(self) -> list[str]:
        """Everybody who got mail, in alphabetical order."""
        return sorted(address for address, inbox in self._inboxes.items() if inbox)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failures.append(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        imap = await self._serve_imap()
        smtp = await self._loop.create_server(self._smtp_session, self.host, self.smtp_port)
        self.imap_port, self.smtp_port = _port(imap), _port(smtp)
        self._ready.set()
        try:
            await self._stopping.wait()
        finally:
            imap.close()
            smtp.close()

    async def _serve_imap(self) -> asyncio.Server:
        config = Config.from_args(_imap_arguments(self.host))
        login = Login(config)
        passwords = Passwords(config)
        for address, password in self._users.items():
            secret = await passwords.hash_password(password)
            login.users_dict[address] = UserMetadata(config, address, password=secret)
            boxes = MailboxSet()
            config.set_cache[address] = (boxes, FilterSet())
            self._boxes[address] = await boxes.get_mailbox("INBOX")
        answer = ProxyProtocolReader(config.proxy_protocol).get_callback(IMAPServer(login, config))
        return await asyncio.start_server(answer, self.host, self.imap_port)

    def _smtp_session(self) -> SMTP:
        return SMTP(
            self,
            loop=self._loop,
            authenticator=self._authenticate,
            auth_require_tls=False,
            data_size_limit=MAX_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="Switchyard sandbox",
        )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        known = (
            isinstance(data, LoginPassword) and self._users.get(data.login.decode().lower()) == data.password.decode()
        )
        return AuthResult(success=known, handled=known)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Deliver to each recipient as a delivery agent does: with the envelope written on top."""
        content = envelope.original_content or b""
        for recipient in envelope.rcpt_tos:
            stamp = f"Return-Path: <{envelope.mail_from or ''}>\r\nDelivered-To: {recipient}\r\n"
            mail, address = stamp.encode() + content, _mailbox_of(recipient)
            box = self._boxes.get(address)
            if box is None:
                self._inboxes[address].append(mail)
            else:
                await self._file(box, address, mail, localtime())
        return "250 OK"

    async def _file(self, box: MailboxData, address: str, mail: bytes, when: datetime) -> None:
        self._inboxes[address].append(mail)
        await box.append(AppendMessage(mail, when), recent=True)
        uids = [message.uid async for message in box.messages()]
        if len(uids) > KEPT:
            await box.delete(uids[: len(uids) - KEPT])

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            work.close()
            raise RuntimeError("The mail server does not run; start it first.")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


def _imap_arguments(host: str) -> Namespace:
    """What pymap would read from a command line."""
    return Namespace(
        demo_data=False,
        demo_user="",
        demo_password="",
        host=host,
        port=0,
        debug=False,
        cert=None,
        key=None,
        passlib_cfg=None,
        tls=False,
        proxy_protocol=None,
        inherited_sockets=None,
    )


def _port(server: asyncio.Server) -> int:
    listening: socket.socket = server.sockets[0]
    port: int = listening.getsockname()[1]
    return port


def _mailbox_of(recipient: str) -> str:
    """support+tag@example.com is delivered to support@example.com."""
    local, _, domain = recipient.lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"
