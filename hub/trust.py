"""How far a message that came in can be believed: found out between reading it and the unit that files it."""

from __future__ import annotations

from dataclasses import replace

from channels.base import Inbound
from hub.bounces import traced
from hub.tokens import Tokens


def weighed(tokens: Tokens, inbound: Inbound) -> Inbound:
    """The message with what is known about where it really comes from.

    Our own mail is known by what only we can write: a field that anybody can set would let a stranger have his
    letters, or somebody else's, ignored.
    """
    if any(tokens.marked(mark) for mark in inbound.marks) or tokens.conversation_of(inbound.external_id) is not None:
        return replace(inbound, automatic="own", report=None)
    return traced(tokens, inbound)
