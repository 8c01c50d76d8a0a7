"""Who gets an answer by mail: everybody whom the customer named, once, never ourselves, and nobody by accident."""

from __future__ import annotations

from typing import Any

import pytest

from hub.recipients import reply_all
from hub.replies import reply
from storage.access import Conflict
from storage.conversations import Message
from storage.people import Identity
from tests.desk import MARA_MAIL, Desk
from tests.support.mailroom import mailroom

NORA, OTTO = "nora@example.com", "otto@example.com"


def arrives(
    desk: Desk, *, to: str = "support@desk.example", cc: str = "", more: str = "", sender: str = MARA_MAIL
) -> int:
    headers = f"From: {sender}\r\nTo: {to}\r\nSubject: Lamp\r\n" + (f"Cc: {cc}\r\n" if cc else "") + more
    taken = desk.raw_mail(f"{headers}Message-ID: <{len(desk.conversations())}@x>\r\n\r\nHas it left?\r\n".encode())
    return taken.conversation_id or 0


def answer(desk: Desk, number: int, **more: Any) -> Message:
    with desk.hub.store.write() as tx:
        given: dict[str, Any] = {"text": "It left.", "tokens": desk.hub.tokens, "undo_seconds": 0, **more}
        return reply(tx, desk.ines, number, **given)


def test_everybody_named_in_the_mail_gets_a_copy_once_and_we_get_none(desk: Desk) -> None:
    number = arrives(
        desk, to=f"Support <support+x@desk.example>, Nora <{NORA}>",
        cc=f"{OTTO.upper()}, {NORA}, {MARA_MAIL}, SUPPORT@desk.example",
    )  # fmt: skip
    sent = answer(desk, number)
    assert (sent.to_address, sent.cc, sent.bcc) == (MARA_MAIL, [NORA, OTTO], [])


def test_answers_go_where_the_customer_wants_them(desk: Desk) -> None:
    number = arrives(desk, cc=NORA, more="Reply-To: Desk <mara.desk@example.com>\r\n")
    sent = answer(desk, number)
    assert (sent.to_address, sent.cc) == ("mara.desk@example.com", [NORA])


@pytest.mark.parametrize("asked", ["support@desk.example", "not an address", MARA_MAIL])
def test_a_reply_to_that_leads_nowhere_is_not_followed(desk: Desk, asked: str) -> None:
    sent = answer(desk, arrives(desk, more=f"Reply-To: {asked}\r\n"))
    assert (sent.to_address, sent.cc) == (MARA_MAIL, [])


@pytest.mark.parametrize(
    "odd", ["jürgen@example.com", "nora@otto@example.com", r'"no\"ra"@example.com', "=?utf-8?q?otto?=@example.com"]
)
def test_an_address_that_no_mail_reaches_keeps_no_answer_back(desk: Desk, odd: str) -> None:
    """Servers refuse such an address, or read another one out of it."""
    with mailroom(desk) as room:
        sent = room.answer(desk.ines, arrives(desk, cc=f"{odd}, {NORA}", more=f"Reply-To: {odd}\r\n"))
        assert (sent.state, sent.to_address, sent.cc) == ("sent", MARA_MAIL, [NORA])
        assert [each.recipients for each in room.sink.taken] == [[MARA_MAIL, NORA]]


def test_a_second_answer_keeps_the_copies_of_the_first(desk: Desk) -> None:
    number = arrives(desk, cc=NORA)
    answer(desk, number, cc=[OTTO])
    assert answer(desk, number).cc == [OTTO]


def test_a_stranger_who_joined_is_put_into_no_copy(desk: Desk) -> None:
    number = arrives(desk, cc=NORA)
    sent = answer(desk, number)
    joined = desk.mail("Re: Lamp", "I know!", sender="Eve <eve@elsewhere.example>", answers=sent.external_id)
    assert joined.conversation_id == number
    with desk.hub.store.read() as tx:
        everybody = reply_all(tx, number, tx.get_one(Identity, sent.identity_id))
    assert (everybody.to, everybody.cc) == (MARA_MAIL, (NORA,))


def test_what_is_written_into_the_copies_is_checked_and_named(desk: Desk) -> None:
    number = arrives(desk, cc=NORA)
    assert answer(desk, number, cc=[]).cc == []
    sent = answer(desk, number, cc=[OTTO, "Otto@Example.com", MARA_MAIL], bcc=[NORA, OTTO])
    assert (sent.cc, sent.bcc) == ([OTTO], [NORA])
    for wrong, sentence in (
        (["nora"], "'nora' is no e-mail address"),
        (["a@x\r\nBcc: evil@x"], "no e-mail address"),
        (['no"ra@example.com'], "no e-mail address"),
        (["support+1@desk.example"], "one of our own mailboxes"),
        ([f"p{n}@example.com" for n in range(60)], "at most 50"),
    ):
        with pytest.raises(Conflict, match=sentence):
            answer(desk, number, cc=wrong)
        with pytest.raises(Conflict, match=sentence):
            answer(desk, number, bcc=wrong)
    text = desk.text("Hello").conversation_id or 0
    with pytest.raises(Conflict, match="only be sent by e-mail"):
        answer(desk, text, cc=[NORA])
    assert answer(desk, text).cc == []


def test_formatted_answers_are_made_harmless_and_have_their_words_as_text(desk: Desk) -> None:
    sent = answer(desk, arrives(desk), text="", html='<p onclick="x()">It <b>left</b>.<script>alert(1)</script></p>')
    assert sent.html == "<p>It <b>left</b>.</p>"
    assert sent.text == "It left."
    with pytest.raises(Conflict, match="empty"):
        answer(desk, arrives(desk), text="", html="<p></p>")
    with pytest.raises(Conflict, match="too deeply nested"):
        answer(desk, arrives(desk), html="<div>" * 3000)
