"""Mara's conversations divided and merged: what answers a message finds it where it is, and all of it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import col, select

from hub import bulk, drafts, moves, views
from hub.contacts import merge as merge_people
from hub.lifecycle import reopen, resolve, snooze
from hub.participants import add_participant
from hub.replies import note, reply
from hub.tags import tag, untag
from routing.work import assign, claim
from storage import Tx
from storage.access import Conflict, NotFound
from storage.conversations import Conversation, Draft, Message
from storage.desk import touch_desk
from storage.facts import FactRow
from storage.participants import by_hand
from storage.tags import tags_of
from tests.browser.room import Browser, attr, words
from tests.browser.scene import available
from tests.desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


def conversation(desk: Desk, number: int) -> Conversation:
    with desk.hub.store.read() as tx:
        return tx.get_one(Conversation, number)


def answer(desk: Desk, number: int, text: str = "On its way") -> Message:
    with desk.hub.store.write() as tx:
        return reply(tx, desk.jonas, number, text=text, tokens=desk.hub.tokens, undo_seconds=0)


def two_matters(desk: Desk) -> tuple[int, Message, Message]:
    """A lamp and its answer, then an invoice and its answer, all in one mail thread that Jonas has."""
    available(desk, desk.jonas)
    number = desk.mail("Order", "Where is my lamp?").conversation_id or 0
    with desk.hub.store.write() as tx:
        claim(tx, desk.jonas, number)
    first = answer(desk, number)
    desk.clock.forward(minutes=5)
    asked = desk.mail("Re: Order", "And the invoice?", answers=first.external_id)
    assert asked.conversation_id == number
    second = answer(desk, number, "Attached")
    desk.clock.forward(minutes=5)
    return number, first, second


def split_at(desk: Desk, number: int, message: Message, before: int = 1) -> int:
    """From the customer's message before an answer on."""
    with desk.hub.store.write() as tx:
        return moves.split(tx, desk.jonas, number, (message.id or 0) - before).to_id


def test_what_comes_after_a_message_is_a_conversation_of_its_own(desk: Desk) -> None:
    number, _, second = two_matters(desk)
    fresh = split_at(desk, number, second)
    assert [each.text for each in desk.messages(number)] == ["Where is my lamp?\n", "On its way"]
    assert [each.text for each in desk.messages(fresh)] == ["And the invoice?\n", "Attached"]
    old, new = conversation(desk, number), conversation(desk, fresh)
    assert (old.message_count, new.message_count, old.preview, new.preview) == (2, 2, "On its way", "Attached")
    assert (new.subject, new.contact_id, new.state, new.assignee_id) == (
        "Re: Order", old.contact_id, "open", desk.jonas.agent_id,
    )  # fmt: skip
    assert old.assignee_id == desk.jonas.agent_id and new.last_inbound_id == desk.messages(fresh)[0].id


def test_an_answer_to_a_message_that_moved_lands_where_it_is_now(desk: Desk) -> None:
    number, first, second = two_matters(desk)
    fresh = split_at(desk, number, second)
    later = answer(desk, fresh, "Anything else?")
    for answered, where in ((second, fresh), (first, number), (later, fresh)):
        assert desk.mail("Re: Order", "Thanks", answers=answered.external_id).conversation_id == where
    assert desk.mail(f"Re: [#{number}] Order", "By number").conversation_id == number


def test_splitting_is_taken_back_with_what_came_since(desk: Desk) -> None:
    number, _, second = two_matters(desk)
    before = conversation(desk, number)
    fresh = split_at(desk, number, second)
    with desk.hub.store.write() as tx:
        moves.undo(tx, desk.jonas, 1)
    after = conversation(desk, number)
    assert [each.text for each in desk.messages(number)][2:] == ["And the invoice?\n", "Attached"]
    assert after.model_dump(exclude={"divided", "due_at"}) == before.model_dump(exclude={"divided", "due_at"})
    assert (conversation(desk, fresh).merged_into_id, conversation(desk, fresh).state) == (number, "resolved")
    assert desk.mail("Re: Order", "Thanks", answers=second.external_id).conversation_id == number
    with desk.hub.store.write() as tx, pytest.raises(Conflict, match="taken back already"):
        moves.undo(tx, desk.jonas, 1)


