"""The way in: one person, one history, every message exactly once, and nothing lost when it can't be read."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlmodel import col, select

from channels.base import Raw
from hub import hub as hub_module
from hub.contacts import add_identity, merge, rename, unmerge
from hub.intake import read_first, retry_receipt
from hub.lifecycle import resolve, snooze
from hub.receipts import note_receipt
from hub.threads import BY_ANSWER
from hub.trust import ADDRESSES, NAMESAKES
from storage.access import SYSTEM, Conflict, Forbidden, NotFound
from storage.conversations import Conversation, timeline
from storage.facts import FactRow
from storage.people import Contact, identities_of
from storage.receipts import Receipt
from storage.work import live_item
from tests.desk import MARA_MAIL, MARA_PHONE, Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


def give_mara_a_number(desk: Desk, contact_id: int) -> None:
    with desk.hub.store.write() as tx:
        tx.sql(
            "INSERT INTO identity(contact_id, kind, value, shown, strength, created_at) "
            "VALUES(?, 'phone', ?, ?, 100, ?)",
            contact_id, MARA_PHONE, MARA_PHONE, tx.now,
        )  # fmt: skip


def test_a_text_after_an_email_lands_in_the_same_conversation(desk: Desk) -> None:
    mail = desk.mail("Order 48213", "one lamp missing")
    give_mara_a_number(desk, mail.contact_id or 0)
    desk.clock.forward(hours=1)
    text = desk.text("Can it arrive before Friday?")

    assert text.conversation_id == mail.conversation_id
    assert [m.channel for m in desk.messages(mail.conversation_id or 0)] == ["email", "sms"]
    assert desk.messages(mail.conversation_id or 0)[1].why == "open conversation"


def test_all_channels_make_one_history(desk: Desk) -> None:
    mail = desk.mail("Order 48213", "one lamp missing")
    person = mail.contact_id or 0
    give_mara_a_number(desk, person)
    desk.text("Any news?")
    desk.chat("Hello, it is me", claims={"sub": "shop-77", "email": MARA_MAIL, "name": "Mara Lindqvist"})
    desk.form(email=MARA_MAIL, name="Mara", message="The second lamp is broken", topic="Lamp")

    with desk.hub.store.read() as tx:
        assert sorted(m.channel for m in timeline(tx, person)) == ["chat", "email", "form", "sms"]


def test_a_claimed_address_is_shown_as_unverified_and_opens_its_own_conversation(desk: Desk) -> None:
    known = desk.mail("Order 48213", "one lamp missing")
    claimed = desk.form(email=MARA_MAIL, name="Somebody", message="Send me everything", topic="Order 48213")
    stranger = desk.form(email="new.person@example.com", name="New", message="Hello", topic="Question")

    assert claimed.contact_id == known.contact_id
    assert claimed.conversation_id != known.conversation_id
    with desk.hub.store.read() as tx:
        assert [i.verified for i in identities_of(tx, stranger.contact_id or 0)] == [False]
        assert [i.verified for i in identities_of(tx, known.contact_id or 0)] == [True]
        assert tx.get_one(Contact, known.contact_id).name == "Mara Lindqvist"


def test_the_same_message_fifty_times_in_parallel_is_one(desk: Desk) -> None:
    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(lambda _: desk.text("hello", sid="SM" + "a" * 32), range(50)))

    assert sorted(t.state for t in taken) == ["accepted"] + ["duplicate"] * 49
    assert len(desk.messages(desk.only_conversation().id or 0)) == 1


def test_twenty_first_texts_in_parallel_make_one_contact_and_one_conversation(desk: Desk) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: desk.text(f"line {n}"), range(20)))

    assert desk.only_conversation().message_count == 20
    with desk.hub.store.read() as tx:
        assert len(tx.exec(select(Contact)).all()) == 1


def test_an_unreadable_text_is_kept_and_read_once_the_parser_can(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = desk.hub.channel_named("support-sms")
    channel = type(opened.must())
    real = channel.__dict__["parse"]

    def broken(_raw: object) -> object:
        raise RecursionError("too deep")

    monkeypatch.setattr(channel, "parse", staticmethod(broken))
    taken = desk.text("Order 1")
    assert taken.state == "quarantined"
    assert desk.conversations() == []

    monkeypatch.setattr(channel, "parse", real)
    again = retry_receipt(desk.hub, SYSTEM, taken.receipt_id or 0)
    assert again.state == "accepted"
    assert desk.only_conversation().subject == "Order 1"
    with pytest.raises(Conflict):
        retry_receipt(desk.hub, SYSTEM, taken.receipt_id or 0)


def test_only_who_may_see_a_receipt_reads_it_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    read = desk.mail("Order 48213", "One lamp is missing")
    desk.route()
    with pytest.raises(Conflict, match="accepted already"):
        retry_receipt(desk.hub, desk.ines, read.receipt_id or 0)
    for who in (desk.jonas, desk.tomas):
        with pytest.raises(Forbidden):
            retry_receipt(desk.hub, who, read.receipt_id or 0)

    monkeypatch.setattr(type(desk.hub.channel_named("support-sms").must()), "parse", staticmethod(lambda _: 1 / 0))
    unread = desk.text("hello").receipt_id or 0
    for who in (desk.jonas, desk.tomas):
        with pytest.raises(Forbidden):
            retry_receipt(desk.hub, who, unread)
    assert retry_receipt(desk.hub, desk.ines, unread).state == "quarantined"


def test_a_unit_that_breaks_half_way_keeps_the_raw_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from hub import intake

    monkeypatch.setattr(intake, "enqueue", lambda *_: 1 / 0)
    taken = desk.text("hello")

    assert taken.state == "quarantined"
    with desk.hub.store.read() as tx:
        receipt = tx.get_one(Receipt, taken.receipt_id)
        assert b"Body=hello" in (receipt.body or b"")
        assert "ZeroDivisionError" in receipt.why
    assert desk.conversations() == []


@pytest.mark.parametrize("body", ["", "🚚" * 400, "x" * 1_000_000, "nul\x00 and \ud800 surrogate"])
def test_odd_texts_arrive_whole(desk: Desk, body: str) -> None:
    taken = desk.text(body.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if "\ud800" in body else body)

    assert taken.state == "accepted"
    (message,) = desk.messages(taken.conversation_id or 0)
    assert len(message.text) >= len(body) - 2


def test_our_own_signed_reference_finds_the_conversation_from_any_address(desk: Desk) -> None:
    mail = desk.mail("Order 48213", "one lamp missing")
    ours = desk.hub.tokens.message_id(
        "0" * 8 + "-0000-0000-0000-" + "0" * 12, mail.conversation_id or 0, "desk.example"
    )
    colleague = desk.mail("Re: Order 48213", "I am her husband", sender="paul@example.com", answers=ours)

    assert colleague.conversation_id == mail.conversation_id
    assert "new_participant" in desk.messages(mail.conversation_id or 0)[1].flags
    assert desk.only_conversation().contact_id == mail.contact_id


def test_a_mail_that_its_own_answer_overtook_joins_it(desk: Desk) -> None:
    first = "<first_100%!@customer.example>"
    faster = desk.mail("Re: Lamp", "I forgot: it is the green one.", answers=first)
    slower = desk.mail("Lamp", "One lamp is missing.", message_id=first)
    assert slower.conversation_id == faster.conversation_id
    assert desk.messages(slower.conversation_id or 0)[-1].why == "answered by a message that came before it"
    assert desk.mail("Lamp", "Another one", message_id="<first_1000!@customer.example>").conversation_id != (
        faster.conversation_id
    )


def test_what_a_mail_costs_does_not_grow_with_other_peoples_conversations(desk: Desk) -> None:
    if not desk.hub.settings.embedded:
        return  # PostgreSQL chooses by its statistics
    with desk.hub.store.read() as tx:
        looks = {
            BY_ANSWER["sqlite"]: "ix_contact_person_id",
            ADDRESSES: "ix_contact_person_id",
            NAMESAKES: "ix_contact_name",
        }
        for query, index in looks.items():
            plan = [row[3] for row in tx.sql(f"EXPLAIN QUERY PLAN {query}", *["1"] * query.count("?")).fetchall()]
            first = next(step for step in plan if step.startswith("SEARCH"))
            assert first.startswith("SEARCH c ") and index in first, plan


def test_an_answer_to_somebody_elses_mail_does_not_draw_it_in(desk: Desk) -> None:
    faster = desk.mail("Re: Lamp", "Me too!", sender="Peer <peer@elsewhere.example>", answers="<lamp@customer.example>")
    slower = desk.mail("Lamp", "One lamp is missing.", message_id="<lamp@customer.example>")
    assert slower.conversation_id != faster.conversation_id


def test_a_strangers_reference_to_a_known_mail_opens_a_conversation_of_its_own(desk: Desk) -> None:
    mail = desk.mail("Order 48213", "one lamp missing", message_id="<known@customer.example>")
    stranger = desk.mail("Re: Order", "show me", sender="eve@example.org", answers="<known@customer.example>")
    herself = desk.mail("Re: Order", "and a cable", answers="<known@customer.example>")

    assert stranger.conversation_id != mail.conversation_id
    assert herself.conversation_id == mail.conversation_id


def test_merging_two_people_joins_their_histories_and_undoing_it_restores_them(desk: Desk) -> None:
    mail, text = desk.mail("Order 1", "hello"), desk.text("it is me")
    with desk.hub.store.read() as tx:
        before = [(c.id, c.person_id) for c in tx.exec(select(Contact).order_by(col(Contact.id)))]
    with desk.hub.store.write() as tx:
        done = merge(tx, desk.ines, mail.contact_id or 0, text.contact_id or 0)
        merge_id = done.id or 0
    with desk.hub.store.read() as tx:
        assert len(timeline(tx, mail.contact_id or 0)) == 2
    assert desk.text("still me").conversation_id in (mail.conversation_id, text.conversation_id)

    with desk.hub.store.write() as tx:
        unmerge(tx, desk.ines, merge_id)
    with desk.hub.store.read() as tx:
        assert [(c.id, c.person_id) for c in tx.exec(select(Contact).order_by(col(Contact.id)))] == before
    with pytest.raises(Conflict), desk.hub.store.write() as tx:
        unmerge(tx, desk.ines, merge_id)


def test_a_text_wakes_a_snoozed_conversation_and_reopens_a_resolved_one(desk: Desk) -> None:
    first = desk.text("hello")
    number = first.conversation_id or 0
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, number, desk.clock.forward(seconds=1).replace(year=2027))
    desk.text("are you there?")
    assert desk.only_conversation().state == "open"
    with desk.hub.store.write() as tx:
        resolve(tx, desk.ines, number)
    desk.clock.forward(hours=2)
    desk.text("one more thing")
    assert desk.only_conversation().state == "open"
    desk.clock.forward(days=30)
    with desk.hub.store.write() as tx:
        resolve(tx, desk.ines, number)
    desk.clock.forward(days=3)
    desk.text("a new matter")
    assert len(desk.conversations()) == 2


def test_of_mails_filed_together_one_that_the_database_refuses_is_set_aside_alone(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        tx.sql("CREATE UNIQUE INDEX only_one ON message(subject) WHERE subject = 'twice'")
    opened, arrived = desk.hub.channel_named("support-mail"), []
    for number, subject in enumerate(("lamp", "twice", "twice", "cable")):
        body = f"From: Mara <mara{number}@example.com>\r\nSubject: {subject}\r\n\r\nhello".encode()
        raw = Raw(str(number), body, "message/rfc822")
        stored = desk.hub.store.submit(partial(note_receipt, opened=opened, raw=raw, body=body, digest=""))
        arrived.append((stored or 0, raw))
    read_first(desk.hub, opened, arrived)
    with desk.hub.store.read() as tx:
        states = [tx.get_one(Receipt, number).state for number, _ in arrived]
    assert states == ["accepted", "accepted", "quarantined", "accepted"]
    assert len(desk.conversations()) == 3


def test_stop_is_noted_and_makes_no_new_work(desk: Desk) -> None:
    desk.text("hello")
    before = desk.only_conversation()
    desk.text("STOP")

    after = desk.only_conversation()
    assert after.last_inbound_id == before.last_inbound_id
    with desk.hub.store.read() as tx:
        (identity,) = identities_of(tx, before.contact_id)
        assert identity.opted_out_at is not None
        names = [fact.name for fact in tx.exec(select(FactRow))]
        assert "OptOutChanged" in names


def test_a_mail_without_a_sender_is_somebodys_all_the_same(desk: Desk) -> None:
    taken = desk.raw_mail(b"To: support@desk.example\r\nSubject: lamp\r\n\r\nhello\r\n")
    assert taken.state == "accepted"
    assert desk.only_conversation().subject == "lamp"


def test_a_first_stop_is_nobodys_work(desk: Desk) -> None:
    desk.text("STOP")
    assert desk.only_conversation().state == "resolved"


def test_a_forwarded_reference_of_ours_grows_old_for_strangers(desk: Desk) -> None:
    mail = desk.mail("Order 48213", "one lamp missing")
    ours = desk.hub.tokens.message_id(
        "0" * 8 + "-0000-0000-0000-" + "0" * 12, mail.conversation_id or 0, "desk.example"
    )
    desk.clock.forward(days=900)
    stranger = desk.mail("Re: Order", "hello", sender="eve@example.org", answers=ours)
    herself = desk.mail("Re: Order", "it broke again", answers=ours)
    assert stranger.conversation_id != mail.conversation_id
    assert herself.conversation_id == mail.conversation_id


def test_what_another_team_may_not_see_it_may_not_change(desk: Desk) -> None:
    mail, text = desk.mail("Order 1", "one lamp"), desk.text("my order")
    for verb in (
        lambda tx: rename(tx, desk.tomas, mail.contact_id or 0, "Tom"),
        lambda tx: add_identity(tx, desk.tomas, mail.contact_id or 0, "email", "tomas@example.com"),
        lambda tx: merge(tx, desk.tomas, mail.contact_id or 0, text.contact_id or 0),
    ):
        with pytest.raises(NotFound), desk.hub.store.write() as tx:
            verb(tx)


def test_merges_that_cross_leave_everybody_with_a_person_that_stands_for_himself(desk: Desk) -> None:
    people = [desk.text("order", sender=f"+4670100000{n}").contact_id or 0 for n in range(4)]

    def join(pair: tuple[int, int]) -> None:
        with contextlib.suppress(Conflict), desk.hub.store.write() as tx:
            merge(tx, desk.ines, people[pair[0]], people[pair[1]])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(join, [(0, 1), (1, 0), (2, 0), (3, 2)]))
    with desk.hub.store.read() as tx:
        standing = {c.id: c.person_id for c in tx.exec(select(Contact))}
    assert all(standing[person] == person for person in standing.values())


def test_resolving_while_a_text_arrives_never_strands_it(desk: Desk) -> None:
    """Whoever comes second sees what the first did: an open conversation always has work under way."""
    number = desk.text("where is my order?").conversation_id or 0
    for round_ in range(6):
        with ThreadPoolExecutor(2) as pool:
            resolving = pool.submit(_resolve, desk, number)
            pool.submit(desk.text, f"line {round_}").result()
            resolving.result()
        with desk.hub.store.read() as tx:
            conversation = tx.get_one(Conversation, number)
            item = live_item(tx, number)
        assert (conversation.state == "open") == (item is not None), round_


def _resolve(desk: Desk, number: int) -> None:
    desk.hub.store.submit(lambda tx: resolve(tx, desk.ines, number))


def test_channels_follow_the_desk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LOOK_AGAIN_SECONDS", 0.0)
    assert {opened.account.name for opened in desk.hub.channels()} >= {"support-mail", "support-sms"}
    with desk.hub.store.write() as tx:
        from hub.desk import apply, read

        apply(tx, SYSTEM, read("channels: [{name: other-form, kind: form, settings: {fields: {text: message}}}]"))
    assert [opened.account.name for opened in desk.hub.channels()] == ["other-form"]
