"""Fifty messages a second over all channels, with restarts at random: the books balance, memory and lag stay flat."""

from __future__ import annotations

import faulthandler
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

import psutil
import requests

from tests.processes import Browser, free_port, until
from tests.prove.ground import MAIL_WAITS, PROVIDER_WAITS, Ground
from tests.prove.killing import available_agents
from tests.prove.soak import AGENTS
from tests.story import PASSWORD

SENDERS = 400  # of each channel
SIDES = 6  # threads that send; each takes the next message that is due
OPEN, MOST = 2000, 100  # conversations that stay open at a desk that keeps up, and that it resolves at once
LOOK = 5.0  # seconds between two looks at the books and the memory
GROWTH, SLACK = 0.2, 25 * 1024 * 1024  # of a role's memory over the run, and bytes that garbage moves by
BY_CHANNEL = "SELECT c.kind, count(*) FROM receipt r JOIN channel c ON c.id = r.channel_id GROUP BY c.kind"
RESTARTS = (15.0, 30.0)  # seconds between two; half of them are kills


@dataclass
class Sent:
    """What the generator sent: things, and how often it sent one of them again on purpose or for want of an answer."""

    things: Counter[str] = field(default_factory=Counter)  # by channel
    again: int = 0
    unreadable: int = 0
    honeypots: int = 0
    counting: threading.Lock = field(default_factory=threading.Lock)

    def count(self, channel: str, again: int = 0, unreadable: bool = False, honeypot: bool = False) -> None:
        with self.counting:
            self.things[channel] += 1
            self.again += again
            self.unreadable += unreadable
            self.honeypots += honeypot


