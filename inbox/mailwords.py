"""What there is to say about how a mail was read, and the card of an invitation."""

from __future__ import annotations

from dataclasses import dataclass

from channels.mail.lookalikes import shown
from config.language import _, words
from hub.ours import LOOKS_LIKE_CONTACT, LOOKS_LIKE_CUSTOMER, LOOKS_LIKE_US, NAMED_ADDRESS, NAMED_COLLEAGUE
from storage.conversations import Message

READ = words(
    {
        "no_from": "The mail names no sender.",
        "encrypted": "Encrypted: only whoever has the key can read it. The files are as they arrived.",
        "smime": "Encrypted or packed with S/MIME: smime.p7m can be opened by whoever has the key.",
        "smime_signed": "Signed with S/MIME in one piece, which could not be opened here: smime.p7m has it.",
        "smime_opened": "Signed by its sender (S/MIME). The signature is not checked here; the raw mail has it.",
        "signed": "Signed by its sender. The signature is not checked here.",
        "tnef": "Outlook packed its files into winmail.dat, and that could not be opened.",
        "partial": "Only one part of a mail that was cut into several.",
        "external": "It refers to a file elsewhere, which was not fetched.",
        "too_large": "Very large: only its beginning was read. The rest is in the raw mail, or still on the mail "
        "server.",
        "too_deep": "Its innermost parts are left out; the raw mail has them.",
        "unparsed_structure": "Nested too deeply to be taken apart; the file has all of it.",
        "html_too_complex": "Its formatting is too complex to be shown safely and is attached as a file.",
        "text_cut": "Only the first two million characters are shown; the raw mail has the rest.",
    }
)
# Flags that go on with whom the sender resembles (`hub.ours`, `hub.trust`).
RESEMBLES = words(
    {
        NAMED_COLLEAGUE: "The sender goes by the name of {twin}, who answers here, but {address} is not their address: "
        "be careful.",
        NAMED_ADDRESS: "The sender shows our address {twin} as a name, but the mail comes from {address}: be careful.",
        LOOKS_LIKE_US: "The sender's domain {domain} looks like our own {twin}, but is another one: be careful.",
        LOOKS_LIKE_CUSTOMER: "The sender's domain {domain} looks like the customer's {twin}, but is another one: "
        "be careful.",
        LOOKS_LIKE_CONTACT: "The sender's domain {domain} looks like {twin}, from where somebody of the same name has "
        "written, but is another one: be careful.",
    }
)
METHODS = words(
    {"REQUEST": "Invitation", "CANCEL": "Cancelled", "REPLY": "Answer to an invitation", "COUNTER": "Other time"}
)


@dataclass(frozen=True, slots=True)
class Card:
    """An invitation in a few lines."""

    title: str
    what: str
    rows: list[tuple[str, str]]


def proof(known: dict[str, str]) -> list[str]:
    """What is known about where a mail really comes from, in words."""
    verdict, domain = known.get("verdict"), known.get("domain", "")
    if sealer := known.get("sealer"):
        return [
            _(
                "Sender proved: {sealer} forwarded this mail and says that {domain} vouched for it.",
                sealer=sealer,
                domain=domain,
            )
        ]
    if verdict == "pass":
        return [_("Sender proved: {domain} vouches for this mail.", domain=domain)]
    if verdict == "fail":
        return [_("Not proved: the sender's domain says that this mail is not from there. Don't trust the name.")]
    if verdict in ("temperror", "permerror"):
        return [_("Whether this sender is real could not be found out.")]
    return []


def warnings_of(message: Message, address: str) -> list[str]:
    """Sentences for whoever might take the sender for somebody else; `address` is where the mail is from."""
    domain = address.rpartition("@")[2]
    return [
        words.format(twin=flag.removeprefix(prefix), address=address, domain=shown(domain))
        for flag in message.flags
        for prefix, words in RESEMBLES.items()
        if flag.startswith(prefix)
    ]


def remarks_on_reading(message: Message) -> list[str]:
    """Sentences for the reader, above the text."""
    said = [READ[flag] for flag in message.flags if flag in READ]
    fields = message.fields
    if "forwarded.address" in fields or "forwarded.name" in fields:
        name, address = fields.get("forwarded.name", ""), fields.get("forwarded.address", "")
        original = f"{name} <{address}>" if name and address else name or address
        said.append(_("Forwarded. It says that {original} wrote it; nothing proves that.", original=original))
    if "nested" in fields:
        said.append(_("It holds mails inside mails, {nested} deep or more.", nested=fields["nested"]))
    if "date" in fields:
        said.append(_("The sender's clock can't be right: it says “{date}”.", date=fields["date"]))
    return said


def card_of(message: Message) -> Card | None:
    """The card of a calendar invitation, where the mail carries one that could be read."""
    found = {
        name.removeprefix("calendar."): said for name, said in message.fields.items() if name.startswith("calendar.")
    }
    if not found:
        return None
    rows = [(_("When"), "when"), (_("Where"), "where"), (_("From"), "organizer"), (_("Answer"), "answer")]
    return Card(
        METHODS.get(found.get("method", ""), _("Calendar entry")),
        found.get("what", _("(without a title)")),
        [(label, found[name]) for label, name in rows if name in found],
    )
