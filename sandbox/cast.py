"""Who plays in the demo, and where they are reached."""

from __future__ import annotations

from dataclasses import dataclass

PASSWORD = "lamps-and-light"  # of every agent on the demo desk; printed when it starts
MAILBOX = "support@example.com"
OUR_NUMBER = "+46701740620"
NOTICES, CUSTOMERS = "C0NOTICES", "C0CUSTOMER"  # Slack channels


@dataclass(frozen=True, slots=True)
class Persona:
    """Somebody whom the page plays. `key` names them in addresses."""

    key: str
    name: str
    address: str


PHONES = (
    Persona("mara", "Mara Lindqvist", "+46701740605"),
    Persona("erik", "Erik Sandberg", "+46701740611"),
    Persona("unknown", "Unknown number", "+447700900184"),
)
MAILBOXES = (
    Persona("mara", "Mara Lindqvist", "mara.lindqvist@example.com"),
    Persona("devon", "Devon Clarke", "devon.clarke@example.org"),
    Persona("new", "Alma Berg", "alma.berg@example.net"),
)
MEMBERS = (
    Persona("jonas", "Jonas Weber", "U0JONAS"),
    Persona("amara", "Amara Obi", "U0AMARA"),
    Persona("tomas", "Tomás Silva", "U0TOMAS"),
    Persona("sam", "Sam Okafor (no agent)", "U0SAM"),
)
PARTNER = Persona("sam", "Sam Okafor, Kestrel Retail", "U0SAM")
SLACK_USERS = {  # id → name, e-mail
    "U0JONAS": ("Jonas Weber", "jonas@example.com"),
    "U0AMARA": ("Amara Obi", "amara@example.com"),
    "U0TOMAS": ("Tomás Silva", "tomas@example.com"),
    "U0SAM": ("Sam Okafor", "sam@kestrel.example.com"),
}
