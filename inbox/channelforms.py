"""What Settings → Channels asks for, kind by kind, and which addresses it gives for the other side."""

from __future__ import annotations

from dataclasses import dataclass

from config.settings import Settings
from hub.recipients import MAIL_KINDS
from inbox.deskform import Field, Group
from storage import Tx
from storage.desk import ChannelAccount, active_channels

TLS = {"": "The usual one", "tls": "TLS from the start", "starttls": "STARTTLS", "none": "None (this machine only)"}
PROVIDERS = {
    "cloudmailin": "CloudMailin", "mailgun": "Mailgun", "mandrill": "Mandrill", "postmark": "Postmark",
    "raw": "Anybody who posts a mail as it is", "sendgrid": "SendGrid", "ses": "Amazon SES",
}  # fmt: skip
ABOUT = {
    "email": "A mailbox, read by IMAP and answered by SMTP",
    "mailhook": "Mail that a provider receives and posts to us",
    "sms": "Texts, or WhatsApp, by a number at Twilio",
    "chat": "A widget on your site",
    "form": "A page of ours, or forms of your own",
    "slack": "Customers in channels that you share with them",
}


@dataclass(frozen=True, slots=True)
class Given:
    """Something to put in at the other side: an address or a line of HTML."""

    label: str
    value: str
    where: str = ""
    opens: bool = False  # whether it is a page to look at


def groups_for(tx: Tx, kind: str) -> list[Group]:
    """The form of a kind."""
    return [*_FORMS[kind], *_acknowledging(tx, kind)]


def given_for(settings: Settings, account: ChannelAccount) -> list[Given]:
    """What the other side needs to know of an account."""
    url, name = settings.base_url, account.name
    if account.kind == "mailhook":
        ends = "/SECRET" if account.settings.get("provider") == "raw" else ""
        return [Given("Address that mail is posted to", f"{url}/webhooks/mail/{name}{ends}", "at your provider")]
    if account.kind == "sms":
        return [
            Given("A message comes in", f"{url}/webhooks/twilio/messages", "at Twilio, for this number: HTTP POST"),
            Given("Delivery status", f"{url}/webhooks/twilio/status", "set with every text, nothing to do"),
        ]  # fmt: skip
    if account.kind == "chat":
        line = f'<script src="{url}/chat/widget.js" data-channel="{name}" defer></script>'
        page = Given("To try it", f"{url}/chat/frame?channel={name}", opens=True)
        return [Given("On your pages, before </body>", line), page]
    if account.kind == "form":
        return [
            Given("Our page", f"{url}/forms/{name}", "to link to, or to show in a frame", opens=True),
            Given("Address that your own forms post to", f"{url}/webhooks/forms/{name}"),
        ]
    if account.kind == "slack":
        return [
            Given("Event subscriptions", f"{url}/webhooks/slack/events", "at api.slack.com/apps: message.channels"),
            Given("Interactivity", f"{url}/webhooks/slack/actions"),
        ]  # fmt: skip
    return []


def _name(example: str) -> Field:
    return Field(
        "name", "Name", help="Yours to choose, and kept: rules and addresses have it. Letters, digits and dashes.",
        usual=example, required=True,
    )  # fmt: skip


def _smtp(needed: bool) -> list[Field]:
    return [
        Field("settings.smtp_host", "SMTP server", usual="smtp.example.com", required=needed),
        Field("settings.smtp_tls", "Encryption", "choice", choices=TLS),
        Field("settings.smtp_port", "Port", "number", usual="587", short=True),
    ]


