"""The account by which mail goes to the desk's own agents: notices, what is gathered while away, links."""

from __future__ import annotations

from channels.base import Channel, NotConfigured, SendFailed
from config.retold import stored
from hub.hub import Hub, Opened
from hub.recipients import MAIL_KINDS
from storage.access import NotFound
from storage.deliveries import Delivery


def mail_account(hub: Hub) -> Opened | None:
    """The channel that carries it, if one is set; to be asked in units as well."""
    wanted = (each for each in hub.seen_channels().values() if each.account.name == hub.settings.notices_by)
    return next((each for each in wanted if each.account.kind in MAIL_KINDS), None)


def carrier(hub: Hub, delivery: Delivery) -> tuple[Opened, Channel]:
    """The account that a delivery was meant for, ready to send. Raises SendFailed."""
    try:
        opened = hub.channel(int(delivery.target.partition(":")[2]))
        return opened, opened.must()
    except (NotFound, NotConfigured) as error:
        raise SendFailed(stored("The channel can't send: {error}", error=error)) from None
