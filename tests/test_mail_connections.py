"""Many mails over few connections: kept, checked, replaced when dead, cut when slow, never a mail twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from channels.base import SendFailed, SendUncertain
from channels.mail.answers import sentence, wait_of
from tests.processes import until
from tests.support.certificates import certificate
from tests.support.smtp import Sink, smtp_sink
from tests.test_mail_compose import MARA, OURS, channel, reply


@pytest.fixture
def sink() -> Iterator[Sink]:
    with smtp_sink() as running:
        running.passwords[OURS] = "secret"
        yield running


def test_one_login_serves_many_mails(sink: Sink) -> None:
    account = channel(sink)
    for _ in range(5):
        account.send(reply())
    assert (len(sink.taken), sink.sessions, len(sink.logins)) == (5, 1, 1)


def test_a_connection_is_replaced_after_its_share_of_mails(sink: Sink) -> None:
    account = channel(sink, smtp_mails_per_connection=2)
    for _ in range(5):
        account.send(reply())
    assert (len(sink.taken), sink.sessions) == (5, 3)


def test_threads_share_at_most_so_many_connections(sink: Sink) -> None:
    account, starting = channel(sink, smtp_connections=2), threading.Barrier(6)

    def send(number: int) -> None:
        starting.wait()
        for turn in range(5):
            account.send(reply(external_id=f"<{number}-{turn}@shop.example>"))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(send, range(6)))
    assert len({each.data for each in sink.taken}) == len(sink.taken) == 30
    assert len(sink.logins) <= 2


def test_a_kept_connection_that_died_meanwhile_is_replaced_unseen(sink: Sink) -> None:
    account = channel(sink)
    account.send(reply())
    sink.hang_up()
    account.send(reply())
    assert (len(sink.taken), sink.sessions) == (2, 2)


@pytest.mark.parametrize("script", ["MAIL drop", "RCPT drop", "MAIL 421 4.3.2 going down", "RCPT 421 4.7.0 idle"])
def test_a_kept_connection_that_breaks_before_the_content_is_tried_again_on_a_fresh_one(
    sink: Sink, script: str
) -> None:
    account = channel(sink)
    account.send(reply())
    sink.answers.append(script)
    account.send(reply())
    assert len(sink.taken) == 2
    assert len(sink.logins) == 2


def test_a_fresh_connection_that_breaks_is_left_to_the_schedule(sink: Sink) -> None:
    sink.answers.append("RCPT drop")
    with pytest.raises(SendFailed) as failed:
        channel(sink).send(reply())
    assert not failed.value.permanent
    assert not sink.taken


def test_a_kept_connection_that_breaks_after_the_content_is_never_tried_again(sink: Sink) -> None:
    account = channel(sink)
    account.send(reply())
    sink.drop_after_data = True
    with pytest.raises(SendUncertain):
        account.send(reply())
    sink.drop_after_data = False
    assert len(sink.taken) == 2
    account.send(reply())
    assert len(sink.taken) == 3


def test_a_refused_mail_leaves_nothing_behind_for_the_next_one(sink: Sink) -> None:
    account = channel(sink)
    for script in ("RCPT 550 5.1.1 unknown", "DATA 451 4.3.0 later"):
        sink.answers.append(script)
        with pytest.raises(SendFailed):
            account.send(reply(to=("other@example.com",)))
        account.send(reply())
    assert [each.recipients for each in sink.taken] == [[MARA], [MARA]]
    assert len(sink.logins) == 1


def test_connections_without_work_are_closed(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("channels.mail.connections"), "IDLE_SECONDS", 0.05)
    account = channel(sink)
    account.send(reply())
    until(lambda: all(line.transport is None or line.transport.is_closing() for line in sink.lines), "the goodbye")
    account.send(reply())
    assert sink.sessions == 2


def test_a_mail_that_finds_no_free_connection_waits_for_its_turn(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    account = channel(sink, smtp_connections=1)
    sink.stall_after_data = 0.3
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: account.send(reply()), range(3)))
        assert (len(sink.taken), sink.sessions) == (3, 1)
        sink.stall_after_data = 1
        longest = pool.submit(account.send, reply())
        until(lambda: len(sink.taken) == 4, "the only connection to be busy")
        monkeypatch.setattr(import_module("channels.mail.submit"), "TOTAL_SECONDS", 0.1)
        with pytest.raises(SendFailed) as failed:
            account.send(reply())
        assert not failed.value.permanent
        longest.result()
    assert len(sink.taken) == 4


def test_kept_connections_work_under_starttls(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    with smtp_sink(starttls=made.server_context()) as sink:
        sink.passwords[OURS] = "secret"
        account = channel(sink, smtp_tls="starttls", ca_file=str(made.certificate))
        for _ in range(3):
            account.send(reply())
        assert (sink.sessions, len(sink.logins)) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "permanent", "says"),
    [
        ("550 5.1.1 <m@x>: unknown", True, "does not exist there"),
        ("550-5.1.2 unknown host", True, "domain of"),
        ("552 5.2.2 over quota", True, "is full"),
        ("550 5.7.26 unauthenticated", True, "DMARC"),
        ("550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup", True, "inside its organisation"),
        ("554 no code at all", True, "refused for good"),
        ("451 4.7.1 Greylisting in action, please come back in 5 minutes", False, "greylisting"),
        ("452 4.5.3 too many", False, "fewer at a time"),
    ],
)
def test_an_answer_is_told_in_words_and_quoted(answer: str, permanent: bool, says: str) -> None:
    code, words = int(answer[:3]), answer[4:].encode()
    told = sentence(code, words, "mara@example.com")
    assert says in told
    assert ("for good" in told) is permanent
    assert told.startswith("mara@example.com was refused"), "an address keeps its letters"
    assert answer[4:20] in told


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [("451 4.7.1 Greylisted, see you in 300 seconds", 300), ("450 4.2.0 greylisted for 5 minutes", 300),
     ("451 greylisted, retry in 9999 minutes", 3600), ("450 4.2.2 full since 12 min", None),
     ("550 greylist 5 s", None)],
)  # fmt: skip
def test_a_greylisting_server_is_obeyed(answer: str, seconds: int | None) -> None:
    wait: Any = wait_of(int(answer[:3]), answer[4:].encode())
    assert (wait.total_seconds() if wait else None) == seconds
