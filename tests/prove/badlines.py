"""Messages in and answers out while every line the hub has breaks at random: the books are balanced all the same."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email import message_from_bytes
from functools import partial
from uuid import uuid4

from hub.delivery import SCHEDULES
from tests.prove.faulty import Lines
from tests.prove.ground import Ground, all_at_once
from tests.prove.killing import Subscriber, available_agents

# The chance of a fault for each piece that goes by; a database line has hundreds for one message.
HAZARDS = {"imap": 0.02, "smtp": 0.05, "twilio": 0.1, "slack": 0.05, "webhook": 0.1, "web": 0.1, "postgresql": 0.0002}
ANSWERED = 10  # every n-th message gets an answer
SENDERS = 300
NOTICE = re.compile(r'/inbox/c/(\d+)"')


@dataclass
class Books:
    """What was said, and what came of it."""

    mark: str
    texts: list[str]
    mails: list[str]
    answers: list[str] = field(default_factory=list)
    calls: int = 0


def over_bad_lines(ground: Ground, lines: Lines, messages: int) -> None:
    """Half texts, half mails, a tenth answered. Raises AssertionError for anything lost, doubled or left over."""
    mark, dice = f"line{uuid4().hex[:6]}", random.Random(13)
    half = messages // 2
    books = Books(mark, [f"{mark} text {n}" for n in range(half)], [f"{mark} mail {n}" for n in range(messages - half)])
    ground.doors = [_address(lines.through("web", ground.at.hub.port))]
    subscriber, began = Subscriber(), time.monotonic()
    with subscriber.listening(), available_agents(ground, _address(lines.through("webhook", subscriber.port))):
        with lines.rough(**{name: hazard for name, hazard in HAZARDS.items() if name in lines.all}):
            _play(ground, books, dice)
            _until(ground, lambda: len(ground.inbound(mark)) == messages, f"{messages} messages", messages)
        _until(ground, lambda: _left(ground) == 0, "an empty outbox", messages)
    took, faults = time.monotonic() - began, {name: dict(line.met) for name, line in lines.all.items() if line.met}
    ground.assert_each_once([*books.texts, *books.mails], mark)
    assert ground.assert_one_history_each("email", mark) == min(SENDERS, len(books.mails))
    uncertain = _balance_answers(ground, books)
    repeated, given_up = _balance_followers(ground, subscriber, books)
    broken = sum(sum(met.values()) - met.get("delay", 0) for met in faults.values())
    rows = [
        ("messages", messages), ("seconds", f"{took:.0f}"), ("calls for the texts", books.calls),
        ("lines broken", broken), ("lines delayed", sum(met.get("delay", 0) for met in faults.values())),
        ("lost", 0), ("doubled", 0), ("left over", 0),
        ("answers", len(books.answers)), ("uncertain mails", uncertain), ("webhooks repeated", repeated),
        ("notices given up", given_up),
    ]  # fmt: skip
    database = "SQLite" if ground.at.hub.embedded else "PostgreSQL"
    print("\n".join([f"\nbad lines on {database}", *(f"  {name:<24}{value}" for name, value in rows), f"  {faults}"]))
    smtp = faults.get("smtp", {})
    assert broken > 0
    assert uncertain <= sum(smtp.values()) - smtp.get("delay", 0), "only a broken line makes a mail uncertain"


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _play(ground: Ground, books: Books, dice: random.Random) -> None:
    """Everything comes in, and answers are written as soon as there is something to answer."""
    mark = books.mark

    def post() -> None:
        for number, text in enumerate(books.mails):
            who = number % SENDERS
            first = f"<{mark}.{who}@customer.example>"
            mine = first if number < SENDERS else ""
            ground.mail(f"Mara <{mark}{who}@example.com>", "Lamp", text, "" if mine else first, mine)
            time.sleep(dice.uniform(0, 0.02))

    def answer() -> None:
        for number in range(0, len(books.texts), ANSWERED):
            for text in (books.texts[number], books.mails[number]):
                _until(ground, partial(_asked, ground, text), text, len(books.mails))
                conversation = _asked(ground, text)
                books.answers.append(f"{mark} answer {len(books.answers)}")
                ground.reply(conversation, books.answers[-1], books.answers[-1])

    numbers = [f"+4670{dice.randrange(10**7):07d}" for _ in range(SENDERS)]
    with ThreadPoolExecutor(2) as others:
        working = [others.submit(post), others.submit(answer)]
        calls = [partial(ground.insist, numbers[n % SENDERS], text) for n, text in enumerate(books.texts)]
        books.calls = sum(all_at_once(calls, 4))
        for each in working:
            each.result()


def _asked(ground: Ground, text: str) -> int:
    rows = ground.rows("SELECT conversation_id FROM message WHERE kind = 'inbound' AND text LIKE ?", f"{text}%")
    return int(rows[0][0]) if rows else 0


def _until(ground: Ground, holds: Callable[[], object], what: str, messages: int) -> None:
    """Wait, with time going by faster than outside."""
    hurried, deadline = time.monotonic() + 1, time.monotonic() + 60 + messages / 5
    while not holds():
        if time.monotonic() > deadline:
            states = ground.states("receipt"), ground.states("delivery")
            raise TimeoutError(f"{what} did not come: {states}; {ground.logs()}")
        if time.monotonic() > hurried:
            ground.time_passes(under_way=3)
            hurried = time.monotonic() + 2
        time.sleep(0.05)


def _left(ground: Ground) -> int:
    sent = ground.states("delivery")
    behind = ground.rows("SELECT count(*) FROM follower WHERE fact_id < (SELECT max(id) FROM fact)")[0][0]
    return sent.get("queued", 0) + sent.get("sending", 0) + ground.states("receipt").get("received", 0) + int(behind)


def _balance_answers(ground: Ground, books: Books) -> int:
    """Each answer reached its customer once; how many mails nobody can know about."""
    said = Counter(text.body for text in ground.at.twilio.sent)
    ids = Counter(message_from_bytes(mail.data)["Message-ID"] for mail in ground.at.smtp.taken)
    rows = ground.rows("SELECT channel, text, state, external_id FROM message WHERE kind = 'outbound' AND text LIKE ?",
                       f"{books.mark} answer%")  # fmt: skip
    assert sorted(row[1] for row in rows) == sorted(books.answers), "every answer is one message"
    uncertain = 0
    for channel, text, state, external_id in rows:
        times = said[text] if channel == "sms" else ids[external_id]
        if channel == "email" and state == "uncertain":
            uncertain += 1
            assert times <= 1, (text, times)
        else:
            assert (times, state) == (1, "sent"), (channel, text, state, times)
    return uncertain


def _balance_followers(ground: Ground, subscriber: Subscriber, books: Books) -> tuple[int, int]:
    """Each arrival was told under one id, each conversation has one notice; webhooks repeated, notices given up.

    Pauses between tries are left out here, so that bad luck can use up all tries at a notice; it then says so.
    """
    facts = ground.rows(
        "SELECT f.id FROM fact f WHERE f.name = 'MessageReceived' AND f.conversation_id IN "
        "(SELECT conversation_id FROM message WHERE text LIKE ?)", f"{books.mark}%",
    )  # fmt: skip
    told = {int(row[0]): subscriber.ids(int(row[0])) for row in facts}
    assert len(told) == len(books.texts) + len(books.mails)
    assert {len(ids) for ids in told.values()} == {1}, "each arrival is told under one id"
    posts = Counter(number for post in ground.at.slack.messages for number in NOTICE.findall(json.dumps(post.blocks)))
    given_up = 0
    for (number,) in ground.rows("SELECT DISTINCT conversation_id FROM message WHERE text LIKE ?", f"{books.mark}%"):
        tries = "SELECT attempts FROM delivery WHERE sender = 'slack' AND state = 'failed' AND dedupe_key LIKE ?"
        failed = ground.rows(tries, f"{number}:%")
        if failed and not posts[str(number)]:
            given_up += 1
            assert failed[0][0] > len(SCHEDULES["slack"])
        else:
            assert posts[str(number)] == 1, f"conversation {number} has {posts[str(number)]} notices"
    return sum(subscriber.told[sequence, ids[0]] - 1 for sequence, ids in told.items()), given_up