def test_the_first_message_and_one_from_elsewhere_are_no_place_to_split(desk: Desk) -> None:
    number, first, _ = two_matters(desk)
    other = desk.text("Hello", sender="+46701740699")
    with desk.hub.store.write() as tx:
        with pytest.raises(Conflict, match="nothing to part it from"):
            moves.split(tx, desk.jonas, number, (first.id or 0) - 1)
        for missing in (other.message_id or 0, 99_999):
            with pytest.raises(NotFound):
                moves.split(tx, desk.jonas, number, missing)


def test_a_guest_s_matter_becomes_theirs(desk: Desk) -> None:
    number = desk.mail("Order", "Where is my lamp?").conversation_id or 0
    sent = answer(desk, number)
    guest = desk.mail("Re: Order", "Mine, too", sender="Eve <eve@friends.example>", answers=sent.external_id)
    with desk.hub.store.write() as tx:
        move = moves.split(tx, desk.jonas, number, guest.message_id or 0)
    assert conversation(desk, move.to_id).contact_id == guest.contact_id
    assert conversation(desk, move.to_id).waiting_since is not None and conversation(desk, number).waiting_since is None


def pair(desk: Desk) -> tuple[int, int]:
    """Mara's text that Jonas has, and a mail of hers that waits."""
    available(desk, desk.jonas)
    mine = desk.text("Where is my lamp?")
    with desk.hub.store.write() as tx:
        claim(tx, desk.jonas, mine.conversation_id or 0)
    desk.clock.forward(minutes=5)
    other = desk.mail("Invoice", "It is wrong")
    with desk.hub.store.write() as tx:
        merge_people(tx, desk.jonas, mine.contact_id or 0, other.contact_id or 0)
    return mine.conversation_id or 0, other.conversation_id or 0


def test_two_become_one_and_answers_to_both_land_in_it(desk: Desk) -> None:
    mine, other = pair(desk)
    sent = answer(desk, mine, "Soon")
    with desk.hub.store.write() as tx:
        tag(tx, desk.jonas, other, "invoice")
        for number, text in ((mine, "Half a"), (other, "sentence")):
            tx.add(Draft(agent_id=desk.amara.agent_id or 0, conversation_id=number, kind="reply", text=text,
                         saved_at=tx.now))  # fmt: skip
        moves.merge(tx, desk.jonas, mine, other)
        assert tags_of(tx, [mine]) == {mine: ["invoice"]}
        draft = tx.exec(select(Draft).where(Draft.conversation_id == mine)).one()
        assert (draft.agent_id, draft.text) == (desk.amara.agent_id, "Half a\n\nsentence")
    assert [each.text for each in desk.messages(mine)] == ["Where is my lamp?", "It is wrong\n", "Soon"]
    shell = conversation(desk, other)
    assert (shell.state, shell.message_count, shell.merged_into_id, shell.assignee_id) == ("resolved", 0, mine, None)
    assert conversation(desk, mine).message_count == 3
    assert desk.mail(f"Re: [#{other}] Invoice", "Well?").conversation_id == mine
    assert desk.text("Hello?").conversation_id == mine
    assert sent.conversation_id == mine


def test_a_merge_is_taken_back_with_owner_and_state(desk: Desk) -> None:
    mine, other = pair(desk)
    before = [conversation(desk, number) for number in (mine, other)]
    with desk.hub.store.write() as tx:
        moves.merge(tx, desk.jonas, other, mine)
    assert conversation(desk, mine).state == "resolved"
    with desk.hub.store.write() as tx:
        moves.undo(tx, desk.jonas, 1)
    changing = {"due_at", "queue_id"}
    after = [conversation(desk, number) for number in (mine, other)]
    assert [row.model_dump(exclude=changing) for row in after] == [row.model_dump(exclude=changing) for row in before]
    assert [each.text for each in desk.messages(mine)] == ["Where is my lamp?"]
    with desk.hub.store.read() as tx:
        names = [row.name for row in tx.exec(select(FactRow).order_by(col(FactRow.id)))]
        assert names.count("ConversationsMerged") == names.count("ConversationsParted") == 1


