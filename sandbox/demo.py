"""The outside world of a demo desk: a phone network, a workspace and a mail server on this machine, in this process."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from config import Settings
from hub import Hub
from hub.desk import read
from sandbox.cast import MAILBOX, NOTICES, OUR_NUMBER, PASSWORD, SLACK_USERS
from sandbox.mailserver import MailServer
from sandbox.page import attach
from sandbox.seed import seed
from sandbox.slack import SlackDouble
from sandbox.twilio import TwilioDouble

__all__ = ["PASSWORD", "Doubles", "start_doubles"]

DESK = Path(__file__).resolve().parent.parent / "config" / "demo.desk.yaml"


@dataclass(frozen=True, slots=True)
class Doubles:
    """The doubles of one demo. `settings` is what a hub that talks to them is composed with."""

    settings: Settings
    twilio: TwilioDouble
    slack: SlackDouble
    mail: MailServer

    def furnish(self, hub: Hub) -> None:
        """Let the hub's desk reach the doubles; an empty desk gets the demo's queues, people and conversations."""
        attach(hub, self)
        with hub.store.read() as tx:
            is_new = tx.sql("SELECT 1 FROM channel LIMIT 1").fetchone() is None
        if is_new:
            seed(hub, read(DESK.read_text("utf-8")))
        hub.look_again()

    def stop(self) -> None:
        """Hang up. What was said is forgotten."""
        self.twilio.stop()
        self.slack.stop()
        self.mail.stop()


def start_doubles(settings: Settings) -> Doubles:
    """Start all three on free ports of 127.0.0.1, to call the hub that these settings describe."""
    password, url = secrets.token_urlsafe(16), settings.base_url
    twilio = TwilioDouble(hub_url=url, numbers=(OUR_NUMBER,), auth_token=secrets.token_hex(16))
    slack = SlackDouble(hub_url=url, bot_token=f"xoxb-{secrets.token_hex(12)}", signing_secret=secrets.token_hex(16))
    for user, (name, email) in SLACK_USERS.items():
        slack.add_user(user, name, email)
    mail = MailServer({MAILBOX: password})
    twilio.start()
    slack.start()
    mail.start()
    os.environ.update(  # demo.desk.yaml refers to these, as any desk does to its secrets
        DEMO_MAIL_PASSWORD=password,
        DEMO_IMAP_PORT=str(mail.imap_port),
        DEMO_SMTP_PORT=str(mail.smtp_port),
        DEMO_CHAT_SECRET=settings.secret_key or secrets.token_hex(32),
    )
    return Doubles(
        settings=settings.changed(
            demo=True,
            twilio_account_sid=twilio.account_sid,
            twilio_auth_token=twilio.auth_token,
            twilio_base_url=twilio.url,
            slack_bot_token=slack.bot_token,
            slack_signing_secret=slack.signing_secret,
            slack_channel=NOTICES,
            slack_base_url=slack.url,
        ),
        twilio=twilio,
        slack=slack,
        mail=mail,
    )
