"""What lies where nobody looks for it is erased as well, and what is somebody else's stays."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise

import pytest
from sqlmodel import col, select

from hub import contactlog, drafts, moves
from hub.apitokens import create_token
from hub.contactexport import export
from hub.contacts import block, merge, rename, unmerge
from hub.erasure import erase
from hub.participants import add_participant
from hub.replies import attach, reply, retry
from storage import Tx
from storage.access import Conflict
from storage.conversations import Draft
from storage.deliveries import Delivery
from storage.people import identities_of
from storage.receipts import Receipt
from tests.browser.room import Browser, words
from tests.browser.scene import quarantine
from tests.desk import MARA_MAIL, MARA_PHONE, Desk
from tests.test_contact_privacy import SECRET, dumped, old
from tests.test_permissions import api_of

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


def test_an_answer_to_somebody_who_was_taken_for_another_goes_too(desk: Desk) -> None:
    mail, text = desk.mail("Order", "Where is it?"), desk.text("Mara here")
    numbers = (mail.contact_id or 0, text.contact_id or 0)
    with desk.hub.store.write() as tx:
        done = merge(tx, desk.jonas, *numbers).id or 0
        identity = int(tx.sql("SELECT id FROM identity WHERE value = ?", MARA_PHONE).fetchone()[0])
        reply(
            tx, desk.jonas, mail.conversation_id or 0, text=f"Your {SECRET}", tokens=desk.hub.tokens,
            identity_id=identity, undo_seconds=600,
        )  # fmt: skip
        contactlog.record_consent(
            tx, desk.jonas, numbers[0], purpose="marketing", given=True, source="told us", identity_id=identity
        )
        unmerge(tx, desk.jonas, done)
    out = BytesIO()
    export(desk.hub, desk.ines, numbers[1], out)
    assert SECRET in zipfile.ZipFile(out).read("person.json").decode(), "what they were sent is theirs to take out"
    assert erase(desk.hub, desk.ines, numbers[1]).messages == 2
    assert [message.text for message in desk.messages(mail.conversation_id or 0)] == ["Where is it?\n", ""]
    assert SECRET not in dumped(desk) and MARA_PHONE not in dumped(desk)


THEIRS = (
    "From: Mara.Lindqvist@Example.com",
    "to=me&from=Mara+mara.lindqvist%40example.com&a=b",
    "from=%3Cmara.lindqvist%40example.com%3E",
    r'{"text": "I am\nmara.lindqvist@example.com."}',
    "From=%2B46701740605",
    "call 0046701740605",
)
OTHERS = (
    "From: tamara.lindqvist@example.com",
    "From: sales+mara.lindqvist@example.com",
    "From: mara.lindqvist@example.com.mt",
    "order 1467017406059",
)


def test_receipts_of_theirs_are_found_and_a_namesake_s_are_left(desk: Desk) -> None:
    mail, text = desk.mail("Order", "Where is it?").contact_id or 0, desk.text("Mara here").contact_id or 0
    with desk.hub.store.write() as tx:
        merge(tx, desk.jonas, mail, text)
        for body in THEIRS + OTHERS:
            quarantine(tx, body.encode(), "no mail", body)
    erase(desk.hub, desk.ines, mail)
    with desk.hub.store.read() as tx:
        kept = tx.exec(select(Receipt.body).where(Receipt.state == "quarantined").order_by(col(Receipt.id))).all()
    assert kept == [body.encode() for body in OTHERS]


def test_headers_tell_whose_a_receipt_is_and_what_is_to_be_read_waits(desk: Desk) -> None:
    taken = desk.mail("Order", "Where is it?")
    with desk.hub.store.write() as tx:
        told = quarantine(tx, b"unreadable", "no mail")
        tx.sql("UPDATE receipt SET headers = ? WHERE id = ?", {"X-From": MARA_MAIL}, told)
        lost = quarantine(tx, b"", "no mail", "lost")
        tx.sql("UPDATE receipt SET body = NULL, sha256 = ? WHERE id = ?", "0" * 64, lost)
        unread = quarantine(tx, f"From: eve@friends.example\r\nCc: {MARA_MAIL}".encode(), "", "unread")
        tx.sql("UPDATE receipt SET state = 'received' WHERE id = ?", unread)
    erase(desk.hub, desk.ines, taken.contact_id or 0)
    with desk.hub.store.read() as tx:
        assert tx.get_one(Receipt, told).headers == {}
        assert tx.get_one(Receipt, lost).sha256 == "0" * 64, "its file is gone, and stops nobody"
        assert tx.get_one(Receipt, unread).body is not None


def test_a_file_that_waits_in_a_draft_goes_too(desk: Desk) -> None:
    taken = desk.mail("Order", "Where is it?")
    digest = desk.hub.blobs.put(b"her passport")
    with desk.hub.store.write() as tx:
        file = attach(tx, desk.jonas, "passport.pdf", "application/pdf", 12, digest).id or 0
        typed = drafts.Typed("See the file", files=[file])
        drafts.keep(tx, desk.jonas.agent_id or 0, taken.conversation_id or 0, drafts.REPLY, typed)
    old(desk)
    erase(desk.hub, desk.ines, taken.contact_id or 0)
    assert [path.name for path in desk.hub.blobs.folder.glob("??/*")] == []
    assert "passport" not in dumped(desk)


def test_what_did_not_get_through_is_not_sent_again(desk: Desk) -> None:
    taken = desk.mail("Order", "Where is it?")
    with desk.hub.store.write() as tx:
        sent = reply(tx, desk.jonas, taken.conversation_id or 0, text="Soon", tokens=desk.hub.tokens).id or 0
        tx.sql("UPDATE delivery SET state = 'failed' WHERE message_id = ?", sent)
        tx.sql("UPDATE message SET state = 'failed' WHERE id = ?", sent)
    erase(desk.hub, desk.ines, taken.contact_id or 0)
    with desk.hub.store.write() as tx:
        (delivery,) = tx.exec(select(Delivery).where(Delivery.message_id == sent))
        assert delivery.state == "cancelled"
        with pytest.raises(Conflict, match="was erased: there is nothing left to send"):
            retry(tx, desk.jonas, sent)


def test_who_was_erased_gets_no_new_address(desk: Desk, jonas: Browser) -> None:
    taken = desk.mail("Order", "Where is it?")
    page = f"/inbox/c/{taken.conversation_id}?view=all"
    assert jonas.page(page).css("#same")
    erase(desk.hub, desk.ines, taken.contact_id or 0)
    with desk.hub.store.write() as tx:
        token = create_token(tx, name="shop")
    with api_of(desk) as app:
        refused = app.test_client().post(
            f"/api/v1/contacts/{taken.contact_id}/identities", json={"kind": "email", "value": "mara@new.example"},
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
    assert refused.status_code == 409 and "was erased and stays so" in refused.text
    with desk.hub.store.read() as tx:
        assert identities_of(tx, taken.contact_id or 0) == []
    assert not jonas.page(page).css("#same")


def test_what_was_begun_to_them_goes_also_where_it_came_along_to(desk: Desk) -> None:
    mail, text = desk.mail("Order", "Where is it?"), desk.text("Mara here")
    theirs, others = text.conversation_id or 0, mail.conversation_id or 0
    third = desk.mail("Invoice", "Which number?").conversation_id or 0
    with desk.hub.store.write() as tx:
        done = merge(tx, desk.jonas, mail.contact_id or 0, text.contact_id or 0).id or 0
        for agent, number, words in ((desk.jonas, theirs, f"Your {SECRET}"), (desk.jonas, others, "Your lamp"),
                                     (desk.amara, theirs, f"Dear Mara, {SECRET}")):  # fmt: skip
            drafts.keep(tx, agent.agent_id or 0, number, drafts.REPLY, drafts.Typed(words))
        moves.merge(tx, desk.jonas, others, theirs)
        moves.merge(tx, desk.jonas, third, others)
        unmerge(tx, desk.jonas, done)
    erase(desk.hub, desk.ines, text.contact_id or 0)
    assert SECRET not in dumped(desk)
    with desk.hub.store.read() as tx:
        assert drafts.drafts_of(tx, desk.jonas.agent_id or 0, third)[drafts.REPLY].text == "Your lamp"
        assert drafts.drafts_of(tx, desk.amara.agent_id or 0, third) == {}


def test_what_was_begun_in_merged_conversations_of_theirs_goes_from_all_of_them(desk: Desk) -> None:
    first = desk.mail("Order", "Where is it?")
    numbers = [first.conversation_id or 0, *(desk.mail(f"Order {each}", "And?").conversation_id or 0 for each in "bcd")]
    for number in numbers[:3]:
        with desk.hub.store.write() as tx:
            drafts.keep(tx, desk.jonas.agent_id or 0, number, drafts.REPLY, drafts.Typed(f"{SECRET} {number}"))
    for one, into in pairwise(numbers):
        with desk.hub.store.write() as tx:
            moves.merge(tx, desk.jonas, into, one)
    erase(desk.hub, desk.ines, first.contact_id or 0)
    with desk.hub.store.read() as tx:
        assert tx.exec(select(Draft)).all() == []


def test_nothing_is_written_down_of_who_was_erased(desk: Desk, jonas: Browser) -> None:
    taken = desk.mail("Order", "Where is it?")
    number = taken.contact_id or 0
    erase(desk.hub, desk.ines, number)
    told = contactlog.Told("order", "o-1", "A lamp", desk.clock())
    doings: list[Callable[[Tx], object]] = [
        lambda tx: contactlog.add_note(tx, desk.jonas, number, "Likes lamps"),
        lambda tx: contactlog.note_event(tx, desk.jonas, number, told),
        lambda tx: contactlog.record_consent(tx, desk.jonas, number, purpose="news", given=True, source="told us"),
        lambda tx: rename(tx, desk.jonas, number, "Mara"),
        lambda tx: block(tx, desk.jonas, number, True),
        lambda tx: add_participant(tx, desk.jonas, taken.conversation_id or 0, "mara@private.example"),
    ]
    for do in doings:
        with desk.hub.store.write() as tx, pytest.raises(Conflict, match="was erased and stays so"):
            do(tx)
    page = f"/inbox/c/{taken.conversation_id}"
    panel, beside = jonas.page(f"{page}?view=all"), jonas.page(f"{page}/about")
    assert words(panel, ".card.warned")[0].startswith("Erased")
    assert not panel.css("#known, #add-also, #same, .tool[name=on]")
    assert not beside.css("#contact-notes, #agreed")


def test_a_merge_of_erased_conversations_is_not_taken_back(desk: Desk) -> None:
    mail, text = desk.mail("Order", "Where is it?"), desk.text("Mara here")
    with desk.hub.store.write() as tx:
        merge(tx, desk.jonas, mail.contact_id or 0, text.contact_id or 0)
        done = moves.merge(tx, desk.jonas, mail.conversation_id or 0, text.conversation_id or 0).id or 0
    erase(desk.hub, desk.ines, mail.contact_id or 0)
    with desk.hub.store.write() as tx, pytest.raises(Conflict, match="was erased: there is nothing left to take back"):
        moves.undo(tx, desk.jonas, done)
    assert {row.state for row in desk.conversations()} == {"resolved"}
