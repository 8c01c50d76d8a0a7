"""Access tokens of channels: refreshed ahead of their end by one process at a time, durable before they are used."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from channels.mail.oauth import Grant, OAuthClient, TokenTrouble, how_to_mend, refreshed
from config.language import N_
from config.retold import stored
from hub.sealing import Envelope
from storage import Store, Tx
from storage.channel_tokens import keep_token, note_token_problem, token_of
from storage.leases import drop_lease, holds_lease, take_lease

logger = logging.getLogger(__name__)

# A login with a token that ends meanwhile would be refused; a duty refreshes it before anybody has to wait for it.
LEAST_LEFT = timedelta(minutes=2)
RENEW_LEFT = timedelta(minutes=10)
LEASE_SECONDS = 40.0  # longer than the provider may take
PATIENCE = 45.0  # seconds that a login waits for another process's refresh
LOOK_AGAIN = 0.2


@dataclass(frozen=True, slots=True)
class Kept:
    """Tokens as they are sealed. `seed` tells which refresh token of the settings they grew from."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime
    seed: str


class Seal:
    """The tokens of a channel in an envelope that only this SECRET_KEY opens."""

    def __init__(self, secret_key: str):
        self._envelope = Envelope(secret_key, "channel token")

    def close(self, kept: Kept) -> str:
        """As text for the database."""
        told = [kept.access_token, kept.refresh_token, kept.expires_at.isoformat(), kept.seed]
        return self._envelope.close(json.dumps(told))

    def open(self, sealed: str) -> Kept | None:
        """None for what another SECRET_KEY has sealed, or nothing."""
        text = self._envelope.open(sealed)
        if text is None:
            return None
        access, refresh, expires_at, seed = json.loads(text)
        return Kept(access, refresh, datetime.fromisoformat(expires_at).astimezone(UTC), seed)


class TokenKeeper:
    """Gives one channel its access token in this process; several processes never refresh at the same time."""

    def __init__(self, store: Store, seal: Seal, channel_id: int, client: OAuthClient):
        self._store = store
        self._seal = seal
        self._channel_id = channel_id
        self._client = client
        self._seed = hashlib.sha256(client.refresh_token.encode()).hexdigest()[:16] if client.refresh_token else ""
        self._turn = threading.Lock()
        self._lease = f"oauth:{channel_id}"
        self._holder = f"{os.getpid()}:{os.urandom(4).hex()}"

    def token(self, left: timedelta = LEAST_LEFT) -> str:
        """An access token that is good for a while. Raises TokenTrouble with the sentence what to do."""
        with self._turn:
            deadline = time.monotonic() + PATIENCE
            while True:
                kept = self._kept()
                if kept is not None and kept.expires_at - self._store.clock() >= left:
                    return kept.access_token
                epoch = self._store.submit(lambda tx: take_lease(tx, self._lease, self._holder, LEASE_SECONDS))
                if epoch is not None:
                    try:
                        if (done := self._renew(epoch, left)) is not None:
                            return done
                    finally:
                        self._store.submit(lambda tx: drop_lease(tx, self._lease, self._holder))
                if time.monotonic() > deadline:
                    raise TokenTrouble(N_("Another process refreshes the token and does not end. It is tried again."))
                time.sleep(LOOK_AGAIN)

    def keep(self, grant: Grant) -> None:
        """What a person has just consented to; whatever was there before does not matter."""
        self._store.submit(lambda tx: self._keep(tx, grant))

    def _renew(self, epoch: int, left: timedelta) -> str | None:
        """Under the lease: look again, refresh, make it durable, and only then give it out. None when it was lost."""
        kept = self._kept()
        if kept is not None and kept.expires_at - self._store.clock() >= left:
            return kept.access_token
        try:
            grant = refreshed(self._client, self._refresh_token(kept))
        except TokenTrouble as trouble:
            sentence = str(trouble)[:500]
            self._store.submit(lambda tx: note_token_problem(tx, self._channel_id, sentence))
            raise

        def unit(tx: Tx) -> bool:
            if not holds_lease(tx, self._lease, self._holder, epoch):
                return False
            self._keep(tx, grant)
            return True

        return grant.access_token if self._store.submit(unit) else None

    def _refresh_token(self, kept: Kept | None) -> str:
        """The newest one; one in the settings counts when it is another than the one everything grew from."""
        if self._client.refresh_token and (kept is None or kept.seed != self._seed):
            return self._client.refresh_token
        if kept is None:
            raise TokenTrouble(
                stored("This account has not been authorised yet. {mend}", mend=how_to_mend(self._client)),
                dead=True,
            )
        return kept.refresh_token

    def _keep(self, tx: Tx, grant: Grant) -> None:
        expires_at = tx.now + timedelta(seconds=grant.seconds)
        kept = Kept(grant.access_token, grant.refresh_token, expires_at, self._seed)
        keep_token(tx, self._channel_id, self._seal.close(kept), expires_at)

    def _kept(self) -> Kept | None:
        with self._store.read() as tx:
            row = token_of(tx, self._channel_id)
        return self._seal.open(row.sealed) if row is not None else None


def renew_due(keepers: Iterable[TokenKeeper]) -> None:
    """The duty that refreshes ahead; what fails is written down and tried again."""
    for keeper in keepers:
        try:
            keeper.token(RENEW_LEFT)
        except TokenTrouble as trouble:
            logger.warning("a token could not be refreshed: %s", trouble)
