"""The way out of mail to many (RFC 8058): one click, for one person and one channel; answers still reach them."""

from __future__ import annotations

from dataclasses import dataclass

from config.language import _
from hub.hub import Hub
from hub.tokens import Tokens
from storage import Tx
from storage.access import NotFound
from storage.desk import ChannelAccount
from storage.facts import OptOutChanged
from storage.people import Identity

LEAVE = (
    "INSERT INTO unsubscription(identity_id, channel_id, at) VALUES(?, ?, ?) "
    "ON CONFLICT (identity_id, channel_id) DO NOTHING RETURNING identity_id"
)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who would leave, and what."""

    identity: Identity
    channel: ChannelAccount


def unsubscribe_url(hub: Hub, identity_id: int, channel_id: int) -> str:
    """The address that a mail to many carries for its recipient."""
    return f"{hub.settings.base_url}/webhooks/unsubscribe/{hub.tokens.issue_unsubscribe(identity_id, channel_id)}"


def subscriber(tx: Tx, tokens: Tokens, token: str) -> Subscriber:
    """Whose link it is. Raises NotFound for one that we never issued."""
    numbers = tokens.unsubscribes(token)
    identity = tx.get(Identity, numbers[0]) if numbers else None
    channel = tx.get(ChannelAccount, numbers[1]) if numbers else None
    if identity is None or channel is None:
        raise NotFound(_("This link is not complete. Copy the whole of it from the mail."))
    return Subscriber(identity, channel)


def unsubscribe(tx: Tx, tokens: Tokens, token: str) -> Subscriber:
    """Note that this person wants no more mail to many from this channel; twice is once. Raises NotFound."""
    found = subscriber(tx, tokens, token)
    if tx.sql(LEAVE, found.identity.id, found.channel.id, tx.now).fetchone():
        tx.emit(OptOutChanged(found.identity.contact_id, found.channel.kind, True))
    return found


def has_left(tx: Tx, identity_id: int, channel_id: int) -> bool:
    """Whether mail to many from this channel is unwanted there."""
    asked = "SELECT 1 FROM unsubscription WHERE identity_id = ? AND channel_id = ?"
    return tx.sql(asked, identity_id, channel_id).fetchone() is not None
