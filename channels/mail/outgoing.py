"""How mail leaves an account: its look, its DKIM key, its pace, and where copies go; read from the channel's row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from channels.base import Pace, Settings
from channels.mail.letter import VARIABLES, Style, unknown_variables
from channels.mail.richtext import harmless
from channels.mail.signing import SigningKey, read_key
from channels.settings import unfit
from config.language import N_
from config.retold import stored

OPTIONAL = (
    *("signature", "signature_html", "html", "quote_original", "dkim_domain", "dkim_selector", "dkim_key"),
    *("sent_folder", "per_minute", "per_domain_per_minute", "smtp_connections", "smtp_mails_per_connection"),
    "null_sender",
)
CONNECTIONS, MAILS = 4, 50
# They file what is sent through them by themselves; a second copy would only confuse.
FILE_BY_THEMSELVES = ("gmail.com", "googlemail.com", "google.com", "office365.com", "outlook.com")
AUTO, OFF = "auto", "off"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """`sent_folder` is a folder's name, "auto" for the one that the server calls Sent, or "off".

    `null_sender` lets what no person wrote leave with an empty envelope sender, so that no report on it comes back
    (RFC 3834 3.3); some servers refuse it.
    """

    style: Style
    key: SigningKey | None
    pace: Pace
    sent_folder: str
    null_sender: bool
    connections: int
    mails_per_connection: int


def read_outgoing(
    name: str, settings: Settings, address: str, hosts: tuple[str, ...], number: Callable[[str, float], float]
) -> Outgoing:
    """`hosts` are the account's servers; `number` reads a positive number or the default. Raises NotConfigured."""
    return Outgoing(
        style=_style(name, settings),
        key=_key(name, settings, address),
        pace=Pace(
            *(
                number(key, 0) if settings.get(key) is not None else None
                for key in ("per_minute", "per_domain_per_minute")
            )
        ),
        sent_folder=_sent_folder(name, settings, hosts),
        null_sender=settings.get("null_sender", True),
        connections=max(1, int(number("smtp_connections", CONNECTIONS))),
        mails_per_connection=max(1, int(number("smtp_mails_per_connection", MAILS))),
    )


def _style(name: str, settings: Settings) -> Style:
    for key in ("html", "quote_original", "null_sender"):
        if not isinstance(settings.get(key, True), bool):
            raise unfit(name, stored("{key} is {written}; use true or false.", key=key, written=repr(settings[key])))
    signature, rich = (str(settings.get(key) or "") for key in ("signature", "signature_html"))
    if unknown := unknown_variables(signature + rich):
        known = ", ".join(f"{{{each}}}" for each in VARIABLES)
        raise unfit(
            name,
            stored(
                "the signature names {unknown}; what is filled in are {known}.",
                unknown=f"{{{unknown[0]}}}",
                known=known,
            ),
        )
    if rich and not signature:
        raise unfit(name, N_("signature_html is set, so signature has to be set too, for plain text."))
    try:
        rich = harmless(rich)
    except ValueError as error:
        raise unfit(name, stored("signature_html: {error}", error=error)) from None
    return Style(signature, rich, settings.get("html", True), settings.get("quote_original", False))


def _key(name: str, settings: Settings, address: str) -> SigningKey | None:
    written, selector = str(settings.get("dkim_key") or ""), str(settings.get("dkim_selector") or "")
    if not written and not selector:
        return None
    if not (written and selector):
        raise unfit(name, N_("DKIM needs both dkim_selector and dkim_key; set the other one too."))
    domain = str(settings.get("dkim_domain") or address.rpartition("@")[2])
    try:
        return read_key(domain, selector, written)
    except ValueError as error:
        raise unfit(name, str(error)) from None


def _sent_folder(name: str, settings: Settings, hosts: tuple[str, ...]) -> str:
    written = settings.get("sent_folder", AUTO)
    if written is False or written in ("", OFF):
        return OFF
    if not isinstance(written, str):
        raise unfit(name, stored("sent_folder is {written}; use a folder's name, auto or off.", written=repr(written)))
    if written == AUTO and any(host.lower().rstrip(".").endswith(FILE_BY_THEMSELVES) for host in hosts):
        return OFF
    return written
