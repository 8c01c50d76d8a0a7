"""Many nodes on one PostgreSQL: replaced one by one under load, by a newer version too, and without their notices."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email import message_from_bytes
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import requests

from storage.migrations import current
from tests.processes import ROOT, free_port, until
from tests.prove.ground import Ground
from tests.prove.killing import available_agents
from tests.prove.listening import LiveLine
from tests.prove.outages import settle_all

VERSIONS = "storage/migrations/versions"
# Found before PostgreSQL's own by whoever connects afterwards.
SILENT = "CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT NULL::void'"
RECONNECT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def version_before(folder: Path) -> tuple[Path, str]:
    """A checkout of this repository as it was before its newest migration, and the revision that it expects.

    Skips where git or the history is missing, and while there is one migration only.
    """
    newest = sorted((ROOT / VERSIONS).glob("[0-9]*.py"))[-1]
    if newest.name.startswith("0001"):
        pytest.skip("there is no older version: one migration only")
    asked = ["git", "log", "--diff-filter=A", "--format=%H", "-1", "--", f"{VERSIONS}/{newest.name}"]
    with suppress(OSError):
        added = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip()
        found = subprocess.run(["git", "archive", f"{added}^"], cwd=ROOT, capture_output=True)
        if added and found.returncode == 0:
            with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
                archive.extractall(folder, filter="data")
            (folder / "node_modules").symlink_to(ROOT / "node_modules")
            old = sorted((folder / VERSIONS).glob("[0-9]*.py"))[-1].name[:4]
            return folder, old
    pytest.skip("NO PROOF of the rolling upgrade: git or the history before the newest migration is missing")


class _Load:
    """Texts, mails and answers without a pause until the block ends; everything is kept for the books."""

    def __init__(self, ground: Ground):
        self.ground = ground
        self.mark = f"node{uuid4().hex[:6]}"
        self.texts: list[str] = []
        self.mails: list[str] = []
        self.answers: list[str] = []
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(4)

    def __enter__(self) -> _Load:
        dice = random.Random(19)
        self._jobs = [self._pool.submit(self._text, dice.randrange(10**6), who) for who in range(2)]
        self._jobs += [self._pool.submit(self._mail), self._pool.submit(self._answer)]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for job in self._jobs:
            job.result()
        self._pool.shutdown()

    def _text(self, number: int, who: int) -> None:
        while not self._over.wait(0.05):
            body = f"{self.mark} text {who} {uuid4().hex[:8]}"
            self.texts.append(body)
            self.ground.insist(f"+4670{who}{number:06d}", body)

    def _mail(self) -> None:
        count = 0
        while not self._over.wait(0.1):
            body, first = f"{self.mark} mail {count}", f"<{self.mark}.{count % 5}@customer.example>"
            self.mails.append(body)
            new = count < 5
            sender = f"Mara <{self.mark}{count % 5}@example.com>"
            self.ground.mail(sender, "Lamp", body, "" if new else first, first if new else "")
            count += 1

    def _answer(self) -> None:
        while not self._over.wait(0.3):
            rows = self.ground.rows(
                "SELECT DISTINCT conversation_id FROM message WHERE kind = 'inbound' AND text LIKE ?", f"{self.mark}%"
            )
            if rows:
                conversation = sorted(row[0] for row in rows)[len(self.answers) % len(rows)]
                self.answers.append(f"{self.mark} answer {len(self.answers)}")
                self.ground.reply(conversation, self.answers[-1], self.answers[-1])


def replaced_one_by_one(ground: Ground, root: Path = ROOT) -> None:
    """Every web process and worker is ended in peace under load and another started in its place, from `root`."""
    hub, smtp_before = ground.at.hub, len(ground.at.smtp.taken)
    second = free_port()
    web, other = hub.running[0], {"PORT": str(second), "PUBLIC_BASE_URL": hub.url, "WEB_CONCURRENCY": "1"}
    hub._spawn("web-second", web.args, other)
    ground.doors = [hub.url, f"http://127.0.0.1:{second}"]
    until(lambda: all(_answers(door) for door in ground.doors), "both web nodes", 60)
    nodes = [(process, other if process is hub.running[-1] else {}) for process in hub.running]
    before, began, hub.root = current(ground.store), time.monotonic(), root
    ground.answers.clear()
    with available_agents(ground, f"http://127.0.0.1:{free_port()}/nobody"), _Load(ground) as load:
        until(lambda: len(ground.inbound(load.mark)) > 10, "the load")
        for process, more in sorted(nodes, key=lambda node: not ground.serves(node[0])):
            process.terminate()
            assert process.wait(40) == 0, f"a node did not end in peace: {ground.logs()}"
            hub.running.remove(process)
            _start(ground, process.args, more)
        until(lambda: load.answers and _taken(ground, load.answers[-1]), "an answer by the new nodes", 60)
    took = time.monotonic() - began
    settle_all(ground, load.mark)
    ground.assert_each_once([*load.texts, *load.mails], load.mark)
    ground.assert_one_history_each("email", load.mark)
    said = Counter(text.body for text in ground.at.twilio.sent)
    ids = Counter(message_from_bytes(mail.data)["Message-ID"] for mail in ground.at.smtp.taken[smtp_before:])
    rows = ground.rows("SELECT channel, text, state, external_id FROM message WHERE kind = 'outbound' AND text LIKE ?",
                       f"{load.mark} answer%")  # fmt: skip
    assert sorted(row[1] for row in rows) == sorted(load.answers)
    wrong = [tuple(row) for row in rows if (said[row[1]] if row[0] == "sms" else ids[row[3]]) != 1 or row[2] != "sent"]
    assert wrong == [], "every answer left once, and we know it"
    statuses = Counter(answer.status for answer in ground.answers)
    assert set(statuses) <= {200, 503, 0}, statuses
    counts = f"{len(load.texts)} texts, {len(load.mails)} mails, {len(load.answers)} answers, each once"
    schema = f"schema {before} → {current(ground.store)}"
    print(f"\n{len(nodes)} nodes replaced one by one in {took:.0f} s ({schema}): {counts}; calls {dict(statuses)}")


def _start(ground: Ground, words: list[str], more: dict[str, str]) -> None:
    hub, name = ground.at.hub, f"node-{uuid4().hex[:6]}"
    serves = "worker.py" not in words
    hub._spawn(name, words, {"WEB_CONCURRENCY": str(ground.web), **more} if serves else {})
    if serves:
        until(lambda: _answers(f"http://127.0.0.1:{more.get('PORT', hub.port)}"), f"the new web node {name}", 60)
    else:
        until(lambda: "is at work" in (hub.folder / f"{name}.log").read_text(), f"the new worker {name}", 60)


def _answers(door: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{door}/healthz", timeout=2).ok
    return False


def _taken(ground: Ground, text: str) -> bool:
    return bool(ground.rows("SELECT 1 FROM message WHERE text = ? AND state = 'sent'", text))


def without_notices(ground: Ground) -> None:
    """PostgreSQL tells nobody that something was committed: looking every second or so finds it all the same."""
    mark, url = f"mute{uuid4().hex[:6]}", ground.store.url.set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute("LISTEN switchyard_facts")
        connection.execute(SILENT)
        connection.execute(f'ALTER DATABASE "{url.database}" SET search_path = public, pg_catalog')
        connection.execute(RECONNECT)
        try:
            with available_agents(ground, f"http://127.0.0.1:{free_port()}/nobody"):
                owned, took = _owned_answered_told(ground, mark)
            assert list(connection.notifies(timeout=0.1)) == [], "nobody was notified"
        finally:
            connection.execute(f'ALTER DATABASE "{url.database}" RESET search_path')
            connection.execute("DROP FUNCTION public.pg_notify(text, text)")
            connection.execute(RECONNECT)
    print(f"\nwithout NOTIFY: owned after {owned:.1f} s, answered and told to a browser after {took:.1f} s")


def _owned_answered_told(ground: Ground, mark: str) -> tuple[float, float]:
    """Seconds until a text has its owner, and until its answer left and a browser was told of it."""
    line = LiveLine(ground.at.hub.url)
    until(lambda: line.opened, "the line to be open")
    began = time.monotonic()
    ground.insist("+46701745500", f"{mark} text")
    (number,) = ground.rows("SELECT conversation_id FROM message WHERE text = ?", f"{mark} text")[0]
    owner = "SELECT 1 FROM conversation WHERE id = ? AND assignee_id > 0"
    until(lambda: ground.rows(owner, number), "an owner", 5)
    owned = time.monotonic() - began
    ground.reply(number, f"{mark} answer", mark)
    until(lambda: _taken(ground, f"{mark} answer"), "the answer to leave", 5)
    received = "SELECT id FROM fact WHERE conversation_id = ? AND name = 'MessageReceived'"
    facts = {row[0] for row in ground.rows(received, number)}
    until(lambda: facts <= set(line.facts), "the browser to be told", 5)
    took = time.monotonic() - began
    line.close()
    return owned, took
