"""One running process's view of the desk: its settings, its store and the channels it has open."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from sqlmodel import col, select

from channels import open_channel
from channels.base import Channel, Hears, LogsInWithTokens, NotConfigured
from channels.settings import unfit
from config.language import _
from config.settings import Settings, SettingsError, resolve_secret
from hub.authorise import Seal, TokenKeeper
from hub.ours import Ours, ours_of
from hub.pump import Pump
from hub.reading import Reading
from hub.recipients import own_addresses
from hub.sealing import Envelope, Secrets, is_sealed
from hub.tokens import Tokens
from storage import Store
from storage.access import NotFound
from storage.blobs import Blobs
from storage.clock import Clock, utcnow
from storage.desk import ChannelAccount, active_channels, desk_version
from storage.listener import Listener
from storage.people import Agent

LOOK_AGAIN_SECONDS = 1.0


class AlreadyRunning(Exception):
    """A second process wants an embedded database. The sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A configured account with the channel that speaks for it, or the sentence why it can't be opened."""

    account: ChannelAccount
    channel: Channel | None
    problem: str = ""
    hears: Hears | None = None  # the channel again if its provider calls us: asking a protocol costs as much as parsing

    keeper: TokenKeeper | None = None  # where its access tokens come from, if it logs in with such
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)  # with its secrets

    @property
    def id(self) -> int:
        assert self.account.id is not None
        return self.account.id

    def must(self) -> Channel:
        """The channel. Raises NotConfigured with the sentence when its settings don't work."""
        if self.channel is None:
            raise NotConfigured(self.problem)
        return self.channel


