"""Web forms: the hosted page and any site's form become messages once, and the browser goes where it may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from shutil import copy

import pytest

from hub import Hub
from tests.clock import Clock
from tests.doors import FORM, SHOP, Client, compose, messages, opened, served

ANSWERS = {
    "name": "Mara Lindqvist",
    "email": "mara.lindqvist@example.com",
    "subject": "Lamp",
    "message": "It flickers 💡",
}
POST = "/webhooks/forms/contact"


@pytest.fixture
def hub(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Hub]:
    with opened(database_url, tmp_path, clock, FORM) as hub:
        yield hub


@pytest.fixture
def site(hub: Hub) -> Iterator[Client]:
    with served(compose(hub)) as client:
        yield client


def action(page: str) -> str:
    found = re.search(r'<form[^>]* action="([^"]+)"', page)
    assert found
    return unescape(found[1])


def test_mara_fills_in_the_hosted_page_and_is_thanked(hub: Hub, site: Client) -> None:
    page = site.get("/forms/contact")
    assert page.status_code == 200
    assert "frame-ancestors 'self' https://shop.example" in page.headers["Content-Security-Policy"]
    assert "<script" not in page.text
    thanked = site.post(action(page.text), data=ANSWERS | {"website": ""})
    assert thanked.url.endswith("/forms/contact/thanks")
    assert "Your message has arrived" in thanked.text
    (message,) = messages(hub)
    assert (message.subject, message.text) == ("Lamp", "It flickers 💡")


def test_every_field_of_the_page_has_its_label(site: Client) -> None:
    page = site.get("/forms/contact").text
    inputs = re.findall(r'<(?:input|textarea) id="([^"]+)"', page)
    assert set(inputs) == set(re.findall(r'<label for="([^"]+)"', page))
    assert len(inputs) == 6


def test_the_page_speaks_what_the_customer_s_browser_asks_for(site: Client) -> None:
    for asked, lang, sends in (("de-CH,de;q=0.9", "de", "Senden"), ("en", "en", "Send")):
        page = site.get("/forms/contact", headers={"Accept-Language": asked}).text
        assert f'<html lang="{lang}" dir="ltr">' in page
        assert f">{sends}</button>" in page


def test_a_double_click_is_one_message_and_a_second_letter_is_two(hub: Hub, site: Client) -> None:
    address = action(site.get("/forms/contact").text)
    with ThreadPoolExecutor(5) as pool:
        codes = list(pool.map(lambda _: site.post(address, data=ANSWERS).status_code, range(5)))
    assert codes == [200] * 5
    assert len(messages(hub)) == 1
    site.post(address, data=ANSWERS | {"message": "And another thing"})
    assert [message.text for message in messages(hub)] == ["It flickers 💡", "And another thing"]


def test_equal_words_count_once_in_a_while_and_again_an_hour_later(hub: Hub, site: Client, clock: Clock) -> None:
    assert site.post(POST, json=ANSWERS).status_code == 201
    assert site.post(POST, json=ANSWERS).status_code == 200
    clock.forward(minutes=9, seconds=59)
    site.post(POST, json=ANSWERS | {"name": "M"})
    clock.forward(seconds=2)
    site.post(POST, json=ANSWERS | {"name": "M"})  # the same click, across the border of the window
    assert len(messages(hub)) == 2
    clock.forward(hours=1)
    assert site.post(POST, json=ANSWERS).status_code == 201
    assert len(messages(hub)) == 3


def test_a_key_of_the_sender_s_own_outlives_the_window(hub: Hub, site: Client, clock: Clock) -> None:
    key = {"Idempotency-Key": "7d1f0a52"}
    site.post(POST, json=ANSWERS, headers=key)
    clock.forward(hours=3)
    site.post(POST, json=ANSWERS, headers=key)
    assert len(messages(hub)) == 1


def test_what_a_form_says_to_the_door_is_no_answer(hub: Hub, site: Client, clock: Clock) -> None:
    body = ANSWERS | {"_id": "c0ffee", "_redirect": f"{SHOP}/thanks"}
    for _ in range(2):
        answer = site.post(POST, data=body, allow_redirects=False)
        assert answer.headers["Location"] == f"{SHOP}/thanks"
        clock.forward(hours=1)
    (message,) = messages(hub)
    assert message.fields == ANSWERS


def test_a_browser_s_new_boundary_is_no_new_message(hub: Hub, site: Client) -> None:
    for _ in range(2):
        files = {"photo": ("lamp.png", b"\x89PNG\r\n\x1a\n" + bytes(64), "image/png")}
        assert site.post(POST, data=ANSWERS, files=files).status_code == 200
    assert len(messages(hub)) == 1


@pytest.fixture
def local(tmp_path: Path, sqlite_template: Path, clock: Clock) -> Iterator[Client]:
    """For what is the same on every database."""
    copy(sqlite_template, tmp_path / "hub.db")
    with opened(f"sqlite:///{tmp_path / 'hub.db'}", tmp_path, clock, FORM) as hub, served(compose(hub)) as client:
        yield client


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        (f"{SHOP}/thanks", f"{SHOP}/thanks"),
        (f"{SHOP}/thanks/you?x=1", f"{SHOP}/thanks/you?x=1"),
        ("https://evil.example/", "/forms/contact/thanks"),
        ("//evil.example/thanks", "/forms/contact/thanks"),
        (f"{SHOP}.evil.example/thanks", "/forms/contact/thanks"),
        (f"{SHOP}@evil.example/thanks", "/forms/contact/thanks"),
        ("javascript:alert(1)", "/forms/contact/thanks"),
        (f"{SHOP}/thanks/../admin", "/forms/contact/thanks"),
        ("", "/forms/contact/thanks"),
    ],
)
def test_a_browser_is_sent_on_only_where_the_desk_allows(local: Client, wanted: str, goes: str) -> None:
    answer = local.post(POST, params={"redirect": wanted}, data=ANSWERS, allow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["Location"] == goes


def test_another_site_s_script_may_post_when_it_is_named(hub: Hub, site: Client) -> None:
    asked = site.options(POST, headers={"Origin": SHOP, "Access-Control-Request-Method": "POST"})
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (204, SHOP)
    answer = site.post(POST, json=ANSWERS, headers={"Origin": SHOP})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (201, SHOP)
    assert "Access-Control-Allow-Credentials" not in answer.headers
    refused = site.post(POST, json=ANSWERS | {"name": "Other"}, headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert "origins" in refused.json()["error"]
    assert site.options(POST, headers={"Origin": "null"}).status_code == 403
    assert len(messages(hub)) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"name": "Mara"', "application/json", 400),
        (b"[1, 2]", "application/json", 400),
        (b"\xff\xfe{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"", "application/json", 400),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"hello", "text/plain", 415),
        (b"<form/>", "application/xml", 415),
        (b"hello", "", 415),
    ],
)
def test_a_body_that_makes_no_form_is_refused_with_a_sentence(
    local: Client, body: bytes, content_type: str, status: int
) -> None:
    answer = local.post(POST, data=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json()["error"].endswith(".")


def test_a_megabyte_of_text_arrives_whole(hub: Hub, site: Client) -> None:
    long = "Längtan 🌲 " * 100_000
    assert site.post(POST, data=ANSWERS | {"message": long}).status_code == 200
    assert site.post(POST, json=ANSWERS | {"message": long}).status_code == 201
    assert [message.text for message in messages(hub)] == [long, long]


def test_an_upload_beyond_the_limit_is_refused_and_leaves_nothing(
    database_url: str, tmp_path: Path, clock: Clock
) -> None:
    with opened(database_url, tmp_path, clock, FORM, max_body_mb=1) as hub, served(compose(hub)) as site:
        files = {"video": ("film.mp4", bytes(1_200_000), "video/mp4")}
        answer = site.post(POST, data=ANSWERS, files=files, headers={"Accept": "application/json"})
        assert answer.status_code == 413
        assert answer.json() == {"error": "The request is too large."}
        assert messages(hub) == []


def test_what_fills_in_the_trap_is_dropped_without_being_told(hub: Hub, site: Client) -> None:
    answer = site.post(POST, data=ANSWERS | {"website": "https://spam.example"})
    assert "Your message has arrived" in answer.text
    assert messages(hub) == []


def test_a_form_that_nobody_has_set_up_is_not_there(site: Client) -> None:
    for answer in (site.get("/forms/nothing"), site.post("/webhooks/forms/nothing", json=ANSWERS)):
        assert answer.status_code == 404
        assert "nothing" in answer.json()["error"]
    wrong = site.get(POST)
    assert (wrong.status_code, wrong.json()) == (405, {"error": "This address does not take GET."})
    assert "POST" in wrong.headers["Allow"]


def test_words_of_the_desk_are_never_markup(database_url: str, tmp_path: Path, clock: Clock) -> None:
    words = {"title": "<script>alert(1)</script>", "intro": '"><img src=x>'}
    loud = FORM.model_copy(update={"settings": FORM.settings | words})
    with opened(database_url, tmp_path, clock, loud) as hub, served(compose(hub)) as site:
        page = site.get("/forms/contact").text
        assert "<script" not in page
        assert "<img" not in page
