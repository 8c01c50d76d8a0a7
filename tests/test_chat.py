"""Web chat: a visitor writes and is answered, sees these lines and no others, and needs neither cookie nor account."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from queue import Queue
from typing import Any

import jwt
import pytest
from sqlmodel import select

from hub.replies import reply
from storage.desk import ChannelAccount, touch_desk
from storage.people import Identity
from tests.desk import MARA_MAIL, Desk
from tests.doors import SHOP, Client, answer, compose, served

SECRET = "the shop's secret, at least thirty-two bytes long"


@pytest.fixture
def site(desk: Desk) -> Iterator[Client]:
    with desk.hub.store.write() as tx:
        account = tx.exec(select(ChannelAccount).where(ChannelAccount.name == "shop-chat")).one()
        account.settings = {**account.settings, "audience": "hub", "origins": [SHOP], "greeting": "Hej & <hello>"}
        tx.add(account)
        touch_desk(tx)
    desk.hub.look_again()
    with served(compose(desk.hub)) as client:
        yield client


class Browser:
    """A visitor's widget."""

    def __init__(self, site: Client, **asked: str):
        self.site = site
        self.answer = site.post("/chat/session", json={"channel": "shop-chat", **asked})
        self.token = self.answer.json().get("token", "")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def say(self, text: str, client_id: str = "") -> Any:
        line = {"id": client_id or str(uuid.uuid4()), "text": text, "page": "https://shop.example/lamps?token=secret"}
        return self.site.post("/chat/messages", json=line, headers=self.headers)

    def lines(self, **query: str) -> list[dict[str, Any]]:
        answer = self.site.get("/chat/messages", params=query, headers=self.headers)
        assert answer.status_code == 200
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found

    def texts(self) -> list[str]:
        return [line["text"] for line in self.lines()]

    def listen(self, **headers: str) -> Queue[dict[str, Any]]:
        """What the stream brings, as it comes."""
        heard: Queue[dict[str, Any]] = Queue()
        answer = self.site.get("/chat/stream", headers=self.headers | headers, stream=True)
        assert answer.headers["Content-Type"].startswith("text/event-stream")

        def read() -> None:
            event: dict[str, Any] = {}
            for row in answer.iter_lines(chunk_size=1, decode_unicode=True):
                name, _, value = row.partition(": ")
                if not row and "data" in event:
                    heard.put(event)
                event = {} if not row else event | {name: json.loads(value) if name == "data" else value}

        threading.Thread(target=read, daemon=True).start()
        return heard


def signed(desk: Desk, secret: str = SECRET, lasts: timedelta = timedelta(hours=1), **claims: Any) -> str:
    body = {"sub": "customer-1041", "email": MARA_MAIL, "name": "Mara Lindqvist", "aud": "hub"}
    return jwt.encode(body | {"exp": desk.clock() + lasts} | claims, secret, algorithm="HS256")


def test_a_visitor_writes_and_is_answered_live(desk: Desk, site: Client) -> None:
    visitor = Browser(site)
    assert visitor.answer.status_code == 201
    assert "Set-Cookie" not in visitor.answer.headers
    heard = visitor.listen()
    assert visitor.say("Is the Fjord lamp in stock? 💡").status_code == 201
    first = heard.get(timeout=10)
    assert (first["event"], first["data"]["from"]) == ("message", "visitor")
    answer(desk, desk.only_conversation().id or 0, "Yes, twelve of them.")
    second = heard.get(timeout=10)
    assert (second["data"]["from"], second["data"]["name"]) == ("agent", "Jonas")
    assert second["data"]["text"] == "Yes, twelve of them."
    assert visitor.texts() == ["Is the Fjord lamp in stock? 💡", "Yes, twelve of them."]


def test_a_line_is_shown_when_it_has_left_and_not_while_it_can_be_taken_back(desk: Desk, site: Client) -> None:
    visitor = Browser(site)
    visitor.say("hello")
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, desk.only_conversation().id or 0, text="wait, that was wrong", tokens=desk.hub.tokens)
    assert visitor.texts() == ["hello"]