def balanced(ground: Ground, seconds: float, per_second: float) -> None:
    """Raises AssertionError when anything is missing or too much, when memory grows or the lag does."""
    faulthandler.cancel_dump_traceback_later()  # this is meant to take longer than a test that hangs
    mark, sent, numbers = f"book{uuid4().hex[:6]}", Sent(), _paced(seconds, per_second)
    sides = [_Side(ground, mark, sent, seed) for seed in range(SIDES)]
    looks: list[tuple[int, dict[str, int]]] = []  # messages that are on their way, memory of each role
    began, over = time.monotonic(), threading.Event()
    with available_agents(ground, f"http://127.0.0.1:{free_port()}/nobody"), ThreadPoolExecutor(SIDES + 2) as pool:
        looking = pool.submit(_look, ground, sent, looks, over)
        desk = pool.submit(_at_the_desk, ground, over)
        try:
            with _restarts(ground):
                for job in [pool.submit(side.run, numbers) for side in sides]:
                    job.result()
            took = time.monotonic() - began
            late = _late(ground, sent)  # said below, beneath the books: an hour's run has to tell what it was about
            drained = time.monotonic() - began - took
        finally:
            over.set()
        looking.result()
        desk.result()
    states = ground.states("receipt")
    messages = ground.rows("SELECT count(*) FROM message WHERE kind = 'inbound'")[0][0]
    rows = [
        ("seconds", f"{took:.0f}"), ("messages a second", f"{sent.things.total() / took:.1f}"),
        ("sent", f"{sent.things.total()} {dict(sent.things)}"), ("sent again", sent.again),
        ("receipts", f"{sum(states.values())} {states}"), ("by channel", dict(ground.rows(BY_CHANNEL))),
        ("messages", messages), ("conversations", ground.states("conversation")),
        ("restarts", dict(ground.killed)), ("most on their way", max(look[0] for look in looks)),
        ("on their way", [look[0] for look in looks[:: max(1, len(looks) // 20)]]),
        ("drained after", f"{drained:.1f} s"),
        *((f"memory of {role}", f"{one >> 20} → {other >> 20} MB") for role, one, other in _memory(looks)),
    ]  # fmt: skip
    print("\n".join(["\nthe books", *(f"  {name:<22}{value}" for name, value in rows)]))
    assert late is None, late
    assert sum(states.values()) == sent.things.total(), "every thing that was sent has one receipt"
    assert states.get("accepted", 0) == messages == len(set(_texts(ground, mark)))
    assert states.get("ignored", 0) == sent.honeypots
    assert states.get("quarantined", 0) == sent.unreadable
    assert set(states) <= {"accepted", "ignored", "quarantined"}
    assert max(look[0] for look in looks) <= MAIL_WAITS * per_second, "the lag is bounded"
    grown = [row for row in _memory(looks) if row[2] > row[1] * (1 + GROWTH) + SLACK]
    assert grown == [], "memory stays flat"


def _late(ground: Ground, sent: Sent) -> TimeoutError | None:
    """What is still on its way long after the last message was sent, if anything."""
    try:
        until(lambda: _arrived(ground) >= sent.things.total(), "the last messages", MAIL_WAITS)
        until(lambda: not ground.states("receipt").get("received", 0), "everything to be read", MAIL_WAITS)
    except TimeoutError as error:
        return error
    return None


class _Side:
    """One of those who send. What gets no answer is sent again until it does, as providers and scripts do."""

    def __init__(self, ground: Ground, mark: str, sent: Sent, seed: int):
        self.ground, self.mark, self.sent = ground, mark, sent
        self.dice = random.Random(seed)
        self.token = ""
        self.threads: dict[int, str] = {}  # the last mail of each sender

    def run(self, numbers: Iterator[int]) -> None:
        """Take what is due until nothing is left."""
        kinds: list[Callable[[int], None]] = [self._text, self._mail, self._form, self._chat]
        while (number := next(numbers, None)) is not None:
            self.dice.choices(kinds, (50, 25, 10, 15))[0](number)

    def _text(self, number: int) -> None:
        sid, body = f"SM{self.mark}{number}", f"{self.mark} text {number}"
        unreadable = self.dice.random() < 0.005
        who = "" if unreadable else f"+467018{number % SENDERS:05d}"
        calls = self.ground.insist(who, body, sid)
        again = self.dice.random() < 0.05
        if again:
            calls += self.ground.insist(who, body, sid)
        self.sent.count("sms", calls - 1, unreadable=unreadable)

    def _mail(self, number: int) -> None:
        sender, own_id = number % SENDERS, f"<{self.mark}.{number}@customer.example>"
        before = self.threads.get(sender, "") if self.dice.random() < 0.9 else ""  # else they begin something new
        subject = f"Re: {self.mark}" if before else f"Lamp {number}"
        who = f"Mara <{self.mark}{sender}@example.com>"
        self.ground.mail(who, subject, f"{self.mark} mail {number}", before, own_id)
        self.threads[sender] = own_id
        self.sent.count("email")

    def _form(self, number: int) -> None:
        honeypot = self.dice.random() < 0.05
        form = {"email": f"{self.mark}{number % SENDERS}@example.org", "name": "Mara",
                "message": f"{self.mark} form {number}", "website": "buy" if honeypot else ""}  # fmt: skip
        calls = self._post("/webhooks/forms/contact-form", form, {"Idempotency-Key": f"{self.mark}-{number}"})
        self.sent.count("form", calls - 1, honeypot=honeypot)

    def _chat(self, number: int) -> None:
        if not self.token or self.dice.random() < 0.1:
            self.token = ""
            self._post("/chat/session", {"channel": "shop-chat"}, {})
        line = {"id": str(uuid4()), "text": f"{self.mark} line {number}"}
        calls = self._post("/chat/messages", line, {"Authorization": f"Bearer {self.token}"})
        self.sent.count("chat", calls - 1)

    def _post(self, path: str, body: dict[str, str], headers: dict[str, str], seconds: float = 60) -> int:
        """Post until it is taken; how many calls that took."""
        calls, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            calls += 1
            try:
                answer = requests.post(
                    f"{self.ground.at.hub.url}{path}", json=body, headers=headers, timeout=PROVIDER_WAITS
                )
            except requests.RequestException:  # killed under our hands
                answer = None
            if answer is not None and answer.ok:
                self.token = answer.json().get("token", self.token)
                return calls
            if answer is not None and answer.status_code not in (502, 503):
                raise RuntimeError(f"{path} answered {answer.status_code}: {answer.text[:200]}")
            time.sleep(0.1)
        raise TimeoutError(f"{path} took nothing within {seconds:g} s; {self.ground.logs()}")


def _paced(seconds: float, per_second: float) -> Iterator[int]:
    """Numbers, each when it is due; several threads may ask."""
    turn, began, numbers = threading.Lock(), time.monotonic(), iter(range(int(seconds * per_second)))

    class Paced(Iterator[int]):
        def __next__(self) -> int:
            with turn:
                number = next(numbers)
                time.sleep(max(0.0, began + number / per_second - time.monotonic()))
            return number

    return Paced()


@contextmanager
def _restarts(ground: Ground) -> Iterator[None]:
    """Now and then one process is killed, or ended in peace and started again."""
    dice, over = random.Random(23), threading.Event()

    def restart() -> None:
        while not over.wait(dice.uniform(*RESTARTS)):
            process = dice.choice(ground.at.hub.running)
            if dice.random() < 0.5:
                ground.kill(process, only_child=dice.random() < 0.5)
            else:
                process.send_signal(signal.SIGTERM)
                process.wait(40)
                ground.killed["ended in peace"] += 1
                ground.start_again(process)
            until(ground.answers_again, "the hub to answer again", 60)

    with ThreadPoolExecutor(1) as operator:
        working = operator.submit(restart)
        try:
            yield
        finally:
            over.set()
            working.result()


def _at_the_desk(ground: Ground, over: threading.Event) -> None:
    """Two who stay available whatever restarts, and resolve what is oldest while more is open than they would leave."""
    agents = [Browser(ground.at.hub.url, email, PASSWORD) for email in AGENTS]
    away = "SELECT count(*) FROM agent WHERE status <> 'available' AND email IN (?, ?)"
    oldest = "SELECT id FROM conversation WHERE state = 'open' ORDER BY last_inbound_id LIMIT ?"
    while not over.wait(1.0):
        more = ground.states("conversation").get("open", 0) - OPEN
        numbers = [row[0] for row in ground.rows(oldest, min(more, MOST))] if more > 0 else []
        with suppress(requests.RequestException, RuntimeError):  # killed under our hands: the same again next time
            for agent in agents if ground.rows(away, *AGENTS)[0][0] else ():
                agent.post_form("/inbox/status", status="available")
            if numbers:
                agents[0].post_form("/inbox/bulk", do="resolve", rest=" ".join(map(str, numbers)))


def _look(ground: Ground, sent: Sent, looks: list[tuple[int, dict[str, int]]], over: threading.Event) -> None:
    while True:
        memory: Counter[str] = Counter()
        for process in list(ground.at.hub.running):
            try:
                top, serves = psutil.Process(process.pid), ground.serves(process)
                for member in [top, *top.children(recursive=True)]:
                    role = "readers" if "channels.apart" in member.cmdline() else "web" if serves else "worker"
                    memory[role] = max(memory[role], member.memory_info().rss)
            except psutil.Error:  # it is being restarted
                continue
        looks.append((sent.things.total() - _arrived(ground), dict(memory)))
        if over.wait(LOOK):
            return


def _memory(looks: list[tuple[int, dict[str, int]]]) -> list[tuple[str, int, int]]:
    """Of each role the most that one process had in the second fifth of the run and in the last."""
    fifth = max(1, len(looks) // 5)
    early, late = looks[fifth : 2 * fifth], looks[-fifth:]
    return [
        (role, max(memory.get(role, 0) for _, memory in early), max(memory.get(role, 0) for _, memory in late))
        for role in sorted({role for _, memory in looks for role in memory})
    ]


def _arrived(ground: Ground) -> int:
    return int(ground.rows("SELECT count(*) FROM receipt")[0][0])


def _texts(ground: Ground, mark: str) -> list[str]:
    rows = ground.rows("SELECT text FROM message WHERE kind = 'inbound' AND text LIKE ?", f"%{mark}%")
    return [row[0].strip() for row in rows]
