"""Mail accounts that log in by OAuth 2: tokens fresh and secret, races, dead tokens, letting the hub in anew."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from channels.base import CheckFailed, NotConfigured
from channels.mail import EmailChannel
from channels.mail.mailbox import ConnectionLost
from channels.mail.oauth import PRESETS, TokenTrouble, read_client
from cli.authorise import authorise
from hub import Hub, Opened
from hub.authorise import RENEW_LEFT, TokenKeeper, renew_due
from hub.mailboxes import Mailbox
from sandbox.oauth import AuthServer
from storage.channel_tokens import ChannelToken
from storage.desk import ChannelAccount
from tests.clock import Clock
from tests.doors import messages, opened, settings_for
from tests.office import clock, server, user
from tests.support.dovecot import Dovecot

__all__ = ["clock", "server", "user"]

MAIL = b"From: mara.lindqvist@example.com\r\nSubject: Lamp\r\n\r\nWhere is it?\r\n"


@pytest.fixture
def provider(server: Dovecot, user: str) -> Iterator[AuthServer]:
    with AuthServer(lambda: server.token(user)) as double:
        yield double


def account(server: Dovecot, user: str, provider: AuthServer, **settings: Any) -> ChannelAccount:
    given: dict[str, Any] = {"imap_host": server.host, "imap_port": server.imap_port, "imap_tls": "none"}
    given |= {"username": user, "smtp_host": server.host, "timeout": 5, **provider.settings}
    return ChannelAccount(
        name="support-mail", kind="email", address="support@shop.example", settings={**given, **settings}
    )


Office = Callable[..., Hub]


@pytest.fixture
def office(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str, provider: AuthServer
) -> Iterator[Office]:
    """Opens a hub whose account has these settings."""
    running = []

    def open_hub(**settings: Any) -> Hub:
        context = opened(database_url, tmp_path, clock, account(server, user, provider, **settings))
        running.append(context)
        return context.__enter__()

    yield open_hub
    for context in running:
        context.__exit__(None, None, None)


def mail_of(hub: Hub) -> Opened:
    return hub.channel_named("support-mail")


def keeper(hub: Hub) -> TokenKeeper:
    found = mail_of(hub).keeper
    assert found is not None
    return found


def kept(hub: Hub) -> ChannelToken:
    with hub.store.read() as tx:
        return tx.exec(select(ChannelToken)).one()


def test_a_mailbox_is_read_with_tokens_that_come_from_a_refresh_token(
    office: Office, server: Dovecot, user: str, provider: AuthServer
) -> None:
    hub = office(refresh_token=provider.refresh_token())
    server.deliver(user, MAIL)
    with closing(Mailbox(hub, mail_of(hub), "node 1")) as box:
        assert box.read_new() == 1
    assert [message.subject for message in messages(hub)] == ["Lamp"]
    assert provider.refreshes == 1
    (good,) = provider.good
    sealed = kept(hub).sealed
    assert good not in sealed and "refresh" not in sealed and "eyJ" not in sealed  # the database shows nothing
    with closing(Mailbox(hub, mail_of(hub), "node 1")) as box:  # another login with the same token
        assert box.read_new() == 0
    assert provider.refreshes == 1


def test_a_token_is_refreshed_ahead_of_its_end(office: Office, provider: AuthServer, clock: Clock) -> None:
    hub = office(refresh_token=provider.refresh_token())
    first = keeper(hub).token()
    clock.forward(seconds=3600 - RENEW_LEFT.total_seconds() - 5)
    renew_due([keeper(hub)])
    assert provider.refreshes == 1
    clock.forward(seconds=10)
    renew_due([keeper(hub)])
    assert provider.refreshes == 2
    assert kept(hub).expires_at == clock() + timedelta(hours=1)
    assert provider.reused == 0 and first


def test_many_nodes_refresh_once(office: Office, provider: AuthServer) -> None:
    hub = office(refresh_token=provider.refresh_token())
    client = mail_of(hub).must().oauth  # type: ignore[attr-defined]
    nodes = [TokenKeeper(hub.store, hub._seal, mail_of(hub).id, client) for _ in range(8)]
    tokens: list[str] = []
    gate = threading.Barrier(len(nodes))

    def ask(node: TokenKeeper) -> None:
        gate.wait()
        tokens.append(node.token())

    threads = [threading.Thread(target=ask, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(tokens), len(set(tokens)), provider.refreshes, provider.reused) == (8, 1, 1, 0)


def test_a_provider_that_is_away_is_asked_again_and_one_that_refuses_says_what_to_do(
    office: Office, provider: AuthServer
) -> None:
    hub = office(refresh_token=provider.refresh_token())
    provider.moods.append(503)
    with pytest.raises(TokenTrouble, match="tried again") as away:
        keeper(hub).token()
    assert not away.value.dead
    assert keeper(hub).token()
    assert kept(hub).problem == ""
    provider.revoke_everything()
    with pytest.raises(TokenTrouble, match="channel authorise support-mail") as refused:
        keeper(hub).token(timedelta(days=1))
    assert refused.value.dead and "AADSTS70008" in str(refused.value)
    assert "channel authorise support-mail" in kept(hub).problem
    provider.client_secret = "renewed at the provider"
    with pytest.raises(TokenTrouble, match="set client_secret"):
        keeper(hub).token(timedelta(days=1))


def test_an_account_that_was_never_authorised_says_so_wherever_it_is_used(office: Office) -> None:
    hub = office()
    with (
        closing(Mailbox(hub, mail_of(hub), "node 1")) as box,
        pytest.raises(ConnectionLost, match="channel authorise support-mail"),
    ):
        box.read_new()
    with pytest.raises(CheckFailed, match="channel authorise support-mail"):
        mail_of(hub).must().check()  # type: ignore[attr-defined]


def test_another_refresh_token_in_the_settings_counts(office: Office, provider: AuthServer) -> None:
    hub = office(refresh_token=provider.refresh_token())
    keeper(hub).token()
    provider.revoke_everything()
    with hub.store.write() as tx:
        row = tx.exec(select(ChannelAccount)).one()
        row.settings = {**row.settings, "refresh_token": provider.refresh_token()}
        tx.add(row)
        tx.sql("UPDATE desk_version SET version = version + 1")
    hub.look_again()
    assert keeper(hub).token(timedelta(minutes=59))


@pytest.mark.parametrize("paste", [False, True])
def test_a_dead_account_is_let_in_again_without_any_working_token(
    office: Office, provider: AuthServer, paste: bool, database_url: str, tmp_path: Path
) -> None:
    hub = office(refresh_token="long dead")
    with pytest.raises(TokenTrouble):
        keeper(hub).token()
    answers: list[str] = []

    def person(said: str) -> None:
        """Reads what the command prints, and does what it says."""
        if found := re.findall(r"http\S+authorise\?\S+", said):
            answers.append(provider.consent(found[0]))
        if found := re.findall(r"type (\w+)$", said):
            provider.type_in(found[0])

    settings = settings_for(database_url if database_url.startswith("postgres") else "", tmp_path)
    assert authorise(settings, "support-mail", paste=paste, say=person, read=lambda: answers[0]) == 0
    assert keeper(hub).token()
    assert kept(hub).problem == ""
    assert authorise(settings, "support-mail", paste=True, say=person, read=lambda: "http://localhost/?error=no") == 1
    assert keeper(hub).token()


def test_presets_name_the_providers_and_wrong_settings_are_named() -> None:
    microsoft = read_client("m", {"oauth": "microsoft", "client_id": "c", "tenant": "shop.example"})
    assert microsoft is not None and "/shop.example/oauth2/v2.0/token" in microsoft.token_url
    assert "offline_access" in microsoft.scope and microsoft.device_url
    google = read_client("g", {"oauth": "google", "client_id": "c"})
    assert google is not None and google.scope == "https://mail.google.com/" and not google.device_url
    assert set(PRESETS) == {"microsoft", "google", "custom"}
    usual = {"imap_host": "h", "smtp_host": "h", "username": "u"}
    for settings, sentence in (
        ({"oauth": "yahoo", "client_id": "c"}, "use microsoft"),
        ({"oauth": "google"}, "client_id"),
        ({"oauth": "custom", "client_id": "c"}, "token_url"),
        ({"oauth": "custom", "client_id": "c", "token_url": "http://evil.example/"}, "https"),
        ({"oauth": "google", "client_id": "c", "password": "p"}, "only one"),
        ({"password": "p", "client_id": "c"}, "needs oauth"),
        ({"password": "p", "secret_expires": "soon"}, "2027-01-31"),
    ):
        with pytest.raises(NotConfigured, match=sentence):
            EmailChannel(name="m", address="a@b.example", settings={**usual, **settings})
