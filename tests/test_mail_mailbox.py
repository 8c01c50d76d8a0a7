"""A mailbox as it behaves in a real Dovecot: batches, gone mails, new numbers, dead lines, and waiting."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient

from channels.base import CheckFailed, Checks, Cursor, Polls, Raw
from channels.mail import ConnectionLost, EmailChannel
from channels.mail import imap as imap_module
from channels.mail import mailbox as mailbox_module
from channels.mail.mailbox import Mailbox, Refused
from tests.support.dovecot import PASSWORD, Dovecot, dovecot, until
from tests.support.liar import liar

START = Cursor("INBOX")
numbers = count()


@pytest.fixture(scope="module")
def server(dovecot_root: Path) -> Iterator[Dovecot]:
    with dovecot(root=dovecot_root) as running:
        yield running


@pytest.fixture
def user() -> str:
    """Everybody gets an empty mailbox of his own."""
    return f"support{next(numbers)}"


def account(server: Dovecot, user: str, **settings: Any) -> EmailChannel:
    given: dict[str, Any] = {
        "imap_host": server.host,
        "imap_port": server.imap_port,
        "imap_tls": "none",
        "username": user,
        "password": PASSWORD,
        "smtp_host": server.host,
        "timeout": 5,
    }
    return EmailChannel(name="support-mail", address="support@shop.example", settings={**given, **settings})


def open_channel(server: Dovecot, user: str, folder: str = "INBOX", **settings: Any) -> Mailbox:
    return account(server, user, **settings).follow(folder)


def mail(number: int, size: int = 10) -> bytes:
    return b"From: mara.lindqvist@example.com\r\nSubject: %d\r\n\r\n%s\r\n" % (number, b"x" * size)


def subjects(found: list[tuple[Raw | None, Cursor]]) -> list[str]:
    return [EmailChannel.parse(raw).subject if raw else "gone" for raw, _ in found]


def numbered(channel: Mailbox) -> int:
    """The folder's UIDVALIDITY."""
    return channel.listing((datetime.now(UTC) - timedelta(days=2)).date())[0]


def other_client(server: Dovecot, user: str) -> IMAPClient:
    client = IMAPClient(server.host, server.imap_port, ssl=False, timeout=5)
    client.login(user, PASSWORD)
    client.select_folder("INBOX")
    return client


def test_new_mails_come_in_order_with_the_cursor_behind_each(server: Dovecot, user: str) -> None:
    for number in range(3):
        server.deliver(user, mail(number))
    with closing(open_channel(server, user)) as channel:
        assert isinstance(account(server, user), Polls) and isinstance(account(server, user), Checks)
        found = list(channel.poll(START))
        assert subjects(found) == ["0", "1", "2"]
        assert [cursor.uid for _, cursor in found] == [1, 2, 3]
        raw = found[0][0]
        assert raw is not None
        assert raw.body == mail(0)
        assert raw.dedupe_key == f"sha256:{hashlib.sha256(mail(0)).hexdigest()}"
        assert raw.content_type == "message/rfc822"
        assert raw.headers["address"] == "support@shop.example"
        assert raw.headers["internaldate"].endswith("+00:00")
        assert list(channel.poll(found[-1][1])) == []
        server.deliver(user, mail(3))
        assert subjects(list(channel.poll(found[-1][1]))) == ["3"]
        assert subjects(list(channel.poll(found[0][1]))) == ["1", "2", "3"]


