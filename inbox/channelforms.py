"""What Settings → Channels asks for, kind by kind, and which addresses it gives for the other side."""

from __future__ import annotations

from dataclasses import dataclass

from config.language import N_, _, words
from config.settings import Settings
from hub.recipients import MAIL_KINDS
from inbox.deskform import Field, Group
from storage import Tx
from storage.desk import ChannelAccount, active_channels

TLS = words(
    {"": "The usual one", "tls": "TLS from the start", "starttls": "STARTTLS", "none": "None (this machine only)"}
)
PROVIDERS = words({
    "cloudmailin": "CloudMailin", "mailgun": "Mailgun", "mandrill": "Mandrill", "postmark": "Postmark",
    "raw": "Anybody who posts a mail as it is", "sendgrid": "SendGrid", "ses": "Amazon SES",
})  # fmt: skip
ABOUT = words(
    {
        "email": "A mailbox, read by IMAP and answered by SMTP",
        "mailhook": "Mail that a provider receives and posts to us",
        "sms": "Texts, or WhatsApp, by a number at Twilio",
        "chat": "A widget on your site",
        "form": "A page of ours, or forms of your own",
        "slack": "Customers in channels that you share with them",
    }
)


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
        return [Given(_("Address that mail is posted to"), f"{url}/webhooks/mail/{name}{ends}", _("at your provider"))]
    if account.kind == "sms":
        return [
            Given(_("A message comes in"), f"{url}/webhooks/twilio/messages",
                  _("at Twilio, for this number: HTTP POST")),
            Given(_("Delivery status"), f"{url}/webhooks/twilio/status", _("set with every text, nothing to do")),
        ]  # fmt: skip
    if account.kind == "chat":
        line = f'<script src="{url}/chat/widget.js" data-channel="{name}" defer></script>'
        page = Given(_("To try it"), f"{url}/chat/frame?channel={name}", opens=True)
        return [Given(_("On your pages, before </body>"), line), page]
    if account.kind == "form":
        return [
            Given(_("Our page"), f"{url}/forms/{name}", _("to link to, or to show in a frame"), opens=True),
            Given(_("Address that your own forms post to"), f"{url}/webhooks/forms/{name}"),
        ]
    if account.kind == "slack":
        return [
            Given(_("Event subscriptions"), f"{url}/webhooks/slack/events",
                  _("at api.slack.com/apps: message.channels")),
            Given(_("Interactivity"), f"{url}/webhooks/slack/actions"),
        ]  # fmt: skip
    return []


def _name(example: str) -> Field:
    return Field(
        "name", "Name", help=_("Yours to choose, and kept: rules and addresses have it. Letters, digits and dashes."),
        usual=example, required=True,
    )  # fmt: skip


def _smtp(needed: bool) -> list[Field]:
    return [
        Field("settings.smtp_host", _("SMTP server"), usual="smtp.example.com", required=needed),
        Field("settings.smtp_tls", _("Encryption"), "choice", choices=TLS),
        Field("settings.smtp_port", _("Port"), "number", usual="587", short=True),
    ]


