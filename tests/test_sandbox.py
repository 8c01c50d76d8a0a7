"""The demo: a desk with a past, and a page that plays its customers through the real doors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from flask import Flask
from markupsafe import Markup
from selectolax.lexbor import LexborHTMLParser
from sqlmodel import col, select
from werkzeug.serving import BaseWSGIServer, make_server

import chatops
import webhooks
from config import Settings
from hub import Hub
from hub.desk import apply, export, read
from hub.replies import reply
from hub.signin import passed
from inbox import assets
from routing.agents import load_drift
from sandbox import page
from sandbox.cast import MAILBOX, PASSWORD
from sandbox.demo import Doubles, start_doubles
from sandbox.look import letter, marked_up
from sandbox.stories import STORIES
from storage import Store
from storage.access import SYSTEM, actor_for
from storage.conversations import Attachment, Conversation, Message
from storage.facts import FactRow
from storage.migrations import upgrade
from storage.people import Agent, Contact, agent_by_email, identities_of
from storage.receipts import Receipt
from storage.work import open_assignment
from tests.support.made_up import MADE_UP, bare, invent
from worker import Worker

CONFIG = Path(__file__).resolve().parent.parent / "config"
T = TypeVar("T")


class Demo:
    """A running demo: the web doors, the worker's duties and the doubles in one process."""

    def __init__(self, folder: Path):
        self.app = Flask("demo", static_folder=None)
        self.server: BaseWSGIServer = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        settings = Settings(data_dir=folder, public_base_url=self.url, secret_key="0" * 32, undo_seconds=0)
        self.doubles: Doubles = start_doubles(settings)
        self.hub = Hub(self.doubles.settings)
        self.hub.occupy()
        upgrade(self.hub.store)
        self.app.extensions["hub"] = self.hub
        assets.register(self.app)
        for blueprint in (webhooks.create_blueprint(), chatops.create_blueprint(), page.create_blueprint()):
            self.app.register_blueprint(blueprint)
        self.doubles.furnish(self.hub)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.worker = Worker(self.hub)
        self.worker.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.worker.stop()
        self.hub.stop()
        self.doubles.stop()

    def play(self, what: str, **form: str) -> requests.Response:
        headers = {"X-Requested-With": "sandbox"}
        return requests.post(f"{self.url}/sandbox/{what}", data=form, headers=headers, timeout=10)

    def live(self, part: str, **chosen: str) -> str:
        parts: dict[str, str] = requests.get(f"{self.url}/sandbox/live", params=chosen, timeout=10).json()
        return " ".join(LexborHTMLParser(parts[part]).text().split())

    def message(self, text: str) -> Message | None:
        with self.hub.store.read() as tx:
            query = select(Message).where(Message.kind == "inbound", col(Message.text).startswith(text))
            return tx.exec(query.order_by(col(Message.id).desc())).first()

    def answer(self, conversation_id: int, text: str, by: str = "jonas@example.com") -> None:
        with self.hub.store.write() as tx:
            agent = agent_by_email(tx, by)
            assert agent is not None
            reply(tx, actor_for(tx, agent), conversation_id, text=text, tokens=self.hub.tokens, undo_seconds=0)


def until(look: Callable[[], T | None], seconds: float = 45) -> T:
    """What `look` answers as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A freshly seeded desk on which nothing has moved since."""
    folder = tmp_path_factory.mktemp("seeded")
    doubles = start_doubles(Settings(data_dir=folder, secret_key="0" * 32))
    hub = Hub(doubles.settings)
    upgrade(hub.store)
    doubles.furnish(hub)
    doubles.furnish(hub)  # as a second start does
    yield hub.store
    hub.stop()
    doubles.stop()


def test_the_sample_desk_has_every_state_that_an_agent_meets(store: Store) -> None:
    with store.read() as tx:
        conversations = list(tx.exec(select(Conversation)))
        messages = list(tx.exec(select(Message)))
        quarantined = list(tx.exec(select(Receipt).where(Receipt.state == "quarantined")))
        files = list(tx.exec(select(Attachment)))
    assert 20 <= len(conversations) == len(STORIES)
    assert {c.state for c in conversations} == {"open", "snoozed", "resolved"}
    assert {m.channel for m in messages if m.kind == "inbound"} == {"email", "sms", "chat", "form", "slack"}
    assert {m.state for m in messages if m.kind == "outbound"} == {"delivered", "read", "failed"}
    assert any(m.kind == "note" for m in messages) and len(files) == 3 and len(quarantined) == 2
    waiting = [c for c in conversations if c.waiting_since and c.assignee_id is None and c.state == "open"]
    assert len(waiting) >= 5 and any(c.due_at and c.due_at < store.clock() for c in waiting)


def test_mara_is_one_person_with_an_address_and_a_number(store: Store) -> None:
    with store.read() as tx:
        person = tx.exec(select(Contact).where(Contact.name == "Mara Lindqvist", Contact.person_id == Contact.id)).one()
        assert {one.kind for one in identities_of(tx, person.id or 0)} == {"email", "phone"}