def test_mails_that_wait_for_the_server_are_numbered_in_their_order(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time_ns()
    for number in range(8):  # all before anybody looks into the folder
        monkeypatch.setattr(time, "time_ns", lambda number=number: began + number * 900_000_000)
        server.deliver(user, mail(number))
    with closing(open_channel(server, user)) as channel:
        assert subjects(list(channel.poll(START))) == [str(number) for number in range(8)]


def test_a_full_mailbox_is_read_in_batches(server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_module, "BATCH_BYTES", 20_000)
    for number in range(120):
        server.deliver(user, mail(number, size=1000 if number % 3 else 15_000))
    with closing(open_channel(server, user)) as channel:
        assert subjects(list(channel.poll(START))) == [str(number) for number in range(120)]


def test_a_mail_deleted_while_we_read_moves_the_cursor_past_it(server: Dovecot, user: str) -> None:
    for number in range(60):
        server.deliver(user, mail(number))
    with closing(open_channel(server, user)) as channel:
        reading = channel.poll(START)
        found = [next(reading)]
        with other_client(server, user) as client:
            client.delete_messages([55, 56])
            client.expunge()
        found += reading
        assert len(found) == 60
        assert [cursor.uid for raw, cursor in found if raw is None] == [55, 56]


def test_a_mailbox_restored_from_backup_is_read_again_under_its_new_number(server: Dovecot, user: str) -> None:
    for number in range(3):
        server.deliver(user, mail(number))
    with closing(open_channel(server, user)) as channel:
        before = list(channel.poll(START))
        server.reset_uidvalidity(user)
        with pytest.raises(ConnectionLost):
            list(channel.poll(before[-1][1]))
        after = list(channel.poll(before[-1][1]))
        assert subjects(after) == subjects(before)
        assert {cursor.uidvalidity for _, cursor in after} != {cursor.uidvalidity for _, cursor in before}
        assert {raw.dedupe_key for raw, _ in after if raw} == {raw.dedupe_key for raw, _ in before if raw}


def test_a_mail_beyond_the_limit_comes_as_its_beginning_and_says_so(server: Dovecot, user: str) -> None:
    server.deliver(user, mail(1, size=5000))
    server.deliver(user, mail(2))
    with closing(open_channel(server, user, max_bytes=2000)) as channel:
        (large, _), (small, _) = channel.poll(START)
        assert large is not None and small is not None
        assert int(large.headers["too_large"]) > 5000
        inbound = EmailChannel.parse(large)
        assert (inbound.subject, inbound.flags) == ("1", ("too_large",))
        assert inbound.text.startswith("xxx")
        assert EmailChannel.parse(small).flags == ()


def test_idle_wakes_when_a_mail_arrives(server: Dovecot, user: str) -> None:
    server.deliver(user, mail(0))
    with closing(open_channel(server, user)) as channel:
        [(_, cursor)] = channel.poll(START)
        threading.Timer(0.2, server.deliver, (user, mail(1))).start()
        started = time.monotonic()
        assert channel.wait(20)
        assert time.monotonic() - started < 10
        assert subjects(list(channel.poll(cursor))) == ["1"]


def test_idle_is_renewed_and_ends_when_nothing_comes(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_module, "IDLE_SECONDS", 0.1)
    with closing(open_channel(server, user)) as channel:
        assert list(channel.poll(START)) == []
        started = time.monotonic()
        assert channel.wait(0.5) is False
        assert 0.5 <= time.monotonic() - started < 5


def test_a_mail_between_reading_and_waiting_is_not_slept_through(server: Dovecot, user: str) -> None:
    with closing(open_channel(server, user)) as channel:
        assert list(channel.poll(START)) == []
        server.deliver(user, mail(0))
        started = time.monotonic()
        assert channel.wait(20)
        assert time.monotonic() - started < 10


def test_a_server_without_idle_is_simply_asked_again_later(dovecot_root: Path, user: str) -> None:
    without = "imap_capability = IMAP4rev1\n"
    with dovecot(without, dovecot_root) as plain, closing(open_channel(plain, user)) as channel:
        assert list(channel.poll(START)) == []
        plain.deliver(user, mail(0))
        assert channel.wait(0.1) is False
        assert subjects(list(channel.poll(START))) == ["0"]
        threading.Timer(0.2, channel.close).start()
        started = time.monotonic()
        assert channel.wait(20) is False
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("tls", ["none", "tls"])
def test_closing_from_another_thread_ends_the_wait(server: Dovecot, user: str, tls: str) -> None:
    port = server.imaps_port if tls == "tls" else server.imap_port
    channel = open_channel(server, user, imap_tls=tls, imap_port=port, ca_file=str(server.ca_file))
    assert list(channel.poll(START)) == []
    threading.Timer(0.2, channel.close).start()
    started = time.monotonic()
    assert channel.wait(20) is False
    assert time.monotonic() - started < 5
    assert channel.wait(20) is False
    assert list(channel.poll(START)) == []
    channel.close()
    channel.close()
    until(lambda: not server.sessions(user), "a session that logs out")


def test_a_cut_line_is_said_at_once_and_the_next_poll_connects_again(server: Dovecot, user: str) -> None:
    server.deliver(user, mail(0))
    with closing(open_channel(server, user)) as channel:
        [(_, cursor)] = channel.poll(START)
        threading.Timer(0.2, server.kick, (user,)).start()
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match="connection was lost"):
            channel.wait(20)
        assert time.monotonic() - started < 5
        assert channel.wait(20) is True  # nobody listened meanwhile
        server.deliver(user, mail(1))
        assert subjects(list(channel.poll(cursor))) == ["1"]


