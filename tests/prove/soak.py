"""Minutes of mixed traffic with two agents who answer: nothing grows, nothing stops, nothing stays behind."""

from __future__ import annotations

import faulthandler
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import psutil
import requests

from tests.processes import Api, Browser, until
from tests.prove.ground import Ground
from tests.prove.listening import LiveLine
from tests.story import PASSWORD

WARM_UP = 30.0  # seconds until pools are full and caches warm
GROWTH = 0.15  # of the memory after the warm-up
SLACK = 20 * 1024 * 1024  # bytes; a process of 90 MB moves by some with every garbage collection
AGENTS = ("jonas@desk.example", "amara@desk.example")


def soak(ground: Ground, seconds: float) -> None:
    """Raises AssertionError when memory or threads grow, a duty has stopped, or something was left undone."""
    faulthandler.cancel_dump_traceback_later()  # this is meant to take longer than a test that hangs
    mark, done = f"soak{uuid4().hex[:6]}", threading.Event()
    line = LiveLine(ground.at.hub.url)
    work: list[Callable[[Ground, str, threading.Event], int]] = [
        _texts,
        _mails,
        _chats,
        _forms,
        *(partial(_answers, email=email) for email in AGENTS),
    ]
    with ThreadPoolExecutor(len(work)) as pool:
        jobs = [pool.submit(one, ground, mark, done) for one in work]
        time.sleep(WARM_UP)
        warm = _measured(ground)
        done.wait(seconds - WARM_UP)
        late = _measured(ground)
        done.set()
        counts = [job.result() for job in jobs]
    until(lambda: not _left(ground), "an empty outbox", 60)
    names = ("texts", "mails", "chat lines", "forms", "answers of Jonas", "answers of Amara")
    print(f"\n{seconds:g} s: " + ", ".join(f"{n} {name}" for n, name in zip(counts, names, strict=True)))
    for number, (name, before, threads) in warm.items():
        assert number in late, f"{name} has ended"
        now, threads_now = late[number][1:]
        print(f"  {name}: {before / 2**20:.0f} → {now / 2**20:.0f} MB, {threads} → {threads_now} threads")
        assert now < before * (1 + GROWTH) + SLACK, f"{name} grew"
        assert threads_now <= threads + 8, f"{name} collects threads"
    ready = requests.get(f"{ground.at.hub.url}/readyz", timeout=5).json()
    assert ready["status"] == "ok" and ready["checks"]["duties"] == "running", ready
    until(lambda: sum(ground.inbound(mark).values()) >= sum(counts[:4]), "all messages")
    assert sum(ground.inbound(mark).values()) == sum(counts[:4])
    outgoing = Counter(row[0] for row in ground.rows("SELECT state FROM message WHERE kind = 'outbound'"))
    print(f"  live line: {len(line.facts)} facts, connected {line.opened} time(s); answers by state {dict(outgoing)}")
    assert set(outgoing) <= {"sent", "delivered"} and sum(outgoing.values()) == sum(counts[4:])
    assert line.opened == 1
    line.close()


def _measured(ground: Ground) -> dict[int, tuple[str, int, int]]:
    """Name, resident bytes and threads of every process of the hub."""
    found = {}
    for process in ground.at.hub.running:
        top = psutil.Process(process.pid)
        for member in [top, *top.children(recursive=True)]:
            name = "worker" if not ground.serves(process) else "web" if member.pid != top.pid else "arbiter"
            found[member.pid] = (f"{name} {member.pid}", member.memory_info().rss, member.num_threads())
    return found


def _left(ground: Ground) -> int:
    return sum(ground.states("delivery").get(state, 0) for state in ("queued", "sending"))


def _again_and_again(done: threading.Event, pause: float, once: Callable[[int], object]) -> int:
    count = 0
    while not done.wait(pause):
        once(count)
        count += 1
    return count


def _texts(ground: Ground, mark: str, done: threading.Event) -> int:
    return _again_and_again(done, 0.25, lambda n: ground.insist(f"+4670175{n % 50:04d}", f"{mark} text {n}"))


def _mails(ground: Ground, mark: str, done: threading.Event) -> int:
    return _again_and_again(
        done, 0.5, lambda n: ground.mail(f"Mara <{mark}{n % 50}@example.com>", "Lamp", f"{mark} mail {n}")
    )


def _chats(ground: Ground, mark: str, done: threading.Event) -> int:
    url = ground.at.hub.url
    token = requests.post(f"{url}/chat/session", json={"channel": "shop-chat"}, timeout=15).json()["token"]

    def write(n: int) -> None:
        line = {"id": str(uuid4()), "text": f"{mark} line {n}"}
        bearer = {"Authorization": f"Bearer {token}"}
        requests.post(f"{url}/chat/messages", json=line, headers=bearer, timeout=15).raise_for_status()

    return _again_and_again(done, 0.5, write)


def _forms(ground: Ground, mark: str, done: threading.Event) -> int:
    def fill_in(n: int) -> None:
        form = {"email": f"{mark}{n}@example.com", "name": "Mara", "message": f"{mark} form {n}"}
        url = f"{ground.at.hub.url}/webhooks/forms/contact-form"
        requests.post(url, json=form, timeout=15).raise_for_status()

    return _again_and_again(done, 1.0, fill_in)


def _answers(ground: Ground, mark: str, done: threading.Event, email: str) -> int:
    """An agent answers what is assigned, resolves it, and takes the next."""
    browser = Browser(ground.at.hub.url, email, PASSWORD)
    browser.post_form("/inbox/status", status="available")
    api = Api(ground.at.hub.url, str(ground.at.api.session.headers["Authorization"]).removeprefix("Bearer "))
    agent = ground.rows("SELECT id FROM agent WHERE email = ?", email)[0][0]
    count = 0
    while not done.wait(0.3):
        for one in api.get("/conversations", assignee=str(agent), state="open", limit=3)["conversations"]:
            choices = browser.reply_choices(one["id"])
            if not choices:
                continue
            choice = next(iter(choices.values()))
            answer = browser.post(
                f"{browser.base}/inbox/c/{one['id']}/send", headers={"Referer": browser.base},
                data={"csrf_token": browser.token, "kind": "reply", "choice": choice, "then": "resolve",
                      "reply": f"{mark} answer {count}", "seen": one["last_inbound_id"]},
            )  # fmt: skip
            assert answer.ok or answer.status_code == 409, answer.text[:300]
            count += answer.ok  # 409: the customer has just written something newer
    return count
