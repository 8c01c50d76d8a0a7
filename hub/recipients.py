"""Who gets an answer by mail: the customer, and in copy whoever the answered mail names; never ourselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlmodel import col, select

from channels.mail.headers import normalised, sendable
from config.language import _
from hub.suppression import refusal
from storage import Tx
from storage.access import Conflict
from storage.conversations import Message
from storage.desk import ChannelAccount
from storage.participants import by_hand
from storage.people import Identity

MAX_COPIES = 50
MAIL_KINDS = ("email", "mailhook")


@dataclass(frozen=True, slots=True)
class Recipients:
    """`to` is the customer's address or the one they asked answers to (Reply-To); `cc` is everybody else's."""

    to: str
    cc: tuple[str, ...]


def reply_all(tx: Tx, conversation_id: int, identity: Identity) -> Recipients:
    """Whom an answer to this contact point goes to unless its author says otherwise.

    The newest mail between this person and us decides: theirs by its Reply-To, To and Cc, ours by its copies; whom
    agents have added gets a copy as well, whom they have removed gets none. A
    stranger who joined by a forwarded mail is left out, as are our own addresses and those nothing can or may be sent
    to.
    """
    ours = own_addresses(tx)
    newest = _newest(tx, conversation_id, identity.id or 0)
    to = identity.value
    if newest is not None and newest.kind == "inbound":
        asked = normalised(newest.fields.get("reply_to", ""))
        to = asked if sendable(asked) and untagged(asked) not in ours and not refusal(tx, "email", asked) else to
    removed = by_hand(tx, conversation_id, "removed")
    named = [*(newest.cc if newest is not None else ()), *by_hand(tx, conversation_id, "added")]
    copies = _distinct(named, {to, identity.value, *removed})
    open_ = [
        each for each in copies if sendable(each) and untagged(each) not in ours and not refusal(tx, "email", each)
    ]
    return Recipients(to, tuple(open_[:MAX_COPIES]))


def checked(tx: Tx, to: str, written: Sequence[str], known: Iterable[str] = ()) -> list[str]:
    """Addresses in copy as a person or program wrote them, without those of `known` and of doubles.

    Raises Conflict with the sentence for one that can't be written to.
    """
    addresses, ours = [], own_addresses(tx)
    for each in written:
        address = normalised(each)
        if not sendable(address):
            raise Conflict(
                _("{each} is no e-mail address. Correct it or remove it from the copies.", each=repr(each[:100]))
            )
        if untagged(address) in ours:
            raise Conflict(_("{address} is one of our own mailboxes. Remove it from the copies.", address=address))
        if refusal(tx, "email", address):
            raise Conflict(_("Nothing may be sent to {address} any more. Remove it from the copies.", address=address))
        addresses.append(address)
    found = _distinct(addresses, {to, *known})
    if len(found) > MAX_COPIES:
        raise Conflict(
            _(
                "A mail goes to at most {max_copies} people in copy; these are {found}.",
                max_copies=MAX_COPIES,
                found=len(found),
            )
        )
    return found


def own_addresses(tx: Tx) -> set[str]:
    """Every mail address of ours, also of accounts that are switched off."""
    rows = tx.exec(select(ChannelAccount.address).where(col(ChannelAccount.kind).in_(MAIL_KINDS)))
    return {untagged(normalised(address)) for address in rows if address}


def untagged(address: str) -> str:
    """Without what stands behind a plus: support+anything@ is support@."""
    local, __, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def _distinct(addresses: Iterable[str], but: set[str]) -> list[str]:
    return [each for each in dict.fromkeys(map(normalised, addresses)) if each and each not in but]


def _newest(tx: Tx, conversation_id: int, identity_id: int) -> Message | None:
    query = select(Message).where(
        Message.conversation_id == conversation_id,
        Message.identity_id == identity_id,
        col(Message.channel).in_(MAIL_KINDS),
        col(Message.kind).in_(("inbound", "outbound")),
        Message.state != "draft",
        Message.automatic == "",
    )
    return tx.exec(query.order_by(col(Message.id).desc()).limit(1)).first()