def test_a_line_cut_between_two_batches_loses_nothing(server: Dovecot, user: str) -> None:
    for number in range(60):
        server.deliver(user, mail(number))
    with closing(open_channel(server, user)) as channel:
        reading, found = channel.poll(START), []
        with pytest.raises(ConnectionLost):
            for each in reading:
                found.append(each)
                if len(found) == 10:
                    server.kick(user)
        assert len(found) == 50
        found += channel.poll(found[-1][1])
        assert subjects(found) == [str(number) for number in range(60)]


def test_a_mail_under_which_the_server_hangs_up_is_left_out_and_the_others_come(server: Dovecot, user: str) -> None:
    """Dovecot says BYE over a file that it can't read, whatever else it was asked for."""
    for number in range(60):
        server.deliver(user, mail(number))
    files = server.folder.joinpath("mail", user, "new").iterdir()
    [broken] = [each for each in files if b"Subject: 57\r" in each.read_bytes()]
    broken.chmod(0)
    found: list[tuple[Raw | None, Cursor]] = []
    with closing(open_channel(server, user)) as channel:
        for _ in range(mailbox_module.ALONE_TRIES + 1):
            with pytest.raises(ConnectionLost):
                found += channel.poll(found[-1][1] if found else START)
        found += channel.poll(found[-1][1])
        assert len(found) == 60
        assert subjects(found).count("gone") == 1
        numbers = [cursor.uid for _, cursor in found]
        assert numbers == list(range(1, 61))
        [(_, here)] = [each for each in found if each[0] is None]
        assert channel.listing((datetime.now(UTC) - timedelta(days=2)).date())[1] == numbers
        assert channel.present([here.uid, 99]) == {here.uid}
        assert channel.sizes(numbers).keys() == set(numbers) - {here.uid}
        broken.chmod(0o644)
        [(raw, _)] = channel.fetch(here.uidvalidity, [here.uid])
        assert raw is not None


def test_an_answer_that_the_library_cannot_read_drops_the_line(server: Dovecot, user: str) -> None:
    server.deliver(user, mail(0))
    told = re.compile(rb"RFC822\.SIZE \d+")
    for lie in (b"RFC822.SIZE many", b"RFC822.SIZE NIL"):
        with (
            liar(server.imap_port, lambda line, lie=lie: told.sub(lie, line)) as port,  # type: ignore[misc]
            closing(open_channel(server, user, imap_port=port)) as channel,
        ):
            with pytest.raises(ConnectionLost):
                list(channel.poll(START))
            assert channel._client is None


def test_mails_of_a_folder_with_new_numbers_are_left_alone(server: Dovecot, user: str) -> None:
    server.deliver(user, mail(0))
    with closing(open_channel(server, user, delete_after=True)) as channel:
        [(_, cursor)] = channel.poll(START)
        with pytest.raises(Refused, match="new numbers"):
            channel.settle(cursor.uidvalidity + 1, [1])
    assert in_folder(server, user, "INBOX") == ["0"]


def test_a_server_that_stops_answering_is_given_up_after_the_timeout(server: Dovecot, user: str) -> None:
    with closing(open_channel(server, user, timeout=0.5)) as channel:
        assert list(channel.poll(START)) == []
        server.freeze(user)
        try:
            with pytest.raises(ConnectionLost, match="did not answer"):
                channel.wait(0.2)
        finally:
            server.thaw(user)


def test_mails_are_marked_as_seen_only_when_asked_and_only_those_that_are_kept(server: Dovecot, user: str) -> None:
    for number in range(3):
        server.deliver(user, mail(number))
    with closing(open_channel(server, user)) as channel:
        assert len(list(channel.poll(START))) == 3
        assert not channel.settles
    assert server.flags(user) == ["", "", ""]
    with closing(open_channel(server, user, mark_seen=True)) as channel:
        assert channel.settles
        assert len(list(channel.poll(START))) == 3
        assert server.flags(user) == ["", "", ""]
        channel.settle(numbered(channel), [1, 2])
        channel.settle(numbered(channel), [1, 2])  # again, as after a crash
    assert server.flags(user) == ["S", "S", ""]