_OWN_WORDS = N_("{agent}, {first_name}, {signature} (the agent's own), {name} and {address} are filled in.")
_FORMS: dict[str, list[Group]] = {
    "email": [
        Group(N_("The mailbox"), [
            _name("support-mail"),
            Field("address", N_("Address"), help=N_("What customers write to."), usual="support@example.com",
                  required=True),
            Field("settings.from_name", N_("Sender's name"), usual=N_("Example Support")),
            Field("settings.username", N_("User name"), help=N_("Often the address."), required=True),
            Field("settings.password", N_("Password"), "secret",
                  help=N_("At Google and others with two steps an app password. Leave it empty for OAuth 2.")),
        ]),
        Group(N_("Fetching"), [
            Field("settings.imap_host", N_("IMAP server"), usual="imap.example.com", required=True),
            Field("settings.imap_tls", N_("Encryption"), "choice", choices=TLS),
            Field("settings.imap_port", N_("Port"), "number", usual="993", short=True),
            Field("settings.folders", N_("Folders"), "lines", usual="INBOX", help=N_("One a line, at most 10.")),
            Field("settings.since", N_("Older mail is left alone before"), "day",
                  help=N_("What came earlier makes no work; `mailbox backfill` brings it in as history.")),
            Field("settings.mark_seen", N_("Mark mails as read at the server once they are safe here"), "tick"),
        ]),
        Group(N_("Sending"), _smtp(True)),
        Group(N_("Signature"), [
            Field("settings.signature", N_("Under every answer"), "long", help=_OWN_WORDS),
        ]),
        Group(N_("OAuth 2 instead of a password"), [
            Field("settings.oauth", N_("Provider"), "choice",
                  choices=words({"": "None: the password above", "microsoft": "Microsoft 365", "google": "Google"})),
            Field("settings.client_id", N_("Client id")),
            Field("settings.client_secret", N_("Client secret"), "secret"),
            Field("settings.tenant", N_("Tenant"), help=N_("Microsoft alone."), usual="example.com"),
        ], folded=True,
        about=N_("Once it is kept, run python app.py channel authorise NAME, and agree in the browser.")),
    ],
    "mailhook": [
        Group(N_("The address"), [
            _name("orders-mail"),
            Field("address", N_("Address"), help=N_("What customers write to."), usual="orders@example.com",
                  required=True),
            Field("settings.provider", N_("Provider"), "choice", choices=words({"": "Choose", **PROVIDERS}),
                  required=True),
        ]),
        Group(N_("What proves that it is them"), [
            Field("settings.signing_key", N_("Signing key"), "secret",
                  help=N_("Mailgun and Mandrill: theirs. SendGrid: the security policy's public key.")),
            Field("settings.user", N_("User"), help=N_("Postmark, CloudMailin, SendGrid: as in https://user:secret@…")),
            Field("settings.secret", N_("Secret"), "secret",
                  help=N_("Its password. Mail as it is: the address's end.")),
            Field("settings.topic_arn", N_("Topic"), help=N_("Amazon SES: the ARN of its SNS topic.")),
        ]),
        Group(N_("Sending"), [
            *_smtp(False),
            Field("settings.username", N_("User name")),
            Field("settings.password", N_("Password"), "secret"),
            Field("settings.from_name", N_("Sender's name")),
            Field("settings.signature", N_("Under every answer"), "long", help=_OWN_WORDS),
        ], about=N_("Without a server of its own, answers leave by another mail channel.")),
    ],
    "sms": [
        Group(N_("The number"), [
            _name("text-line"),
            Field("address", N_("Number"), help=N_("With + and country code; whatsapp:+46… for WhatsApp."),
                  usual="+46701740620", required=True),
        ]),
        Group(N_("At Twilio"), [
            Field("settings.account_sid", N_("Account SID"), usual="AC…",
                  help=N_("Empty where hub.toml has it for all numbers (twilio_account_sid).")),
            Field("settings.auth_token", N_("Auth token"), "secret", help=N_("Empty where hub.toml has it.")),
            Field("settings.messaging_service_sid", N_("Messaging service"), usual="MG…",
                  help=N_("Only where Twilio is to choose the sender.")),
        ]),
    ],
    "chat": [
        Group(N_("The widget"), [
            _name("shop-chat"),
            Field("settings.title", N_("Title"), usual="Chat with us"),
            Field("settings.greeting", N_("First line"), usual=N_("Hello! What can we do for you?")),
            Field("settings.colour", N_("Colour"), usual="#4b54d1", short=True),
            Field("settings.origins", N_("Sites that may have it"), "lines", usual="https://shop.example.com",
                  help=N_("One a line, as https://host without a path.")),
        ]),
        Group(N_("Who the visitor is"), [
            Field("settings.identity_secret", N_("Identity secret"), "secret",
                  help=N_("32 characters or more, with which your site signs who is signed in there (JWT, HS256).")),
            Field("settings.audience", N_("Audience"), help=N_("What these tokens have to name, if anything.")),
        ], folded=True),
    ],
    "form": [
        Group(N_("The form"), [
            _name("contact"),
            Field("settings.title", N_("Title"), usual="Contact us"),
            Field("settings.intro", N_("Above the fields")),
            Field("settings.thanks", N_("Afterwards"),
                  usual="Your message has arrived. We'll get back to you soon."),
            Field("settings.honeypot", N_("Trap for robots"), help=N_("A field that people don't see."),
                  usual="website"),
        ]),
        Group(N_("On your own pages"), [
            Field("settings.origins", N_("Sites that may post"), "lines", usual="https://www.example.com",
                  help=N_("One a line, as https://host without a path.")),
            Field("settings.redirects", N_("Where a browser may go afterwards"), "lines",
                  usual="https://www.example.com/thanks"),
            *(Field(f"settings.fields.{meaning}", label, usual=usual, help=about) for meaning, label, usual, about in (
                ("email", N_("Field with the address"), "email", ""), ("name", N_("With the name"), "name", ""),
                ("phone", N_("With the number"), "phone", ""), ("subject", N_("With the subject"), "subject", ""),
                ("text", N_("With the text"), "message || text", N_("A field's name, or a JMESPath expression.")))),
        ], folded=True),
    ],
    "slack": [
        Group(N_("The app"), [
            _name("partners-slack"),
            Field("settings.bot_token", N_("Bot token"), "secret", help=N_("xoxb-…; empty where hub.toml has it.")),
            Field("settings.signing_secret", N_("Signing secret"), "secret", help=N_("Empty where hub.toml has it.")),
            Field("settings.customer_channels", N_("Customers' channels"), "lines", usual="C0123456789",
                  help=N_("Their ids, one a line. Our app has to be in them.")),
        ]),
    ],
}  # fmt: skip


def _acknowledging(tx: Tx, kind: str) -> list[Group]:
    """What a customer is told at once; a form says by which mail channel."""
    if kind not in (*MAIL_KINDS, "form"):
        return []
    about = _("{first_name}, {name}, {ticket} and {subject} are filled in. Empty: nothing is sent.")
    text = Field("settings.acknowledge", _("What it says"), "long", help=about)
    fields = [text, Field("settings.acknowledge_subject", _("Subject"), usual="Auto: {subject} [#{ticket}]")]
    if kind == "form":
        mails = {row.name: row.name for row in active_channels(tx) if row.kind in MAIL_KINDS}
        fields.append(Field("settings.acknowledge_by", _("Sent by"), "choice", choices={"": _("Nobody"), **mails}))
    never = _("Once, when a matter begins; never to machines, lists and senders who may be forged.")
    return [Group(_("Tell the customer at once that it has come"), fields, folded=True, about=never)]
