"""How far a message that came in can be believed: found out between reading it and the unit that files it."""

from __future__ import annotations

from dataclasses import replace

from channels.base import Authenticates, Inbound, Raw
from hub.bounces import traced
from hub.hub import Hub, Opened


def weighed(hub: Hub, opened: Opened, raw: Raw, inbound: Inbound) -> Inbound:
    """The message with what is known about where it really comes from.

    Our own mail is known by what only we can write: a field that anybody can set would let a stranger have his
    letters, or somebody else's, ignored.
    """
    tokens = hub.tokens
    if any(tokens.marked(mark) for mark in inbound.marks) or tokens.conversation_of(inbound.external_id) is not None:
        return replace(inbound, automatic="own", report=None)
    # The kind is asked first: asking a protocol costs as much as reading a text message.
    channel: object = opened.channel
    if opened.account.kind == "email" and isinstance(channel, Authenticates):
        inbound = channel.authenticate(raw, inbound)
    return _flagged(hub, traced(tokens, inbound))


def _flagged(hub: Hub, inbound: Inbound) -> Inbound:
    """Marked where it claims one of our own addresses and nothing proves it."""
    if flag := _claimed(hub, inbound):
        return replace(inbound, flags=(*inbound.flags, flag))
    return inbound


def _claimed(hub: Hub, inbound: Inbound) -> str:
    point = inbound.sender.points[0] if inbound.sender.points else None
    if point is None or point.kind != "email" or inbound.authenticity.verdict == "pass" or inbound.automatic:
        return ""
    ours = {opened.account.address.lower() for opened in hub.channels() if opened.account.kind == "email"}
    return "spoofed_colleague" if point.value in ours | hub.colleagues() else ""