def in_folder(server: Dovecot, user: str, folder: str) -> list[str]:
    with closing(open_channel(server, user, folder)) as other:
        return subjects(list(other.poll(Cursor(folder))))


@pytest.mark.parametrize("capabilities", ["IMAP4rev1 UIDPLUS MOVE", "IMAP4rev1 UIDPLUS", "IMAP4rev1"])
def test_kept_mails_are_moved_with_or_without_the_server_s_own_move(user: str, capabilities: str) -> None:
    with dovecot(f"imap_capability = {capabilities}\n") as plain:
        for number in range(3):
            plain.deliver(user, mail(number))
        with closing(open_channel(plain, user, move_to="Processed")) as channel:
            found = list(channel.poll(START))
            channel.settle(numbered(channel), [1, 3])
            plain.deliver(user, mail(4))
            assert subjects(list(channel.poll(found[-1][1]))) == ["4"]  # the cursor goes on after a move
        assert in_folder(plain, user, "Processed") == ["0", "2"]
        if "UIDPLUS" in capabilities:
            assert in_folder(plain, user, "INBOX") == ["1", "4"]


def test_kept_mails_get_a_keyword_or_are_deleted(server: Dovecot, user: str) -> None:
    for number in range(2):
        server.deliver(user, mail(number))
    with closing(open_channel(server, user, add_label="Switchyard")) as channel:
        list(channel.poll(START))
        channel.settle(numbered(channel), [1])
    with other_client(server, user) as client:
        assert client.search(["KEYWORD", "Switchyard"]) == [1]
    with closing(open_channel(server, user, delete_after=True)) as channel:
        list(channel.poll(START))
        channel.settle(numbered(channel), [2])
    assert in_folder(server, user, "INBOX") == ["0"]


def test_a_label_that_the_server_does_not_take_leaves_the_line_usable(server: Dovecot, user: str) -> None:
    server.deliver(user, mail(0))
    with closing(open_channel(server, user, move_to="a/" * 200)) as channel:
        [(_, cursor)] = channel.poll(START)
        with pytest.raises(Refused, match="Check the channel"):
            channel.settle(numbered(channel), [1])
        server.deliver(user, mail(1))
        assert subjects(list(channel.poll(cursor))) == ["1"]


def test_a_large_mail_comes_in_pieces_as_a_file(server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_module, "PIECE_BYTES", 1000)
    monkeypatch.setattr(imap_module, "WHOLE_BYTES", 3000)
    monkeypatch.setattr(mailbox_module, "WHOLE_BYTES", 3000)
    sent = [mail(1, size=7500), mail(2), mail(3, size=4000 - len(mail(3, size=0)))]
    assert len(sent[2]) == 4000  # ends with a piece
    for each in sent:
        server.deliver(user, each)
    with closing(open_channel(server, user)) as channel:
        found = [raw for raw, _ in channel.poll(START)]
    assert [raw.dedupe_key for raw in found if raw] == [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in sent]
    first, second, third = found
    assert first and second and third and first.file and third.file
    assert (first.file.read(), first.file_size, first.body) == (sent[0], len(sent[0]), b"")
    assert (third.file.read(), second.body, second.file) == (sent[2], sent[1], None)


@pytest.mark.parametrize(("said", "flagged"), [("10", False), ("900000000", True)])
def test_a_server_that_lies_about_sizes_is_survived(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch, said: str, flagged: bool
) -> None:
    monkeypatch.setattr(imap_module, "PIECE_BYTES", 1000)
    monkeypatch.setattr(imap_module, "WHOLE_BYTES", 3000)
    monkeypatch.setattr(mailbox_module, "WHOLE_BYTES", 3000)
    server.deliver(user, mail(1, size=7500))
    lie = re.compile(rb"RFC822\.SIZE \d+")
    with liar(server.imap_port, lambda line: lie.sub(b"RFC822.SIZE " + said.encode(), line)) as port:
        with closing(open_channel(server, user, imap_port=port)) as channel:
            [(raw, _)] = channel.poll(START)
        assert raw is not None
        assert ("too_large" in raw.headers) is flagged
        if not flagged:
            assert raw.file is not None and raw.file.read() == mail(1, size=7500)
        with closing(open_channel(server, user, imap_port=port, max_bytes=4000)) as channel:
            [(raw, _)] = channel.poll(START)
        assert raw is not None and int(raw.headers["too_large"]) > 0  # whatever it said


