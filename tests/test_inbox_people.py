"""Who may come in: passwords, throttling, sign-ins that end, tokens."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

import pytest
from sqlmodel import select

from hub.apitokens import create_token, token_actor
from hub.people import check_password, create_agent, set_password
from hub.signin import BY_PASSWORD, keep_session, let_in, passed, session_agent, sign_out
from hub.throttle import SignInRefused, forget_old_failures, note_try, one_at_a_time, tried
from storage import Store
from storage.access import Conflict, NotFound
from storage.desk import Queue, Skill
from storage.facts import FactRow
from storage.people import Agent, ApiToken, SignIn
from tests.clock import Clock

PASSWORD = "a quiet morning"


@pytest.fixture
def jonas(store: Store) -> Agent:
    with store.write() as tx:
        tx.add(Queue(name="Shipping"))
        tx.add(Skill(name="orders"))
        tx.flush()
        return create_agent(
            tx,
            name="Jonas Weber",
            email="Jonas@Example.com",
            password=PASSWORD,
            skills={"orders": 4},
            queues=["Shipping"],
        )


def enter(store: Store, password: str = PASSWORD, email: str = "jonas@example.com", ip: str = "192.0.2.1") -> str:
    return let_in(store, passed(store, email, password, ip=ip), BY_PASSWORD, ip=ip)


def test_jonas_signs_in_and_his_cookie_is_known(store: Store, jonas: Agent) -> None:
    secret = enter(store, email=" JONAS@example.com ")

    with store.read() as tx:
        session = session_agent(tx, secret)
        assert session is not None
        assert session.agent.name == "Jonas Weber"
        assert session_agent(tx, secret[:-1] + "x") is None
        assert session_agent(tx, "") is None
        assert secret not in tx.exec(select(SignIn.token_hash)).all()


def test_a_sign_in_slides_and_then_ends(store: Store, jonas: Agent, clock: Clock) -> None:
    secret = let_in(store, jonas, BY_PASSWORD, hours=2)
    clock.forward(minutes=90)
    with store.write() as tx:
        session = session_agent(tx, secret)
        assert session is not None and session.stale
        keep_session(tx, session.sign_in_id, hours=2)
    clock.forward(minutes=90)
    with store.read() as tx:
        assert session_agent(tx, secret) is not None
    clock.forward(minutes=31)
    with store.read() as tx:
        assert session_agent(tx, secret) is None
    clock.forward(days=31)
    assert store.submit(forget_old_failures) == 1


def test_signing_out_ends_it_at_once(store: Store, jonas: Agent) -> None:
    secret = enter(store)
    with store.write() as tx:
        sign_out(tx, secret)
    with store.read() as tx:
        assert session_agent(tx, secret) is None


def test_a_wrong_password_and_an_unknown_address_are_told_alike(store: Store, jonas: Agent) -> None:
    with pytest.raises(SignInRefused) as wrong:
        enter(store, "not this one")
    with pytest.raises(SignInRefused) as unknown:
        enter(store, "not this one", email="nobody@example.com")

    assert str(wrong.value) == str(unknown.value)


def test_guessing_one_address_is_stopped_until_the_window_has_passed(store: Store, jonas: Agent, clock: Clock) -> None:
    for guess in range(5):
        with pytest.raises(SignInRefused, match="belong together"):
            enter(store, f"guess number {guess}", ip=f"192.0.2.{guess}")
        clock.forward(minutes=1)

    with pytest.raises(SignInRefused, match="Wait 10 minutes"):
        enter(store)
    clock.forward(minutes=10, seconds=1)
    assert enter(store)


def test_guessing_many_addresses_from_one_place_is_stopped(store: Store, jonas: Agent) -> None:
    for guess in range(20):
        with pytest.raises(SignInRefused):
            enter(store, "a common password", email=f"somebody{guess}@example.com")

    with pytest.raises(SignInRefused, match="Too many tries"):
        enter(store)
    assert enter(store, ip="198.51.100.7")


def test_guesses_at_the_same_time_are_no_more_than_one_after_another(store: Store, jonas: Agent) -> None:
    elsewhere = Store(str(store.url.render_as_string(hide_password=False)), store.clock)

    def guess(number: int) -> str:
        try:
            enter((store, elsewhere)[number % 2], f"guess number {number}", ip=f"192.0.2.{number}")
        except SignInRefused as refused:
            return "wait" if refused.wait else "wrong"
        return "in"

    with ThreadPoolExecutor(16) as hands:
        said = Counter(hands.map(guess, range(16)))
    elsewhere.close()
    assert said == {"wrong": 5, "wait": 11}
    with store.read() as tx:
        stopped = tx.exec(select(FactRow).where(FactRow.name == "SignInStopped")).all()
        assert [row.data["agent_id"] for row in stopped] == [jonas.id], "told once"


def test_a_guess_waits_for_one_that_another_node_is_counting(store: Store, jonas: Agent) -> None:
    for _ in range(4):
        with pytest.raises(SignInRefused, match="belong together"):
            enter(store, "a guess")
    elsewhere = Store(str(store.url.render_as_string(hide_password=False)), store.clock)
    with ThreadPoolExecutor(1) as hand:
        with elsewhere.write() as tx:
            one_at_a_time(tx, email=jonas.email)
            note_try(tx, "password", jonas.id, email=jonas.email)
            guess = hand.submit(enter, store, "a sixth guess")
            wait([guess], 0.3)  # it would be looked at by now
        with pytest.raises(SignInRefused, match="Too many tries"):
            guess.result()
    elsewhere.close()


def test_guesses_at_many_addresses_do_not_wait_for_each_other_in_circles(
    store: Store, jonas: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Store(str(store.url.render_as_string(hide_password=False)), store.clock)

    def guess(number: int) -> None:
        with pytest.raises(SignInRefused):
            enter(
                (store, elsewhere)[number % 2], "a guess", f"somebody{number % 6}@example.com", f"192.0.2.{number % 2}"
            )

    with ThreadPoolExecutor(24) as hands:
        list(hands.map(guess, range(60)))
    elsewhere.close()
    assert "Deadlock" not in caplog.text


def test_who_came_in_elsewhere_meanwhile_is_told_of_a_wrong_password_as_ever(store: Store, jonas: Agent) -> None:
    def look() -> bool:
        enter(store)
        return False

    assert tried(store, look, "password", jonas.id, email=jonas.email, ip="192.0.2.1") is False


def test_who_signs_in_rightly_is_not_counted_against_the_office(store: Store, jonas: Agent) -> None:
    for _ in range(21):
        assert enter(store)
    with store.write() as tx:
        colleagues = [
            create_agent(tx, name=f"Agent {n}", email=f"agent{n}@example.com", password=PASSWORD) for n in range(30)
        ]
    looking = Barrier(30)
    with ThreadPoolExecutor(30) as hands:
        seen = hands.map(
            lambda one: tried(
                store, lambda: looking.wait(60) >= 0, "password", one.id, email=one.email, ip="192.0.2.1"
            ),
            colleagues,
        )
        assert all(seen), "all of them at the same moment"


def test_a_right_password_forgets_earlier_mistakes(store: Store, jonas: Agent) -> None:
    for _ in range(2):
        for _ in range(4):
            with pytest.raises(SignInRefused):
                enter(store, "with caps lock on")
        assert enter(store)


def test_a_hash_made_with_older_parameters_is_renewed_at_sign_in(
    store: Store, jonas: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWITCHYARD_CHEAP_PASSWORDS")
    enter(store)

    with store.read() as tx:
        renewed = tx.get_one(Agent, jonas.id)
        assert "m=65536" in renewed.password_hash
        assert check_password(renewed, PASSWORD)


def test_a_new_password_signs_every_browser_out(store: Store, jonas: Agent) -> None:
    secret = enter(store)
    with store.write() as tx:
        set_password(tx, tx.get_one(Agent, jonas.id), "another quiet morning")
    with store.read() as tx:
        assert session_agent(tx, secret) is None
    assert enter(store, "another quiet morning")


def test_an_agent_without_a_password_or_switched_off_stays_out(store: Store, jonas: Agent) -> None:
    with store.write() as tx:
        create_agent(tx, name="Amara Obi", email="amara@example.com")
        tx.sql("UPDATE agent SET active = ? WHERE id = ?", False, jonas.id)

    for email in ("amara@example.com", "jonas@example.com"):
        for password in ("", PASSWORD):
            with pytest.raises(SignInRefused):
                enter(store, password, email=email)


@pytest.mark.parametrize("password", ["short", "x" * 1001])
def test_a_password_too_short_or_too_long_is_refused(store: Store, password: str) -> None:
    with pytest.raises(ValueError, match="characters"), store.write() as tx:
        create_agent(tx, name="Amara Obi", email="amara@example.com", password=password)


def test_an_agent_needs_an_address_of_its_own_and_known_skills(store: Store, jonas: Agent) -> None:
    with pytest.raises(Conflict, match="already"), store.write() as tx:
        create_agent(tx, name="Jonas Again", email="jonas@example.com")
    with pytest.raises(NotFound, match="skill 'klingon'"), store.write() as tx:
        create_agent(tx, name="Worf", email="worf@example.com", skills={"klingon": 5})
    with pytest.raises(NotFound, match="queue 'Nowhere'"), store.write() as tx:
        create_agent(tx, name="Worf", email="worf@example.com", queues=["Nowhere"])
    with pytest.raises(ValueError, match="no role"), store.write() as tx:
        create_agent(tx, name="Worf", email="worf@example.com", role="captain")


def test_a_token_acts_until_it_expires_or_is_revoked(store: Store, jonas: Agent, clock: Clock) -> None:
    with store.write() as tx:
        token = create_token(tx, name="crm", role="agent", days=30)
        lasting = create_token(tx, name="reports", role="admin")
        own = create_token(tx, name="jonas's script", role="agent")
        tx.sql("UPDATE api_token SET agent_id = ? WHERE name = ?", jonas.id, "jonas's script")

    with store.read() as tx:
        actor = token_actor(tx, token)
        assert actor is not None and actor.role == "agent" and actor.by.startswith("token:")
        shipping = tx.exec(select(Queue.id).where(Queue.name == "Shipping")).one()
        assert actor.sees(None, None) and not actor.sees(shipping, None)
        mine = token_actor(tx, own)
        assert mine is not None and mine.sees(shipping, None) and mine.agent_id == jonas.id
        assert token_actor(tx, "swy_" + "x" * 43) is None
        assert token_actor(tx, "") is None
        assert not tx.exec(select(ApiToken).where(ApiToken.token_hash == token)).all()

    clock.forward(days=31)
    with store.write() as tx:
        assert token_actor(tx, token) is None
        assert token_actor(tx, lasting) is not None
        tx.sql("UPDATE api_token SET revoked_at = ? WHERE name = 'reports'", tx.now)
        assert token_actor(tx, lasting) is None