def test_nothing_is_written_into_what_was_merged_and_it_stands_in_no_list(desk: Desk, jonas: Browser) -> None:
    mine, other = pair(desk)
    with desk.hub.store.write() as tx:
        moves.merge(tx, desk.jonas, mine, other)
        shared = views.create(tx, desk.ines, views.Wanted("All", {}, own=False)).id or 0
    doings: list[Callable[[Tx], object]] = [
        lambda tx: reply(tx, desk.jonas, other, text="Soon", tokens=desk.hub.tokens),
        lambda tx: reply(tx, desk.jonas, other, text="Soon", tokens=desk.hub.tokens,
                         send_at=desk.clock() + timedelta(days=1)),
        lambda tx: note(tx, desk.jonas, other, "Careful"),
        lambda tx: tag(tx, desk.jonas, other, "vip"),
        lambda tx: untag(tx, desk.jonas, other, "vip"),
        lambda tx: reopen(tx, desk.jonas, other),
        lambda tx: snooze(tx, desk.jonas, other, None),
        lambda tx: claim(tx, desk.jonas, other),
        lambda tx: assign(tx, desk.ines, other, desk.jonas.agent_id or 0),
        lambda tx: add_participant(tx, desk.jonas, other, "eve@friends.example"),
    ]  # fmt: skip
    for do in doings:
        with desk.hub.store.write() as tx, pytest.raises(Conflict, match=f"merged into #{mine}: write there"):
            do(tx)
    assert conversation(desk, other).message_count == 0 and len(desk.messages(mine)) == 2
    for place in ("resolved", f"view-{shared}", "search?q=is:resolved", "search?q=from:mara"):
        assert not jonas.page(f"/inbox/{place}").css(f".row[data-id='{other}']")
    with desk.hub.store.read() as tx:
        assert views.counted(tx, desk.ines, {}) == views.Tally(1)
    outcome = bulk.act(desk.hub.store, desk.jonas, [other], reopen)
    assert list(outcome.refused) == [other] and conversation(desk, other).state == "resolved"


def test_a_merge_is_taken_back_though_queue_and_owner_are_gone(desk: Desk) -> None:
    mine, other = pair(desk)
    before = conversation(desk, other).queue_id
    with desk.hub.store.write() as tx:
        assign(tx, desk.ines, other, desk.amara.agent_id or 0)
        moves.merge(tx, desk.ines, mine, other)
        tx.sql("UPDATE agent SET active = ? WHERE id = ?", False, desk.amara.agent_id)
        tx.sql("UPDATE queue SET active = ? WHERE id = ?", False, before)
        touch_desk(tx)
    with desk.hub.store.write() as tx:
        moves.undo(tx, desk.ines, 1)
    again = conversation(desk, other)
    assert (again.state, again.assignee_id, again.merged_into_id) == ("open", None, None)
    assert len(desk.messages(other)) == 1 and again.queue_id not in (None, before)


def test_participants_and_tags_that_came_with_a_merge_go_with_its_undo(desk: Desk) -> None:
    mine, other = pair(desk)
    with desk.hub.store.write() as tx:
        add_participant(tx, desk.ines, other, "lawyer@friends.example")
        add_participant(tx, desk.ines, other, "eve@friends.example")
        add_participant(tx, desk.ines, mine, "eve@friends.example")
        tag(tx, desk.ines, other, "invoice, vip")
        tag(tx, desk.ines, mine, "vip")
    desk.clock.forward(minutes=1)
    with desk.hub.store.write() as tx:
        moves.merge(tx, desk.ines, mine, other)
        assert by_hand(tx, mine, "added") == ["eve@friends.example", "lawyer@friends.example"]
    desk.clock.forward(minutes=1)
    with desk.hub.store.write() as tx:
        moves.undo(tx, desk.ines, 1)
        assert by_hand(tx, mine, "added") == ["eve@friends.example"]
        assert set(by_hand(tx, other, "added")) == {"eve@friends.example", "lawyer@friends.example"}
        assert tags_of(tx, [mine, other]) == {mine: ["vip"], other: ["invoice", "vip"]}


