"""Macros: several things in one unit, taken back as one; the tags they put on; Settings and the desk file."""

from __future__ import annotations

from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub import macros, tags
from hub.desk import DeskError, apply, export, read
from hub.macros import Does, Wanted
from hub.refusals import FieldRefused
from hub.replies import reply
from storage.access import Actor, Conflict, Forbidden, NotFound
from storage.conversations import Conversation, Message
from storage.facts import FactRow
from storage.macros import Macro
from storage.people import Agent
from storage.tags import tags_of
from tests.browser.room import Browser, attr, words
from tests.browser.scene import available
from tests.desk import Desk
from tests.test_inbox_actions import arrived, chosen, seen

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")
SETTINGS = "/inbox/settings/macros"


def add(desk: Desk, name: str = "Reship", **does: Any) -> Macro:
    with desk.hub.store.write() as tx:
        row = macros.create(tx, desk.ines, Wanted(name, Does(**does)))
        tx.flush()
        tx.expunge(row)
        return row


def run(desk: Desk, actor: Actor, number: int, row: Macro) -> macros.Back:
    with desk.hub.store.write() as tx:
        return macros.run(tx, actor, number, row)[0]


def take_back(desk: Desk, actor: Actor, back: macros.Back) -> None:
    with desk.hub.store.write() as tx:
        macros.take_back(tx, actor, back)


def state(desk: Desk, number: int) -> dict[str, Any]:
    with desk.hub.store.read() as tx:
        row = tx.get_one(Conversation, number)
        return {
            "state": row.state, "queue": row.queue_id, "owner": row.assignee_id, "priority": row.priority,
            "tags": tags_of(tx, [number]).get(number, []),
        }  # fmt: skip


def billing(desk: Desk) -> int:
    with desk.hub.store.read() as tx:
        return int(tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0])


def test_tags_are_small_words_once_each(desk: Desk) -> None:
    number = desk.text("Hello").conversation_id or 0
    with desk.hub.store.write() as tx:
        assert tags.tag(tx, desk.jonas, number, " Reship, #VIP ,reship,, two  words") == ["reship", "vip", "two words"]
        assert tags.tag(tx, desk.amara, number, "VIP") == []
        assert tags.untag(tx, desk.amara, number, "vip, unknown") == ["vip"]
        with pytest.raises(Conflict, match="at most 40 characters"):
            tags.tag(tx, desk.jonas, number, "x" * 41)
        with pytest.raises(Conflict, match="at most 30 tags"):
            tags.tag(tx, desk.jonas, number, [f"t{n}" for n in range(29)])
        with pytest.raises(NotFound):
            tags.tag(tx, desk.tomas, number, "x")
    assert state(desk, number)["tags"] == ["reship", "two words"]
    with desk.hub.store.read() as tx:
        told = [row.data["tags"] for row in tx.exec(select(FactRow).where(FactRow.name == "ConversationTagged"))]
    assert told == [["reship", "vip", "two words"]]


def test_a_macro_does_everything_and_is_taken_back_as_one(desk: Desk) -> None:
    available(desk, desk.jonas)
    number = desk.text("Where is my lamp?").conversation_id or 0
    desk.route()
    with desk.hub.store.write() as tx:
        tags.tag(tx, desk.jonas, number, "new")
    before = state(desk, number)
    assert before["owner"] == desk.jonas.agent_id
    row = add(desk, note="By {{agent.name}}", tags=("refund",), untag=("new",), priority=20, queue_id=billing(desk))
    back = run(desk, desk.jonas, number, row)

    after = state(desk, number)
    assert (after["queue"], after["owner"], after["tags"]) == (billing(desk), None, ["refund"])
    assert after["priority"] == 20
    assert desk.messages(number)[-1].text == "By Jonas Weber"
    take_back(desk, desk.jonas, back)
    assert state(desk, number) == before
    assert desk.messages(number)[-1].kind == "note", "what was written stays"