def test_at_gmail_a_label_is_put_on_and_its_own_number_is_kept(server: Dovecot, user: str) -> None:
    """A Dovecot that says it is Gmail: what only Gmail knows is put into words that Dovecot knows."""

    def as_gmail(line: bytes) -> bytes:
        line = line.replace(b"IMAP4rev1", b"IMAP4rev1 X-GM-EXT-1")
        return re.sub(rb"RFC822\.SIZE (\d+)", rb"X-GM-MSGID 1278455344230334865 RFC822.SIZE \1", line)

    def as_dovecot(line: bytes) -> bytes:
        line = line.replace(b'"', b"") if b"X-GM-LABELS" in line else line.replace(b" X-GM-MSGID", b"")
        return line.replace(b"X-GM-LABELS", b"FLAGS")

    server.deliver(user, mail(1))
    with (
        liar(server.imap_port, as_gmail, as_dovecot) as port,
        closing(open_channel(server, user, imap_port=port, add_label="Support/Done")) as channel,
    ):
        [(raw, _)] = channel.poll(START)
        assert raw is not None and raw.headers["gm_msgid"] == "1278455344230334865"
        channel.settle(numbered(channel), [1])
    with other_client(server, user) as client:
        assert client.search(["KEYWORD", "Support/Done"]) == [1]


def test_what_exchange_gives_in_place_of_a_mail_is_not_taken_for_it(server: Dovecot, user: str) -> None:
    server.deliver(user, b"Subject: Retrieval using the IMAP4 protocol failed for the message 7\r\n\r\nx\r\n")
    server.deliver(user, mail(1))
    with closing(open_channel(server, user)) as channel:
        found = list(channel.poll(START))
        assert subjects(found) == ["gone", "1"]
        [(raw, _)] = channel.fetch(found[0][1].uidvalidity, [1], substitutes=True)
        assert raw is not None and raw.body.startswith(b"Subject: Retrieval")
        assert channel.listing((datetime.now(UTC) - timedelta(days=2)).date()) == (found[0][1].uidvalidity, [1, 2])
        assert channel.sizes([1, 2, 9]).keys() == {1, 2}
        with pytest.raises(ConnectionLost, match="new numbers"):
            list(channel.fetch(1, [1]))


@pytest.mark.parametrize("tls", ["tls", "starttls"])
def test_tls_is_verified(server: Dovecot, user: str, tls: str) -> None:
    server.deliver(user, mail(0))
    port = server.imaps_port if tls == "tls" else server.imap_port
    with closing(open_channel(server, user, imap_tls=tls, imap_port=port, ca_file=str(server.ca_file))) as channel:
        assert subjects(list(channel.poll(START))) == ["0"]
    with pytest.raises(ConnectionLost, match="certificate"):
        list(open_channel(server, user, imap_tls=tls, imap_port=port).poll(START))


def test_an_access_token_logs_in_by_xoauth2(server: Dovecot, user: str) -> None:
    server.deliver(user, mail(0))
    token = server.token(user)
    with closing(open_channel(server, user, password="", oauth_token=token)) as channel:
        assert subjects(list(channel.poll(START))) == ["0"]
    expired = open_channel(server, user, password="", oauth_token=server.token(user, expired=True))
    with pytest.raises(ConnectionLost, match="oauth_token"):
        list(expired.poll(START))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"password": "hunter2"}, "username and password"),
        ({"imap_port": 1}, "imap_port"),
        ({"imap_host": "no-such-host.invalid"}, "imap_host"),
        ({"folder": "Nowhere"}, "Check folder"),
        ({"imap_tls": "tls"}, "imap_tls"),
        ({}, "SMTP server"),  # the mailbox is fine: then the other side is tried
    ],
)
def test_checking_a_channel_says_what_to_mend(
    server: Dovecot, user: str, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(CheckFailed, match=sentence) as failed:
        account(server, user, smtp_port=1, **settings).check()
    assert "hunter2" not in str(failed.value)