def begun(desk: Desk, number: int) -> dict[tuple[int, str], drafts.Typed]:
    """What is in a conversation's composers, by agent and kind."""
    with desk.hub.store.read() as tx:
        rows = list(tx.exec(select(Draft).where(Draft.conversation_id == number)))
    return {(row.agent_id, row.kind): drafts.Typed(row.text, row.channel_id, row.copies, row.files, row.aside, row.html)
            for row in rows}  # fmt: skip


def test_what_was_begun_is_back_where_it_was_when_a_merge_is_taken_back(desk: Desk) -> None:
    mine, other = pair(desk)
    jonas, amara, ines = (who.agent_id or 0 for who in (desk.jonas, desk.amara, desk.ines))
    half = drafts.Typed("Half a", 1, {"cc": "nora@example.com"}, [7], {"2": "A text"}, "<p>Half <b>a</b></p>")
    more = drafts.Typed("sentence", 2, {}, [8], {"2": "More", "3": "Chat"})
    with desk.hub.store.write() as tx:
        drafts.keep(tx, amara, mine, drafts.REPLY, half)
        drafts.keep(tx, amara, other, drafts.REPLY, more)
        for who, words in ((jonas, "Is this so?"), (ines, "Sent soon"), (amara, "Grows")):
            drafts.keep(tx, who, other, drafts.NOTE, drafts.Typed(words))
    before = begun(desk, mine), begun(desk, other)
    desk.clock.forward(minutes=1)
    with desk.hub.store.write() as tx:
        moves.merge(tx, desk.ines, mine, other)
    there = begun(desk, mine)
    assert there[amara, drafts.REPLY] == drafts.Typed(
        "Half a\n\nsentence", 1, {"cc": "nora@example.com"}, [7, 8], {"2": "A text\n\nMore", "3": "Chat"},
        "<p>Half <b>a</b></p><p>sentence</p>",
    )  # fmt: skip
    assert there[jonas, drafts.NOTE].text == "Is this so?"
    desk.clock.forward(minutes=1)
    with desk.hub.store.write() as tx:
        note(tx, desk.ines, mine, "Sent soon")
        drafts.keep(tx, amara, mine, drafts.NOTE, drafts.Typed("Grows on"))
        moves.undo(tx, desk.ines, 1)
    for who in (amara, ines):
        del before[1][who, drafts.NOTE]
    assert begun(desk, other) == before[1]
    assert begun(desk, mine) == before[0] | {(amara, drafts.NOTE): drafts.Typed("Grows on", files=[])}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_merges_into_one_each_gives_its_draft_back(desk: Desk, order: tuple[int, int]) -> None:
    mine, other = pair(desk)
    third = desk.mail("Invoice", "Which number?").conversation_id or 0
    amara = desk.amara.agent_id or 0
    before = {number: drafts.Typed(f"Of {number}") for number in (mine, other, third)}
    with desk.hub.store.write() as tx:
        for number, typed in before.items():
            drafts.keep(tx, amara, number, drafts.REPLY, typed)
    for number in (other, third):
        desk.clock.forward(minutes=1)
        with desk.hub.store.write() as tx:
            moves.merge(tx, desk.ines, mine, number)
    assert begun(desk, mine)[amara, drafts.REPLY].text == f"Of {mine}\n\nOf {other}\n\nOf {third}"
    for number in order:
        desk.clock.forward(minutes=1)
        with desk.hub.store.write() as tx:
            moves.undo(tx, desk.ines, number + 1)
    assert {number: begun(desk, number)[amara, drafts.REPLY].text for number in before} == {
        number: typed.text for number, typed in before.items()
    }


def test_a_split_at_a_guest_s_message_is_taken_back_whoever_wrote_behind_it(desk: Desk) -> None:
    number = desk.mail("Order", "Where is my lamp?").conversation_id or 0
    sent = answer(desk, number)
    guest = desk.mail("Re: Order", "Mine, too", sender="Eve <eve@friends.example>", answers=sent.external_id)
    with desk.hub.store.write() as tx:
        theirs = moves.split(tx, desk.jonas, number, guest.message_id or 0)
        moves.undo(tx, desk.jonas, theirs.id or 0)
    desk.mail("Re: Order", "And when?", answers=sent.external_id)
    with desk.hub.store.write() as tx:
        ours = moves.split(tx, desk.jonas, number, guest.message_id or 0)
    assert conversation(desk, ours.to_id).contact_id == conversation(desk, number).contact_id
    with desk.hub.store.write() as tx:
        moves.undo(tx, desk.jonas, ours.id or 0)
    assert len(desk.messages(number)) == 4


