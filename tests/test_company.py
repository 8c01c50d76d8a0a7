"""Company: who else looks at a conversation or replies in it, and colleagues named in notes."""

from __future__ import annotations

from typing import Any

import pytest
from markupsafe import Markup
from selectolax.lexbor import LexborHTMLParser as Page

from hub import onlookers
from hub.mentions import named_in
from hub.onlookers import Watch
from hub.pump import PRESENCE, Happened
from hub.replies import note
from inbox.stream import wants
from inbox.wording import naming
from storage.access import Actor
from storage.people import Agent
from tests.browser.room import Browser, words
from tests.clock import Clock
from tests.desk import Desk
from tests.test_inbox_actions import arrived


@pytest.fixture
def amara(app: Any) -> Browser:
    browser = Browser(app)
    browser.sign_in("amara@desk.example")
    return browser


def company(desk: Desk, watch: Watch) -> list[tuple[str, int, str]]:
    with desk.hub.store.read() as tx:
        return [(one.name.split()[0], one.conversation_id, one.doing) for one in watch.changes(tx)]


def be(desk: Desk, actor: Actor, number: int, doing: str) -> None:
    with desk.hub.store.write() as tx:
        onlookers.here(tx, actor.agent_id or 0, number, doing)


def test_who_comes_replies_moves_on_and_falls_silent_is_told_once(desk: Desk, clock: Clock) -> None:
    one, other = desk.text("One").conversation_id or 0, desk.mail("Two", "x").conversation_id or 0
    watch = Watch()
    be(desk, desk.jonas, one, "looking")
    assert company(desk, watch) == [("Jonas", one, "looking")]
    be(desk, desk.jonas, one, "looking")
    assert company(desk, watch) == []
    be(desk, desk.jonas, one, "replying")
    assert company(desk, watch) == [("Jonas", one, "replying")]
    be(desk, desk.jonas, other, "dancing")
    assert company(desk, watch) == [("Jonas", one, ""), ("Jonas", other, "looking")]
    clock.forward(seconds=21)
    assert company(desk, watch) == [("Jonas", other, "")]
    assert company(desk, watch) == []


def test_a_colleague_at_the_conversation_is_shown_in_thread_and_list(
    desk: Desk, jonas: Browser, amara: Browser, clock: Clock
) -> None:
    number = arrived(desk, jonas)
    amara.page(f"/inbox/c/{number}")
    assert amara.post(f"/inbox/c/{number}/here", doing="looking").status_code == 204
    page = jonas.page(f"/inbox/c/{number}?view=all")
    assert "Amara is looking" in words(page, "#watching")[0]
    assert words(page, ".row .typing") == [""]
    amara.post(f"/inbox/c/{number}/here", doing="replying")
    page = jonas.page(f"/inbox/c/{number}?view=all")
    assert words(page, ".row .typing") == ["Amara is replying…"]
    assert "Amara is replying" in words(jonas.page(f"/inbox/c/{number}/watching", hx=True), "span")[0]
    assert words(amara.page(f"/inbox/c/{number}?view=all"), "#watching") == [""], "nobody is their own company"
    amara.post(f"/inbox/c/{number}/here", doing="gone")
    assert words(jonas.page(f"/inbox/c/{number}?view=all"), "#watching") == [""]
    amara.post(f"/inbox/c/{number}/here", doing="replying")
    clock.forward(seconds=21)
    assert words(jonas.page(f"/inbox/c/{number}?view=all"), ".row .typing") == [""]


def test_nobody_is_told_of_company_where_he_may_not_look(desk: Desk, app: Any) -> None:
    number = desk.text("Where is my lamp?").conversation_id
    came = Happened(0, PRESENCE, desk.clock(), number, None, {"agent_id": 1, "name": "Jonas Weber", "doing": "looking"})
    with app.test_request_context():
        told = {who.agent_id: wants(desk.hub, who, "")(came) for who in (desk.jonas, desk.amara, desk.tomas)}
    assert told[desk.jonas.agent_id] is None and told[desk.tomas.agent_id] is None
    framed = told[desk.amara.agent_id]
    assert framed is not None and framed.startswith(b"event: presence\n"), "an id would move where it resumes"
    tomas = Browser(app)
    tomas.sign_in("tomas@desk.example")
    assert tomas.post(f"/inbox/c/{number}/here", doing="looking").status_code == 404
    assert tomas.get(f"/inbox/c/{number}/watching").status_code == 404


def test_names_are_found_where_they_are_meant(desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        agents = [tx.get_one(Agent, who.agent_id) for who in (desk.jonas, desk.amara, desk.tomas)]

    def found(text: str) -> list[str]:
        return [each.name for each in named_in(text, agents)]

    assert found("@Amara Obi, could you?") == ["Amara Obi"]
    assert found("cc @jonas and @amara!") == ["Jonas Weber", "Amara Obi"]
    assert found("@Tomás: please") == ["Tomás Silva"]
    assert found("mail jonas@jonas.example, @jonasson, @ jonas, Jonas") == []
    twins = [*agents, Agent(name="Jonas Brandt", email="b@x")]
    assert [each.name for each in named_in("@Jonas", twins)] == []
    assert [each.name for each in named_in("@Jonas Brandt", twins)] == ["Jonas Brandt"]


def test_who_is_named_in_a_note_is_told_and_has_seen_it_by_reading(desk: Desk, jonas: Browser, amara: Browser) -> None:
    number = arrived(desk, jonas)
    kept = jonas.post(f"/inbox/c/{number}/send", hx=True, kind="note", note="@Amara Obi and @Tomás, <b>look</b> @Jonas")
    assert kept.status_code == 200
    page = amara.page("/inbox/mentions")
    assert words(page, "#v-mentions .n") == ["1"]
    assert page.css_first("#nav-views").attributes["data-unread"] == "1"  # type: ignore[union-attr]
    assert len(page.css("#rows .row")) == 1
    shown = amara.page(f"/inbox/c/{number}?view=mentions")
    assert words(shown, ".msg.note .at") == ["@Amara Obi"], "Tomás may not see it, and nobody tells himself"
    assert shown.css(".msg.note b b") == [] and "<b>look" not in shown.html  # type: ignore[operator]
    amara.post(f"/inbox/c/{number}/read", message="999999")
    assert words(amara.page("/inbox/mentions"), "#v-mentions .n") == []
    assert len(amara.page("/inbox/mentions").css("#rows .row")) == 1, "it stays in the list"
    with desk.hub.store.read() as tx:
        told = tx.sql("SELECT data FROM fact WHERE name = 'AgentMentioned'").fetchall()
    assert len(told) == 1


def test_an_at_in_a_note_offers_who_may_see_it(desk: Desk, jonas: Browser) -> None:
    number = arrived(desk, jonas)
    page = Page(jonas.get(f"/inbox/c/{number}/suggest?for=@&q=", hx=True).text)
    assert words(page, "[role=option] > span:last-child") == ["Amara Obi", "Ines Novak"]
    page = Page(jonas.get(f"/inbox/c/{number}/suggest?for=@&q=ob", hx=True).text)
    assert [node.attributes["data-insert"] for node in page.css("[role=option]")] == ["@Amara Obi "]
    with desk.hub.store.write() as tx:
        assert note(tx, desk.jonas, number, "@").kind == "note"


def test_an_address_with_a_name_in_it_stays_whole() -> None:
    text = naming(Markup('<a href="https://x.example/@Jonas">here</a>, @Jonas Weber'), ["Jonas Weber"])
    assert text == '<a href="https://x.example/@Jonas">here</a>, <b class="at">@Jonas Weber</b>'
