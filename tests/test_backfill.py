"""Old mail brought in afterwards: counted first, once, with its own dates, and nobody is woken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from imapclient import IMAPClient
from sqlmodel import select

from channels.mail import ConnectionLost
from channels.mail.mailbox import ALONE_TRIES
from cli import main
from hub.backfill import _insisted, backfill, plan, withheld
from hub.intake import retry_receipt
from hub.mailboxes import Mailbox, follow
from storage.access import SYSTEM, Conflict
from storage.conversations import Conversation
from storage.facts import FactRow
from storage.receipts import Receipt
from storage.work import WorkItem
from tests.clock import Clock
from tests.doors import messages, opened
from tests.office import Office, account, clock, mail, server, user
from tests.support.dovecot import PASSWORD, Dovecot

__all__ = ["clock", "server", "user"]

SINCE = date(2026, 1, 1)


def file_old(server: Dovecot, user: str, many: int, folder: str = "INBOX") -> None:
    """Mails of last March, as they lie in the folder."""
    client = IMAPClient(server.host, server.imap_port, ssl=False, timeout=5)
    client.login(user, PASSWORD)
    if not client.folder_exists(folder):
        client.create_folder(folder)
    for number in range(many):
        at = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(hours=number)
        client.append(folder, f"Date: {at:%a, %d %b %Y %H:%M:%S} +0000\r\n".encode() + mail(f"old-{number}"), (), at)
    client.append(folder, mail("ancient"), (), datetime(2025, 6, 1, tzinfo=UTC))
    client.logout()


@pytest.fixture
def office(database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str) -> Iterator[Office]:
    today = clock().date().isoformat()
    with opened(database_url, tmp_path, clock, account(server, user, since=today)) as hub:
        yield Office(hub)


def test_old_mail_lands_in_the_history_and_wakes_nobody(office: Office, server: Dovecot, user: str) -> None:
    hub = office.hub
    channel = hub.channel_named("support-mail")
    file_old(server, user, 3)
    server.deliver(user, mail("new"))
    found = plan(hub, channel, "INBOX", SINCE)
    assert (found.listed, found.known, len(found.uids)) == (3, 0, 3)
    assert "3 mails, 0 of them known already; 3 to fetch" in str(found)
    with closing(office.box()) as box:
        assert box.read_new() == 1  # only what is new
    facts = len(office.rows(FactRow))
    assert backfill(hub, channel, "INBOX", SINCE) == 3
    assert [each.subject for each in messages(hub)] == ["new", "old-0", "old-1", "old-2"]
    old = messages(hub)[1:]
    assert [(each.created_at.month, each.sent_at and each.sent_at.day, each.flags) for each in old] == [
        (3, 1, ["history"])
    ] * 3
    past = [each for each in office.rows(Conversation) if each.subject.startswith("old")]
    assert [(each.state, each.created_at.month, each.message_count) for each in past] == [("resolved", 3, 1)] * 3
    assert len(office.rows(WorkItem)) == 1  # of the new one
    with hub.store.read() as tx:
        later = [fact.name for fact in tx.exec(select(FactRow))][facts:]
    assert not {"MessageReceived", "ConversationOpened", "ConversationQueued", "ConversationReopened"} & set(later)
    again = plan(hub, channel, "INBOX", SINCE)
    assert (again.listed, again.known, again.uids) == (4, 4, ())
    assert backfill(hub, channel, "INBOX", SINCE) == 0
    assert len(messages(hub)) == 4


def test_an_answer_to_old_mail_opens_it_like_any_other(office: Office, server: Dovecot, user: str) -> None:
    hub = office.hub
    file_old(server, user, 1)
    backfill(hub, hub.channel_named("support-mail"), "INBOX", SINCE)
    server.deliver(user, b"In-Reply-To: <old-0@x>\r\n" + mail("Re-old-0"))
    with closing(office.box()) as box:
        box.read_new()
    old, answer = messages(hub)
    assert answer.conversation_id == old.conversation_id
    assert [each.state for each in office.rows(Conversation)] == ["open"]
    assert len(office.rows(WorkItem)) == 1


def test_a_backfill_that_was_cut_goes_on_where_it_ended(office: Office, server: Dovecot, user: str) -> None:
    hub = office.hub
    file_old(server, user, 70)
    channel = hub.channel_named("support-mail")

    def switched_off(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(hub, channel, "INBOX", SINCE, switched_off)
    assert len(messages(hub)) == 50
    assert plan(hub, channel, "INBOX", SINCE).known == 50
    assert backfill(hub, channel, "INBOX", SINCE) == 20
    assert len(messages(hub)) == 70


def test_a_backfill_survives_a_cut_line_and_a_mail_under_which_it_breaks(
    office: Office, server: Dovecot, user: str
) -> None:
    hub = office.hub
    file_old(server, user, 70)
    channel = hub.channel_named("support-mail")
    withhold(server, user, "old-30")
    cuts = []

    def cut(done: int, of: int) -> None:
        if done < of:
            cuts.append(done)
            server.kick(user)

    assert backfill(hub, channel, "INBOX", SINCE, cut) == 69
    assert cuts
    assert len(messages(hub)) == 69


def files(server: Dovecot, user: str) -> list[Path]:
    return [each for each in server.folder.joinpath("mail", user).rglob("*") if each.parent.name in ("cur", "new")]


def withhold(server: Dovecot, user: str, subject: str) -> None:
    """Make a mail one that the server announces and can't hand over."""
    [broken] = [
        each for each in files(server, user) if f"Subject: {subject}".encode() in each.read_bytes().splitlines()
    ]
    broken.chmod(0)


