"""How far a message that came in can be believed: found out between reading it and the unit that files it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from channels.base import Authenticates, Inbound, Raw
from channels.mail.lookalikes import looks_like, names_of
from channels.seals import Seals
from hub.bounces import traced
from hub.hub import Hub, Opened
from hub.identity import Known
from hub.ours import LOOKS_LIKE_CONTACT, LOOKS_LIKE_CUSTOMER, SPOOFED_COLLEAGUE
from hub.recipients import MAIL_KINDS, untagged
from hub.redaction import as_it_came
from storage import Tx

NAMESAKES = (  # CROSS JOIN has SQLite begin at the name: it would else go through all addresses
    "SELECT i.value FROM contact c CROSS JOIN identity i "
    "WHERE c.name = ? AND c.id <> ? AND i.contact_id = c.id AND i.kind = 'email' LIMIT 50"
)
ADDRESSES = (  # likewise at the person
    "SELECT i.value FROM contact c CROSS JOIN identity i "
    "WHERE c.person_id = ? AND i.contact_id = c.id AND i.kind = 'email'"
)


def keys_for(opened: Opened, raw: Raw) -> Mapping[str, str | None]:
    """By which its signatures are judged while it is read; none where that is not asked, or not of these bytes."""
    channel = _judge(opened)
    return channel.keys(raw) if channel is not None and as_it_came(raw) is raw else {}


def weighed(hub: Hub, opened: Opened, raw: Raw, inbound: Inbound, judged: Seals | None) -> Inbound:
    """The message with what is known about where it really comes from.

    Our own mail is known by what only we can write: a field that anybody can set would let a stranger have his
    letters, or somebody else's, ignored.
    """
    tokens = hub.tokens
    named = tokens.conversation_of(inbound.external_id), tokens.notice_of(inbound.external_id)
    if any(tokens.marked(mark) for mark in inbound.marks) or named != (None, None):
        return replace(inbound, automatic="own", report=None)
    channel = _judge(opened)
    if channel is not None and (came := as_it_came(raw)):
        inbound = channel.authenticate(came, inbound, partial(hub.reading.verify, channel), judged)
    return _flagged(hub, traced(tokens, inbound))


def _judge(opened: Opened) -> Authenticates | None:
    # The kind is asked first: asking a protocol costs as much as reading a text message.
    channel: object = opened.channel
    return channel if opened.account.kind in MAIL_KINDS and isinstance(channel, Authenticates) else None


def _flagged(hub: Hub, inbound: Inbound) -> Inbound:
    """Marked where it claims one of our own addresses and nothing proves it, or where its sender looks like us."""
    point = inbound.sender.points[0] if inbound.sender.points else None
    if point is None or point.kind != "email":
        return inbound
    ours = hub.ours()
    flags = ours.suspicions(inbound.sender.name, point.value)
    unproved = inbound.authenticity.verdict != "pass" and not inbound.automatic
    if unproved and untagged(point.value) in ours.addresses:
        flags.append(SPOOFED_COLLEAGUE)
    return replace(inbound, flags=(*inbound.flags, *flags)) if flags else inbound


def beside_namesakes(tx: Tx, inbound: Inbound, sender: Known) -> Inbound:
    """The first mail of somebody new, marked where a known person of the same name writes from a domain that looks
    like his: letters of one customer's twin begin so."""
    point = inbound.sender.points[0]
    if not sender.new or point.kind != "email" or not sender.name:
        return inbound
    rows = tx.sql(NAMESAKES, sender.name, sender.contact_id).fetchall()
    if not rows or not names_of(sender.name):
        return inbound
    domain = point.value.rpartition("@")[2]
    known = {str(value).rpartition("@")[2] for (value,) in rows} - {domain}
    like = next((each for each in sorted(known) if looks_like(domain, each)), "")
    return replace(inbound, flags=(*inbound.flags, f"{LOOKS_LIKE_CONTACT}{like}")) if like else inbound


def compared(tx: Tx, inbound: Inbound, person_id: int) -> Inbound:
    """A mail by which a stranger joins somebody's conversation, marked where his domain looks like that person's."""
    point = inbound.sender.points[0]
    if point.kind != "email":
        return inbound
    domain = point.value.rpartition("@")[2]
    known = {str(value).rpartition("@")[2] for (value,) in tx.sql(ADDRESSES, person_id).fetchall()}
    like = next((each for each in sorted(known) if looks_like(domain, each)), "") if domain not in known else ""
    return replace(inbound, flags=(*inbound.flags, f"{LOOKS_LIKE_CUSTOMER}{like}")) if like else inbound
