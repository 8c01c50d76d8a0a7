"""The whole loop, told on real parts: four channels in, one history, two agents, four answers out, Slack claims.

`python -m tests.story` tells it on SQLite and on PostgreSQL (two web processes, two workers) and prints a timeline.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import requests

from sandbox.slack import SlackDouble
from sandbox.twilio import TwilioDouble
from tests.processes import ROOT, Api, Browser, Processes, free_port, until
from tests.support import postgres
from tests.support.dovecot import SENT_FOLDER, Dovecot, dovecot
from tests.support.smtp import Sink, smtp_sink

MARA, MARA_PHONE, OURS = "mara.lindqvist@example.com", "+46701740605", "+46701740620"
MAILBOX, SHOP_SECRET = "support", "the shop's own secret, at least thirty-two bytes"
PASSWORD = "correct horse battery"
NOTICES = "C0NOTICES"
WITHIN = 2.0  # seconds in which a message has to be in the history

DESK = f"""
queues: [{{name: Shipping, first_reply: 30m, offer: 30s, default: true}}, {{name: Billing, first_reply: 4h}}]
skills: [orders, billing]
agents:
  - {{name: Jonas Weber, email: jonas@desk.example, capacity: 60, queues: [Shipping], skills: {{orders: 4}}}}
  - {{name: Amara Obi, email: amara@desk.example, capacity: 60, queues: [Shipping, Billing], skills: {{billing: 4}}}}
channels:
  - name: support-mail
    kind: email
    address: {MAILBOX}@desk.example
    settings: {{imap_host: 127.0.0.1, imap_port: IMAP, imap_tls: none, username: {MAILBOX},
               password: "env:MAIL_PASSWORD", smtp_host: 127.0.0.1, smtp_port: SMTP, smtp_tls: none,
               smtp_username: "", from_name: Nordlicht}}
  - {{name: support-sms, kind: sms, address: "{OURS}"}}
  - {{name: shop-chat, kind: chat, settings: {{identity_secret: "env:SHOP_SECRET"}}}}
  - name: contact-form
    kind: form
    settings: {{fields: {{email: email, name: name, text: message, subject: topic}}, honeypot: website}}
rules:
  - name: Money
    when: {{any: [{{field: item.text, op: has_any, value: [invoice, refund]}},
                  {{field: item.subject, op: has_any, value: [invoice, refund]}}]}}
    then: {{queue: Billing, skills: {{billing: 2}}}}
  - name: Orders
    when: {{any: [{{field: item.text, op: has_any, value: [order, lamp]}},
                  {{field: item.subject, op: has_any, value: [order, lamp]}}]}}
    then: {{queue: Shipping, skills: {{orders: 2}}}}
"""


@dataclass
class Timeline:
    """What happened when, for people; and how long each message took, for the test."""

    say: Callable[[str], object] = print
    began: float = field(default_factory=time.monotonic)
    took: dict[str, float] = field(default_factory=dict)

    def tell(self, who: str, what: str) -> None:
        self.say(f"{time.monotonic() - self.began:7.2f} s  {who:<9} {what}")

    def timed(self, name: str, holds: Callable[[], Any]) -> Any:
        """Wait for something and keep how long that took, in seconds."""
        start = time.monotonic()
        found = until(holds, name)
        self.took[name] = time.monotonic() - start
        self.tell("", f"  … {name} after {self.took[name] * 1000:.0f} ms")
        return found


@dataclass
class Stage:
    """Everything around the hub, and the hub."""

    hub: Processes
    api: Api
    mail: Dovecot
    smtp: Sink
    twilio: TwilioDouble
    slack: SlackDouble
    time: Timeline

    def history(self, contact: int) -> list[dict[str, Any]]:
        """The person's messages, newest first."""
        items: list[dict[str, Any]] = self.api.get(f"/contacts/{contact}/timeline")["messages"]
        return items

    def has(self, contact: int, text: str, **wanted: Any) -> dict[str, Any] | None:
        """The message with this text in the history, if it is as wanted."""
        for message in self.history(contact):
            if text in message["text"] and all(message[name] == value for name, value in wanted.items()):
                return message
        return None


