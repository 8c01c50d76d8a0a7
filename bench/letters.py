"""Mails as customers write them, made up and always the same: most are short, some quote, few bring a file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime

FIRST = datetime(2026, 11, 2, 8, tzinfo=UTC)
SENDERS = 2500
ENGLISH = (
    "the order lamp arrived broken please send another one invoice refund thank you delivery address wrong colour "
    "still waiting since last week could you check what happened to my parcel number again"
)
GERMAN = (
    "die Bestellung Lampe ist kaputt angekommen bitte schicken Sie eine neue Rechnung Danke Lieferung Adresse falsche "
    "Farbe warte seit letzter Woche könnten Sie prüfen was mit meinem Paket geschehen ist"
)
SWEDISH = (
    "beställningen lampan kom trasig kan ni skicka en ny faktura tack leverans adressen fel färg väntar fortfarande "
    "sedan förra veckan kan ni kontrollera vad som hände med mitt paket"
)
RECEIVED = (
    "from mail-{0}.provider.example (mail-{0}.provider.example [192.0.2.{0}]) by mx.desk.example with ESMTPS id {1:x} "
    "for <support@desk.example>; {2}"
)


def letters(count: int, seed: int = 20261128) -> Iterator[bytes]:
    """`count` whole mails. A third answer an earlier one, half have HTML beside the text, one in twelve has a file."""
    dice = random.Random(seed)
    ids: list[tuple[int, str]] = []  # who wrote, under which Message-ID
    for number in range(count):
        answered = dice.choice(ids[-400:]) if ids and dice.random() < 0.33 else None
        sender = answered[0] if answered else dice.randrange(SENDERS)
        own = f"<{number}.{dice.getrandbits(64):x}@mail.customer{sender % 97}.example>"
        ids.append((sender, own))
        yield _letter(dice, number, sender, own, answered[1] if answered else "")


def _letter(dice: random.Random, number: int, sender: int, own: str, answers: str) -> bytes:
    words = dice.choices((ENGLISH, GERMAN, SWEDISH), (6, 3, 1))[0].split()
    at = format_datetime(FIRST + timedelta(seconds=40 * number))
    mail = EmailMessage()
    for hop in range(2):
        mail["Received"] = RECEIVED.format(dice.randrange(1, 250), dice.getrandbits(60) + hop, at)
    mail["From"] = f"Customer {sender} <customer.{sender}@customer{sender % 97}.example>"
    mail["To"] = "Nordlicht <support@desk.example>"
    mail["Subject"] = f"{'Re: ' if answers else ''}{' '.join(dice.choices(words, k=dice.randrange(2, 7)))} {number}"
    mail["Date"], mail["Message-ID"] = at, own
    if answers:
        mail["In-Reply-To"] = mail["References"] = answers
    mail["DKIM-Signature"] = (
        f"v=1; a=rsa-sha256; d=customer.example; s=k1; h=from:to; bh=x; b={dice.randbytes(128).hex()}"
    )
    text = "\n\n".join(_paragraph(dice, words) for _ in range(1 + int(dice.expovariate(0.17))))
    if answers:
        text += f"\n\nOn {at}, Nordlicht <support@desk.example> wrote:\n" + "".join(
            f"> {line}\n" for line in _paragraph(dice, words).split(". ")
        )
    text += f"\n\n-- \nCustomer {sender}\nStreet {sender % 400}, 12345 Town\n"
    mail.set_content(text)
    if dice.random() < 0.5:
        lines = "".join(f"<div style='margin:0;font-family:Arial'>{line or '<br>'}</div>" for line in text.split("\n"))
        mail.add_alternative(f"<html><body>{lines}</body></html>", subtype="html")
    if dice.random() < 1 / 12:
        size = min(int(dice.lognormvariate(10, 1)), 2_000_000)
        mail.add_attachment(dice.randbytes(size), maintype="image", subtype="jpeg", filename=f"photo {number}.jpg")
    return mail.as_bytes()


def _paragraph(dice: random.Random, words: list[str]) -> str:
    sentences = (dice.choices(words, k=dice.randrange(5, 14)) for _ in range(dice.randrange(1, 5)))
    return ". ".join(" ".join(each).capitalize() for each in sentences)
