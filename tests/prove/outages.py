"""The proofs themselves, each for any amount: the short forms and the long ones differ only in numbers."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from functools import partial
from pathlib import Path
from uuid import uuid4

import requests

from sandbox.twilio import Mood
from tests.processes import until
from tests.prove.ground import MAIL_WAITS, Answer, Ground, all_at_once
from tests.prove.listening import LiveLine

SLOWEST_NO = 5.0  # seconds in which a door must say that it can't


def arrivals_under_fire(ground: Ground, texts: int, mails: int, senders: int, every: tuple[float, float]) -> None:
    """Texts and mails come in while processes are killed; each is there once, in one history per sender."""
    mark, dice = f"fire{uuid4().hex[:6]}", random.Random(7)
    numbers = [f"+4670{dice.randrange(10**7):07d}" for _ in range(senders)]
    wanted = [f"{mark} text {number}" for number in range(texts)] + [f"{mark} mail {number}" for number in range(mails)]

    def post() -> None:
        for number in range(mails):
            who, text = number % senders, wanted[texts + number]
            first = f"<{mark}.{who}@customer.example>"
            mine = first if number < senders else ""
            ground.mail(f"Mara <{mark}{who}@example.com>", "Lamp", text, "" if mine else first, mine)
            time.sleep(0.02)

    began, before = time.monotonic(), Counter(ground.killed)
    with ground.killing(dice, every), ThreadPoolExecutor(1) as postman:
        posting = postman.submit(post)
        work = [partial(ground.insist, numbers[n % senders], wanted[n]) for n in range(texts)]
        calls = all_at_once([partial(_unhurried, dice.uniform(0, 0.2), one) for one in work], 4)
        posting.result()
        until(lambda: ground.killed != before, "a process to be killed")
    took = time.monotonic() - began
    ground.assert_each_once(wanted, mark)
    ground.assert_one_history_each("email", mark)
    for number in numbers:
        assert ground.assert_one_history_each("phone", number) == 1
    print(
        f"\n{texts} texts (called in {sum(calls)} times) and {mails} mails of {2 * senders} senders in {took:.1f} s, "
        f"killed {dict(ground.killed - before)}: each once, one history each; receipts {ground.states('receipt')}"
    )


def replies_under_fire(ground: Ground, replies: int, every: tuple[float, float]) -> None:
    """Answers go out by text and mail while the senders are killed: each once, or honestly unknown, none lost."""
    mark, dice = f"answer{uuid4().hex[:6]}", random.Random(11)
    number, address = f"+4670{dice.randrange(10**7):07d}", f"{mark}@example.com"
    ground.insist(number, f"{mark} by text")
    ground.mail(f"Mara <{address}>", "Lamp", f"{mark} by mail")
    until(lambda: len(ground.inbound(mark)) == 2, "both questions", MAIL_WAITS)
    asked = [row[0] for row in ground.rows("SELECT conversation_id FROM message WHERE text LIKE ?", f"{mark}%")]
    texts = [f"{mark} {n}" for n in range(replies)]
    ground.at.twilio.moods.extend(Mood(delay=dice.uniform(0, 0.3)) for _ in range(replies))
    before = Counter(ground.killed)
    with ground.killing(dice, every, only="" if ground.at.hub.embedded else "worker.py"):
        all_at_once([partial(ground.reply, asked[n % 2], texts[n], f"{mark}-{n}") for n in range(replies)], 4)
        until(lambda: _busy(ground, mark, "queued") < replies / 4, "most of the answers to be on their way", 90)
        until(lambda: ground.killed != before, "a sender to be killed")
    left = settle_all(ground, mark)
    ground.at.twilio.moods.clear()
    said = Counter(text.body for text in ground.at.twilio.sent if text.body in set(texts))
    ids = Counter(message_from_bytes(mail.data)["Message-ID"] for mail in ground.at.smtp.taken)
    rows = ground.rows("SELECT channel, text, state, external_id FROM message WHERE kind = 'outbound' AND text LIKE ?",
                       f"{mark} %")  # fmt: skip
    assert sorted(row[1] for row in rows) == sorted(texts), "every answer is one message"
    states: Counter[tuple[str, str]] = Counter()
    for channel, text, state, external_id in rows:
        times = said[text] if channel == "sms" else ids[external_id]
        states[channel, state] += 1
        assert times == 1 if state == "sent" else times <= 1, (channel, text, state, times)
        assert state == "sent" or (state == "uncertain" and channel == "email"), (channel, text, state)
    print(
        f"\n{replies} answers under {dict(ground.killed - before)}: {dict(states)}; {left} were open when their sender "
        f"died; taken by Twilio {sum(said.values())}, by the mail server {sum(ids[row[3]] for row in rows)}; none twice"
    )


def settle_all(ground: Ground, mark: str) -> int:
    """Let the outbox come to its end as it would within hours; how many hand-overs a crash had left open."""
    left = 0

    def ended() -> bool:
        nonlocal left
        if not _busy(ground, mark, "queued", "sending"):
            return True
        time.sleep(0.5)  # whoever lives settles within this; what stays is an orphan
        left += _busy(ground, mark, "sending")
        ground.time_passes()
        time.sleep(1)
        return False

    time.sleep(1)
    until(ended, "an empty outbox", 60)
    return left


def storms(ground: Ground, copies: int, firsts: int) -> None:
    """The same thing many times at once, over all web processes: one of each."""
    mark, number = f"storm{uuid4().hex[:6]}", "+46701740605"
    sid = f"SM{uuid4().hex}"
    answers = all_at_once([partial(ground.text, number, f"{mark} same", sid)] * copies, min(copies, 50))
    assert {answer.status for answer in answers} == {200}
    stranger = "+46701749999"
    all_at_once([partial(ground.insist, stranger, f"{mark} first {n}") for n in range(firsts)], firsts)
    url = ground.at.hub.url
    form = {"email": f"{mark}@example.com", "name": "Mara", "message": f"{mark} form"}
    all_at_once([partial(requests.post, f"{url}/webhooks/forms/contact-form", json=form, timeout=15)] * 8)
    token = requests.post(f"{url}/chat/session", json={"channel": "shop-chat"}, timeout=15).json()["token"]
    line = {"id": str(uuid4()), "text": f"{mark} line"}
    bearer = {"Authorization": f"Bearer {token}"}
    said = all_at_once([partial(requests.post, f"{url}/chat/messages", json=line, headers=bearer, timeout=15)] * 8)
    assert sorted(answer.status_code for answer in said) == [200] * 7 + [201]
    wanted = [f"{mark} {what}" for what in ("same", "form", "line", *(f"first {n}" for n in range(firsts)))]
    ground.assert_each_once(wanted, mark)
    assert ground.assert_one_history_each("phone", stranger) == 1
    slowest = max(answer.seconds for answer in answers)
    print(f"\none text {copies} times at once: one message, slowest answer {slowest * 1000:.0f} ms; {firsts} first "
          "texts at once: one contact, one conversation; form and chat line 8 times: one each")  # fmt: skip


def database_gone(ground: Ground, seconds: float, stop: Callable[[], None], start: Callable[[], None]) -> None:
    """The database goes away under load: doors say so at once, providers come again, everybody recovers alone."""
    mark, number = f"gone{uuid4().hex[:6]}", "+46701740605"
    count, done = 0, threading.Event()
    ground.answers.clear()
    wanted: list[str] = []

    def customers(who: int) -> None:
        nonlocal count
        while not done.is_set():
            body = f"{mark} {who} {len(wanted)} {uuid4().hex[:6]}"
            wanted.append(body)
            ground.insist(f"+467017400{who:02d}", body)
            time.sleep(0.05)

    running = list(ground.at.hub.running)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(customers, who) for who in range(4)]
        time.sleep(0.5)
        stop()
        time.sleep(seconds)
        start()
        back = time.monotonic()
        until(lambda: ground.text(number, f"{mark} back", f"SM{mark}").status == 200, "a text to be taken again")
        back = time.monotonic() - back
        time.sleep(0.5)
        done.set()
        for job in jobs:
            job.result()
    wanted.append(f"{mark} back")
    ground.mail(f"Mara <{mark}@example.com>", "Lamp", f"{mark} mail")  # the mailbox's reader came back as well
    ground.assert_each_once([*wanted, f"{mark} mail"], mark)
    assert [process.poll() for process in running] == [None] * len(running), "no process had to be restarted"
    no = [answer for answer in ground.answers if answer.status != 200]
    print(f"\ndatabase away for {seconds:g} s: {_told(no)}; back {back * 1000:.0f} ms after it was; {len(wanted) + 1} "
          "messages, each once")  # fmt: skip
    assert {answer.status for answer in no} <= {503} and no
    assert all(answer.retry_after.isdigit() for answer in no)
    assert max(answer.seconds for answer in no) < SLOWEST_NO, _told(no)


def child_replaced_without_a_database(ground: Ground, stop: Callable[[], None], start: Callable[[], None]) -> None:
    """A web process dies while the database is away: its successor waits, its brother goes on saying 503."""
    mark, (web, *_) = f"boot{uuid4().hex[:6]}", ground.at.hub.running
    stop()
    ground.kill(web, only_child=True)
    until(lambda: "waiting for the database" in ground.logs(), "the successor to wait", 60)
    answers = [ground.text("+46701743200", f"{mark} early", f"SM{mark}") for _ in range(20)]
    assert {answer.status for answer in answers} == {503}
    assert web.poll() is None, "gunicorn itself goes on"
    start()
    ground.insist("+46701743200", f"{mark} late")
    ground.assert_each_once([f"{mark} late"], mark)
    print("\na web process was killed while the database was away: the other said 503, both serve now")


def answers_over_an_outage(ground: Ground, stop: Callable[[], None], start: Callable[[], None]) -> None:
    """The database goes away after answers were handed over and before that was written down: nobody has to guess."""
    mark, number = f"over{uuid4().hex[:6]}", "+46701743000"
    ground.insist(number, f"{mark} by text")
    ground.mail(f"Mara <{mark}@example.com>", "Lamp", f"{mark} by mail")
    until(lambda: len(ground.inbound(mark)) == 2, "both questions", MAIL_WAITS)
    asked = [row[0] for row in ground.rows("SELECT conversation_id FROM message WHERE text LIKE ?", f"{mark}%")]
    smtp, twilio, before = ground.at.smtp, ground.at.twilio, len(ground.at.smtp.taken)
    smtp.stall_after_data = 2
    twilio.moods.extend([Mood(delay=2)] * 2)
    for n in range(4):
        ground.reply(asked[n % 2], f"{mark} answer {n}", f"{mark}-{n}")
    until(lambda: len(smtp.taken) == before + 2 and not twilio.moods, "all four to be under way")
    stop()
    time.sleep(4)
    start()
    until(lambda: not _busy(ground, mark, "queued", "sending"), "the outcomes to be written down", 30)
    smtp.stall_after_data = 0
    states = Counter(row[0] for row in ground.rows("SELECT state FROM message WHERE text LIKE ?", f"{mark} answer%"))
    assert states == {"sent": 4}
    assert len(smtp.taken) == before + 2
    assert Counter(text.body.startswith(mark) for text in twilio.sent)[True] == 2
    print("\n2 mails and 2 texts were handed over while the database went away for 4 s: all known as sent, once each")


def live_line_over_an_outage(ground: Ground, stop: Callable[[], None], start: Callable[[], None]) -> None:
    """A browser's live line hears of every message, the ones around the outage too, each once."""
    mark, line = f"live{uuid4().hex[:6]}", LiveLine(ground.at.hub.url)
    until(lambda: line.opened, "the line to be open")
    before = ground.rows("SELECT max(id) FROM fact")[0][0]
    for n in range(10):
        ground.insist("+46701743100", f"{mark} {n}")
    stop()
    time.sleep(3)
    start()
    for n in range(10, 20):
        ground.insist("+46701743100", f"{mark} {n}")
    told = {row[0] for row in ground.rows("SELECT id FROM fact WHERE id > ? AND name = 'MessageReceived'", before)}
    until(lambda: told <= set(line.facts), "the line to have told everything")
    assert len(told) == 20
    assert len(line.facts) == len(set(line.facts))
    assert line.facts == sorted(line.facts)
    print(f"\na live line over 3 s without a database: 20 messages told once each, connected {line.opened} time(s)")
    line.close()


