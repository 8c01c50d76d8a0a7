"""Whom a mail really comes from: our own known again, references that only we can write."""

from __future__ import annotations

import pytest

from hub.tokens import Tokens
from tests.desk import Desk

UUID = "6f1c2c1e-0000-4000-8000-000000000001"


def test_tokens_are_read_back_whatever_happens_to_their_case_and_never_guessed() -> None:
    tokens, others = Tokens("ours"), Tokens("theirs")
    for token in (tokens.issue(77), tokens.issue(77, 12_345)):
        assert token.isalnum() and token == token.lower() and len("support+" + token) <= 64
        assert tokens.read(token) == tokens.read(token.upper()) == 77
        assert others.read(token) is None
        assert tokens.read(token[:-1] + ("a" if token[-1] != "a" else "b")) is None
    bounce = tokens.issue_bounce(12_345)
    assert tokens.bounced(bounce.upper()) == 12_345
    assert (tokens.read(bounce), tokens.bounced(tokens.issue(77))) == (None, None)
    assert (tokens.read(""), tokens.bounced("é" * 25), tokens.marked("é.é")) == (None, None, None)
    assert tokens.marked(tokens.mark(UUID)) == UUID
    assert others.marked(tokens.mark(UUID)) is None


def test_our_own_mail_is_ignored_by_its_mark_or_its_message_id(desk: Desk) -> None:
    first = desk.mail("Order 48213", "one lamp missing")
    tokens = desk.hub.tokens
    marked = f"X-Switchyard-Loop: {tokens.mark(UUID)}\r\n".encode()
    rest = b"From: support@desk.example\r\nTo: support@desk.example\r\nSubject: Re: Order\r\n\r\nhello\r\n"

    assert desk.raw_mail(marked + rest).state == "ignored"
    own = tokens.message_id(UUID, first.conversation_id or 0, "desk.example")
    assert desk.mail("Re: Order 48213", "it left today", message_id=own).state == "ignored"
    assert len(desk.messages(first.conversation_id or 0)) == 1


@pytest.mark.parametrize("mark", ["1", UUID, f"{UUID}.aaaaaaaaaaaaaaaa", ""])
def test_a_loop_field_that_a_stranger_wrote_makes_nothing_ignored(desk: Desk, mark: str) -> None:
    taken = desk.raw_mail(
        f"X-Switchyard-Loop: {mark}\r\nX-Switchyard-Queue: Billing\r\nFrom: mara@example.com\r\n"
        f"To: support@desk.example\r\nSubject: parcel\r\n\r\nhello\r\n".encode()
    )
    assert taken.state == "accepted"
    assert desk.only_conversation().subject == "parcel"