@contextmanager
def stage(
    database_url: str, folder: Path, timeline: Timeline, web: int, workers: int,
    more: Mapping[str, str] | None = None, dovecot_root: Path | None = None,
    way: Callable[[str, int], int] = lambda name, port: port, root: Path = ROOT,
    before: Callable[[Processes], object] = lambda hub: None, cold: bool = False,
) -> Iterator[Stage]:  # fmt: skip
    """Raise the curtain: mail server, SMTP sink, Twilio and Slack, then the hub's own processes.

    `more` are further settings of the hub as environment variables. `way` says by which port the hub reaches "imap",
    "smtp", "twilio" and "slack". `root` is the checkout that runs. `before` plays what was there when the hub starts.
    `cold` processes load the product at each start.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        mail = stack.enter_context(dovecot(SENT_FOLDER, root=dovecot_root))
        smtp = stack.enter_context(smtp_sink())
        twilio = stack.enter_context(TwilioDouble(hub_url=url, numbers=(OURS,)))
        slack = stack.enter_context(SlackDouble(hub_url=url))
        slack.add_user("U0AMARA", "Amara Obi", "amara@desk.example")
        environment = {
            "MAIL_PASSWORD": "secret", "SHOP_SECRET": SHOP_SECRET, "UNDO_SECONDS": "0", "LOG_LEVEL": "INFO",
            "TWILIO_ACCOUNT_SID": twilio.account_sid, "TWILIO_AUTH_TOKEN": twilio.auth_token,
            "TWILIO_BASE_URL": f"http://127.0.0.1:{way('twilio', twilio.port)}", "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_BASE_URL": f"http://127.0.0.1:{way('slack', slack.port)}",
            "SLACK_SIGNING_SECRET": slack.signing_secret, "SLACK_CHANNEL": NOTICES, "NOTICES_BY": "support-mail",
            "AUTOMATIC_PER_AGENT": "10000", **(more or {}),
        }  # fmt: skip
        hub = Processes(database_url, folder, environment, port, root, cold=cold)
        stack.callback(hub.stop)
        desk = folder / "desk.yaml"
        imap_port, smtp_port = way("imap", mail.imap_port), way("smtp", smtp.port)
        desk.write_text(DESK.replace("IMAP,", f"{imap_port},").replace("SMTP,", f"{smtp_port},"))
        hub.command("apply", "--yes", str(desk))
        users = [("Jonas Weber", "jonas@desk.example"), ("Amara Obi", "amara@desk.example")]
        create = ("user", "create", "--password", PASSWORD)
        commands = [(*create, "--name", name, "--email", email) for name, email in users]
        for words in commands:
            hub.command(*words)
        token = hub.command("token", "create", "--name", "story", "--role", "admin").strip()
        before(hub)
        hub.start(web, workers)
        yield Stage(hub, Api(url, token), mail, smtp, twilio, slack, timeline)


def tell(at: Stage) -> dict[str, float]:
    """The story. Raises TimeoutError or AssertionError where it does not hold; seconds per step otherwise."""
    say, api = at.time.tell, at.api
    jonas = Browser(at.hub.url, "jonas@desk.example", PASSWORD)
    amara = Browser(at.hub.url, "amara@desk.example", PASSWORD)
    for agent in (jonas, amara):
        agent.post_form("/inbox/status", status="available")
    say("desk", "Jonas (orders) and Amara (billing) are available")

    say("Mara", "mails: Order 48213, one lamp missing")
    at.mail.deliver(MAILBOX, letter("Order 48213", "Only one lamp arrived."))
    mail = at.time.timed("the mail is in the inbox", lambda: _only(api.get("/conversations")["conversations"]))
    contact = mail["contact"]["id"]
    owned = at.time.timed("it is assigned", lambda: _assigned(api, mail["id"]))
    assert owned["assignee"]["name"] == "Jonas Weber", "skill decides"
    say("router", f"gives it to {owned['assignee']['name']}")

    api.post(f"/contacts/{contact}/identities", kind="phone", value=MARA_PHONE)
    say("Mara", "texts from the number in her contact")
    assert at.twilio.text_in(MARA_PHONE, OURS, "Can it arrive before Friday?", copies=3) == 200
    at.time.timed("the text is in her history", lambda: at.has(contact, "before Friday", channel="sms"))

    say("Mara", "chats, signed in at the shop")
    chat = _Chat(at.hub.url)
    chat.write("Hello, are you there?")
    at.time.timed("the chat line is in her history", lambda: at.has(contact, "are you there", channel="chat"))

    say("somebody", "fills in the form with her address: a claim")
    form = {"email": MARA, "name": "Mara", "topic": "Invoice", "message": "Please send me the invoice again."}
    assert requests.post(f"{at.hub.url}/webhooks/forms/contact-form", json=form, timeout=10).ok
    claimed = at.time.timed("the form is in her history", lambda: at.has(contact, "invoice again", channel="form"))
    money = at.time.timed("it is assigned by skill", lambda: _assigned(api, claimed["conversation_id"]))
    assert money["assignee"]["name"] == "Amara Obi", "the invoice needs billing"
    assert {m["channel"] for m in at.history(contact)} >= {"email", "sms", "chat", "form"}

    _answers(at, jonas, mail["id"], contact, chat)
    _slack_claims(at, amara)
    at.time.tell("", "everything arrived, once")
    return at.time.took


def _answers(at: Stage, jonas: Browser, conversation: int, contact: int, chat: _Chat) -> None:
    """A reply goes out on each channel, arrives there, and its state comes back."""
    say = at.time.tell
    choices = jonas.reply_choices(conversation)
    for kind, text in (
        ("Email", "The second lamp leaves today."),
        ("SMS", "Yes, on Thursday."),
        ("Web chat", "Here I am, hello Mara."),
    ):
        seen = at.api.get(f"/conversations/{conversation}")["last_inbound_id"]
        jonas.post_form(f"/inbox/c/{conversation}/send", kind="reply", choice=choices[kind], reply=text, seen=seen)
        say("Jonas", f"answers by {kind}: {text}")
    mail = at.time.timed("the mail is delivered", lambda: _only(at.smtp.taken))
    assert b"In-Reply-To: <order-48213@customer.example>" in mail.data.replace(b"\r\n ", b" ")
    at.time.timed("the text is delivered", lambda: at.twilio.sent and at.twilio.sent[0].body == "Yes, on Thursday.")
    at.time.timed("its status came back", lambda: at.has(contact, "on Thursday", state="delivered"))
    at.time.timed("the chat answer is in the widget", lambda: "Here I am, hello Mara." in chat.read())
    assert len(at.smtp.taken) == len(at.twilio.sent) == 1, "each exactly once"


def _slack_claims(at: Stage, amara: Browser) -> None:
    """Nobody is there for it, so it waits; Slack shows it and its button gives it to whoever pressed."""
    say = at.time.tell
    amara.post_form("/inbox/status", status="away")
    at.mail.deliver(MAILBOX, letter("Refund for 777", "I want a refund.", sender="Paul <paul@example.com>"))
    say("Paul", "mails about a refund while Amara is away")
    post = at.time.timed("Slack shows it", lambda: notice(at.slack, "Refund for 777"))
    waiting = next(v for v in at.api.get("/conversations")["conversations"] if v["subject"] == "Refund for 777")
    assert waiting["assignee"] is None
    button = next(action for action in post.buttons if "claim" in action)
    assert at.slack.press(button, post.buttons[button], "U0AMARA", post.channel, post.ts, copies=2) == 200
    owned = at.time.timed("her claim holds", lambda: _assigned(at.api, waiting["id"]))
    assert owned["assignee"]["name"] == "Amara Obi"
    at.time.timed("Slack shows the owner", lambda: "Amara" in str((notice(at.slack, "Refund for 777") or post).blocks))
    say("Amara", "claimed it in Slack")


class _Chat:
    """The widget of somebody whom the shop knows."""

    def __init__(self, url: str):
        claims = {
            "sub": "shop-77",
            "email": MARA,
            "name": "Mara Lindqvist",
            "exp": datetime.now(UTC) + timedelta(hours=1),
        }
        identity = jwt.encode(claims, SHOP_SECRET, "HS256")
        self.url = url
        asked = requests.post(f"{url}/chat/session", json={"channel": "shop-chat", "identity": identity}, timeout=10)
        asked.raise_for_status()
        self.headers = {"Authorization": f"Bearer {asked.json()['token']}"}

    def write(self, text: str) -> None:
        body = {"id": str(uuid4()), "text": text}
        requests.post(f"{self.url}/chat/messages", json=body, headers=self.headers, timeout=10).raise_for_status()

    def read(self) -> str:
        """All that the widget shows: lines of the chat, never the mails."""
        shown = requests.get(f"{self.url}/chat/messages", headers=self.headers, timeout=10).text
        assert "before Friday" not in shown
        return shown


def letter(subject: str, text: str, sender: str = f"Mara Lindqvist <{MARA}>") -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, f"{MAILBOX}@desk.example", subject
    number = "".join(letter for letter in subject if letter.isdigit())
    message["Message-ID"] = f"<order-{number}@customer.example>"
    message.set_content(text)
    return message.as_bytes()


def _only(items: list[Any]) -> Any:
    assert len(items) < 2, f"one was expected, there are {len(items)}"
    return items[0] if items else None


def _assigned(api: Api, number: int) -> dict[str, Any] | None:
    conversation: dict[str, Any] = api.get(f"/conversations/{number}")
    return conversation if conversation["assignee"] else None


def notice(slack: SlackDouble, subject: str) -> Any:
    return next((post for post in slack.messages if subject in str(post.blocks) + post.text and post.buttons), None)


def perform(
    database_url: str, folder: Path, say: Callable[[str], object], web: int = 1, workers: int = 1,
    dovecot_root: Path | None = None,
) -> dict[str, float]:  # fmt: skip
    """Set the stage, tell the story, clear up."""
    with stage(database_url, folder, Timeline(say), web, workers, dovecot_root=dovecot_root) as at:
        return tell(at)


def main() -> None:
    """Both databases, with a timeline."""
    with tempfile.TemporaryDirectory(prefix="switchyard-story-") as folder:
        print("On SQLite, one process:")
        perform(f"sqlite:///{folder}/hub.db", Path(folder), print)
    with tempfile.TemporaryDirectory(prefix="switchyard-story-") as folder, postgres.server() as server:
        print("\nOn PostgreSQL, two web processes and two workers:")
        perform(postgres.database(server), Path(folder), print, web=2, workers=2)


if __name__ == "__main__":
    main()
