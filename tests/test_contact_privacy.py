"""Who Mara might be the same as, what merging chooses, and what blocking, taking out and erasing her leave behind."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub import contactlog, duplicates
from hub.apitokens import create_token
from hub.audit import AuditFilter, audit
from hub.contacts import Details, add_identity, block, change_details, differing, merge, unmerge
from hub.duplicates import suggestions, tell_apart, told_apart
from hub.erasure import ERASED, erase
from hub.replies import note, reply
from hub.suppression import suppress
from inbox.auditwords import told
from routing import work
from storage.access import Conflict, Forbidden
from storage.conversations import Attachment, Message
from storage.deliveries import Delivery
from storage.facts import FactRow
from storage.people import Contact, Identity
from storage.receipts import Receipt
from storage.search import index_new_messages, parse_query, search
from storage.tables import metadata
from tests.browser.room import Browser, attr, words
from tests.browser.scene import quarantine, rich_mail
from tests.desk import MARA_MAIL, MARA_PHONE, Desk
from tests.test_contact_data import order
from tests.test_permissions import api_of

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


def person(desk: Desk, number: int) -> Contact:
    with desk.hub.store.read() as tx:
        return tx.get_one(Contact, number)


def two(desk: Desk) -> tuple[int, int]:
    """Mara by mail and Mara by text, who each told something of herself."""
    mail = desk.mail("Order", "Where is it?").contact_id or 0
    text = desk.text("Mara here").contact_id or 0
    with desk.hub.store.write() as tx:
        change_details(tx, desk.jonas, mail, Details(company="Northlight", attributes={"tier": "gold", "lamps": 2}))
        change_details(
            tx, desk.jonas, text, Details(name="M. Lindqvist", zone="Europe/Malta", attributes={"tier": "tin"})
        )
    return mail, text


# --- merging ----------------------------------------------------------------------------------------------------------


def test_a_merge_chooses_field_by_field_and_is_taken_back(jonas: Browser, desk: Desk) -> None:
    mail, text = two(desk)
    preview = jonas.page(f"/inbox/c/1/merge/{text}", hx=True)
    assert words(preview, ".choose legend") == ["Name", "Time zone", "Tier"]
    assert words(preview, ".choose label span") == ["Mara Lindqvist", "M. Lindqvist", "gold", "tin"]
    assert "Europe/Malta" in words(preview, ".choose")[0], "which nobody has to choose"
    (name,) = [node.attributes["name"] or "" for node in preview.css("input[value='attributes.tier']")]
    before = (person(desk, mail), person(desk, text))
    done = Page(
        jonas.post("/inbox/c/1/merge", hx=True, person=text, **{name: "attributes.tier", "pick-9": "nonsense"}).text
    )
    merged = person(desk, mail)
    assert (merged.name, merged.company, merged.zone) == ("Mara Lindqvist", "Northlight", "Europe/Malta")
    assert merged.attributes == {"tier": "tin", "lamps": 2}

    with desk.hub.store.write() as tx:  # somebody knows better meanwhile
        change_details(tx, desk.amara, mail, Details(zone="Europe/Stockholm"))
    undo = done.css_first(".toast form")
    assert undo is not None
    jonas.post(undo.attributes["hx-post"] or "", hx=True, merge=attr(undo, "input[name=merge]", "value"))
    after = person(desk, mail)
    assert (after.attributes, after.zone) == (before[0].attributes, "Europe/Stockholm")
    assert person(desk, text).model_dump() == before[1].model_dump()


def test_merge_and_unmerge_restore_the_same_rows(desk: Desk) -> None:
    mail, text = two(desk)
    before = [person(desk, number).model_dump() for number in (mail, text)]
    with desk.hub.store.write() as tx:
        keys = [pair.key for pair in differing(tx.get_one(Contact, mail), tx.get_one(Contact, text))]
        done = merge(tx, desk.jonas, mail, text, keys).id or 0
    assert person(desk, mail).name == "M. Lindqvist"
    with desk.hub.store.write() as tx:
        unmerge(tx, desk.jonas, done)
    assert [person(desk, number).model_dump() for number in (mail, text)] == before


def test_who_might_be_the_same_is_suggested_with_reasons(app: Flask, jonas: Browser, desk: Desk) -> None:
    mara = desk.mail("Order", "Where is my lamp?", sender="Mara Lindqvist <mara.lindqvist@example.com>").contact_id or 0
    other = desk.mail("Order", "And my lamp?", sender="Mara L. <mara.lindqvist+shop@gmail.example>").contact_id or 0
    namesake = desk.mail("Order", "Mine?", sender="Mara Lindqvist <office@northlight.example>").contact_id or 0
    desk.mail("Order", "Lamp", sender="Sales <sales@one.example>")
    sales = desk.mail("Order", "Lamp", sender="Other sales <sales@two.example>").contact_id or 0
    phone = desk.text("My lamp!").contact_id or 0
    with desk.hub.store.write() as tx:
        for number in (mara, namesake):
            change_details(tx, desk.jonas, number, Details(company="Northlight"))
        add_identity(tx, desk.jonas, mara, "whatsapp", MARA_PHONE)
        assert suggestions(tx, desk.jonas, tx.get_one(Contact, sales)) == []
        told = {one.person_id: one.reasons for one in suggestions(tx, desk.jonas, tx.get_one(Contact, mara))}
    assert told == {
        other: ["a similar mail address"],
        namesake: ["the same name and company"],
        phone: ["the same telephone number"],
    }
    desk.route()
    number = desk.conversations()[0].id or 0
    page = jonas.page(f"/inbox/c/{number}/about", hx=True)
    assert sorted(words(page, "#alike small")) == [
        "A similar mail address", "The same name and company", "The same telephone number",
    ]  # fmt: skip
    with desk.hub.store.write() as tx:
        billing = int(tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0])
        work.transfer(tx, desk.ines, number, billing)
    tomas = Browser(app)
    tomas.sign_in("tomas@desk.example")
    assert not tomas.page(f"/inbox/c/{number}/about", hx=True).css("#alike"), "what one may not see is not suggested"


def namesakes(desk: Desk) -> list[int]:
    """Three of one name, from different houses."""
    return [desk.mail("Order", "My lamp?", sender=f"Mara Lindqvist <{address}>").contact_id or 0
            for address in ("ml@one.example", "mara@two.example", "office@three.example")]  # fmt: skip


def suggested(desk: Desk, number: int) -> list[int]:
    with desk.hub.store.read() as tx:
        return sorted(one.person_id for one in suggestions(tx, desk.amara, tx.get_one(Contact, number)))


def test_who_is_not_the_same_person_is_suggested_to_nobody_again(app: Flask, jonas: Browser, desk: Desk) -> None:
    first, second, third = namesakes(desk)
    desk.route()
    at = desk.conversations()[0].id
    version = attr(jonas.page(f"/inbox/c/{at}?view=all"), ".later", "id")
    page = jonas.page(f"/inbox/c/{at}/about", hx=True)
    assert [attr(form, "button", "value") for form in page.css("#alike form")] == [str(second), str(third)]
    path = attr(page, "#alike form", "hx-post")
    done = Page(jonas.post(path, hx=True, other=str(second)).text)
    assert words(done, ".toast > span") == ["Mara Lindqvist is not suggested here any more."]
    assert attr(done, ".later", "id") != version, "open pages fetch it anew"
    assert (suggested(desk, first), suggested(desk, second)) == ([third], [third])
    again = Page(jonas.post(path, hx=True, other=str(second)).text)
    assert not again.css(".toast form"), "from a page of before: nothing to take back"

    back = {str(one.attributes["name"]): one.attributes["value"] for one in done.css(".toast form input")}
    jonas.post(attr(done, ".toast form", "hx-post"), hx=True, other=back["other"], back=back["back"])
    assert suggested(desk, first) == [second, third]
    assert jonas.post(path, hx=True, other=str(first)).status_code == 409, "they are themselves"
    with desk.hub.store.write() as tx:
        entries = [told(row.name, row.data, {}, {}) for row in audit(tx, desk.ines, AuditFilter(topic="data"))]
        billing = int(tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0])
        work.transfer(tx, desk.ines, desk.conversations()[1].id or 0, billing)
    assert entries == [
        f"took back that contacts {first} and {second} are not the same person",
        f"said that contacts {first} and {second} are not the same person",
    ]
    assert jonas.post(path, hx=True, other=str(second)).status_code == 404, "whom one does not see"


def test_who_was_told_apart_stays_so_through_merges_and_goes_with_an_erasure(desk: Desk) -> None:
    first, second, third = namesakes(desk)
    with desk.hub.store.write() as tx:
        for __ in range(2):
            tell_apart(tx, desk.jonas, second, first)
        done = merge(tx, desk.jonas, third, first).id or 0
    assert (suggested(desk, third), suggested(desk, second)) == ([], []), "also of who they are one with"
    with desk.hub.store.write() as tx:
        unmerge(tx, desk.jonas, done)
    assert (suggested(desk, third), suggested(desk, second)) == ([first, second], [third])
    with desk.hub.store.write() as tx:
        token = create_token(tx, name="shop")
    with api_of(desk) as app:
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        assert client.post(f"/api/v1/contacts/{third}/apart", json={"other_id": first}).json == {"contacts": [first]}
        assert client.get(f"/api/v1/contacts/{first}/apart").json == {"contacts": [second, third]}
        assert client.delete(f"/api/v1/contacts/{first}/apart/{third}").json == {"contacts": [second]}
    erase(desk.hub, desk.ines, first)
    with desk.hub.store.write() as tx:
        with pytest.raises(Conflict, match="erased"):
            tell_apart(tx, desk.ines, second, first)
        assert tx.sql("SELECT count(*) FROM contact_apart").fetchone()[0] == 0


def test_whoever_is_one_with_those_once_told_apart_is_not_apart_from_himself(desk: Desk) -> None:
    first, second, third = namesakes(desk)
    with desk.hub.store.write() as tx:
        assert [tell_apart(tx, desk.jonas, second, other) for other in (first, third, first)] == [True, True, False]
        merge(tx, desk.jonas, first, second)
        assert told_apart(tx, desk.jonas, first) == [third]


def test_namesakes_who_are_others_leave_room_for_those_who_might_not_be(desk: Desk, monkeypatch: Any) -> None:
    monkeypatch.setattr(duplicates, "ALIKE", 1)
    first, second, third = namesakes(desk)
    with desk.hub.store.write() as tx:
        tell_apart(tx, desk.jonas, first, second)
    assert suggested(desk, first) == [third]


# --- blocking ---------------------------------------------------------------------------------------------------------


def test_what_a_blocked_person_writes_is_kept_and_makes_no_work(jonas: Browser, desk: Desk) -> None:
    number = desk.text("Where is my lamp?").conversation_id or 0
    jonas.page(f"/inbox/c/{number}")
    done = jonas.post(f"/inbox/c/{number}/block", hx=True, on="1")
    assert "makes no work" in words(Page(done.text), ".warned")[0]
    jonas.post(f"/inbox/c/{number}/resolve", hx=True)
    desk.text("You thieves")
    assert [(row.state, row.waiting_since) for row in desk.conversations()] == [("resolved", None)]
    desk.clock.forward(days=2)
    desk.text("Thieves!")
    assert [(row.state, row.queue_id) for row in desk.conversations()][1] == ("resolved", None)
    assert desk.route() == 0
    (last,) = desk.messages(desk.conversations()[1].id or 0)
    assert (last.text, last.automatic) == ("Thieves!", "blocked")
    assert "They are blocked: it counts for nothing." in words(jonas.page(f"/inbox/c/{number}"), ".remark")
    with desk.hub.store.read() as tx:
        assert [row.data["on"] for row in tx.exec(select(FactRow).where(FactRow.name == "ContactBlocked"))] == [True]

    undo = Page(done.text).css_first(".toast form")
    assert undo is not None and attr(undo, "input[name=on]", "value") == ""
    jonas.post(undo.attributes["hx-post"] or "", hx=True, on="")
    desk.text("I am sorry")
    assert desk.conversations()[-1].state == "open"


def test_a_blocked_person_is_not_merged_into_one_who_is_not(desk: Desk) -> None:
    mail, text = two(desk)
    with desk.hub.store.write() as tx:
        block(tx, desk.jonas, text, True)
        with pytest.raises(Conflict, match="is blocked"):
            merge(tx, desk.jonas, mail, text)
        block(tx, desk.jonas, mail, True)
        merge(tx, desk.jonas, mail, text)


# --- taking out and erasing -------------------------------------------------------------------------------------------

SECRET = "brass pendant"


def matter(desk: Desk) -> int:
    """A mail with files, an answer with a note, an answer that waits, a text, a note, an order, an unreadable twin."""
    mail = b"Date: Tue, 24 Nov 2026 09:00:00 +0000\r\n" + rich_mail(f"My {SECRET}")
    taken = desk.raw_mail(mail)
    number = taken.conversation_id or 0
    assert desk.raw_mail(b"Received: by another way\r\n" + mail).state == "duplicate"
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, number, text=f"Your {SECRET} is on its way", tokens=desk.hub.tokens, undo_seconds=600)
        note(tx, desk.jonas, number, f"She wants the {SECRET}")
        contactlog.add_note(tx, desk.jonas, taken.contact_id or 0, f"Likes the {SECRET}")
        contactlog.note_event(tx, desk.jonas, taken.contact_id or 0, order())
        change_details(tx, desk.jonas, taken.contact_id or 0, Details(company=SECRET, attributes={"likes": SECRET}))
        contactlog.record_consent(
            tx, desk.jonas, taken.contact_id or 0, purpose="marketing", given=True, source=SECRET, identity_id=1
        )
        suppress(tx, "email", MARA_MAIL, reason="stop", source=SECRET)
        quarantine(tx, f"From: {MARA_MAIL}\r\n\r\n{SECRET}".encode(), SECRET)
    text = desk.text(f"The {SECRET}!").contact_id or 0
    with desk.hub.store.write() as tx:
        merge(tx, desk.jonas, taken.contact_id or 0, text)
    index_new_messages(desk.hub.store)
    return number


def dumped(desk: Desk) -> str:
    """Every value of every row of every table, as text."""
    found = []
    with desk.hub.store.read() as tx:
        for table in metadata.sorted_tables:
            for row in tx.sql(f'SELECT * FROM "{table.name}"').fetchall():
                found += [
                    bytes(each).decode("latin-1") if isinstance(each, bytes | memoryview) else str(each) for each in row
                ]
        if tx.dialect == "sqlite":
            found += [
                bytes(row[0]).decode("latin-1") for row in tx.sql("SELECT block FROM message_search_data").fetchall()
            ]
    return "\n".join(found)


def old(desk: Desk) -> None:
    """The files were stored a while ago."""
    for path in desk.hub.blobs.folder.glob("??/*"):
        os.utime(path, (0, 0))


def test_erasing_leaves_nothing_of_what_was_written(desk: Desk) -> None:
    number = matter(desk)
    kept = desk.text("Somebody else's lamp", sender="+46701740699")
    old(desk)
    assert SECRET in dumped(desk) and any(desk.hub.blobs.folder.glob("??/*"))
    with desk.hub.store.read() as tx:
        assert len(search(tx, desk.ines, parse_query("pendant"))) == 2

    done = erase(desk.hub, desk.ines, 1)
    assert (done.conversations, done.messages) == (2, 4)
    left = dumped(desk)
    for word in (SECRET, "pendant", "packing-slip", "48213", MARA_PHONE, "46701740605", "Lindqvist"):
        assert word not in left, word
    assert left.count(MARA_MAIL) == 1, "of the STOP, so that nobody writes there again"
    assert [path.name for path in desk.hub.blobs.folder.glob("??/*")] == []
    with desk.hub.store.read() as tx:
        assert search(tx, desk.ines, parse_query("pendant")) == []
        assert tx.get_one(Contact, 1).name == ERASED
        assert not tx.exec(select(Identity).where(Identity.contact_id == 1)).all()
        assert not tx.exec(select(Attachment)).all()
        (fact,) = tx.exec(select(FactRow).where(FactRow.name == "ContactErased"))
        assert fact.data | {"files": 0} == {
            "contact_id": 1, "conversations": 2, "messages": 4, "files": 0, "by": f"agent:{desk.ines.agent_id}",
        }  # fmt: skip
        assert {row.state for row in tx.exec(select(Receipt))} == {"accepted", "duplicate", "ignored"}
        assert [row.state for row in tx.exec(select(Delivery).where(Delivery.sender == "channel"))] == ["cancelled"]
        assert tx.get_one(Message, kept.message_id).text == "Somebody else's lamp"
    assert {row.state for row in desk.conversations() if row.id in (number, number + 1)} == {"resolved"}
    index_new_messages(desk.hub.store)
    with pytest.raises(Conflict, match="erased already"):
        erase(desk.hub, desk.ines, 1)


def test_who_writes_after_being_erased_is_somebody_new(jonas: Browser, desk: Desk) -> None:
    number = matter(desk)
    erase(desk.hub, desk.ines, 1)
    page = jonas.page(f"/inbox/c/{number}")
    assert "Nothing is known of them" in words(page, ".warned")[0]
    assert "What was written here was erased." in words(page, ".remark")
    again = desk.text("Hello again")
    assert again.contact_id not in (None, 1, 2) and again.conversation_id not in (number, number + 1)
    with desk.hub.store.write() as tx, pytest.raises(Conflict, match="erased can't be merged"):
        merge(tx, desk.ines, again.contact_id or 0, 1)


def test_what_a_guest_wrote_in_somebody_else_s_conversation_goes_too(desk: Desk) -> None:
    taken = desk.mail("Order", "Where is it?")
    with desk.hub.store.write() as tx:
        sent = reply(tx, desk.jonas, taken.conversation_id or 0, text="Soon", tokens=desk.hub.tokens, undo_seconds=0)
    guest = desk.mail("Re: Order", f"I am her {SECRET}", sender="Eve <eve@friends.example>", answers=sent.external_id)
    assert guest.conversation_id == taken.conversation_id
    erase(desk.hub, desk.ines, guest.contact_id or 0)
    texts = [message.text for message in desk.messages(taken.conversation_id or 0)]
    assert texts == ["Where is it?\n", "Soon", ""]
    assert "eve@friends.example" not in dumped(desk)


def test_erasing_waits_for_what_is_leaving(desk: Desk) -> None:
    number = desk.text("Lamp?").conversation_id or 0
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, number, text="Soon", tokens=desk.hub.tokens, undo_seconds=0)
        tx.sql("UPDATE delivery SET state = 'sending'")
    with pytest.raises(Conflict, match="leaving at this moment"):
        erase(desk.hub, desk.ines, 1)
    assert desk.messages(number)[0].text == "Lamp?"


def test_ines_erases_with_a_word_and_jonas_may_not(ines: Browser, jonas: Browser, desk: Desk) -> None:
    number = matter(desk)
    page = ines.page(f"/inbox/c/{number}/erase", hx=True)
    assert "2 conversations with 4 messages" in words(page, ".allows li")[0]
    kept = ines.post(f"/inbox/c/{number}/erase", hx=True, sure="ok")
    assert kept.status_code == 422 and "Type the word erase" in words(Page(kept.text), "#wrong-sure")[0]
    assert desk.messages(number)[0].text
    assert jonas.get(f"/inbox/c/{number}/erase").status_code == 403
    assert jonas.post(f"/inbox/c/{number}/erase", sure="erase").status_code == 403
    assert not jonas.page(f"/inbox/c/{number}").css("#context a[href$='/erase'], #context a[href$='/export']")
    ines.page(f"/inbox/c/{number}")
    done = ines.post(f"/inbox/c/{number}/erase", hx=True, sure=" Erase ")
    assert "Erased, with 4 messages." in words(Page(done.text), ".toast")[0]
    assert desk.messages(number)[0].text == ""
    log = words(ines.page("/inbox/people/audit?topic=data"), ".audit .what")
    assert log[0] == "Erased contact 1: 2 conversations"


def test_a_page_that_is_open_forgets_whom_it_wrote_to(jonas: Browser, desk: Desk) -> None:
    number = desk.mail("Lamp", "Where is it?").conversation_id
    page = jonas.page(f"/inbox/c/{number}")
    later = attr(page, "#context .later", "id")
    assert MARA_MAIL in words(page, "#choice")[0]
    assert not Page(jonas.get("/inbox/live?open=1", hx=True, **{"X-Addressed": "1"}).text).css("#composer")
    erase(desk.hub, desk.ines, 1)
    live = Page(jonas.get("/inbox/live?open=1", hx=True, **{"X-Addressed": "1"}).text)
    assert words(live, "#composer .guard") == ["There is no channel on which this person could be answered."]
    assert attr(live, ".later", "id") != later
    assert MARA_MAIL not in (live.html or "")
    assert not Page(jonas.get("/inbox/live?open=1", hx=True).text).css("#composer"), "what is typed since stays"


def test_everything_about_mara_is_one_file(ines: Browser, desk: Desk) -> None:
    number = matter(desk)
    answer = ines.get(f"/inbox/c/{number}/export")
    assert answer.headers["Content-Disposition"] == "attachment; filename=contact-1.zip"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        names = archive.namelist()
        told: dict[str, Any] = json.loads(archive.read("person.json"))
        raw = [archive.read(name) for name in names if name.startswith("raw/")]
    assert told["contact"]["attributes"] == {"likes": SECRET}
    assert {one["value"] for one in told["identities"]} == {MARA_MAIL, MARA_PHONE}
    assert [one["text"] for one in told["notes"]] == [f"Likes the {SECRET}"]
    assert [one["external_id"] for one in told["events"]] == ["48213"]
    assert [one["source"] for one in told["consents"]] == [SECRET]
    assert told["may_not_be_written_to"][0]["why"] == "sent STOP"
    assert len(told["conversations"]) == 2 and len(told["messages"]) == 4
    files = [name for message in told["messages"] for name in message["files"]]
    assert sorted(Path(name).name.partition("-")[2] for name in files) == ["packing-slip.pdf", "parcel-side.png"]
    assert set(files) <= set(names)
    assert any(b"packing-slip" in each for each in raw) and any(b"The+brass+pendant" in each for each in raw)
    assert {"ContactsMerged", "ConsentRecorded", "ContactExported"} <= {each["what"] for each in told["history"]}
    assert words(ines.page("/inbox/people/audit?topic=data"), ".audit .what")[0] == (
        "Downloaded everything about contact 1 as a file"
    )


def test_the_same_by_the_api(desk: Desk) -> None:
    matter(desk)
    with desk.hub.store.write() as tx:
        admin, agent = (create_token(tx, name=role, role=role) for role in ("admin", "agent"))
    with api_of(desk) as app:
        client = app.test_client()
        for method, path in (("get", "export"), ("post", "erase")):
            refused = client.open(
                f"/api/v1/contacts/1/{path}", method=method, headers={"Authorization": f"Bearer {agent}"}
            )
            assert refused.status_code == 403
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {admin}"
        assert client.post("/api/v1/contacts/1/block").json == {"blocked": True}
        assert client.post("/api/v1/contacts/1/unblock").json == {"blocked": False}
        exported = client.get("/api/v1/contacts/1/export")
        assert exported.mimetype == "application/zip" and zipfile.is_zipfile(io.BytesIO(exported.data))
        assert client.post("/api/v1/contacts/1/erase").json == {"conversations": 2, "messages": 4, "files": 4}
    with pytest.raises(Forbidden):
        erase(desk.hub, desk.jonas, 3)
