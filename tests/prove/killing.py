"""SIGKILL at every named step of the product, found in its source: nothing lost, nothing twice, nothing stuck."""

from __future__ import annotations

import ast
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from functools import partial
from itertools import count
from uuid import uuid4

from routing.work import load_drift
from sandbox.twilio import Text
from sandbox.wire import Answer, Call, Wire
from tests.processes import ROOT, Browser, until
from tests.prove.ground import Ground
from tests.story import MAILBOX, PASSWORD

PACKAGES = ("storage", "channels", "routing", "hub", "webhooks", "chatops", "inbox", "api", "cli")
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(200)
ROUND_SECONDS = 60.0  # until a round that has not come to its end is called stuck
HURRY_SECONDS = 0.5  # between two moments at which leases and pauses end
# What is being sent keeps its lease for so long: on a full machine a living sender takes seconds, and one that goes on
# without its lease sends what another sends as well. The real lease is two minutes (`hub.delivery.LEASE`).
UNDER_WAY_SECONDS = 5.0
# A step that is only met after another kill: what a crash left is asked about.
AFTER = {"delivery.asked": "delivery.handed_over", "message.asked": "message.taken"}

Order = tuple[str, int]  # a step, and the how manieth time it is come to


def long_plan(rounds: int, seed: int = 3) -> list[list[Order]]:
    """Every step alone, then steps at random, sometimes two or three in one round."""
    dice, names = random.Random(seed), sorted(steps())
    plan = [[(name, 1)] for name in names]
    while len(plan) < rounds:
        met = dice.sample(names, dice.choice((1, 1, 2, 3)))
        plan.append([(name, dice.choice((1, 1, 2, 3))) for name in met])
    return plan[:rounds]