def test_the_samples_happened_in_the_past_and_in_order(store: Store) -> None:
    with store.read() as tx:
        times = [fact.at for fact in tx.exec(select(FactRow).order_by(col(FactRow.id)))]
        assert times == sorted(times) and times[-1] <= tx.now
        assert load_drift(tx) == {}
        queued = tx.sql("SELECT count(*) FROM delivery WHERE state IN ('queued','sending')").fetchone()
    assert queued[0] == 0


def test_everybody_signs_in_with_the_printed_password(store: Store) -> None:
    for name in ("jonas", "amara", "tomas", "ines"):
        agent = passed(store, f"{name}@example.com", PASSWORD, ip="127.0.0.1")
        assert agent.email.startswith(name)


def test_the_first_minute(demo: Demo) -> None:
    """A text from the page reaches the hub signed, joins Mara's history, and the answer is seen on her phone."""
    assert "1 Send this text" in demo.live("guide")
    assert demo.play("text", phone="mara", text=page.FIRST_TEXT).json() == {"answer": 200}
    message = demo.message(page.FIRST_TEXT)
    assert message is not None
    with demo.hub.store.read() as tx:
        conversation = tx.get_one(Conversation, message.conversation_id)
        assert conversation.subject.startswith("Order 48213")
    assert page.FIRST_TEXT in demo.live("phone")
    assert "Done: Send this text" in demo.live("guide")

    demo.answer(message.conversation_id, "It arrives on Thursday.")
    until(lambda: "It arrives on Thursday." in (shown := demo.live("phone")) and "delivered" in shown)
    assert "Done: See it arrive" in demo.live("guide")


def test_a_mail_is_fetched_and_its_answer_lands_in_the_mailbox(demo: Demo) -> None:
    demo.play("mail", mailbox="new", subject="Cracked shade", text="The shade is cracked.", photo="1")
    message = until(lambda: demo.message("The shade is cracked."))
    demo.answer(message.conversation_id, "A new one leaves today.")
    until(lambda: "A new one leaves today." in demo.live("mail", mailbox="new"))
    assert "photo.png" in demo.live("mail", mailbox="new") and "No mail yet" in demo.live("mail", mailbox="devon")

    [arrived] = [letter(mail, "got") for mail in demo.doubles.mail.inbox_of("alma.berg@example.net")]
    demo.play("mail", mailbox="new", subject="Re: Cracked shade", text="Thank you!", answers=arrived.id)
    again = until(lambda: demo.message("Thank you!"))
    assert again.conversation_id == message.conversation_id


def test_a_notice_is_claimed_on_the_page(demo: Demo) -> None:
    demo.play("text", phone="unknown", text="Do you sell bulbs?")
    post = until(
        lambda: next((each for each in demo.doubles.slack.messages if "Do you sell bulbs?" in str(each)), None)
    )
    pressed = {"action": "claim", "value": post.buttons["claim"], "channel": post.channel, "ts": post.ts}
    assert demo.play("slack/press", member="sam", **pressed).status_code == 200
    until(lambda: "belongs to no agent" in demo.live("notices", member="sam"))
    assert "belongs to no agent" not in demo.live("notices", member="amara")

    demo.play("slack/press", member="amara", **pressed)
    until(lambda: "With Amara Obi" in demo.live("notices"))
    with demo.hub.store.read() as tx:
        owned = open_assignment(tx, int(pressed["value"]))
        assert owned is not None and tx.get_one(Agent, owned.agent_id).name == "Amara Obi"


def test_a_partner_is_answered_in_the_thread(demo: Demo) -> None:
    demo.play("slack/say", text="The label export is stuck.")
    message = demo.message("The label export is stuck.")
    assert message is not None
    demo.answer(message.conversation_id, "It runs again.", "amara@example.com")
    until(lambda: "It runs again." in demo.live("partners"))


def test_the_page_shows_all_five_customers_and_the_way_in(demo: Demo) -> None:
    shown = LexborHTMLParser(requests.get(f"{demo.url}/sandbox", timeout=10).text)
    assert len(shown.css("section.panel")) == 5
    assert PASSWORD in shown.text() and shown.css("html[lang=en]")
    for frame in shown.css("iframe"):
        inside = requests.get(demo.url + str(frame.attributes["src"]), timeout=10)
        assert inside.status_code == 200
        assert "frame-ancestors 'self'" in inside.headers["Content-Security-Policy"]
    for field in shown.css("textarea, select, input:not([type=hidden])"):
        labelled = field.parent is not None and field.parent.tag == "label"
        assert labelled or shown.css_first(f"label[for={field.attributes.get('id')}]") is not None
    assert not shown.css("[style], [onclick]") and not shown.css("script:not([src])")


