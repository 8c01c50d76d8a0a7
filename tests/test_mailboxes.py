"""Folders of a real Dovecot followed into both databases: cuts, new numbers, gaps, several folders, several nodes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from channels.mail.mailbox import ConnectionLost
from cli.doctor import _mail
from hub.mailboxes import RECONCILE_EVERY, LeaseLost, Mailbox, in_batches, lease_name
from hub.mailhealth import FolderHealth, folder_health
from storage.desk import ChannelAccount
from storage.mailboxes import MOST_TRIES
from storage.receipts import MailCursor, MailSeen, Receipt
from tests.clock import Clock
from tests.doors import compose, messages, opened, served
from tests.office import Office, account, client, clock, mail, server, user
from tests.processes import until
from tests.support.dovecot import Dovecot
from worker import Worker

__all__ = ["clock", "server", "user"]

FAILED = b"Retrieval using the IMAP4 protocol failed"


@pytest.fixture
def office(database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str) -> Iterator[Office]:
    with opened(database_url, tmp_path, clock, account(server, user)) as hub:
        yield Office(hub)


def test_a_line_cut_in_the_middle_loses_nothing_and_doubles_nothing(office: Office, server: Dovecot, user: str) -> None:
    for number in range(120):
        server.deliver(user, mail(number))
    with closing(office.box()) as box:
        arrivals = box._line.poll(box._cursor())
        box._line.poll = lambda cursor: _cut_after(arrivals, 70, lambda: server.kick(user))  # type: ignore[method-assign]
        with pytest.raises(ConnectionLost):
            box.read_new()
    assert 50 <= len(office.subjects()) < 120
    with closing(office.box()) as box:
        box.read_new()
    assert sorted(map(int, office.subjects())) == list(range(120))


def _cut_after(arrivals: Iterator[Any], many: int, cut: Any) -> Iterator[Any]:
    for number, each in enumerate(arrivals):
        if number == many:
            cut()
        yield each


def test_a_folder_with_new_numbers_is_read_again_and_nothing_is_doubled(
    office: Office, server: Dovecot, user: str
) -> None:
    for number in range(5):
        server.deliver(user, mail(number))
    with closing(office.box()) as box:
        assert box.read_new() == 5
        before = box._cursor()
        server.reset_uidvalidity(user)
        server.deliver(user, mail("came with the backup"))
        with pytest.raises(ConnectionLost):
            box.read_new()
        assert box.read_new() == 1
        assert box._cursor().uidvalidity != before.uidvalidity
    assert office.subjects() == ["0", "1", "2", "3", "4", "came with the backup"]


def test_one_message_id_with_other_words_is_another_message_and_the_same_mail_twice_is_one(
    office: Office, server: Dovecot, user: str
) -> None:
    twice = mail("lamp")
    for each in (twice, mail("lamp", text="And my chair?"), twice):
        server.deliver(user, each)
    with closing(office.box()) as box:
        box.read_new()
    assert office.subjects() == ["lamp", "lamp"]
    seen = sorted(office.rows(MailSeen), key=lambda row: row.uid)
    assert [row.receipt_id is not None for row in seen] == [True] * 3
    assert seen[0].receipt_id == seen[2].receipt_id != seen[1].receipt_id


def test_a_gap_is_found_and_filled_by_the_comparison(office: Office, server: Dovecot, user: str, clock: Clock) -> None:
    for number in range(4):
        server.deliver(user, mail(number))
    with closing(office.box()) as box:
        box.read_new()
        with office.hub.store.write() as tx:  # as if two of them had never been handed over
            for subject in ("<1@x>", "<2@x>"):
                receipt = tx.sql("SELECT receipt_id FROM message WHERE external_id = ?", subject).fetchone()[0]
                tx.sql("DELETE FROM mail_seen WHERE receipt_id = ?", receipt)
                tx.sql("UPDATE receipt SET dedupe_key = ? WHERE id = ?", f"lost:{subject}", receipt)
        assert box.reconcile_if_due() == 2
        assert box.reconcile_if_due() == 0
        clock.forward(seconds=RECONCILE_EVERY.total_seconds() + 1)
        assert box.reconcile_if_due() == 0
    assert sorted(office.subjects()) == ["0", "1", "1", "2", "2", "3"]


def test_a_mail_that_exchange_can_t_convert_is_asked_for_again_and_shown_in_the_end(
    office: Office, server: Dovecot, user: str
) -> None:
    server.deliver(user, b"From: exchange@shop.example\r\nSubject: " + FAILED + b"\r\n\r\n7\r\n")
    server.deliver(user, mail("after"))
    with closing(office.box()) as box:
        box.read_new()
        assert office.subjects() == ["after"]
        for _ in range(MOST_TRIES - 2):
            assert box.reconcile() == 0
        assert office.subjects() == ["after"]
        assert box.reconcile() == 1
        assert box.reconcile() == 0
    assert office.subjects() == ["after", FAILED.decode()]


def test_a_mail_deleted_meanwhile_is_not_asked_for_for_ever(office: Office, server: Dovecot, user: str) -> None:
    server.deliver(user, mail(0))
    with closing(office.box()) as box:
        box.read_new()
        with office.hub.store.write() as tx:
            tx.sql("UPDATE mail_seen SET state = 'missing', receipt_id = NULL")
        with closing_client(server, user) as other:
            other.delete_messages([1])
            other.expunge()
        assert box.reconcile() == 0
    assert [row.state for row in office.rows(MailSeen)] == ["gone"]


def closing_client(server: Dovecot, user: str, folder: str = "INBOX") -> Any:
    made = client(server, user, folder)
    made.close = made.logout
    return closing(made)


def test_what_is_done_with_kept_mails_is_done_after_the_commit_and_again_after_a_crash(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    for number in range(3):
        server.deliver(user, mail(number))
    with opened(database_url, tmp_path, clock, account(server, user, mark_seen=True, move_to="Done")) as hub:
        office = Office(hub)
        with closing(office.box()) as box:
            settle = box._line.settle

            def cut_short(uidvalidity: int, uids: Sequence[int]) -> None:
                server.kick(user)
                settle(uidvalidity, uids)

            box._line.settle = cut_short  # type: ignore[method-assign]
            assert box.read_new() == 3
            assert {row.state for row in office.rows(MailSeen)} == {"unsettled"}
        with closing(office.box()) as box:
            box.settle_left()
            assert {row.state for row in office.rows(MailSeen)} == {"kept"}
            assert box.read_new() == 0
        assert office.subjects() == ["0", "1", "2"]
        with closing_client(server, user, "Done") as other:
            assert len(other.search()) == 3


def test_every_folder_has_its_own_cursor_and_lease(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    with closing_client(server, user, "Orders/Späte") as other:
        other.append("Orders/Späte", mail("late"))
    server.deliver(user, mail("new"))
    both = account(server, user, folders=["INBOX", "Orders/Späte"])
    with opened(database_url, tmp_path, clock, both) as hub:
        office = Office(hub)
        worker = Worker(hub)
        try:
            worker._watch_mailboxes()
            until(lambda: sorted(office.subjects()) == ["late", "new"], "both folders to be read")
            until(lambda: all(row.looked_at for row in office.rows(MailCursor)), "their state to be written")
            assert {row.folder for row in office.rows(MailCursor)} == {"INBOX", "Orders/Späte"}
            server.deliver(user, mail("newer"))  # IDLE wakes the one that waits
            until(lambda: "newer" in office.subjects(), "the new mail to be heard")
            assert len(server.sessions(user)) == 2
            stuck = next(iter(worker._mailboxes.values()))[1]
            stuck._beat -= 10_000  # as if no step of it had ended for hours
            worker._watch_mailboxes()
            assert stuck not in [each[1] for each in worker._mailboxes.values()]
        finally:
            for key in list(worker._mailboxes):
                worker._close_mailbox(key)
        assert lease_name("support-mail", "x" * 255) != lease_name("support-mail", "x" * 254)
        assert len(lease_name("support-mail", "x" * 255)) <= 128


def test_a_node_that_was_away_too_long_stores_nothing_after_the_other_took_over(
    office: Office, server: Dovecot, user: str, clock: Clock
) -> None:
    for number in range(3):
        server.deliver(user, mail(number))
    with closing(office.box()) as first:
        arrivals = list(first._line.poll(first._cursor()))  # fetched, then stopped for a minute
        second = Mailbox(office.hub, office.hub.channel_named("support-mail"), "node 2", "INBOX")
        assert not second._lead()
        clock.forward(seconds=60)
        with closing(second):
            assert second._lead()
            server.deliver(user, mail("while the first was away"))
            assert second.read_new() == 4
            reached = second._cursor()
            with pytest.raises(LeaseLost):
                first._store(arrivals, advance=True)
            assert second._cursor() == reached
            assert not first._lead()
    assert len(office.subjects()) == 4


def test_two_nodes_share_the_folders_and_nobody_reads_one_twice(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    for number in range(40):
        server.deliver(user, mail(number))
    with opened(database_url, tmp_path, clock, account(server, user)) as hub:
        stops = [threading.Event(), threading.Event()]
        boxes = [Mailbox(hub, hub.channel_named("support-mail"), f"node {n}", "INBOX") for n in range(2)]
        threads = [threading.Thread(target=box.loop, args=(stop,)) for box, stop in zip(boxes, stops, strict=True)]
        for thread in threads:
            thread.start()
        office = Office(hub)
        until(lambda: len(office.subjects()) == 40, "all mails")
        assert len(server.sessions(user)) == 1
        for stop, box in zip(stops, boxes, strict=True):
            stop.set()
            box.close()
        for thread in threads:
            thread.join(10)
    assert sum(box.epoch is not None for box in boxes) == 1


def test_what_goes_wrong_is_written_down_and_forgotten_when_it_is_mended(
    office: Office, server: Dovecot, user: str, clock: Clock
) -> None:
    with closing(office.box()) as box:
        box._note_problem(ConnectionLost("IMAP server mail.example:993: nothing listens there."), 1)
        [row] = office.rows(MailCursor)
        assert (row.looked_at, row.problem) == (None, "IMAP server mail.example:993: nothing listens there.")
        assert office.rows(ChannelAccount)[0].problem == row.problem
        box.read_new()
        box._healthy()
        [row] = office.rows(MailCursor)
        assert (row.looked_at, row.problem, row.behind) == (clock(), "", 0)
        assert office.rows(ChannelAccount)[0].problem == ""


def test_a_large_mail_is_kept_whole_without_being_held_in_memory(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    large = mail("large") + (b"x" * 998 + b"\r\n") * 3000
    too_large = mail("too large", text="What it says.") + (b"y" * 998 + b"\r\n") * 5000
    for each in (large, too_large):
        server.deliver(user, each)
    with opened(database_url, tmp_path, clock, account(server, user, max_bytes=4_000_000)) as hub:
        office = Office(hub)
        with closing(office.box()) as box:
            assert box.read_new() == 2
        first, second = sorted(office.rows(Receipt), key=lambda row: row.id)
        assert hub.blobs.get(first.sha256) == large
        assert (first.size, first.dedupe_key) == (len(large), f"sha256:{first.sha256}")
        assert int(second.headers["too_large"]) == len(too_large)
        assert office.subjects() == ["large", "too large"]
        assert (messages(hub)[1].flags, messages(hub)[1].text[:13]) == (["too_large"], "What it says.")


def test_how_a_folder_does_is_told_from_what_is_written_down(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    for number in range(60):
        server.deliver(user, mail(number))
    clock.moment = clock().replace(hour=10)  # so that three hours later it is the same day
    soon = (clock() + timedelta(days=20)).date().isoformat()
    with opened(database_url, tmp_path, clock, account(server, user, secret_expires=soon)) as hub:
        office = Office(hub)

        def health() -> FolderHealth:
            with hub.store.read() as tx:
                [found] = folder_health(hub, tx)
            return found

        assert (health().well, str(health())) == (False, "never looked at yet")
        with closing(office.box()) as box:
            assert next(in_batches(box._line.poll(box._cursor())))
            box._healthy()
            assert (health().behind, "10 mails still to be fetched" in str(health())) == (10, True)
            box.read_new()
            box._note("")
        assert (health().well, health().behind) == (True, 0)
        clock.forward(hours=3)
        assert (health().well, str(health())) == (False, "last looked at 3 hours ago")
        told = [str(finding) for finding in _mail(hub)]
        assert [line[:4] for line in told] == ["BAD ", "ok  "]
        assert "Does a hub or a worker run?" in told[0]
        assert told[1] == f"ok   secret of support-mail: its secret runs out in 20 days, on {soon}"
        clock.forward(days=14)
        assert str(list(_mail(hub))[1]).startswith("BAD  secret of support-mail: its secret runs out in 6 days")
        with served(compose(hub)) as client:
            figures = client.get("/metrics").text
        assert 'switchyard_mailbox_up{channel="support-mail",folder="INBOX"} 0.0' in figures
        assert 'switchyard_secret_days{channel="support-mail"} 6.0' in figures