def hand_over(server: Dovecot, user: str) -> None:
    for each in files(server, user):
        each.chmod(0o644)


def insisted(look: Callable[[], int]) -> int:
    """Look until the reader leaves out what the line breaks under; how many mails were new."""
    count = 0
    for _ in range(ALONE_TRIES + 1):
        with suppress(ConnectionLost):
            count += look()
    return count


def test_old_mail_that_was_withheld_comes_later_as_old_mail(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    file_old(server, user, 3)
    withhold(server, user, "old-1")
    today = clock().date().isoformat()
    with opened(database_url, tmp_path, clock, account(server, user, since=today, move_to="Done")) as hub:
        office, channel = Office(hub), hub.channel_named("support-mail")
        with closing(office.box()) as box:
            assert box.read_new() == 0
            assert backfill(hub, channel, "INBOX", SINCE) == 2
            assert withheld(hub, channel, plan(hub, channel, "INBOX", SINCE)) == 1
            assert insisted(box.reconcile) == 0
            hand_over(server, user)
            assert box.reconcile() == 1
            assert box.reconcile() == 0
            assert withheld(hub, channel, plan(hub, channel, "INBOX", SINCE)) == 0
            box.settle_left()
        assert office.subjects() == ["old-0", "old-2", "old-1"]
        late = messages(hub)[-1]
        assert (late.flags, late.created_at.month) == (["history"], 3)
        assert [each.state for each in office.rows(Conversation)] == ["resolved"] * 3
        assert office.rows(WorkItem) == []
        assert len(plan(hub, channel, "INBOX", SINCE).uids) == 0
        assert plan(hub, channel, "INBOX", SINCE).listed == 3  # and none of them was moved away


def test_a_second_backfill_asks_again_for_what_was_withheld_and_nothing_comes_twice(
    office: Office, server: Dovecot, user: str
) -> None:
    hub, channel = office.hub, office.hub.channel_named("support-mail")
    file_old(server, user, 3)
    withhold(server, user, "old-1")
    with closing(office.box()) as box:
        box.read_new()
        assert backfill(hub, channel, "INBOX", SINCE) == 2
        found = plan(hub, channel, "INBOX", SINCE)
        assert (found.listed, found.known, len(found.uids)) == (3, 2, 1)
        assert backfill(hub, channel, "INBOX", SINCE) == 0
        hand_over(server, user)
        assert backfill(hub, channel, "INBOX", SINCE) == 1
        assert (box.reconcile(), backfill(hub, channel, "INBOX", SINCE)) == (0, 0)
    assert sorted(office.subjects()) == ["old-0", "old-1", "old-2"]


def test_new_mail_that_was_withheld_stays_new_though_a_backfill_covers_its_day(
    office: Office, server: Dovecot, user: str
) -> None:
    hub, channel = office.hub, office.hub.channel_named("support-mail")
    file_old(server, user, 1)
    server.deliver(user, mail("today"))
    withhold(server, user, "today")
    with closing(office.box()) as box:
        assert insisted(box.read_new) == 0
        assert backfill(hub, channel, "INBOX", SINCE) == 1
        hand_over(server, user)
        assert backfill(hub, channel, "INBOX", SINCE) == 0
        assert box.reconcile() == 1
    old, new = messages(hub)
    assert (old.subject, old.flags, new.subject, new.flags) == ("old-0", ["history"], "today", [])
    assert [each.conversation_id for each in office.rows(WorkItem)] == [new.conversation_id]


def test_old_mail_that_could_not_be_read_or_was_too_large_is_old_mail_after_its_retry(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    client = IMAPClient(server.host, server.imap_port, ssl=False, timeout=5)
    client.login(user, PASSWORD)
    then = datetime(2026, 3, 1, tzinfo=UTC)
    client.append("INBOX", b"\r\n", (), then)  # nothing to read
    client.append("INBOX", mail("large", "x" * 300_000), (), then)
    client.logout()
    today = clock().date().isoformat()
    with opened(database_url, tmp_path, clock, account(server, user, since=today, max_bytes=200_000)) as hub:
        office, channel = Office(hub), hub.channel_named("support-mail")
        assert backfill(hub, channel, "INBOX", SINCE) == 2
        [large] = messages(hub)
        assert set(large.flags) == {"history", "too_large"}
        [unread] = [each for each in office.rows(Receipt) if each.state == "quarantined"]
        assert hub.store.submit(
            lambda tx: tx.sql("UPDATE receipt SET body = ? WHERE id = ?", mail("mended"), unread.id)
        )
        assert retry_receipt(hub, SYSTEM, unread.id or 0).state == "accepted"
        assert backfill(hub, channel, "INBOX", SINCE) == 0
        assert [each.flags for each in messages(hub)][1:] == [["history"]]
        assert office.rows(WorkItem) == []


def test_a_backfill_gives_up_on_a_server_that_is_gone(office: Office, server: Dovecot, user: str) -> None:
    channel = office.hub.channel_named("support-mail")
    file_old(server, user, 1)
    wanted = plan(office.hub, channel, "INBOX", SINCE)
    with closing(follow(channel, "INBOX")) as line, pytest.raises(ConnectionLost, match="new numbers"):
        list(_insisted(line, wanted.uidvalidity + 1, wanted.uids))


def test_old_mail_is_told_from_new_or_nothing_is_done(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    file_old(server, user, 2, "Archive 2026")
    with opened(database_url, tmp_path, clock, account(server, user)) as hub:
        channel = hub.channel_named("support-mail")
        with pytest.raises(Conflict, match="has not been read yet"):
            backfill(hub, channel, "Archive 2026", SINCE)
        assert messages(hub) == []
        server.deliver(user, mail("new"))
        with closing(Mailbox(hub, channel, "node 1")) as box:
            box.read_new()
            hub.store.submit(lambda tx: tx.sql("DELETE FROM mail_seen") and None)
        assert plan(hub, channel, "INBOX", SINCE).uids == (1,)
        assert backfill(hub, channel, "INBOX", SINCE) == 0  # its bytes are known
        assert len(messages(hub)) == 1


def test_the_command_says_what_it_would_do_and_does_it(
    office: Office, server: Dovecot, user: str, database_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file_old(server, user, 2)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SECRET_KEY", "for tests only, but long enough to be a key")
    if database_url.startswith("postgres"):
        monkeypatch.setenv("DATABASE_URL", database_url)
    words = ["mailbox", "backfill", "support-mail", "--since", "2026-01-01"]
    assert main(lambda settings: None, [*words, "--dry-run"]) == 0
    assert "INBOX: 2 mails, 0 of them known already; 2 to fetch, 0.0 MB" in capsys.readouterr().out
    assert messages(office.hub) == []
    assert main(lambda settings: None, words) == 0
    assert "INBOX: 2 mails are new here; nobody was woken." in capsys.readouterr().out
    assert len(messages(office.hub)) == 2
    with pytest.raises(SystemExit):
        main(lambda settings: None, [*words[:-1], "yesterday"])
    assert "2026-01-31" in capsys.readouterr().err