def test_a_cut_stream_goes_on_where_it_ended(desk: Desk, site: Client) -> None:
    visitor = Browser(site)
    visitor.say("first")
    cursor = site.get("/chat/messages", headers=visitor.headers).json()["cursor"]
    visitor.say("second")
    answer(desk, desk.only_conversation().id or 0, "third")
    heard = visitor.listen(**{"Last-Event-ID": str(cursor)})
    assert [heard.get(timeout=10)["data"]["text"] for _ in range(2)] == ["second", "third"]
    assert visitor.lines(after=str(cursor)) != []
    newest = site.get("/chat/messages", headers=visitor.headers).json()["cursor"]
    assert visitor.lines(after=str(newest)) == []


def test_the_same_line_sent_fifty_times_at_once_is_one(desk: Desk, site: Client) -> None:
    visitor, own = Browser(site), str(uuid.uuid4())
    with ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(lambda _: visitor.say("only once", own).status_code, range(50)))
    assert sorted(codes) == [200] * 49 + [201]
    assert visitor.texts() == ["only once"]


def test_another_visitor_s_id_does_not_swallow_my_line(site: Client) -> None:
    one, other, shared = Browser(site), Browser(site), str(uuid.uuid4())
    one.say("mine", shared)
    other.say("yours", shared)
    assert (one.texts(), other.texts()) == (["mine"], ["yours"])


def test_a_visitor_hears_nobody_else(desk: Desk, site: Client) -> None:
    mara, stranger = Browser(site), Browser(site)
    stranger.say("hi")
    heard = stranger.listen()
    mara.say("my card number is 4111")
    answer(desk, desk.conversations()[1].id or 0, "never send that")
    stranger.say("bye")
    assert heard.get(timeout=10)["data"]["text"] == "bye"
    assert stranger.texts() == ["hi", "bye"]


def test_a_signed_customer_joins_her_history_and_sees_only_her_chat(desk: Desk, site: Client) -> None:
    desk.mail("Private matter", "My diagnosis is attached.")
    person = desk.only_conversation().contact_id
    mara = Browser(site, identity=signed(desk))
    assert mara.answer.json()["signed"]
    heard = mara.listen()
    mara.say("It's me again")
    chat = next(each for each in desk.conversations() if each.channel == "chat")
    assert chat.contact_id == person
    with desk.hub.store.write() as tx:
        mail = desk.hub.channel_named("support-mail").id
        reply(tx, desk.jonas, chat.id or 0, text="by mail", tokens=desk.hub.tokens, channel_id=mail)
    answer(desk, chat.id or 0, "here in the chat", channel_id=desk.hub.channel_named("shop-chat").id)
    assert [heard.get(timeout=10)["data"]["text"] for _ in range(2)] == ["It's me again", "here in the chat"]
    assert mara.texts() == ["It's me again", "here in the chat"]


def test_a_reply_to_a_signed_customer_s_chat_goes_to_the_chat(desk: Desk, site: Client) -> None:
    mara = Browser(site, identity=signed(desk))
    mara.say("Are you there?")
    answer(desk, desk.only_conversation().id or 0, "Yes")
    assert mara.texts() == ["Are you there?", "Yes"]


def test_a_signed_customer_finds_her_chat_again_in_another_browser(desk: Desk, site: Client) -> None:
    Browser(site, identity=signed(desk)).say("from the phone")
    assert Browser(site, identity=signed(desk)).texts() == ["from the phone"]
    assert Browser(site, identity=signed(desk, sub="customer-7", email="other@example.com")).texts() == []


def test_who_signs_out_of_the_shop_leaves_the_chat_as_well(desk: Desk, site: Client) -> None:
    mara = Browser(site, identity=signed(desk))
    mara.say("private")
    assert Browser(site, token=mara.token).texts() == []


def test_a_visitor_who_comes_back_goes_on(desk: Desk, site: Client) -> None:
    before = Browser(site)
    before.say("hello")
    desk.clock.forward(days=20)
    again = Browser(site, token=before.token)
    assert again.answer.status_code == 200
    desk.clock.forward(days=20)
    assert again.texts() == ["hello"]


def test_the_secret_is_never_stored(desk: Desk, site: Client) -> None:
    visitor = Browser(site)
    visitor.say("hello")
    with desk.hub.store.read() as tx:
        (identity,) = tx.exec(select(Identity).where(Identity.kind == "chat")).all()
    assert len(identity.value) == 64
    assert visitor.token not in identity.value
    message = desk.messages(desk.only_conversation().id or 0)[0]
    assert message.fields == {"page": "https://shop.example/lamps"}