def database_locked(ground: Ground, folder: Path, seconds: float, *, refused: bool) -> None:
    """Another program holds SQLite's write lock: a short while is waited for, a long one is said, both recover."""
    mark = f"lock{uuid4().hex[:6]}"
    ground.answers.clear()
    other = sqlite3.connect(folder / "hub.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(seconds, other.execute, ["ROLLBACK"])
    release.start()
    wanted = [f"{mark} {n}" for n in range(8)]
    all_at_once([partial(ground.insist, f"+467017410{n:02d}", text) for n, text in enumerate(wanted)])
    release.join()
    other.close()
    ground.assert_each_once(wanted, mark)
    no = [answer for answer in ground.answers if answer.status != 200]
    assert {answer.status for answer in no} == ({503} if refused else set()), _told(no)
    assert all(answer.retry_after.isdigit() for answer in no)
    slowest = max(answer.seconds for answer in ground.answers)
    print(f"\nSQLite locked by another process for {seconds:g} s: {_told(no)}; slowest answer {slowest:.1f} s; "
          "8 texts, each once")  # fmt: skip
    assert slowest < 2 * SLOWEST_NO + 1, "at most the wait of the batch before and the own one"


def provider_down(ground: Ground, replies: int) -> None:
    """Twilio can't be reached, then refuses, then is back: every answer goes out once, after growing pauses."""
    mark, twilio = f"down{uuid4().hex[:6]}", ground.at.twilio
    ground.insist("+46701742000", f"{mark} question")
    asked = ground.rows("SELECT conversation_id FROM message WHERE text = ?", f"{mark} question")[0][0]
    texts = [f"{mark} {n}" for n in range(replies)]
    port = int(twilio.url.rpartition(":")[2])
    twilio._wire.stop()  # before any answer went out: a line that is kept open would outlive the listener
    try:
        for n, text in enumerate(texts):
            ground.reply(asked, text, f"{mark}-{n}")
        until(lambda: _tries(ground, mark) == [1] * replies and not _busy(ground, mark, "sending"), "nobody to answer")
        waits = ground.rows(
            "SELECT count(*) FROM delivery d JOIN message m ON m.id = d.message_id WHERE m.text LIKE ? "
            "AND d.state = 'queued' AND d.due_at > d.begun_at", f"{mark}%",
        )  # fmt: skip
    finally:
        twilio._wire.start(port)
    assert waits[0][0] == replies, "all wait their turn"
    twilio.moods.extend([Mood(status=503, code=20503)] * replies)
    ground.time_passes()
    until(lambda: _tries(ground, mark) == [2] * replies and not _busy(ground, mark, "sending"), "a refusal of each")
    ground.time_passes()
    until(lambda: not _busy(ground, mark, "queued", "sending"), "the answers to be taken")
    assert Counter(text.body for text in twilio.sent if text.body.startswith(mark)) == Counter(texts)
    print(
        f"\n{replies} answers: Twilio was not there, then refused with 503, then was back: each taken once"
        ", at the third try"
    )


def _busy(ground: Ground, mark: str, *states: str) -> int:
    marks = ",".join("?" * len(states))
    rows = ground.rows(
        "SELECT count(*) FROM delivery d JOIN message m ON m.id = d.message_id "
        f"WHERE m.text LIKE ? AND d.state IN ({marks})", f"{mark}%", *states,
    )  # fmt: skip
    return int(rows[0][0])


def _tries(ground: Ground, mark: str) -> list[int]:
    rows = ground.rows(
        "SELECT d.attempts FROM delivery d JOIN message m ON m.id = d.message_id WHERE m.text LIKE ?", f"{mark}%"
    )
    return [row[0] for row in rows]


def _told(answers: list[Answer]) -> str:
    if not answers:
        return "no refusals"
    kinds = Counter(answer.status for answer in answers)
    return f"{dict(kinds)} with Retry-After, the slowest after {max(answer.seconds for answer in answers):.1f} s"


def _unhurried(pause: float, work: Callable[[], int]) -> int:
    time.sleep(pause)
    return work()