def steps() -> dict[str, str]:
    """Every `step("…")` in the product, with its place. Raises AssertionError for a name that can't be found so."""
    found: dict[str, str] = {}
    for path in sorted(each for name in PACKAGES for each in (ROOT / name).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "from storage.failpoints import step\n" not in source:
            continue
        for node in ast.walk(ast.parse(source, str(path))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "step":
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert len(node.args) == 1 and isinstance(node.args[0], ast.Constant), f"{place}: name the step"
                name = str(node.args[0].value)
                assert name not in found, f"{place}: {name} is the name of {found[name]} already"
                found[name] = place
    return found


class Subscriber:
    """Somebody who gets our webhooks: which facts were told under which ids, and how often."""

    def __init__(self) -> None:
        self.told: Counter[tuple[int, str]] = Counter()  # sequence, webhook-id
        self._wire = Wire(self._answer)

    def _answer(self, call: Call) -> Answer:
        self.told[json.loads(call.body)["sequence"], call.headers["webhook-id"]] += 1
        return Answer(204)

    @property
    def port(self) -> int:
        return self._wire.port

    def ids(self, sequence: int) -> list[str]:
        """Under how many ids a fact was told: one, however often."""
        return [number for fact, number in list(self.told) if fact == sequence]

    @contextmanager
    def listening(self) -> Iterator[str]:
        """The address to send to."""
        self._wire.start()
        try:
            yield f"{self._wire.url}/events"
        finally:
            self._wire.stop()


@dataclass
class Tally:
    """What came of all rounds. `faults` are sentences for a person, each with its round."""

    rounds: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    unmet: Counter[str] = field(default_factory=Counter)  # the step was not come to that often in the round
    messages: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    uncertain: int = 0
    open_mails: int = 0  # handed to the mail server and not settled when a process died
    repeated: int = 0  # webhooks told twice under one id, which is what the id is for
    faults: list[str] = field(default_factory=list)

    def told(self, database: str) -> str:
        """A table of the books."""
        rows = [
            ("rounds", self.rounds), ("kills", self.killed.total()), ("steps", len(self.killed)),
            ("messages", self.messages), ("lost", self.lost), ("doubled", self.doubled), ("stuck", self.stuck),
            ("uncertain mails", f"{self.uncertain} of {self.open_mails} open at a kill"),
            ("webhooks repeated under their id", self.repeated),
        ]  # fmt: skip
        return "\n".join([f"\nkill matrix on {database}", *(f"  {name:<34}{value}" for name, value in rows)])


class Matrix:
    """Rounds of traffic over every door; in each the process that comes to one step dies there."""

    def __init__(self, ground: Ground, subscriber: Subscriber):
        self.ground = ground
        self.subscriber = subscriber
        self.tally = Tally()
        self.numbers = count(random.randrange(10**7))  # a stranger's each round

    def run(self, plan: Sequence[Sequence[Order]]) -> Tally:
        """Play the plan, one packet of traffic a round; the books are balanced after each and at the end."""
        for orders in plan:
            self._round(orders)
        with self.ground.store.read() as tx:
            drift = load_drift(tx)
        if drift:
            self._fault("stuck", f"agents' loads have drifted: {drift}")
        odd = {state: n for state, n in self.ground.states("receipt").items() if state not in ("accepted", "duplicate")}
        if odd:
            self._fault("stuck", f"receipts left over: {odd}")
        return self.tally

    def _round(self, orders: Sequence[Order]) -> None:
        folder, mark = self.ground.orders, f"{uuid4().hex[:6]} {' '.join(f'{name} {nth}' for name, nth in orders)}"
        self.tally.rounds += 1
        given = {**{AFTER[name]: 1 for name, _ in orders if name in AFTER}, **dict(orders)}
        for name, nth in given.items():
            (folder / f"{name}.new").write_text(str(nth))
            (folder / f"{name}.new").rename(folder / name)
        over = threading.Event()
        with ThreadPoolExecutor(1) as supervisor:
            keeping = supervisor.submit(self._keep_up, list(given), over)
            try:
                _Packet(self, mark, mails_first=len(self.tally.killed) % 2 == 0).play()
            except TimeoutError as error:
                self._fault("stuck", f"{mark}: {error}")
            finally:
                over.set()
                keeping.result()
        for name in given:
            met = (folder / f"{name}.hit").exists()
            (self.tally.killed if met else self.tally.unmet)[name] += 1
            (folder / (f"{name}.hit" if met else name)).unlink(missing_ok=True)

    def _keep_up(self, waiting: list[str], over: threading.Event) -> None:
        """The supervisor of the round: start again what died, and count which mails were open then."""
        ground = self.ground
        while not over.wait(0.05):
            for each in [one for one in waiting if (ground.orders / f"{one}.hit").exists()]:
                waiting.remove(each)
                self.tally.open_mails += self._open_mails()
            for process in [one for one in ground.at.hub.running if one.poll() is not None]:
                ground.start_again(process)

    def _open_mails(self) -> int:
        rows = self.ground.rows(
            "SELECT count(*) FROM delivery d LEFT JOIN message m ON m.id = d.message_id "
            "WHERE (m.channel = 'email' OR d.sender IN ('notice', 'digest')) AND d.state = 'sending' "
            "AND d.begun_at IS NOT NULL"
        )
        return int(rows[0][0])

    def _fault(self, kind: str, sentence: str) -> None:
        setattr(self.tally, kind, getattr(self.tally, kind) + 1)
        self.tally.faults.append(f"{kind}: {sentence}")


class _Packet:
    """One round's traffic: a text with a picture, two mails, an answer to each kind, a note that names somebody, what
    became of them.
    """

    def __init__(self, matrix: Matrix, mark: str, *, mails_first: bool):
        self.matrix, self.ground, self.mark, self.mails_first = matrix, matrix.ground, mark, mails_first
        self.number, self.address = f"+4670{next(matrix.numbers) % 10**7:07d}", f"{uuid4().hex[:12]}@example.com"
        self.wanted = [f"{mark} text", f"{mark} first mail", f"{mark} second mail"]

    def play(self) -> None:
        """Raises TimeoutError when something does not come to its end."""
        ground, twilio, deadline = self.ground, self.ground.at.twilio, time.monotonic() + ROUND_SECONDS
        sender, first = f"Mara <{self.address}>", f"<{uuid4().hex}@customer.example>"
        ground.mail(sender, self.mark, self.wanted[1], own_id=first, file=PICTURE + self.mark.encode())
        picture = ("ME1", "image/png", PICTURE)
        kept = twilio._keep("inbound", self.number, "", self.wanted[0], "received", media=[picture])
        media = f"{twilio.url}{twilio._path}/Messages/{kept.sid}/Media/ME1"
        ground.insist(
            self.number, self.wanted[0], kept.sid, NumMedia="1", MediaUrl0=media, MediaContentType0="image/png"
        )
        ground.mail(sender, self.mark, self.wanted[2], answers=first)
        self._until(deadline, lambda: self._inbound(self.wanted), "the three messages")
        rows = ground.rows("SELECT channel, conversation_id FROM message WHERE text LIKE ?", f"{self.mark}%")
        for channel, conversation in sorted({tuple(row) for row in rows}, reverse=not self.mails_first):
            ground.reply(conversation, f"{self.mark} answer by {channel}", f"{self.mark}-{channel}")
        ground.note(conversation, f"{self.mark} note for @Amara Obi", f"{self.mark}-note")
        self._until(deadline, self._settled, "an empty outbox")
        for text in [each for each in twilio.sent if each.body.startswith(self.mark)]:
            until(partial(self._reported, text), "the status to be taken", ROUND_SECONDS)
        self._until(deadline, self._owned, "owners, pictures and notices")
        self._balance()

    def _until(self, deadline: float, holds: Callable[[], bool], what: str) -> None:
        """Wait; time passes faster than outside, so that leases and pauses end."""
        hurried = time.monotonic() + HURRY_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not come within {ROUND_SECONDS:g} s: {self._state()}")
            if time.monotonic() > hurried:
                self.ground.time_passes(UNDER_WAY_SECONDS)
                hurried = time.monotonic() + HURRY_SECONDS
            time.sleep(0.05)

    def _reported(self, text: Text) -> bool:
        return self.ground.at.twilio.report(text, "delivered") == 204

    def _inbound(self, wanted: Sequence[str]) -> bool:
        return set(self.ground.inbound(self.mark)) >= set(wanted)

    def _settled(self) -> bool:
        rows = self.ground.rows(
            "SELECT count(*) FROM delivery d JOIN message m ON m.id = d.message_id "
            "WHERE m.text LIKE ? AND d.state IN ('queued','sending')", f"{self.mark}%",
        )  # fmt: skip
        return int(rows[0][0]) == 0

    def _owned(self) -> bool:
        """Everything that follows from a message has come about."""
        ground = self.ground
        conversations = self._conversations()
        waiting = ground.rows("SELECT count(*) FROM delivery WHERE state IN ('queued','sending')")[0][0]
        pictures = ground.rows("SELECT count(*) FROM attachment WHERE source_url <> ''")[0][0]
        behind = ground.rows(
            "SELECT count(*) FROM follower WHERE fact_id < (SELECT max(id) FROM fact)"
        )[0][0]  # fmt: skip
        return all(owner for _, owner in conversations) and not waiting and not pictures and not behind

    def _conversations(self) -> list[tuple[int, int | None]]:
        rows = self.ground.rows(
            "SELECT DISTINCT v.id, v.assignee_id FROM conversation v JOIN message m ON m.conversation_id = v.id "
            "WHERE m.text LIKE ?", f"{self.mark}%",
        )  # fmt: skip
        return [tuple(row) for row in rows]

    def _state(self) -> str:
        seen = {
            "inbound": dict(self.ground.inbound(self.mark)), "receipts": self.ground.states("receipt"),
            "deliveries": self.ground.states("delivery"), "conversations": self._conversations(),
            "cursor": [tuple(row) for row in self.ground.rows("SELECT * FROM mail_cursor")],
            "leases": [tuple(row) for row in self.ground.rows("SELECT name, holder, expires_at FROM lease")],
        }  # fmt: skip
        return f"{seen}; {self.ground.logs()[-3000:]}"

    def _balance(self) -> None:
        """Each thing once, on our side and on the world's."""
        ground, tally, fault = self.ground, self.matrix.tally, self.matrix._fault
        counted = [(text, times, "message") for text, times in ground.inbound(self.mark).items()]
        facts = ground.rows(
            "SELECT f.id, m.text FROM fact f JOIN message m ON f.conversation_id = m.conversation_id "
            "WHERE f.name = 'MessageReceived' AND m.kind = 'inbound' AND m.text LIKE ?", f"{self.mark}%",
        )  # fmt: skip
        told = {int(row[0]) for row in facts}
        if len(told) != len(self.wanted):
            fault("lost" if len(told) < len(self.wanted) else "doubled", f"{self.mark}: {len(told)} arrivals told")
        counted += [(f"{self.mark} webhook {each}", len(self.subscriber_ids(each)), "webhook") for each in told]
        posts = [post for post in ground.at.slack.messages if self.mark in post.text + json.dumps(post.blocks)]
        for number, _ in self._conversations():
            times = sum(f"/inbox/c/{number}" in json.dumps(post.blocks) for post in posts)
            counted.append((f"{self.mark} notice of {number}", times, "notice"))
            owners = ground.rows("SELECT 1 FROM assignment WHERE conversation_id = ? AND ended_at IS NULL", number)
            counted.append((f"{self.mark} owner of {number}", len(owners), "assignment"))
        counted += self._answers()
        counted += [each for number, _ in self._conversations() for each in self._told_by_mail(number)]
        counted += self._told_of_the_note()
        tally.messages += len(self.wanted) + 3
        for what, times, kind in counted:
            if times != 1:
                fault("lost" if times < 1 else "doubled", f"{what}: {times} times as {kind}")

    def subscriber_ids(self, sequence: int) -> list[str]:
        ids = self.matrix.subscriber.ids(sequence)
        self.matrix.tally.repeated += sum(self.matrix.subscriber.told[sequence, each] - 1 for each in ids)
        return ids

    def _told_by_mail(self, number: int) -> list[tuple[str, int, str]]:
        """How often each notice about a conversation reached its agent, and that there was one."""
        ids = " ".join(str(message_from_bytes(mail.data)["Message-ID"]) for mail in self.ground.at.smtp.taken[-50:])
        rows = self.ground.rows(
            "SELECT n.uuid, d.state, d.response FROM mail_notice n JOIN delivery d ON d.sender = 'notice' "
            "AND d.dedupe_key = CAST(n.id AS TEXT) WHERE n.conversation_id = ?", number,
        )  # fmt: skip
        found = [] if rows else [(f"{self.mark} mail about {number}", 0, "mail notice")]
        for uuid, state, response in rows:
            if state == "uncertain" and ids.count(uuid) < 2:
                self.matrix.tally.uncertain += 1
            elif "skipped" not in str(response):
                found.append((f"{self.mark} mail about {number}", ids.count(uuid), f"mail notice in state {state}"))
        return found

    def _told_of_the_note(self) -> list[tuple[str, int, str]]:
        """How often Amara was told that she was named."""
        rows = self.ground.rows(
            "SELECT g.uuid, d.state FROM message m JOIN digest_line l ON l.message_id = m.id "
            "JOIN digest g ON g.id = l.digest_id JOIN delivery d ON d.sender = 'digest' "
            "AND d.dedupe_key = CAST(g.id AS TEXT) WHERE m.kind = 'note' AND m.text LIKE ?", f"{self.mark}%",
        )  # fmt: skip
        if len(rows) != 1:
            return [(f"{self.mark} note", len(rows), "line of a mail to its agent")]
        ((uuid, state),) = rows
        times = " ".join(str(message_from_bytes(mail.data)["Message-ID"]) for mail in self.ground.at.smtp.taken[-50:])
        if state == "uncertain" and times.count(uuid) < 2:
            self.matrix.tally.uncertain += 1
            return []
        return [(f"{self.mark} note", times.count(uuid), f"mail to its agent in state {state}")]

    def _answers(self) -> list[tuple[str, int, str]]:
        """How often each answer reached its customer; a mail that nobody can know about is counted apart."""
        ground, found = self.ground, []
        said = Counter(text.body for text in ground.at.twilio.sent)
        ids = Counter(message_from_bytes(mail.data)["Message-ID"] for mail in ground.at.smtp.taken[-50:])
        rows = ground.rows(
            "SELECT channel, text, state, external_id FROM message WHERE kind = 'outbound' AND text LIKE ?",
            f"{self.mark} answer%",
        )  # fmt: skip
        if len(rows) != 2:
            found.append((f"{self.mark} answers", len(rows) - 1, "outbound messages"))
        for channel, text, state, external_id in rows:
            if (channel, state) == ("email", "sent"):
                found.append((text, ground.at.mail.copies(MAILBOX, external_id), "copy in the folder for sent mail"))
            times = said[text] if channel == "sms" else ids[external_id]
            if channel == "email" and state == "uncertain" and times < 2:
                self.matrix.tally.uncertain += 1
            else:
                found.append((text, times, f"{channel} in state {state}"))
        return found


@contextmanager
def available_agents(ground: Ground, subscriber_url: str, *, by_mail: bool = False) -> Iterator[None]:
    """Agents who take everything, told by mail if so wanted, and a subscriber to every message."""
    wanted = {"name": f"books {uuid4().hex[:6]}", "url": subscriber_url, "events": ["message.received"]}
    made = ground.at.api.post("/webhook-endpoints", **wanted)
    with ground.store.write() as tx:
        tx.sql("UPDATE agent SET capacity = 1000000, mail_notices = ?", by_mail)
    for email in ("jonas@desk.example", "amara@desk.example"):
        Browser(ground.at.hub.url, email, PASSWORD).post_form("/inbox/status", status="available")
    yield
    ground.at.api.session.delete(f"{ground.at.api.base}/webhook-endpoints/{made['id']}").raise_for_status()


def kill_matrix(ground: Ground, plan: Sequence[Sequence[Order]], *, every_step: bool) -> Tally:
    """Run the plan and print the books. Raises AssertionError for anything lost, doubled or stuck.

    `every_step` also wants each step of the product to have been met: a new one can't be forgotten.
    """
    subscriber = Subscriber()
    with subscriber.listening() as url, available_agents(ground, url, by_mail=True):
        ground.in_a_hurry = True
        tally = Matrix(ground, subscriber).run(plan)
    print(tally.told("SQLite" if ground.at.hub.embedded else "PostgreSQL"))
    assert tally.faults == [], "\n".join(tally.faults)
    assert tally.uncertain <= tally.open_mails
    assert tally.killed.total() > 0
    if every_step:
        forgotten = {name: place for name, place in steps().items() if not tally.killed[name]}
        assert forgotten == {}, f"the matrix never comes to these steps: {forgotten}"
    return tally