@pytest.mark.parametrize("end", [{"then": "resolve"}, {"then": "snooze"}, {"then": "snooze", "snooze": 86400}])
def test_an_end_is_taken_back_too(desk: Desk, end: dict[str, Any]) -> None:
    available(desk, desk.jonas)
    number = desk.text("Where is my lamp?").conversation_id or 0
    desk.route()
    before = state(desk, number)
    back = run(desk, desk.jonas, number, add(desk, tags=("done",), **end))
    assert state(desk, number)["state"] == {"resolve": "resolved", "snooze": "snoozed"}[end["then"]]
    take_back(desk, desk.jonas, back)
    assert state(desk, number) == before


def test_what_was_snoozed_sleeps_again(desk: Desk) -> None:
    number = desk.text("Where is my lamp?").conversation_id or 0
    run(desk, desk.jonas, number, add(desk, "Sleep", then="snooze", snooze=86400))
    back = run(desk, desk.jonas, number, add(desk, "End", then="resolve"))
    take_back(desk, desk.jonas, back)
    assert state(desk, number)["state"] == "snoozed"


def test_nothing_is_done_when_a_part_is_refused(desk: Desk) -> None:
    available(desk, desk.jonas)
    number = desk.text("Where is my lamp?").conversation_id or 0
    desk.route()
    before, count = state(desk, number), len(desk.messages(number))
    row = add(desk, note="For Amara", tags=("x",), assign=desk.amara.agent_id)
    with pytest.raises(Conflict, match="offline"):
        run(desk, desk.jonas, number, row)
    assert (state(desk, number), len(desk.messages(number))) == (before, count)
    with pytest.raises(Conflict, match="gap"):
        run(desk, desk.jonas, number, add(desk, "Gap", note="By {{date}}"))


def test_it_is_too_late_once_the_reply_has_left(desk: Desk) -> None:
    number = desk.text("Where is my lamp?").conversation_id or 0
    row = add(desk, reply="Hi", tags=("x",))

    def write() -> Message:
        return reply(tx, desk.jonas, number, text="Hi", tokens=desk.hub.tokens)

    with desk.hub.store.write() as tx:
        back, message = macros.run(tx, desk.jonas, number, row, write)
    assert message is not None and back.message_id == message.id
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE delivery SET claims = 1, state = 'sending'")
    with pytest.raises(Conflict, match="Too late"):
        take_back(desk, desk.jonas, back)
    assert state(desk, number)["tags"] == ["x"], "all of it or nothing"


@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        ({}, "does nothing"),
        ({"assign": 1, "queue_id": 1}, "not to both"),
        ({"then": "resolve", "queue_id": 1}, "no owner and no queue"),
        ({"tags": ("a",), "untag": ("a",)}, "puts the tag “a” on and takes it off"),
        ({"reply": "{{agent.nmae}}"}, "did you mean"),
    ],
)
def test_what_makes_no_sense_is_not_kept(desk: Desk, does: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FieldRefused, match=sentence):
        add(desk, **does)


def test_only_supervisors_write_them(desk: Desk) -> None:
    with desk.hub.store.write() as tx, pytest.raises(Forbidden):
        macros.create(tx, desk.jonas, Wanted("Mine", Does(tags=("x",))))


FILE = """
macros:
- name: Reship
  reply: Hi {{contact.first_name|there}}
  tags: [Reship]
  queue: Billing
  priority: 5
- {name: Later, assign: me, snooze: 2d}
- {name: Amara, assign: amara@desk.example, snooze: reply}
- {name: Close, note: done, then: resolve}
"""


