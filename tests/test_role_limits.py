"""What a role of the desk's own can't reach: nobody gives or takes more than they have themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask

from hub import staff
from hub.apitokens import make_token
from hub.desk import apply
from hub.feed import TYPES
from hub.followers import Followers
from hub.roles import RoleForm, save_role
from hub.web import client_ip
from storage.access import Actor, Forbidden, completed, terms_of
from storage.desk import Queue
from tests.desk import Desk
from webhooks import outgoing


def limited(desk: Desk, *permissions: str) -> Actor:
    """Jonas with a role of the desk's own: he serves Shipping only."""
    with desk.hub.store.read() as tx:
        shipping = tx.sql("SELECT id FROM queue WHERE name = 'Shipping'").fetchone()[0]
    return replace(desk.jonas, role="own", granted=completed(permissions), queue_ids=frozenset({shipping}))


@pytest.mark.parametrize(
    "document",
    [
        {"webhooks": [{"name": "theirs", "url": "https://elsewhere.example/take", "secret": "env:HOOK"}]},
        {"channels": [{"name": "line", "kind": "sms", "address": "+46700000009",
                       "settings": {"account_sid": "AC1", "auth_token": "env:SECRET_KEY"}}]},
    ],
)  # fmt: skip
def test_who_may_change_settings_sends_nothing_elsewhere(desk: Desk, document: dict[str, object]) -> None:
    with pytest.raises(Forbidden, match="Only an admin"), desk.hub.store.write() as tx:
        apply(tx, limited(desk, "answer", "settings"), document)


def test_nobody_shows_somebody_a_queue_that_they_do_not_see(desk: Desk) -> None:
    eve = limited(desk, "answer", "contacts", "people", "tokens")
    with desk.hub.store.write() as tx:
        tx.add(Queue(name="Legal"))
        tx.flush()
        save_role(tx, desk.ines, None, RoleForm("counsel", {"answer"}, {"Legal"}))
    with pytest.raises(Forbidden, match="queue"), desk.hub.store.write() as tx:
        make_token(tx, eve, name="mine", role="counsel", days=None, own=False)
    with pytest.raises(Forbidden, match="queue"), desk.hub.store.write() as tx:
        save_role(tx, eve, None, RoleForm("counsel too", {"answer"}, {"Legal"}))
    with pytest.raises(Forbidden, match="queue"), desk.hub.store.write() as tx:
        form = staff.person(tx, eve, desk.jonas.agent_id or 0)[1]
        form.queues |= {"Legal"}
        staff.change_person(tx, eve, desk.jonas.agent_id or 0, form)
    with desk.hub.store.write() as tx:
        form = staff.person(tx, eve, desk.jonas.agent_id or 0)[1]
        form.name = "Jonas W."
        assert staff.change_person(tx, eve, desk.jonas.agent_id or 0, form) == ["name"]


def test_trying_and_telling_are_about_everybodys_matters(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        save_role(tx, desk.ines, None, RoleForm("trier", {"settings"}, set()))
    with desk.hub.store.read() as tx:
        granted, _ = terms_of(tx, "trier")
    assert set(granted or ()) == {"settings", "lab", "see_all"}


def test_who_signs_in_how_is_told_to_nobody_outside(desk: Desk) -> None:
    followers = Followers(desk.hub, {"webhooks": outgoing.FOLLOWER}, "test")
    followers.run_once()
    with desk.hub.store.write() as tx:
        make_token(tx, desk.ines, name="ours", role="agent", days=None, own=False)
        apply(tx, desk.ines, {"webhooks": [{"name": "all", "url": "https://crm.example/hook", "secret": "env:HOOK"}]})
    assert not {"token.created", "signed.in", "password_reset.asked"} & TYPES.keys()
    desk.text("Hello")
    followers.run_once()
    with desk.hub.store.read() as tx:
        told = str(tx.sql("SELECT payload FROM delivery WHERE sender = 'webhook'").fetchall())
    assert "message.received" in told and "token.created" not in told


@pytest.mark.parametrize(
    ("peer", "said", "who"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("127.0.0.1", "", "127.0.0.1"),
    ],
)
def test_behind_our_proxy_everybody_has_an_address(app: Flask, peer: str, said: str, who: str) -> None:
    with app.test_request_context("/sign-in", environ_base={"REMOTE_ADDR": peer}, headers={"X-Forwarded-For": said}):
        assert client_ip() == who
