"""Settings → Webhooks: an endpoint is made, proved by a test event, watched in its log, and taken out again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser as Page
from standardwebhooks import Webhook

from hub.endpoints import endpoints
from tests.browser.room import Browser, attr, words
from tests.desk import Desk
from tests.test_webhooks_outgoing import Crm, Subscription

WEBHOOKS = "/inbox/settings/webhooks"


@pytest.fixture
def crm() -> Iterator[Crm]:
    crm = Crm()
    yield crm
    crm.server.shutdown()
    crm.server.server_close()


@pytest.fixture
def subscription(desk: Desk, crm: Crm) -> Subscription:
    """A first endpoint, and the duties that deliver."""
    return Subscription(desk, crm.url, "message.received")


def rows(desk: Desk) -> list[Any]:
    with desk.hub.store.read() as tx:
        return endpoints(tx, desk.ines)


def test_an_endpoint_is_made_its_secret_shown_once_and_proved(
    desk: Desk, ines: Browser, crm: Crm, subscription: Subscription
) -> None:
    ines.page(f"{WEBHOOKS}/new")
    made = Page(ines.post(f"{WEBHOOKS}/new", name="shop", url=crm.url, event=["conversation.resolved"]).text)
    secret = words(made, "code.secret")[0]
    row = rows(desk)[-1]
    assert secret.startswith("whsec_") and row.secret == secret and row.events == ["conversation.resolved"]
    shown = ines.get(f"{WEBHOOKS}/{row.id}").text
    assert secret not in shown, "never again"

    assert ines.post(f"{WEBHOOKS}/{row.id}/test").status_code == 303
    page = ines.page(f"{WEBHOOKS}/{row.id}")
    assert words(page, ".hook-log b") == ["webhook.test"] and attr(page, "#log", "hx-get").endswith("/log"), "it moves"
    subscription.work()
    (headers, body) = crm.heard[-1]
    told = Webhook(secret).verify(body, headers)
    assert told["type"] == "webhook.test" and told["data"]["endpoint"] == "shop"
    log = Page(ines.get(f"{WEBHOOKS}/{row.id}/log", hx=True).text)
    assert "Taken (200)" in words(log, ".hook-log .good")[0] and words(log, ".hook-log pre") == ["thanks"]
    assert not log.css("#log[hx-get]"), "and comes to rest"


def test_what_is_not_taken_is_told_and_handed_over_again(
    desk: Desk, ines: Browser, crm: Crm, subscription: Subscription
) -> None:
    crm.answers = [(410, {}, b"moved away"), (200, {}, b"ok")]
    ines.page(WEBHOOKS)
    ines.post(f"{WEBHOOKS}/{subscription.id}/test")
    subscription.work()
    page = ines.page(f"{WEBHOOKS}/{subscription.id}")
    assert "says that it is gone (410)" in words(page, ".hook-log .bad")[0]
    assert "Switched off" in words(ines.page(WEBHOOKS), ".card-row")[0]
    refused = ines.post(f"{WEBHOOKS}/{subscription.id}/test")
    assert refused.status_code == 409 and "switch it on first" in refused.text
    number = words(page, ".hook-log .faint")[0].split()[0].removeprefix("msg_")
    assert ines.post(f"{WEBHOOKS}/deliveries/{number}/replay").status_code == 303
    subscription.work()
    assert "Taken (200)" in words(ines.page(f"{WEBHOOKS}/{subscription.id}"), ".hook-log .good")[0]
    assert crm.heard[0][0]["webhook-id"] == crm.heard[1][0]["webhook-id"], "under its own id"


def test_it_is_changed_switched_and_taken_out(desk: Desk, ines: Browser, subscription: Subscription, crm: Crm) -> None:
    path = f"{WEBHOOKS}/{subscription.id}"
    ines.page(path)
    assert ines.post(path, url=crm.url + "/new", event=["message.received", "contacts.merged"]).status_code == 303
    (row,) = rows(desk)
    assert row.url.endswith("/new") and set(row.events) == {"message.received", "contacts.merged"}
    assert "Nothing was changed" in follow(ines, ines.post(path, url=row.url, event=row.events))
    assert ines.post(f"{path}/switch", on="0").status_code == 303 and not rows(desk)[0].active
    assert ines.post(f"{path}/switch", on="1").status_code == 303 and rows(desk)[0].active
    renewed = words(Page(ines.post(f"{path}/secret").text), "code.secret")[0]
    assert renewed == rows(desk)[0].secret != subscription.secret
    assert "its log goes with it" in words(ines.page(f"{path}/remove"), "main p")[0]
    assert ines.post(f"{path}/remove").status_code == 303 and rows(desk) == []


def follow(browser: Browser, answer: Any) -> str:
    return browser.get(answer.location).text


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"name": " "}, "name", "needs a name"),
        ({"name": "crm"}, "name", "called 'crm' already"),
        ({"url": "ftp://crm.example/"}, "url", "may not be called"),
        ({"event": ["weather.changed"]}, "events", "no event type 'weather.changed'"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    desk: Desk, ines: Browser, subscription: Subscription, typed: dict[str, Any], field: str, sentence: str
) -> None:
    ines.page(f"{WEBHOOKS}/new")
    answer = ines.post(f"{WEBHOOKS}/new", **({"name": "shop", "url": "https://shop.example/hooks"} | typed))
    page = Page(answer.text)
    assert answer.status_code == 422 and sentence in words(page, f"#wrong-{field}")[0]
    assert attr(page, "#url", "value") == typed.get("url", "https://shop.example/hooks")
    assert len(rows(desk)) == 1


def test_only_who_may_decide_on_them_sees_them(desk: Desk, jonas: Browser, subscription: Subscription) -> None:
    assert jonas.get(WEBHOOKS).status_code == jonas.get(f"{WEBHOOKS}/{subscription.id}/log").status_code == 403