def test_the_file_has_them_by_names(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        assert [str(one) for one in apply(tx, desk.ines, read(FILE))] == [
            f"+ macro {name}" for name in ("Reship", "Later", "Amara", "Close")
        ]
        assert apply(tx, desk.ines, read(FILE)) == []
        row = tx.exec(select(Macro).where(Macro.name == "Reship")).one()
        assert row.does["tags"] == ["reship"] and row.does["queue_id"] == billing(desk)
        assert apply(tx, desk.ines, read(export(tx))) == []
        changes = apply(tx, desk.ines, read("macros: [{name: Close, note: all done, then: resolve}]"))
        assert sorted(str(one) for one in changes) == [
            "- macro Amara",
            "- macro Later",
            "- macro Reship",
            "~ macro Close",
        ]
    for text, sentence in (
        ("{name: X, queue: Biling}", "macro 'X': there is no queue 'Biling'; did you mean 'Billing'"),
        ("{name: X, assign: jona@desk.example}", "did you mean 'jonas@desk.example'"),
        ("{name: X, then: resolve, snooze: 1d}", "can't resolve and snooze"),
        ("{name: X}", "does nothing"),
    ):
        with desk.hub.store.write() as tx, pytest.raises(DeskError, match=sentence):
            apply(tx, desk.ines, read(f"macros: [{text}]"))


def test_a_macro_that_replies_is_shown_and_then_sent_whole(desk: Desk, jonas: Browser) -> None:
    available(desk, desk.jonas)
    number = arrived(desk, jonas)
    desk.route()
    row = add(desk, reply="Hi, it comes on {{date}}.", tags=("reship",), then="resolve")
    page = jonas.page(f"/inbox/c/{number}?view=mine")
    assert (
        words(page, "#macro-menu .menu-list button span") == ["ReshipReplies, then tags reship, resolves it"]
        or "Replies, then tags reship, resolves it" in words(page, "#macro-menu button")[0]
    )
    fields: dict[str, Any] = {"choice": chosen(page), "seen": seen(page), "kind": "reply"}
    shown = Page(jonas.post(f"/inbox/c/{number}/macro", hx=True, run=str(row.id), reply="Dear Mara", **fields).text)
    assert shown.css_first("#reply").text().strip() == "Dear Mara\n\nHi, it comes on ⟦date⟧."  # type: ignore[union-attr]
    assert words(shown, "#macro-waits span") == ["Reship: when you send this, it tags reship, resolves it"]
    fields["macro"] = attr(shown, "#macro-waits input", "value")

    held = jonas.post(f"/inbox/c/{number}/send", hx=True, reply="on ⟦date⟧", **fields)
    assert held.status_code == 409 and attr(Page(held.text), "#macro-waits input", "value") == str(row.id)
    sent = jonas.post(f"/inbox/c/{number}/send", hx=True, reply="It comes on Thursday.", **fields)
    assert sent.status_code == 200
    assert (state(desk, number)["state"], state(desk, number)["tags"]) == ("resolved", ["reship"])
    form = Page(sent.text).css_first(".toast form")
    assert form is not None
    back = attr(form, "input[name=back]", "value")
    undone = jonas.post("/inbox/macros/undo", hx=True, back=back)
    assert words(Page(undone.text), "#reply") == ["It comes on Thursday."]
    assert (state(desk, number)["state"], state(desk, number)["tags"]) == ("open", [])
    assert state(desk, number)["owner"] == desk.jonas.agent_id
    told = words(jonas.page(f"/inbox/c/{number}"), ".event")
    assert any("ran the macro “Reship”" in one for one in told)


def test_a_macro_without_a_reply_runs_at_once_and_is_undone_from_its_toast(
    desk: Desk, jonas: Browser, ines: Browser
) -> None:
    available(desk, desk.jonas)
    number = arrived(desk, jonas)
    desk.route()
    row = add(desk, "To billing", tags=("refund",), queue_id=billing(desk))
    gone = jonas.post(f"/inbox/c/{number}/macro", hx=True, run=str(row.id), reply="half a sentence")
    assert "“To billing” is done." in gone.text and "Choose a conversation" in gone.text
    assert jonas.get(f"/inbox/c/{number}").status_code == 404, "it is Billing's now"
    back = attr(Page(gone.text), ".toast input[name=back]", "value")
    assert ines.post("/inbox/macros/undo", hx=True, back=back).status_code == 409
    assert jonas.post("/inbox/macros/undo", hx=True, back=back[:-2]).status_code == 409
    assert jonas.post("/inbox/macros/undo", hx=True, back=back).status_code == 200
    assert state(desk, number)["owner"] == desk.jonas.agent_id
    assert jonas.post(f"/inbox/c/{number}/macro", hx=True, run="999").status_code == 404


def test_tags_are_put_on_and_taken_off_in_the_panel(desk: Desk, jonas: Browser) -> None:
    number = arrived(desk, jonas)
    done = jonas.post(f"/inbox/c/{number}/tag", hx=True, tags="VIP, reship")
    assert words(Page(done.text), ".tag") == ["reship", "vip"]
    assert "Tagged vip, reship." in done.text
    assert words(Page(jonas.post(f"/inbox/c/{number}/untag", hx=True, tags="vip").text), ".tag") == ["reship"]
    assert jonas.post(f"/inbox/c/{number}/tag", tags="<b>").status_code == 303
    page = jonas.page(f"/inbox/c/{number}")
    assert words(page, ".tag") == ["<b>", "reship"]
    assert any("tagged it vip, reship" in one for one in words(page, ".event"))


def test_a_supervisor_builds_a_macro_in_a_form(desk: Desk, jonas: Browser, ines: Browser) -> None:
    desk.mail("Order 48213", "Hello")
    ines.page(f"{SETTINGS}/new")
    typed: dict[str, Any] = {
        "name": "Reship",
        "reply": "Hi {{contact.first_name}}",
        "tags": "Reship, Halo",
        "then": "resolve",
    }
    told = Page(ines.post(f"{SETTINGS}/preview", hx=True, **typed).text)
    assert words(told, ".said") == ["Hi Mara"]
    assert words(told, "p")[-1] == "Then it tags reship, halo, resolves it."
    wrong = ines.post(f"{SETTINGS}/new", **(typed | {"priority": "high"}))
    assert wrong.status_code == 422 and "whole number" in words(Page(wrong.text), "#wrong-priority")[0]
    both = ines.post(f"{SETTINGS}/new", **(typed | {"queue": str(billing(desk))}))
    assert both.status_code == 422 and "leave those out" in words(Page(both.text), ".problem")[0]
    assert ines.post(f"{SETTINGS}/new", **typed).location == SETTINGS
    page = ines.page(SETTINGS)
    assert words(page, ".rule .words p") == ["It replies, tags reship, halo, resolves it."]
    link = attr(page, ".rule-name", "href")
    form = ines.page(link)
    assert attr(form, "#macro-tags", "value") == "reship, halo"
    kept = attr(form, "[name=seen]", "value")
    assert ines.post(link, seen=kept, **(typed | {"name": "Reship it"})).status_code == 303
    assert ines.post(link, seen=kept, **typed).status_code == 409
    assert jonas.page(link).css_first("fieldset[disabled]") is not None
    assert jonas.get(f"{SETTINGS}/new").status_code == 403
    assert jonas.post(f"{link}/delete").status_code == 403
    assert "Delete “Reship it”?" in ines.get(f"{link}/delete").text
    assert ines.post(f"{link}/delete").location == SETTINGS
    assert words(ines.page(SETTINGS), ".rule-name") == []


def test_an_owner_who_is_gone_is_said_so(desk: Desk) -> None:
    does = Does(assign=99, queue_id=98)
    assert macros.in_words(does, {}, {}) == ["gives it to somebody who is gone", "moves it to a queue that is gone"]
    with desk.hub.store.read() as tx:
        assert tx.exec(select(Agent.id).where(Agent.id == 99)).first() is None
