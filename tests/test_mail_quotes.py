"""What of a reply is new: cut in many languages, never to nothing, and never slowly."""

from __future__ import annotations

import re
import time

import pytest

from channels.mail.quotes import cut
from tests.corpus import mail_corpus

NEW = "Tack, lampan fungerar nu!\nKan ni skicka en faktura?"


def visible(text: str) -> str:
    return text[: cut(text).new].strip()


@pytest.mark.parametrize(
    "history",
    [
        "On Sat, Nov 21, 2026 at 5:02 PM Shop <support@shop.example> wrote:\n> Hello Mara",
        "On Sat, Nov 21, 2026 at 5:02 PM Shop\n<support@shop.example> wrote:\n\n> Hello Mara",
        "Am 21.11.2026 um 17:02 schrieb Shop <support@shop.example>:\n> Guten Tag",
        "Le sam. 21 nov. 2026 à 17:02, Shop <support@shop.example> a écrit :\n> Bonjour",
        "El sáb, 21 nov 2026 a las 17:02, Shop (<support@shop.example>) escribió:\n> Hola",
        "Il giorno sab 21 nov 2026 alle ore 17:02 Shop <support@shop.example> ha scritto:\n> Ciao",
        "Em sáb., 21 de nov. de 2026 às 17:02, Shop <support@shop.example> escreveu:\n> Olá",
        "Op za 21 nov. 2026 om 17:02 schreef Shop <support@shop.example>:\n> Hallo",
        "Den lör 21 nov. 2026 kl 17:02 skrev Shop <support@shop.example>:\n> Hej Mara",
        "21 nov. 2026 kl. 17:02 skrev Shop <support@shop.example>:\n> Hej Mara",
        "Den lør. 21. nov. 2026 kl. 17.02 skrev Shop <support@shop.example>:\n> Hej",
        "la 21. marrask. 2026 klo 17.02 Shop (support@shop.example) kirjoitti:\n> Hei",
        "sob., 21 lis 2026 o 17:02 Shop <support@shop.example> napisał(a):\n> Dzień dobry",
        "so 21. 11. 2026 v 17:02 odesílatel Shop <support@shop.example> napsal:\n> Dobrý den",
        "сб, 21 нояб. 2026 г. в 17:02, Shop <support@shop.example>:\n> Здравствуйте",
        "21 Kas 2026 Cmt 17:02 tarihinde Shop <support@shop.example> şunu yazdı:\n> Merhaba",
        "2026年11月21日(土) 17:02 Shop <support@shop.example>:\n> こんにちは",
        "-----Original Message-----\nFrom: Shop\nHello Mara",
        "-----Ursprüngliche Nachricht-----\nVon: Shop\nGuten Tag",
        "________________________________\nFrom: Shop <support@shop.example>\nSent: Saturday, 21 November 2026 17:02\n"
        "To: Mara Lindqvist\nSubject: Re: Lamp\n\nHello Mara",
        "Von: Shop <support@shop.example>\nGesendet: Samstag, 21. November 2026\nAn: Mara\nBetreff: Lampe\n\nGuten Tag",
        "Från: Shop <support@shop.example>\nSkickat: den 21 november 2026 17:02\nTill: Mara\nÄmne: Lampa\n\nHej",
        "De : Shop <support@shop.example>\nEnvoyé : samedi 21 novembre 2026\nÀ : Mara\nObjet : Lampe\n\nBonjour",
        "> Hello Mara\n> we sent it",
        "-- \nMara Lindqvist\n+46 70 174 06 05",
        "Skickat från min iPhone",
        "Sent from my iPhone\n\nOn 21 Nov 2026, at 17:02, Shop <support@shop.example> wrote:\n> Hello",
    ],
)
def test_history_and_signature_are_put_aside(history: str) -> None:
    assert visible(f"{NEW}\n\n{history}\n") == NEW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "Hello",
        "> only a quote",
        "On Sat, Nov 21, 2026 at 5:02 PM Shop <support@shop.example> wrote:\n> Hello",
        "FYI\n\n---------- Forwarded message ---------\nFrom: Shop <support@shop.example>\nDate: Sat\nTo: y\n\nHi",
        "Till er\n\n-------- Vidarebefordrat meddelande --------\nÄmne: x\nFrån: y\n\nHej",
        "He wrote to me on Monday. I answered: yes.\nIs that fine?",
        "From: Malmö\nTo: Lund\nis the way I take.",
        "My address is\nStorgatan 1\n\nand I wrote it down: here.",
    ],
)
def test_what_has_nothing_to_put_aside_stays_whole(text: str) -> None:
    assert cut(text) == (None, len(text))


def test_answers_between_the_quotes_keep_them() -> None:
    asked = "Hi,\n\nOn 21 Nov 2026 Shop <support@shop.example> wrote:\n> Which lamp?\n"
    text = asked + "The red one.\n> Which size?\nLarge, please, and two of them."
    assert "The red one." in visible(text)
    assert "Large, please" in visible(text)


def test_the_offset_counts_in_the_text_as_it_came() -> None:
    text = "Hej\u00a0där\u200b!\r\n\r\n> gammalt\r\n"
    assert text[: cut(text).new].strip() == "Hej\u00a0där\u200b!"
    assert text[cut(text).quoted :].lstrip().startswith(">")


HOSTILE = {
    "on": "On " * 50_000,
    "spaces": (" " * 499 + "\n") * 1500,
    "spaces before words": (" " * 400 + "original message x\n") * 1500,
    "dashes": ("-" * 499 + "\n") * 1500,
    "ruled": ("-" * 450 + "original message\n") * 1500,
    "underscores": ("_" * 400 + "x\n") * 1500,
    "labels": ("from" + " " * 400 + "x\n") * 1500,
    "header blocks": "From: a@example.com\n" * 1500,
    "wrote": ("On 3 wrote " * 40 + "\n") * 1500,
    "wrote and stars": ("On 3 wrote:" + " *" * 200 + "x\n") * 1500,
    "almost an introduction": ("On 1.1.2020 <" + "w@ " * 5 + ("v" * 100 + " ") * 3 + "wrote\n") * 1500,
    "addresses": "a@" * 30_000,
    "prose": "lorem ipsum dolor sit amet, on 3 May at 4 he wrote to us\n" * 1500,
    "closings": "x\n" + "cheers\n" * 1500,
    "line ends": "\n" * 70_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_keeps_the_cutter_busy(name: str) -> None:
    started = time.process_time()
    cut(HOSTILE[name])
    assert time.process_time() - started < 4


def test_the_score_on_other_peoples_replies_does_not_fall() -> None:
    """Discourse's labelled replies: 46 of 64 exactly as its authors would cut, at most 6 that lose text."""
    exact = lost = total = 0
    for path in mail_corpus("discourse-email_reply_trimmer/emails"):
        wanted = _words(path.parents[1].joinpath("trimmed", path.name).read_text())
        got = _words(visible(path.read_text()))
        total += 1
        exact += wanted == got
        lost += wanted not in got and not got.startswith(wanted)
    print(f"quotes: {exact} of {total} exact, {lost} lose text")
    assert exact >= 46
    assert lost <= 6


@pytest.mark.parametrize("collection", ["crisp-email-reply-parser", "alfonsrv-mail-parser-reply"])
def test_replies_in_many_languages_are_never_emptied(collection: str) -> None:
    texts = [path.read_text(errors="replace") for path in mail_corpus(collection)]
    assert all(visible(text) for text in texts if text.strip())
    assert sum(cut(text).new < len(text) for text in texts) > len(texts) * 0.7


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