def test_forged_expired_and_missing_sessions_are_told_so(desk: Desk, site: Client) -> None:
    visitor = Browser(site)
    forged = visitor.token[:-12] + visitor.token[-12:][::-1]
    for token in ("", "nonsense", forged, "x" * 9000):
        for path in ("/chat/messages", "/chat/stream"):
            refused = site.get(path, headers={"Authorization": f"Bearer {token}"})
            assert refused.status_code == 401
            assert refused.json()["error"].endswith("reload the page.")
    desk.clock.forward(days=31)
    late = visitor.say("still there?")
    assert (late.status_code, late.json()) == (401, {"error": "This chat session has expired; reload the page."})


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "another shop's secret, just as long as ours"},
        {"lasts": timedelta(days=-30)},
        {"aud": "somebody else"},
        {"sub": None},
    ],
)
def test_an_identity_that_the_shop_did_not_sign_is_refused(desk: Desk, site: Client, wrong: dict[str, Any]) -> None:
    refused = Browser(site, identity=signed(desk, **wrong)).answer
    assert refused.status_code == 403
    assert refused.json()["error"].endswith((".", "'"))


def test_an_unsigned_identity_is_refused(desk: Desk, site: Client) -> None:
    head, body, _ = signed(desk).split(".")
    none = jwt.encode({"sub": "customer-1041"}, "", algorithm="none")
    for token in (f"{head}.{body}.", none, "a.b.c", "é"):
        assert Browser(site, identity=token).answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"id": "11111111-1111-4111-8111-111111111111", "text": "   "}', 400),
        (b'{"id": "11111111-1111-4111-8111-111111111111"}', 400),
        (b'{"id": "x", "text": "hi"}', 400),
        (b'{"id": 7, "text": "hi"}', 400),
        (b'{"id": "11111111-1111-4111-8111-111111111111", "text": ["hi"]}', 400),
        (b'{"id": "11111111-1111-4111-8111-111111111111", "text": "hi"', 400),
        (b"[]", 400),
        (b"", 400),
        (json.dumps({"id": "1" * 32, "text": "x" * 10_001}).encode(), 400),
        (json.dumps({"id": "1" * 32, "text": "x" * 1_000_000}).encode(), 413),
    ],
)
def test_a_line_that_can_t_be_is_refused_with_a_sentence(site: Client, body: bytes, status: int) -> None:
    visitor = Browser(site)
    headers = visitor.headers | {"Content-Type": "application/json"}
    refused = site.post("/chat/messages", data=body, headers=headers)
    assert refused.status_code == status
    assert refused.json()["error"].endswith((".", "'"))
    assert visitor.texts() == []


def test_ten_thousand_characters_and_no_more(site: Client) -> None:
    visitor = Browser(site)
    assert visitor.say("å" * 10_000).status_code == 201
    assert visitor.say("å" * 10_001).status_code == 400


def test_the_chat_opens_on_the_sites_it_is_meant_for(site: Client) -> None:
    page = site.get("/chat/frame", params={"channel": "shop-chat", "origin": SHOP})
    assert page.status_code == 200
    assert f"frame-ancestors 'self' {SHOP}" in page.headers["Content-Security-Policy"]
    assert f'data-origin="{SHOP}"' in page.text
    assert "Hej &amp; &lt;hello&gt;" in page.text
    assert site.get("/chat/frame", params={"origin": "https://evil.example"}).status_code == 403
    refused = site.post("/chat/session", json={"channel": "shop-chat"}, headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert site.get("/chat/frame", params={"channel": "none"}).status_code == 404


def test_the_loader_is_small_and_public(site: Client) -> None:
    loader = site.get("/chat/widget.js")
    assert loader.headers["Content-Type"].startswith("text/javascript")
    assert loader.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert len(loader.content) < 10_000


def test_the_demo_shop_is_open_on_a_demo_desk_only(desk: Desk, site: Client) -> None:
    assert site.get("/chat/demo-shop").status_code == 404
    desk.hub.settings = desk.hub.settings.changed(demo=True)
    page = site.get("/chat/demo-shop", params={"signed-in": "1"})
    assert "Signed in as Mara Lindqvist" in page.text
    identity = page.text.split('data-identity="')[1].split('"')[0]
    assert Browser(site, identity=identity).answer.json()["signed"]
