"""A word to the customer when a matter begins: once per conversation, and never to a machine (RFC 3834)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import uuid4

from channels.base import DeliveryState
from channels.mail.acknowledgement import Acknowledgement, Acknowledges
from config.language import N_
from config.retold import S_, stored
from hub.delivery import deliver
from hub.followers import Follower
from hub.gate import ACKNOWLEDGEMENT, Leaving, hold_back, may_leave
from hub.hub import Hub, Opened
from hub.ours import LOOKS_LIKE_CONTACT, LOOKS_LIKE_US, NAMED_ADDRESS, NAMED_COLLEAGUE
from hub.pump import Happened
from hub.recipients import MAIL_KINDS
from hub.threads import BEGAN
from storage import Tx
from storage.conversations import Message
from storage.people import Contact, Identity

STALE = timedelta(hours=12)  # after that "we have received it" is no news any more
# Flags of a mail that may have been written in somebody else's name: an answer would go to one who asked for nothing.
DOUBTFUL = ("spoofed_colleague", "multi_from", "no_from")
RESEMBLING = (NAMED_COLLEAGUE, NAMED_ADDRESS, LOOKS_LIKE_US, LOOKS_LIKE_CONTACT)
SPOOFED = N_("Nothing proves that the sender wrote it, and something speaks against it.")
NO_WAY_OUT = S_("There is no active mail channel {by} to send it; correct acknowledge_by.")

ANSWERED = "SELECT 1 FROM message WHERE conversation_id = ? AND kind = 'outbound' AND state <> 'draft' LIMIT 1"
NOTED = "UPDATE conversation SET last_message_id = ?, message_count = message_count + 1 WHERE id = ?"


def wanted(hub: Hub, tx: Tx) -> Collection[str]:
    """What may have begun a conversation, where any channel acknowledges."""
    return ("MessageReceived",) if _worded(hub) else ()


def follow(hub: Hub, tx: Tx, facts: Sequence[Happened]) -> None:
    """Acknowledge what began a conversation."""
    said = _worded(hub)
    for fact in facts:
        if fact.data["why"] == BEGAN and not fact.data["automatic"]:
            message = tx.get(Message, fact.data["message_id"])
            if message is not None and message.channel_id in said:
                _acknowledge(hub, tx, message, hub.seen_channels()[message.channel_id], said[message.channel_id])


FOLLOWER = Follower(wanted, follow)


def _worded(hub: Hub) -> dict[int, Acknowledgement]:
    """What is said by each channel that acknowledges."""
    return {number: said for number, opened in hub.seen_channels().items() if (said := _words(opened.channel))}


def _words(channel: object) -> Acknowledgement | None:
    return channel.acknowledgement if isinstance(channel, Acknowledges) else None


def _acknowledge(hub: Hub, tx: Tx, heard: Message, opened: Opened, words: Acknowledgement) -> None:
    """Unless it is too late, too many, or may go to somebody who wrote nothing."""
    identity = tx.get(Identity, heard.identity_id) if heard.identity_id else None
    if identity is None or identity.kind != "email" or "no_auto_answer" in heard.flags:
        return
    if tx.now - heard.created_at > STALE or tx.sql(ANSWERED, heard.conversation_id).fetchone():
        return
    contact = tx.get(Contact, heard.contact_id)
    written = heard.subject if heard.channel in MAIL_KINDS else ""  # what stands in a form is only a claim
    subject, text = words.filled(heard.conversation_id, contact.name if contact else "", written)
    leaving = Leaving(ACKNOWLEDGEMENT, identity.value, heard.conversation_id, heard.subject)
    way_out = _way_out(hub, opened, words.by)
    if _may_be_forged(heard):
        hold_back(tx, leaving, SPOOFED)
    elif way_out is None:
        hold_back(tx, leaving, stored(NO_WAY_OUT, by=repr(words.by)))
    elif may_leave(tx, hub.settings, leaving):
        _send(hub, tx, heard, identity, way_out, subject, text)


def _may_be_forged(heard: Message) -> bool:
    known = heard.authenticity
    spf_alone_fails = known.get("spf") == "fail" and known.get("verdict") != "pass"
    doubtful = any(flag in DOUBTFUL or flag.startswith(RESEMBLING) for flag in heard.flags)
    return known.get("verdict") == "fail" or spf_alone_fails or doubtful


def _way_out(hub: Hub, opened: Opened, by: str) -> Opened | None:
    if not by:
        return opened
    named = (each for each in hub.seen_channels().values() if each.account.name == by)
    return next((each for each in named if each.account.kind in MAIL_KINDS), None)


def _send(
    hub: Hub, tx: Tx, heard: Message, identity: Identity, way_out: Opened, subject: str, text: str
) -> None:  # fmt: skip
    """A message of the conversation like any other, except that it answers nothing: the customer still waits."""
    account, own = way_out.account, str(uuid4())
    said = heard.external_id if heard.channel in MAIL_KINDS else ""
    message = Message(
        conversation_id=heard.conversation_id, kind="outbound", channel_id=account.id, channel=account.kind,
        identity_id=identity.id, to_address=identity.value, subject=subject, text=text,
        external_id=hub.tokens.message_id(own, heard.conversation_id, account.address.partition("@")[2]),
        refs=[said] if said else [], uuid=own, automatic=ACKNOWLEDGEMENT, state=DeliveryState.QUEUED.value,
        state_at=tx.now, created_at=tx.now,
    )  # fmt: skip
    tx.add(message)
    tx.flush()
    tx.sql(NOTED, message.id, heard.conversation_id)
    deliver(tx, "channel", f"channel:{account.id}", own, {"message_id": message.id}, message_id=message.id)
