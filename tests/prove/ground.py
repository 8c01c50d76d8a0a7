"""The ground that proofs stand on: a hub whose processes and database may die, and a provider that insists."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import psutil
import psycopg
import pytest
import requests
from sqlalchemy.engine import make_url

from chatops.notices import BUSY
from hub.delivery import LEASE
from hub.pump import facts_after
from routing.work import load_drift
from storage import Store, Tx
from tests.processes import ROOT, until
from tests.prove.faulty import Lines
from tests.story import MAILBOX, OURS, Stage, Timeline, stage
from tests.support import postgres
from tests.support.forkserver import Process

HEARD = "/webhooks/twilio/messages"
MAIL_WAITS = 70.0  # seconds: a dead reader's lease, and a margin
PROVIDER_WAITS = 15.0  # seconds that Twilio gives a webhook


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub said to one call: status (0 for none), Retry-After, seconds it took."""

    status: int
    retry_after: str
    seconds: float


@dataclass
class Ground:
    """A running hub, its surroundings, and a look at its database from outside."""

    at: Stage
    store: Store
    web: int
    orders: Path  # what is to die where: see storage.failpoints
    server: Server | None = None
    doors: list[str] = field(default_factory=list)  # where providers call in turn; the hub's own address if empty
    in_a_hurry: bool = False  # a killed process's leases end at once, as if their time had passed
    calls: int = 0
    answers: list[Answer] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)

    # -- what the world does

    def text(self, number: str, body: str, sid: str, **more: str) -> Answer:
        """Twilio calls once with a signed text; `more` are further parameters, such as MediaUrl0."""
        twilio, url = self.at.twilio, f"{self.at.hub.url}{HEARD}"
        form = {"MessageSid": sid, "AccountSid": twilio.account_sid, "From": number, "To": OURS, "Body": body,
                "NumMedia": "0", "SmsStatus": "received", **more}  # fmt: skip
        headers = {"X-Twilio-Signature": twilio.sign(url, form), "Content-Type": "application/x-www-form-urlencoded"}
        return self._call(f"{self._door()}{HEARD}", urlencode(form).encode(), headers)

    def insist(self, number: str, body: str, sid: str = "", seconds: float = 60, **more: str) -> int:
        """Twilio calls with one text until the hub says yes; how many calls that took. Raises TimeoutError."""
        sid, deadline, calls = sid or f"SM{uuid4().hex}", time.monotonic() + seconds, 0
        while True:
            calls += 1
            if self.text(number, body, sid, **more).status == 200:
                return calls
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the hub did not take {sid} within {seconds:g} s: {self.answers[-3:]}; {self.logs()}"
                )
            time.sleep(0.1)

    def mail(
        self, sender: str, subject: str, text: str, answers: str = "", own_id: str = "", file: bytes = b""
    ) -> None:
        """A customer's mail is put into the mailbox; it may answer an earlier one and bring a file."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, f"{MAILBOX}@desk.example", subject
        message["Message-ID"] = own_id or f"<{uuid4().hex}@customer.example>"
        if answers:
            message["In-Reply-To"] = answers
        message.set_content(text)
        if file:
            message.add_attachment(file, maintype="image", subtype="png", filename="lamp.png")
        self.at.mail.deliver(MAILBOX, message.as_bytes())

    def reply(self, conversation: int, text: str, key: str, seconds: float = 60) -> int:
        """A program answers over the API and asks again with its key until it hears 201; the message's id."""
        return self._write("replies", conversation, text, key, seconds)

    def note(self, conversation: int, text: str, key: str, seconds: float = 60) -> int:
        """A program writes a note, in the same way."""
        return self._write("notes", conversation, text, key, seconds)

    def _write(self, what: str, conversation: int, text: str, key: str, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        headers = {"Idempotency-Key": key, "Authorization": str(self.at.api.session.headers["Authorization"])}
        while True:
            url = f"{self._door()}/api/v1/conversations/{conversation}/{what}"
            try:
                answer = requests.post(url, json={"text": text}, headers=headers, timeout=PROVIDER_WAITS)
            except requests.RequestException:  # killed under our hands: ask again
                answer = None
            if answer is not None and answer.status_code == 201:
                return int(answer.json()["id"])
            if answer is not None and answer.status_code not in (502, 503):
                raise RuntimeError(f"one of the {what} was refused with {answer.status_code}: {answer.text[:200]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the hub did not take one of the {what}, {key}, within {seconds:g} s")
            time.sleep(0.1)

    def _door(self) -> str:
        """The next address to call."""
        self.calls += 1
        return self.doors[self.calls % len(self.doors)] if self.doors else self.at.hub.url

    def _call(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        began, status, retry_after = time.monotonic(), 0, ""
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.post(url, data=body, headers=headers, timeout=PROVIDER_WAITS)
                status, retry_after = answer.status_code, answer.headers.get("Retry-After", "")
            except requests.RequestException:  # nobody answered: a provider calls again
                status = 0
        said = Answer(status, retry_after, time.monotonic() - began)
        self.answers.append(said)
        return said

    # -- what goes wrong

    def kill(self, process: Process, *, only_child: bool = False) -> None:
        """SIGKILL a process with all that it started, or only one of its children; the first comes back by us."""
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:  # it has died by itself
            family = []
        if only_child and family:
            family[-1].kill()
            self.killed["web child, which its parent replaces"] += 1
            return
        process.kill()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()
        psutil.wait_procs(family, timeout=10)
        self.killed["web" if self.serves(process) else "worker"] += 1
        self.start_again(process)

    def start_again(self, process: Process) -> None:
        """What a supervisor does with a process that has ended."""
        serves, hub = self.serves(process), self.at.hub
        hub.running.remove(process)
        more = {"WEB_CONCURRENCY": str(self.web)} if serves and not hub.embedded else {}
        if self.in_a_hurry:
            with self.store.write() as tx:
                tx.sql("UPDATE lease SET expires_at = ? WHERE holder LIKE ?", tx.now, f"%:{process.pid}:%")
        name = "web" if serves else f"worker-after-{process.pid}"
        hub._spawn(name, process.args, more)
        if not serves:
            log, started = hub.folder / f"{name}.log", hub.running[-1]
            # Where a second step is ordered, it may come to that one before: then it has died, and its turn is next.
            until(lambda: "is at work" in log.read_text() or started.poll() is not None, "the worker to be at work", 60)

    def serves(self, process: Process) -> bool:
        """Whether it is a web process, not a worker."""
        return "worker.py" not in process.args

    def answers_again(self) -> bool:
        """Whether the web answers."""
        try:
            return requests.get(f"{self.at.hub.url}/readyz", timeout=2).ok
        except requests.RequestException:  # not yet
            return False

    def logs(self) -> str:
        """The end of every process's log, and which of them have ended: for a person who reads a failure."""
        over = [each for each in self.at.hub.running if each.poll() is not None]
        ended = [f"{' '.join(each.args)} ended with {each.returncode}" for each in over]
        tails = [f"{log.name}: {log.read_text()[-1500:]}" for log in sorted(self.at.hub.folder.glob("*.log"))]
        return "\n".join([*ended, *tails])

    @contextmanager
    def killing(self, dice: random.Random, every: tuple[float, float], only: str = "") -> Iterator[None]:
        """Kill a random process at random moments for as long as the block runs, and start it again."""
        done = threading.Event()

        def reap() -> None:
            while not done.wait(dice.uniform(*every)):
                choices = [each for each in self.at.hub.running if only in " ".join(each.args)]
                self.kill(dice.choice(choices), only_child=not only and dice.random() < 0.3)
                until(self.answers_again, "the hub to come back", 60)

        with ThreadPoolExecutor(1) as reaper:
            reaping = reaper.submit(reap)
            try:
                yield
            finally:
                done.set()
                reaping.result()
        until(self.answers_again, "the hub to come back", 60)

    def time_passes(self, under_way: float = 1.0) -> None:
        """Let every lease and pause of the outbox end, as if hours had gone by.

        What is being sent for less than `under_way` seconds keeps its lease, which is longer than any sender takes.
        """
        now = self.store.clock()
        begun, busy = now + LEASE - timedelta(seconds=under_way), now + BUSY - timedelta(seconds=under_way)
        queued = "UPDATE delivery SET due_at = ? WHERE state = 'queued' AND due_at > ?"
        sending = "UPDATE delivery SET due_at = ? WHERE state = 'sending' AND due_at > ? AND due_at < ?"
        # One by one: together they would wait for rows in another order than the hub does.
        self.store.submit(lambda tx: tx.sql(queued, now, now) and None)
        self.store.submit(lambda tx: tx.sql(sending, now, now, begun) and None)
        notices = "UPDATE slack_notice SET busy_until = NULL WHERE busy_until < ?"
        self.store.submit(lambda tx: tx.sql(notices, busy) and None)
        self.store.submit(lambda tx: tx.sql("UPDATE attachment SET due_at = NULL WHERE source_url <> ''") and None)

    # -- what is to be seen

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """What the database holds."""
        with self.store.read() as tx:
            return list(tx.sql(statement, *values).fetchall())

    def inbound(self, like: str) -> Counter[str]:
        """How often each inbound text is there."""
        found = self.rows("SELECT text FROM message WHERE kind = 'inbound' AND text LIKE ?", f"{like}%")
        return Counter(row[0].strip() for row in found)

    def _history(self, address: str) -> list[tuple[Any, ...]]:
        """Conversation, message, receipt, when it came and was filed, why it is there: to read a failure by."""
        rows = self.rows(
            "SELECT m.conversation_id, m.id, r.id, r.received_at, m.created_at, m.why, r.attempts FROM message m "
            "JOIN receipt r ON r.id = m.receipt_id JOIN identity i ON i.id = m.identity_id WHERE i.value = ? "
            "ORDER BY r.id",
            address,
        )  # fmt: skip
        return [tuple(map(str, row)) for row in rows]

    def states(self, table: str) -> dict[str, int]:
        """How many rows of receipts or deliveries are in which state."""
        return dict(self.rows(f"SELECT state, count(*) FROM {table} GROUP BY state"))

    def assert_each_once(self, wanted: Sequence[str], like: str) -> None:
        """Every text is one message with one fact of its arrival; no receipt is left over; nobody carries too much."""
        until(
            lambda: sum(self.inbound(like).values()) >= len(wanted), f"{len(wanted)} messages like {like!r}", MAIL_WAITS
        )
        found = self.inbound(like)
        assert sorted(found) == sorted(wanted), set(wanted) ^ set(found)
        assert set(found.values()) == {1}, [text for text, times in found.items() if times > 1]
        assert set(self.states("receipt")) <= {"accepted", "duplicate"}
        with self.store.read() as tx:
            assert load_drift(tx) == {}
            told = _told(tx)
            ids = [row[0] for row in tx.sql("SELECT id FROM message WHERE kind = 'inbound'").fetchall()]
        assert told == Counter(ids), "one MessageReceived for each message"

    def assert_one_history_each(self, kind: str, like: str) -> int:
        """One contact and one conversation for each address of this kind; how many addresses there are."""
        rows = self.rows(
            "SELECT i.value, count(DISTINCT i.contact_id), count(DISTINCT v.id) FROM identity i "
            "JOIN conversation v ON v.contact_id = i.contact_id WHERE i.kind = ? AND i.value LIKE ? GROUP BY i.value",
            kind, f"{like}%",
        )  # fmt: skip
        split = [row[0] for row in rows if tuple(row)[1:] != (1, 1)]
        assert split == [], [self._history(value) for value in split]
        return len(rows)


def _told(tx: Tx) -> Counter[int]:
    """How often each message's arrival was told, reading the facts as every reader does: in order, in pages."""
    told: Counter[int] = Counter()
    last = 0
    while facts := facts_after(tx, last):
        assert all(one.id < other.id for one, other in pairwise(facts))
        last = facts[-1].id
        told.update(fact.data["message_id"] for fact in facts if fact.name == "MessageReceived")
    return told


class Server:
    """A PostgreSQL that can be stopped and started again."""

    def __init__(self, url: str):
        self.url = url
        self.home = Path(url.partition("host=")[2])
        self._guards: list[subprocess.Popen[bytes]] = []

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is the operator's restart (every connection is ended), SIGQUIT a crash."""
        number = int((self.home / "data" / "postmaster.pid").read_text().split()[0])
        psutil.Process(number).send_signal(how)
        until(lambda: not (self.home / "data" / "postmaster.pid").exists() or _is_gone(number), "PostgreSQL to stop")

    def start(self) -> None:
        """Start it on the same data and wait until it takes connections."""
        (self.home / "data" / "postmaster.pid").unlink(missing_ok=True)  # a crash leaves it behind
        user = postgres.NOBODY if os.geteuid() == 0 else None
        groups: list[int] | None = None if user is None else []
        bin_dir = postgres.binaries()
        assert bin_dir is not None
        self._guards.append(
            subprocess.Popen(
                ["/bin/sh", "-c", postgres.GUARD, "sh", bin_dir, self.home, "off"],
                user=user, group=user, extra_groups=groups, cwd=self.home, start_new_session=True,
                env={"PATH": f"{bin_dir}:/usr/bin:/bin", "HOME": str(self.home), "LC_ALL": "C"},
                stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        until(self._answers, "PostgreSQL to start")

    def close(self) -> None:
        """End what was started here."""
        for guard in self._guards:
            assert guard.stdin
            guard.stdin.close()
            guard.wait(30)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url.replace("postgresql+psycopg", "postgresql"), connect_timeout=2).close()
        except psycopg.OperationalError:  # not yet
            return False
        return True


def _is_gone(number: int) -> bool:
    return not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


@contextmanager
def ground(
    database: str, folder: Path, lines: Lines | None = None, root: Path = ROOT, *, cold: bool = False
) -> Iterator[Ground]:
    """SQLite in one process, or two web processes and two workers on a PostgreSQL of their own.

    Fail points are armed (`storage.failpoints`), and outbound webhooks may go to this machine. With `lines` the hub
    reaches everything, and is reached, through them. `root` is the checkout that runs. `cold` processes load the
    product at each start, as in operation.
    """
    with ExitStack() as stack:
        server = None
        if database == "sqlite":
            url, web, workers = f"sqlite:///{folder}/hub.db", 1, 1
        else:
            if "SWITCHYARD_TEST_PG_URL" in os.environ:
                pytest.skip("a proof stops its database, so it takes none that is somebody's")
            server = Server(stack.enter_context(postgres.server()))
            stack.callback(server.close)
            url, web, workers = postgres.database(server.url), 2, 2
        orders = folder / "orders"
        orders.mkdir()
        more = {"SWITCHYARD_FAILPOINTS": str(orders), "WEBHOOK_ALLOW_PRIVATE": "on"}
        store = Store(url)
        stack.callback(store.close)
        timeline = Timeline(lambda line: None)
        if lines is None:
            at = stack.enter_context(stage(url, folder, timeline, web, workers, more, root=root, cold=cold))
        else:
            if server is not None:
                port = lines.through("postgresql", str(server.home / ".s.PGSQL.5432"))
                url = make_url(url).set(host="127.0.0.1", port=port, query={}).render_as_string()
            at = stack.enter_context(stage(url, folder, timeline, web, workers, more, way=lines.through, cold=cold))
        at.twilio.lifecycle = ()
        yield Ground(at, store, web, orders, server)


def all_at_once(work: Iterable[Callable[[], Any]], threads: int = 8) -> list[Any]:
    """Do everything with a few threads; the results in order. The first error is raised after all have ended."""
    with ThreadPoolExecutor(threads) as pool:
        return [each.result() for each in [pool.submit(one) for one in work]]