class Hub:
    """Composed once per process by app.py; doors find it as `current_app.extensions["hub"]`.

    Hubs of one process may share a `reading`, which then outlives them.
    """

    def __init__(self, settings: Settings, clock: Clock = utcnow, reading: Reading | None = None):
        self.settings = settings
        self.store = Store(settings.url, clock, settings.database_connections)
        self.blobs = Blobs(settings.data_dir / "blobs")
        self.reading = reading or Reading(settings)
        self._own_reading = reading is None
        self.tokens = Tokens(settings.secret_key)
        self._seal = Seal(settings.secret_key)
        self.envelope = Envelope(settings.secret_key, "second step")
        self.secrets = Secrets(settings.secret_key)
        self.provider: Provider | None = None
        if settings.oidc_issuer:
            from hub.oidc import Provider  # here, with the cryptography it brings, because few desks have one

            self.provider = Provider(settings, clock)
        self.pump = Pump(self.store)
        self.listener = Listener(self.store)
        self._opened: dict[int, Opened] = {}
        self._version = -1
        self._ours = Ours()
        self._looked_at = 0.0
        self._opening = threading.Lock()
        self._claim: TextIO | None = None
        self.answered = False  # whether anything was ever answered here; kept by hub.firstrun

    def channels(self) -> list[Opened]:
        """Every active account, opened. Follows changes of the desk within a second."""
        if time.monotonic() - self._looked_at > LOOK_AGAIN_SECONDS and not (self._opened and self._opening.locked()):
            self.look_again()  # one thread looks, the others go on with what was there a moment ago
        return list(self._opened.values())

    def seen_channels(self) -> dict[int, Opened]:
        """The accounts as of the last look, by id: for units, in which nobody may look."""
        return self._opened

    def channel(self, channel_id: int) -> Opened:
        """Raises NotFound."""
        for opened in self.channels():
            if opened.id == channel_id:
                return opened
        raise NotFound(_("There is no active channel {channel_id}.", channel_id=channel_id))

    def channel_named(self, name: str) -> Opened:
        """Raises NotFound."""
        for opened in self.channels():
            if opened.account.name == name:
                return opened
        raise NotFound(_("There is no active channel called {name}.", name=repr(name)))

    def ours(self) -> Ours:
        """Our addresses and people, as fresh as `channels`."""
        self.channels()
        return self._ours

    def channels_of_kind(self, kind: str) -> list[Opened]:
        """The accounts of one kind, oldest first."""
        return [opened for opened in self.channels() if opened.account.kind == kind]

    def look_again(self) -> None:
        """Read the desk's channels now; changed ones are opened anew."""
        with self._opening:
            with self.store.read() as tx:
                version = desk_version(tx)
                accounts = active_channels(tx) if version != self._version else None
                if accounts is not None:
                    agents = tx.exec(select(Agent.name, Agent.email).where(col(Agent.active)))
                    self._ours = ours_of(own_addresses(tx), agents)
            if accounts is not None:
                self._opened = {account.id or 0: self._kept_or_opened(account) for account in accounts}
                self._version = version
            self._looked_at = time.monotonic()

    def occupy(self) -> None:
        """On SQLite, claim the database file for this process until it ends. Raises AlreadyRunning.

        PostgreSQL takes any number of processes, so nothing is claimed there.
        """
        if not self.settings.embedded:
            return
        # Beside the file itself, wherever it is linked from: two data directories may name the same database.
        database = Path(self.store.url.database or self.settings.data_dir / "hub.db").resolve()
        database.parent.mkdir(parents=True, exist_ok=True)
        claim = database.with_name(f"{database.name}.lock").open("a")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            claim.close()
            raise AlreadyRunning(
                f"Another process is running on {database} already. SQLite serves one process: stop the other one, "
                "choose another DATA_DIR, or set DATABASE_URL to a PostgreSQL for several processes."
            ) from None
        self._claim = claim

    def start_web(self) -> None:
        """Begin what a process that serves browsers needs: the thread that feeds live streams."""
        self.listener.start()
        self.pump.start()

    def stop(self) -> None:
        """End every thread and connection of this process."""
        self.pump.stop()
        self.listener.stop()
        if self._own_reading:
            self.reading.close()
        self.store.close()
        if self._claim is not None:
            self._claim.close()

    def _kept_or_opened(self, account: ChannelAccount) -> Opened:
        before = self._opened.get(account.id or 0)
        if before is not None and before.channel is not None and _same(before.account, account):
            return Opened(account, before.channel, "", before.hears, before.keeper, before.settings)
        try:
            settings = self.settings_of(account)
            channel = open_channel(account.kind, account.name, account.address, settings)
            keeper = None
            if isinstance(channel, LogsInWithTokens) and channel.oauth is not None:
                keeper = TokenKeeper(self.store, self._seal, account.id or 0, channel.oauth)
                channel.use_tokens(keeper.token)
            hears = channel if isinstance(channel, Hears) else None
            return Opened(account, channel, "", hears, keeper, settings)
        except NotConfigured as error:  # which names the channel
            return Opened(account, None, str(error))
        except SettingsError as error:
            return Opened(account, None, str(unfit(account.name, str(error))))

    def settings_of(self, account: ChannelAccount) -> dict[str, Any]:
        """What an account's channel is opened with: its own settings with their secrets, and what is the process's.

        Raises SettingsError for a secret that is not there.
        """
        own = {name: self._resolved(value) for name, value in account.settings.items()}
        return {**self._defaults(account), **own}

    def _resolved(self, value: Any) -> Any:
        return self.secrets.opened(value) if is_sealed(value) else resolve_secret(value)

    def _defaults(self, account: ChannelAccount) -> dict[str, Any]:
        """What a kind needs to know that is the process's to say, or the same for all accounts of a provider."""
        settings = self.settings
        if account.kind in ("sms", "whatsapp"):
            given = {
                "account_sid": settings.twilio_account_sid,
                "auth_token": settings.twilio_auth_token,
                "base_url": settings.twilio_base_url,
                "status_url": f"{settings.base_url}/webhooks/twilio/status",
            }
        elif account.kind == "slack":
            given = {
                "bot_token": settings.slack_bot_token,
                "signing_secret": settings.slack_signing_secret,
                "base_url": settings.slack_base_url,
            }
        else:
            given = {}
        return {name: value for name, value in given.items() if value}


def _same(one: ChannelAccount, other: ChannelAccount) -> bool:
    return (one.kind, one.name, one.address, one.settings) == (other.kind, other.name, other.address, other.settings)
