"""The outside world, translated: one class per kind of channel, bytes in, values out; values in, network out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from channels.base import Channel, Limits, Settings
from channels.settings import unfit
from config.retold import stored

KINDS = {
    "email": "channels.mail:EmailChannel",
    "mailhook": "channels.mailhook:MailhookChannel",
    "sms": "channels.sms:SmsChannel",
    "chat": "channels.chat:ChatChannel",
    "form": "channels.form:FormChannel",
    "slack": "channels.slack:SlackChannel",
}


def limits_of(kind: str) -> Limits:
    """What a kind of channel can carry. Raises KeyError for an unknown kind."""
    limits: Limits = _class(KINDS[kind]).limits
    return limits


def open_channel(
    kind: str, name: str, address: str, settings: Settings, kinds: dict[str, str] | None = None
) -> Channel:
    """The channel a row of configuration describes; `settings` has its secrets resolved.

    Raises NotConfigured when the kind is unknown or a setting is missing.
    """
    known = {**KINDS, **(kinds or {})}
    if kind not in known:
        raise unfit(
            name,
            stored("unknown kind {kind}; known kinds are {known}", kind=repr(kind), known=", ".join(sorted(known))),
        )
    opened: Channel = _class(known[kind])(name=name, address=address, settings=settings)
    return opened


def _class(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
