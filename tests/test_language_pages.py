"""Every page in a made-up language: what is shown comes from the catalog or from data, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page

from config import language
from config.language import _
from storage import Tx
from storage.access import NotFound
from tests.browser.room import Browser, words
from tests.browser.scene import furnish
from tests.browser.setting_up import furnish_settings
from tests.desk import Desk
from tests.support.made_up import MADE_UP, bare, invent, rows_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    invent(monkeypatch)


def test_every_page_says_what_the_catalog_has(app: Flask, desk: Desk, made_up: None) -> None:
    furnish(desk)
    furnish_settings(desk)
    browser = Browser(app)
    browser.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = MADE_UP
    browser.sign_in("ines@desk.example")
    data = rows_of(desk)
    seen: set[str] = set()
    waiting = ["/sign-in", "/inbox/all", "/inbox/settings/channels", "/inbox/people", "/inbox/floor", "/inbox/lab"]
    found: dict[str, set[str]] = {}
    while waiting:
        path = waiting.pop()
        shape = re.sub(r"\d+", "N", path.partition("?")[0])
        if shape in seen:
            continue
        seen.add(shape)
        response = browser.get(path)
        if response.status_code == 302 and response.location.startswith("/"):
            waiting.append(response.location)
        if response.status_code != 200 or "html" not in response.content_type:
            continue
        page = Page(response.text)
        waiting += [link for link in _links(page) if link.startswith("/inbox")]
        for part in bare(page, data):
            found.setdefault(part, set()).add(shape)
    assert len(seen) > 60
    wrong = {text: sorted(shapes)[0] for text, shapes in sorted(found.items())}
    assert not wrong, "\n".join(f"{shape}: {text}" for text, shape in wrong.items())


def test_the_door_speaks_what_the_browser_asks_for(app: Flask, desk: Desk) -> None:
    stranger = Browser(app)
    german, english = ("de", "Anmelden"), ("en", "Sign in")
    for asked, (lang, heading) in (("de-AT,en;q=0.5", german), ("sv,en;q=0.5", english), ("", english)):
        stranger.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = asked
        page = Page(stranger.get("/sign-in").text)
        assert _lang(page) == lang
        assert words(page, "h1") == [heading]


def test_an_agent_chooses_what_they_read_and_everybody_else_reads_on(app: Flask, desk: Desk, jonas: Browser) -> None:
    number = desk.mail("Order 48213", "One lamp is missing").conversation_id
    assert jonas.post("/inbox/account/language", language="de").location == "/inbox/account"
    page = jonas.page(f"/inbox/c/{number}?view=unassigned")
    assert _lang(page) == "de"
    assert words(page, "#list-title") == ["Nicht zugewiesen"]
    assert words(page, ".event span") == ["Nach Shipping geleitet durch die Regel „Order keywords“"]

    refused = jonas.post(f"/inbox/c/{number}/snooze", hx=True, until="when", when="2020-01-01")
    assert "past" not in refused.text and "vorbei" in refused.text
    taken = jonas.post(f"/inbox/c/{number}/claim", hx=True)
    assert "Sie haben sie jetzt." in taken.text
    ines = Browser(app)
    ines.sign_in("ines@desk.example")
    assert _lang(ines.page("/inbox/all")) == "en"
    assert language.spoken() == language.ENGLISH

    jonas.post("/inbox/account/language", language="")
    assert _lang(jonas.page("/inbox/account")) == "en"


def test_what_is_refused_in_the_writer_thread_is_said_in_the_agents_language(desk: Desk) -> None:
    def unit(tx: Tx) -> None:
        raise NotFound(_("There is no view {number}: somebody deleted it, or it is somebody else's.", number=7))

    with language.speaking("de"), pytest.raises(NotFound, match="Es gibt keine Ansicht 7"):
        desk.hub.store.submit(unit)
    with pytest.raises(NotFound, match="There is no view 7"):
        desk.hub.store.submit(unit)


def _lang(page: Page) -> str | None:
    html = page.css_first("html")
    assert html is not None
    return html.attributes["lang"]


def _links(page: Page) -> Iterator[str]:
    for node in page.css("[href], [hx-get], iframe[data-src]"):
        for name in ("href", "hx-get"):
            if (link := node.attributes.get(name)) and "download" not in node.attributes and "stream" not in link:
                yield link.partition("#")[0]