def test_the_page_speaks_as_the_browser_asks(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    german = LexborHTMLParser(requests.get(f"{demo.url}/sandbox", headers={"Accept-Language": "de"}, timeout=10).text)
    assert german.css("html[lang=de]") and "Sie sind die Kunden" in german.text()
    invent(monkeypatch)
    shown = LexborHTMLParser(requests.get(f"{demo.url}/sandbox", headers={"Accept-Language": MADE_UP}, timeout=10).text)
    for said in shown.css(".chip, option, .start p, .letters li, .screen li, .posts li, .num, b"):
        said.decompose()  # what customers and agents say, and who they are
    assert "⟦You are the customers⟧" in shown.text() and bare(shown, "") == set()


def test_nothing_new_costs_no_body(demo: Demo) -> None:
    first = requests.get(f"{demo.url}/sandbox/live", timeout=10)
    again = requests.get(f"{demo.url}/sandbox/live", headers={"If-None-Match": first.headers["ETag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")


def test_without_scripts_a_form_comes_back_to_its_panel(demo: Demo) -> None:
    answer = requests.post(
        f"{demo.url}/sandbox/text", data={"phone": "erik", "text": "Tack!"}, allow_redirects=False, timeout=10
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sandbox?phone=erik#phone")


@pytest.mark.parametrize("form", [{}, {"phone": "mara"}, {"phone": "mara", "text": " "}, {"phone": "x", "text": "hi"}])
def test_a_form_that_makes_no_sense_is_a_bad_request(demo: Demo, form: dict[str, str]) -> None:
    assert demo.play("text", **form).status_code == 400


def test_another_site_can_not_play(demo: Demo) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    form = {"phone": "mara", "text": "from elsewhere"}
    assert requests.post(f"{demo.url}/sandbox/text", data=form, headers=headers, timeout=10).status_code == 403


def test_what_people_write_stays_text_on_the_page(demo: Demo) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    demo.play("text", phone="erik", text=evil)
    demo.play("slack/say", text=evil)
    demo.play("mail", mailbox="devon", subject=evil, text=evil)
    until(lambda: demo.message(evil) and evil in demo.live("mail", mailbox="devon"))
    parts: dict[str, str] = requests.get(
        f"{demo.url}/sandbox/live", params={"phone": "erik", "mailbox": "devon"}, timeout=10
    ).json()
    for html in parts.values():
        assert not LexborHTMLParser(html).css("script, img")


def test_the_page_belongs_to_the_demo(tmp_path: Path) -> None:
    app, hub = Flask("test"), Hub(Settings(data_dir=tmp_path, secret_key="0" * 32))
    app.extensions["hub"] = hub
    app.register_blueprint(page.create_blueprint())
    assert app.test_client().get("/sandbox").status_code == 404


@pytest.mark.parametrize(
    ("mrkdwn", "html"),
    [
        ("*First reply overdue* :rotating_light:", "<b>First reply overdue</b> 🚨"),
        ("&lt;script&gt; &amp; <!channel>", "&lt;script&gt; &amp; !channel"),
        (
            "<https://hub.example/1|open it>",
            '<a href="https://hub.example/1" target="_blank" rel="noopener">open it</a>',
        ),
        ("<javascript:alert(1)|click>", "click"),
        ("<!date^0^{time}|1970-01-01>", '<time datetime="1970-01-01T00:00:00+00:00">1970-01-01</time>'),
        ("a*b and 2 * 3", "a*b and 2 * 3"),
    ],
)
def test_slack_markup_becomes_harmless_html(mrkdwn: str, html: str) -> None:
    assert marked_up(mrkdwn) == Markup(html)


@pytest.mark.parametrize(
    "mail", [b"", b"\r\n", b"Date: soon\r\n\r\nhi", b"Content-Type: text/plain; charset=x\r\n\r\n\xff"]
)
def test_any_mail_can_be_shown(mail: bytes) -> None:
    assert letter(mail, "got").side == "got"


@pytest.mark.parametrize("name", ["demo.desk.yaml", "desk.example.yaml"])
def test_the_desk_files_apply_and_come_back_unchanged(store: Store, name: str, tmp_path: Path) -> None:
    fresh = Store(f"sqlite:///{tmp_path / 'hub.db'}")
    upgrade(fresh)
    document: dict[str, Any] = read((CONFIG / name).read_text("utf-8"))
    with fresh.write() as tx:
        assert apply(tx, SYSTEM, document)
    with fresh.write() as tx:
        assert apply(tx, SYSTEM, document) == []
        assert apply(tx, SYSTEM, read(export(tx))) == []
    fresh.close()


def test_a_mailbox_survives_a_restart_of_the_demo(tmp_path: Path) -> None:
    """The doubles begin anew on other ports; what the hub has stays, and new mail still arrives once."""
    first = Demo(tmp_path)
    first.play("mail", mailbox="new", subject="One", text="The first mail.")
    until(lambda: first.message("The first mail."))
    first.stop()
    second = Demo(tmp_path)
    second.play("mail", mailbox="new", subject="Two", text="The second mail.")
    until(lambda: second.message("The second mail."))
    with second.hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM message WHERE text LIKE 'The first mail%'").fetchone()[0] == 1
    assert MAILBOX in second.live("mail")
    second.stop()
