"""Single sign-on: whoever the identity provider vouches for comes in; whatever is wrong with its proof is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from config import SettingsError, load
from hub.oidc import Provider
from hub.secondstep import require_of_all
from storage.access import SYSTEM
from storage.factrows import FactRow
from storage.people import Agent
from tests.browser.room import Browser, attr, words
from tests.desk import Desk
from tests.support.identity import CLIENT, SECRET, Claims, Identity, identity


@pytest.fixture
def provider(desk: Desk) -> Iterator[Identity]:
    with identity(desk.clock) as running:
        furnish(desk, running)
        yield running


def furnish(desk: Desk, provider: Identity) -> None:
    desk.hub.settings = desk.hub.settings.changed(
        oidc_issuer=provider.base, oidc_client_id=CLIENT, oidc_client_secret=SECRET, oidc_name="Example ID"
    )
    desk.hub.provider = Provider(desk.hub.settings, desk.clock)


def go(browser: Browser, path: str = "/sign-in/oidc") -> str:
    """To the provider and back to our door, whose address comes back."""
    there = browser.get(path)
    assert there.status_code == 302, there.text[:600]
    assert urlsplit(there.location).path == "/authorize"
    back = requests.get(there.location, allow_redirects=False, timeout=10)
    assert back.headers["Location"].startswith("https://desk.example/sign-in/oidc/back?")
    return back.headers["Location"].removeprefix("https://desk.example")


def problem(browser: Browser, path: str | None = None) -> str:
    answer = browser.get(path or go(browser))
    assert answer.status_code == 403, (answer.status_code, answer.text[:600])
    assert browser.get("/inbox/mine").status_code == 302
    (told,) = words(Page(answer.text), ".problem")
    return told


def test_jonas_comes_in_by_single_sign_on(app: Flask, desk: Desk, provider: Identity) -> None:
    browser = Browser(app)
    page = browser.page("/sign-in?next=/inbox/all")
    assert words(page, "a.sso") == ["Go on with Example ID"]
    back = go(browser, attr(page, "a.sso", "href"))
    answer = browser.get(back)
    assert (answer.status_code, answer.location) == (303, "/inbox/all")
    assert "by single sign-on" in " ".join(words(browser.page("/inbox/account"), ".card-row p"))
    assert browser.get(back).status_code == 403, "an answer counts once"
    with desk.hub.store.read() as tx:
        facts = [row.data["how"] for row in tx.exec(select(FactRow).where(FactRow.name == "SignedIn"))]
    assert facts == ["single sign-on"]


def test_what_is_asked_for_is_what_the_standards_say(app: Flask, provider: Identity) -> None:
    one, other = (parse_qs(urlsplit(Browser(app).get("/sign-in/oidc").location).query) for _ in range(2))
    assert one["redirect_uri"] == ["https://desk.example/sign-in/oidc/back"]
    assert one["scope"] == ["openid email profile"] and one["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert one[name] != other[name] and len(one[name][0]) >= 32
    assert provider.asked.count("/.well-known/openid-configuration") == 1, "it is remembered"


def changed(**values: Any) -> Callable[[Claims], Claims]:
    return lambda told: {name: value for name, value in {**told, **values}.items() if value is not None}


STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
AT = 1795514400  # Tuesday, 24 November 2026, 10:00 UTC, the tests' clock


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        (changed(iss="https://evil.example"), "made by another provider"),
        (changed(aud="somebody-else"), "made for another program"),
        (changed(aud=[CLIENT, "other"]), "for several programs"),
        (changed(aud=[CLIENT, "other"], azp="other"), "for several programs"),
        (changed(nonce="of another sign-in"), "belongs to another sign-in"),
        (changed(nonce=None), "belongs to another sign-in"),
        (changed(exp=AT - 61), "too old"),
        (changed(iat=AT - 601), "too old"),
        (changed(iat=AT + 120), "from the future"),
        (changed(nbf=AT + 120), "from the future"),
        (changed(exp=None), "does not say its exp"),
        (changed(sub=None), "does not say its sub"),
        (changed(email_verified=False), "does not vouch for Jonas@desk.example"),
        (changed(email_verified=None), "does not vouch for"),
        (changed(email_verified="yes"), "does not vouch for"),
        (changed(email="mara@example.com"), "Nobody here has the address mara@example.com"),
        (changed(email=17), "does not say your e-mail address"),
    ],
)
def test_a_proof_that_says_something_wrong_is_refused(
    app: Flask, provider: Identity, claims: Callable[[Claims], Claims], sentence: str
) -> None:
    provider.claims = claims
    assert sentence in problem(Browser(app))


def signed(key: Any, alg: str, **header: Any) -> Callable[[Claims], str]:
    return lambda told: jwt.encode(told, key, algorithm=alg, headers={"kid": "one"} | header)


@pytest.mark.parametrize(
    ("sign", "sentence"),
    [
        (signed(None, "none"), "not signed in a way"),
        (signed("the client's secret, which is long enough for a MAC", "HS256"), "not signed in a way"),
        (signed(STRANGER, "RS256"), "somebody else made this proof"),
        (signed(STRANGER, "RS256", kid="two"), "a key that it does not publish"),
        (lambda _: "no token at all", "no readable proof"),
        (lambda _: "", "no readable proof"),
    ],
    ids=["unsigned", "shared secret", "another key", "unknown key", "nonsense", "nothing"],
)
def test_a_proof_that_somebody_else_signed_is_refused(
    app: Flask, provider: Identity, sign: Callable[[Claims], str], sentence: str
) -> None:
    provider.sign = sign
    assert sentence in problem(Browser(app))


def test_a_proof_that_was_changed_on_its_way_is_refused(app: Flask, provider: Identity) -> None:
    def tampered(told: Claims) -> str:
        head, body, mac = jwt.encode(told, provider.key, algorithm="RS256", headers={"kid": "one"}).split(".")
        return ".".join((head, body, ("A" if mac[0] != "A" else "B") + mac[1:]))

    provider.sign = tampered
    assert "somebody else made this proof" in problem(Browser(app))


def test_an_answer_to_another_browser_or_sign_in_is_refused(app: Flask, desk: Desk, provider: Identity) -> None:
    mine, other = Browser(app), Browser(app)
    back = go(mine)
    assert "began in another browser" in problem(other, back)
    go(mine)
    assert "belongs to another sign-in" in problem(mine, back)
    elsewhere = go(mine).replace("iss=http", "iss=https")
    assert "comes from another provider" in problem(mine, elsewhere)
    late = go(mine)
    desk.clock.forward(minutes=11)
    assert "took too long" in problem(mine, late)


def test_a_code_counts_once(app: Flask, provider: Identity) -> None:
    browser = Browser(app)
    back = go(browser)
    provider.codes.clear()
    assert "refused what we asked" in problem(browser, back)


def test_somebody_who_says_no_there_can_begin_again(app: Flask, provider: Identity) -> None:
    provider.refuses = "access_denied"
    browser = Browser(app)
    assert "you or it said no" in problem(browser)
    provider.refuses = ""
    assert browser.get(go(browser)).status_code == 303


def test_keys_that_are_changed_and_other_signatures_are_found(app: Flask, desk: Desk, provider: Identity) -> None:
    first = Browser(app)
    assert first.get(go(first)).status_code == 303
    provider.new_key("two")
    assert desk.hub.provider is not None
    desk.hub.provider._fetched_at -= 2  # fetched some time ago, not this very second
    second = Browser(app)
    assert second.get(go(second)).status_code == 303
    provider.alg = "ES256"
    provider.new_key("three")
    desk.hub.provider._fetched_at -= 2
    third = Browser(app)
    assert third.get(go(third)).status_code == 303


def test_an_address_that_only_userinfo_tells_counts_for_the_same_person(app: Flask, provider: Identity) -> None:
    provider.person = {"sub": "j1"}
    provider.userinfo = {"sub": "j1", "email": "jonas@desk.example", "email_verified": True}
    browser = Browser(app)
    assert browser.get(go(browser)).status_code == 303
    provider.userinfo = {"sub": "a2", "email": "ines@desk.example", "email_verified": True}
    assert "speaks of two people" in problem(Browser(app))


def test_a_provider_that_is_another_or_away_is_told_of(app: Flask, desk: Desk, provider: Identity) -> None:
    provider.document = {"issuer": "https://evil.example"}
    answer = Browser(app).get("/sign-in/oidc")
    assert answer.status_code == 503 and "calls itself https://evil.example" in answer.text
    provider.document = {"token_endpoint": None}
    assert "does not say its token_endpoint" in Browser(app).get("/sign-in/oidc").text
    provider.document = {"jwks_uri": "http://keys.example/"}
    assert "without encryption at keys.example" in Browser(app).get("/sign-in/oidc").text
    desk.hub.settings = desk.hub.settings.changed(oidc_issuer="http://127.0.0.1:9")
    desk.hub.provider = Provider(desk.hub.settings, desk.clock)
    assert "be reached right now" in Browser(app).get("/sign-in/oidc").text


def test_who_was_switched_off_is_not_let_in(app: Flask, desk: Desk, provider: Identity) -> None:
    with desk.hub.store.write() as tx:
        jonas = tx.get_one(Agent, desk.jonas.agent_id)
        jonas.active = False
        tx.add(jonas)
    assert "Nobody here has the address" in problem(Browser(app))


def test_the_second_step_of_the_desk_is_left_to_the_provider(app: Flask, desk: Desk, provider: Identity) -> None:
    with desk.hub.store.write() as tx:
        require_of_all(tx, SYSTEM, True)
    browser = Browser(app)
    browser.get(go(browser))
    assert browser.get("/inbox/mine").status_code == 200


def test_trying_forged_answers_is_stopped(app: Flask, provider: Identity) -> None:
    for _ in range(25):  # pictures in a mail can do this in anybody's browser
        problem(Browser(app), "/sign-in/oidc/back?state=x&code=y")
    for _ in range(20):
        browser = Browser(app)
        browser.get("/sign-in/oidc")
        problem(browser, "/sign-in/oidc/back?state=x&code=y")
    browser = Browser(app)
    late = browser.get(go(browser))
    assert late.status_code == 429 and "Too many tries" in late.text


def test_without_a_provider_there_is_no_such_door(app: Flask) -> None:
    assert Browser(app).get("/sign-in/oidc").status_code == 404
    assert Browser(app).get("/sign-in/oidc/back?state=x").status_code == 404
    assert Browser(app).page("/sign-in").css_first("a.sso") is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"OIDC_ISSUER": "id.example.com"}, "oidc_issuer must begin with https://"),
        ({"OIDC_ISSUER": "https://id.example.com"}, "oidc_issuer needs oidc_client_id"),
    ],
)
def test_settings_that_can_not_work_stop_the_program(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        load(None, given | {"HUB_TOML": "/nonexistent"})