_OWN_WORDS = "{agent}, {first_name}, {signature} (the agent's own), {name} and {address} are filled in."
_FORMS: dict[str, list[Group]] = {
    "email": [
        Group("The mailbox", [
            _name("support-mail"),
            Field("address", "Address", help="What customers write to.", usual="support@example.com", required=True),
            Field("settings.from_name", "Sender's name", usual="Example Support"),
            Field("settings.username", "User name", help="Often the address.", required=True),
            Field("settings.password", "Password", "secret",
                  help="At Google and others with two steps an app password. Leave it empty for OAuth 2."),
        ]),
        Group("Fetching", [
            Field("settings.imap_host", "IMAP server", usual="imap.example.com", required=True),
            Field("settings.imap_tls", "Encryption", "choice", choices=TLS),
            Field("settings.imap_port", "Port", "number", usual="993", short=True),
            Field("settings.folders", "Folders", "lines", usual="INBOX", help="One a line, at most 10."),
            Field("settings.since", "Older mail is left alone before", "day",
                  help="What came earlier makes no work; `mailbox backfill` brings it in as history."),
            Field("settings.mark_seen", "Mark mails as read at the server once they are safe here", "tick"),
        ]),
        Group("Sending", _smtp(True)),
        Group("Signature", [
            Field("settings.signature", "Under every answer", "long", help=_OWN_WORDS),
        ]),
        Group("OAuth 2 instead of a password", [
            Field("settings.oauth", "Provider", "choice",
                  choices={"": "None: the password above", "microsoft": "Microsoft 365", "google": "Google"}),
            Field("settings.client_id", "Client id"),
            Field("settings.client_secret", "Client secret", "secret"),
            Field("settings.tenant", "Tenant", help="Microsoft alone.", usual="example.com"),
        ], folded=True, about="Once it is kept, run python app.py channel authorise NAME, and agree in the browser."),
    ],
    "mailhook": [
        Group("The address", [
            _name("orders-mail"),
            Field("address", "Address", help="What customers write to.", usual="orders@example.com", required=True),
            Field("settings.provider", "Provider", "choice", choices={"": "Choose", **PROVIDERS}, required=True),
        ]),
        Group("What proves that it is them", [
            Field("settings.signing_key", "Signing key", "secret",
                  help="Mailgun and Mandrill: theirs. SendGrid: the security policy's public key."),
            Field("settings.user", "User", help="Postmark, CloudMailin, SendGrid: as in https://user:secret@…"),
            Field("settings.secret", "Secret", "secret", help="Its password. Mail as it is: the address's end."),
            Field("settings.topic_arn", "Topic", help="Amazon SES: the ARN of its SNS topic."),
        ]),
        Group("Sending", [
            *_smtp(False),
            Field("settings.username", "User name"),
            Field("settings.password", "Password", "secret"),
            Field("settings.from_name", "Sender's name"),
            Field("settings.signature", "Under every answer", "long", help=_OWN_WORDS),
        ], about="Without a server of its own, answers leave by another mail channel."),
    ],
    "sms": [
        Group("The number", [
            _name("text-line"),
            Field("address", "Number", help="With + and country code; whatsapp:+46… for WhatsApp.",
                  usual="+46701740620", required=True),
        ]),
        Group("At Twilio", [
            Field("settings.account_sid", "Account SID", usual="AC…",
                  help="Empty where hub.toml has it for all numbers (twilio_account_sid)."),
            Field("settings.auth_token", "Auth token", "secret", help="Empty where hub.toml has it."),
            Field("settings.messaging_service_sid", "Messaging service", usual="MG…",
                  help="Only where Twilio is to choose the sender."),
        ]),
    ],
    "chat": [
        Group("The widget", [
            _name("shop-chat"),
            Field("settings.title", "Title", usual="Chat with us"),
            Field("settings.greeting", "First line", usual="Hello! What can we do for you?"),
            Field("settings.colour", "Colour", usual="#4b54d1", short=True),
            Field("settings.origins", "Sites that may have it", "lines", usual="https://shop.example.com",
                  help="One a line, as https://host without a path."),
        ]),
        Group("Who the visitor is", [
            Field("settings.identity_secret", "Identity secret", "secret",
                  help="32 characters or more, with which your site signs who is signed in there (JWT, HS256)."),
            Field("settings.audience", "Audience", help="What these tokens have to name, if anything."),
        ], folded=True),
    ],
    "form": [
        Group("The form", [
            _name("contact"),
            Field("settings.title", "Title", usual="Contact us"),
            Field("settings.intro", "Above the fields"),
            Field("settings.thanks", "Afterwards", usual="Your message has arrived. We'll get back to you soon."),
            Field("settings.honeypot", "Trap for robots", help="A field that people don't see.", usual="website"),
        ]),
        Group("On your own pages", [
            Field("settings.origins", "Sites that may post", "lines", usual="https://www.example.com",
                  help="One a line, as https://host without a path."),
            Field("settings.redirects", "Where a browser may go afterwards", "lines",
                  usual="https://www.example.com/thanks"),
            *(Field(f"settings.fields.{meaning}", label, usual=usual, help=about) for meaning, label, usual, about in (
                ("email", "Field with the address", "email", ""), ("name", "With the name", "name", ""),
                ("phone", "With the number", "phone", ""), ("subject", "With the subject", "subject", ""),
                ("text", "With the text", "message || text", "A field's name, or a JMESPath expression."))),
        ], folded=True),
    ],
    "slack": [
        Group("The app", [
            _name("partners-slack"),
            Field("settings.bot_token", "Bot token", "secret", help="xoxb-…; empty where hub.toml has it."),
            Field("settings.signing_secret", "Signing secret", "secret", help="Empty where hub.toml has it."),
            Field("settings.customer_channels", "Customers' channels", "lines", usual="C0123456789",
                  help="Their ids, one a line. Our app has to be in them."),
        ]),
    ],
}  # fmt: skip


def _acknowledging(tx: Tx, kind: str) -> list[Group]:
    """What a customer is told at once; a form says by which mail channel."""
    if kind not in (*MAIL_KINDS, "form"):
        return []
    about = "{first_name}, {name}, {ticket} and {subject} are filled in. Empty: nothing is sent."
    words = Field("settings.acknowledge", "What it says", "long", help=about)
    fields = [words, Field("settings.acknowledge_subject", "Subject", usual="Auto: {subject} [#{ticket}]")]
    if kind == "form":
        mails = {row.name: row.name for row in active_channels(tx) if row.kind in MAIL_KINDS}
        fields.append(Field("settings.acknowledge_by", "Sent by", "choice", choices={"": "Nobody", **mails}))
    never = "Once, when a matter begins; never to machines, lists and senders who may be forged."
    return [Group("Tell the customer at once that it has come", fields, folded=True, about=never)]