def test_an_open_one_opens_the_resolved_one_that_it_comes_into(desk: Desk) -> None:
    mine, other = pair(desk)
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, mine)
        moves.merge(tx, desk.jonas, mine, other)
    merged = conversation(desk, mine)
    assert merged.state == "open" and merged.waiting_since is not None
    desk.route()
    assert conversation(desk, mine).queue_id is not None


def test_who_was_named_in_a_note_is_named_where_the_note_is(desk: Desk) -> None:
    mine, other = pair(desk)
    with desk.hub.store.write() as tx:
        said = note(tx, desk.jonas, other, "@Amara Obi, look at this").id or 0
        merged = moves.merge(tx, desk.jonas, mine, other).id or 0
        parted = moves.split(tx, desk.jonas, mine, said).to_id
        moves.undo(tx, desk.jonas, merged)
        named = tx.sql("SELECT conversation_id FROM mention WHERE message_id = ?", said).fetchall()
    assert [row[0] for row in named] == [parted]


def test_what_is_not_one_person_s_or_merged_already_is_refused(desk: Desk) -> None:
    mine, other = pair(desk)
    stranger = desk.text("Hello", sender="+46701740699").conversation_id or 0
    with desk.hub.store.write() as tx:
        with pytest.raises(Conflict, match="different people"):
            moves.merge(tx, desk.jonas, mine, stranger)
        with pytest.raises(Conflict, match="another conversation"):
            moves.merge(tx, desk.jonas, mine, mine)
        moves.merge(tx, desk.jonas, mine, other)
        with pytest.raises(Conflict, match="merged into"):
            moves.merge(tx, desk.jonas, mine, other)


def test_jonas_splits_and_merges_on_the_page(app: Flask, jonas: Browser, desk: Desk) -> None:
    number, _, second = two_matters(desk)
    page = jonas.page(f"/inbox/c/{number}?view=mine")
    assert len(page.css(".part")) == 3, "all but the first"
    at = str((second.id or 0) - 1)
    done = Page(jonas.post(attr(page, "#split", "hx-post"), hx=True, message=at).text)
    fresh = desk.conversations()[-1].id or 0
    assert attr(done, "#thread", "data-id") == str(fresh)
    assert any(f"#{fresh}" in line for line in words(jonas.page(f"/inbox/c/{number}"), ".event span"))
    jonas.page(f"/inbox/c/{fresh}")
    undo = done.css_first(".toast form")
    assert undo is not None
    jonas.post(undo.attributes["hx-post"] or "", hx=True)
    assert jonas.get(f"/inbox/c/{fresh}").location.partition("?")[0] == f"/inbox/c/{number}"

    again = split_at(desk, number, second)
    about = jonas.page(f"/inbox/c/{number}/about", hx=True)
    assert attr(about, ".past button[name=other]", "value") == str(again)
    jonas.page(f"/inbox/c/{number}")
    jonas.post(f"/inbox/c/{number}/join", hx=True, other=str(again))
    assert len(desk.messages(number)) == 4
    assert jonas.post(f"/inbox/c/{number}/join", hx=True, other=str(again)).status_code == 409
    tomas = Browser(app)
    tomas.sign_in("tomas@desk.example")
    for path, values in (("split", {"message": at}), ("join", {"other": str(again)})):
        assert tomas.post(f"/inbox/c/{number}/{path}", **values).status_code == 404  # type: ignore[arg-type]
    assert tomas.post("/inbox/moves/1/undo").status_code == 404


