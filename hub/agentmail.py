"""The account by which mail goes to the desk's own agents: notices, what is gathered while away, links."""

from __future__ import annotations

from channels.base import Channel, NotConfigured, SendFailed
from config.language import ENGLISH, LANGUAGES
from config.retold import stored
from hub.hub import Hub, Opened
from hub.recipients import MAIL_KINDS
from storage.access import NotFound
from storage.deliveries import Delivery
from storage.people import Agent

ASKED = "asked"  # in an agent's preferences: the language that their browser asked for


def mail_account(hub: Hub) -> Opened | None:
    """The channel that carries it, if one is set; to be asked in units as well."""
    wanted = (each for each in hub.seen_channels().values() if each.account.name == hub.settings.notices_by)
    return next((each for each in wanted if each.account.kind in MAIL_KINDS), None)


def reads(agent: Agent, otherwise: str = ENGLISH) -> str:
    """The language of mail to an agent: what they chose, else what their browser asked for when they last signed in."""
    wanted = (agent.preferences.get(name, "") for name in ("language", ASKED))
    return next((each for each in wanted if each in LANGUAGES), otherwise)


def carrier(hub: Hub, delivery: Delivery) -> tuple[Opened, Channel]:
    """The account that a delivery was meant for, ready to send. Raises SendFailed."""
    try:
        opened = hub.channel(int(delivery.target.partition(":")[2]))
        return opened, opened.must()
    except (NotFound, NotConfigured) as error:
        raise SendFailed(stored("The channel can't send: {error}", error=error)) from None