def test_who_may_not_see_where_all_of_it_went_is_told_so_and_no_more(app: Flask, desk: Desk) -> None:
    """Tomás serves Billing: he saw the invoice, and never what it was merged into."""
    first = desk.text("Where is my lamp?")
    third = desk.mail("Refund", "My refund, please")
    second = desk.mail("Invoice", "The invoice is wrong")
    lamp, invoice, refund = (each.conversation_id or 0 for each in (first, second, third))
    with desk.hub.store.write() as tx:
        merge_people(tx, desk.ines, first.contact_id or 0, second.contact_id or 0)
    tomas = Browser(app)
    tomas.sign_in("tomas@desk.example")
    tomas.page(f"/inbox/c/{invoice}?view=all")
    with desk.hub.store.write() as tx:
        moves.merge(tx, desk.ines, lamp, invoice)
    for page in (tomas.page("/inbox/live?open=1", hx=True), tomas.page(f"/inbox/c/{invoice}?view=all")):
        shown = page.html or ""
        assert "in a conversation now that you may not see" in shown
        assert f"/inbox/c/{lamp}" not in shown and "lamp" not in shown
        assert not page.css(f"form[action='/inbox/c/{invoice}/reopen'], .dock")
    with desk.hub.store.write() as tx, pytest.raises(Conflict, match="to which you have no access"):
        note(tx, desk.tomas, invoice, "Careful")
    with desk.hub.store.write() as tx:
        moves.merge(tx, desk.ines, refund, lamp)
    led = tomas.get(f"/inbox/c/{invoice}?view=all")
    assert (led.status_code, led.location) == (302, f"/inbox/c/{refund}?view=all"), "he sees where it is in the end"


def test_what_rules_give_to_others_is_parted_all_the_same_and_brought_back(jonas: Browser, desk: Desk) -> None:
    available(desk, desk.jonas)
    number = desk.text("Where is my lamp?").conversation_id or 0
    with desk.hub.store.write() as tx:
        claim(tx, desk.jonas, number)
    desk.text("And my refund?")
    jonas.page(f"/inbox/c/{number}?view=mine")
    at = str(desk.messages(number)[1].id)
    done = Page(jonas.post(f"/inbox/c/{number}/split", hx=True, message=at).text)
    fresh = desk.conversations()[-1]
    assert (conversation(desk, number).assignee_id, fresh.assignee_id) == (desk.jonas.agent_id, None)
    assert words(done, ".toast > span") == ["A conversation of its own now, in Billing."]
    assert words(done, "#timeline .msg .text") == ["Where is my lamp?"]
    assert jonas.get(f"/inbox/c/{fresh.id}").status_code == 404
    jonas.post(attr(done, ".toast form", "hx-post"), hx=True)
    assert [each.text for each in desk.messages(number)] == ["Where is my lamp?", "And my refund?"]
    assert conversation(desk, number).assignee_id == desk.jonas.agent_id


def test_what_others_made_of_it_by_then_is_theirs_to_bring_back(desk: Desk) -> None:
    """Who divided it does not see their queue, and must not get their words by taking that back."""
    available(desk, desk.jonas)
    number = desk.text("Where is my lamp?").conversation_id or 0
    with desk.hub.store.write() as tx:
        claim(tx, desk.jonas, number)
    desk.text("And my refund?")
    with desk.hub.store.write() as tx:
        move = moves.split(tx, desk.jonas, number, desk.messages(number)[1].id or 0)
        fresh, parted = move.to_id, move.id or 0
    with desk.hub.store.write() as tx:
        note(tx, desk.tomas, fresh, "Between us: she is difficult.")
    with pytest.raises(Conflict, match="Others work on it"), desk.hub.store.write() as tx:
        moves.undo(tx, desk.jonas, parted)
    assert [each.text for each in desk.messages(number)] == ["Where is my lamp?"]
    with desk.hub.store.write() as tx:
        moves.undo(tx, desk.ines, parted)
    assert len(desk.messages(number)) == 3


def desk_conversations(tx: Tx) -> list[int]:
    return [number or 0 for number in tx.exec(select(Conversation.id).order_by(col(Conversation.id)))]


def test_the_router_finds_nothing_wrong_afterwards(desk: Desk) -> None:
    number, _, second = two_matters(desk)
    split_at(desk, number, second)
    with desk.hub.store.write() as tx:
        moves.undo(tx, desk.jonas, 1)
    mine, other = pair(desk)
    with desk.hub.store.write() as tx:
        moves.merge(tx, desk.jonas, mine, other)
        moves.undo(tx, desk.jonas, 3)
    desk.route()
    with desk.hub.store.write() as tx:
        for row in desk_conversations(tx):
            resolve(tx, desk.ines, row)
    assert desk.agent(desk.jonas).load == 0, "no room is lost on the way"
