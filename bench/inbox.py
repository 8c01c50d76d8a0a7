"""How fast the inbox is under an agent's hands: pages on a desk with years behind it, keys, pushes and open streams.

Pages are asked of a real server over loopback and compared with the same pages on a young desk (1,000 conversations).
Keys and pushes are timed in a headless Chromium whose network answers 40 ms late, from the key (or the answer to the
customer) until what it changed is painted, beside a whole page load of the same browser.
`python bench/inbox.py --help`.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import re
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page  # noqa: E402

from bench.years import MESSAGES, live_through  # noqa: E402
from inbox import assets  # noqa: E402
from inbox.lists import PAGE  # noqa: E402
from storage import Store  # noqa: E402
from tests.processes import Browser, Processes, free_port, until  # noqa: E402
from tests.support import postgres  # noqa: E402
from tests.support.browser import launched  # noqa: E402

YOUNG = 1_000
PASSWORD = "correct horse"
LATENCY = 40  # milliseconds that each answer is late
AGENTS = 40
DESK = """
queues: [{name: Shipping, first_reply: 30m, default: true}, {name: Billing, first_reply: 4h}]
channels:
  - {name: shop, kind: form, settings: {fields: {email: email, name: name, text: message, subject: topic}}}
agents:
"""
AGENT = "  - {{name: Agent {0}, email: agent{0}@desk.example, role: {1}, queues: [Shipping, Billing], capacity: 1}}\n"


@dataclass
class Lived:
    """A running hub, its desk, and an agent who sees all of it."""

    hub: Processes
    agent: Browser
    conversations: int

    @property
    def server(self) -> psutil.Process:
        """The process that answers."""
        top = psutil.Process(self.hub.running[0].pid)
        return max([top, *top.children(recursive=True)], key=lambda each: each.memory_info().rss)

    @property
    def cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.agent.cookies)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", nargs="*", help="of weight, pages, keys, push, streams; all without any")
    options.add_argument("--conversations", type=int, default=100_000, help=f"of {MESSAGES} messages each")
    options.add_argument("--database", default="sqlite", choices=["sqlite", "postgresql"])
    options.add_argument("--times", type=int, default=60, help="of each page, key and push")
    options.add_argument("--streams", type=int, default=500)
    given = options.parse_args()
    what = given.what or ["weight", "pages", "keys", "push", "streams"]
    if "weight" in what:
        weigh()
    if set(what) == {"weight"}:
        return
    with ExitStack() as stack:
        old = stack.enter_context(lived(given.database, given.conversations))
        print(f"{given.conversations:,} conversations, {given.conversations * MESSAGES:,} messages, {given.database}\n")
        if "pages" in what:
            with lived(given.database, YOUNG) as young:
                pages(young, old, given.times)
        if {"keys", "push"} & set(what):
            with launched() as chromium:
                context = chromium.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
                context.add_cookies([{"name": c.name, "value": c.value or "", "url": old.hub.url}
                                     for c in old.agent.cookies])  # fmt: skip
                under_hands(context.new_page(), old, what, given.times)
        if "streams" in what:
            streams(old, given.streams)


@contextmanager
def lived(database: str, conversations: int) -> Iterator[Lived]:
    """A hub of its own whose desk has had so many conversations."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchyard-bench-")))
        url = f"sqlite:///{folder}/hub.db"
        if database == "postgresql":
            url = postgres.database(stack.enter_context(postgres.server(durable=True)))
        hub = Processes(url, folder, {"LOG_LEVEL": "WARNING", "PIN_CPU": "on"}, free_port(), cold=True)
        desk = folder / "desk.yaml"
        roles = ["admin"] + ["agent"] * (AGENTS - 1)
        desk.write_text(DESK + "".join(AGENT.format(number, role) for number, role in enumerate(roles, 1)))
        hub.command("apply", "--yes", str(desk))
        hub.command("user", "create", "--name", "Ines", "--email", "ines@desk.example", "--role", "admin",
                    "--password", PASSWORD)  # fmt: skip
        store = Store(url)
        live_through(store, conversations)
        store.close()
        hub.start()
        stack.callback(hub.stop)
        yield Lived(hub, Browser(hub.url, "ines@desk.example", PASSWORD), conversations)


def weigh() -> None:
    """What a browser loads once."""
    parts = {"scripts": ("htmx.js", "inbox.js"), "styles": ("inbox.css",)}
    for what, names in parts.items():
        size = sum(len(gzip.compress(assets.content(name), 9)) for name in names)
        print(f"{what}: {size / 1000:.1f} kB gzipped")
    print()


def pages(young: Lived, old: Lived, times: int) -> None:
    """Each page in turn on both desks, so that both meet the same minutes."""
    print("| page | young desk p50 / p95 ms | this desk p50 / p95 ms | ratio |\n|---|---|---|---|")
    kinds: dict[str, Callable[[Lived, int], str]] = {
        "list, whole page": lambda desk, _: "/inbox/all",
        "list, as a part": lambda desk, _: "/inbox/all",
        "my list": lambda desk, _: "/inbox/mine",
        "resolved": lambda desk, _: "/inbox/resolved",
        "a conversation": lambda desk, turn: f"/inbox/c/{desk.conversations - turn}?view=all",
        "what a push asks for": lambda desk, _: "/inbox/live",
        "search, a word in most messages": lambda desk, _: "/inbox/search/typed?q=invoice",
        "search, two words and a filter": lambda desk, _: "/inbox/search/typed?q=" + quote_plus("is:open lamp refund"),
        "search, a rare word": lambda desk, _: "/inbox/search/typed?q=zanzib",
        "search, a name": lambda desk, _: "/inbox/search/typed?q=lindqvist",
    }
    for name, address in kinds.items():
        taken: dict[int, list[float]] = {young.conversations: [], old.conversations: []}
        for desk in (young, old):
            asked(desk, address(desk, times), part="whole" not in name)  # templates are read when first needed
        for turn in range(times):
            for desk in (young, old):
                taken[desk.conversations].append(asked(desk, address(desk, turn), part="whole" not in name))
        first, second = (Spread(taken[desk.conversations]) for desk in (young, old))
        print(f"| {name} | {first} | {second} | {second.p50 / first.p50:.1f} |", flush=True)
    print()


class Spread:
    """Medians and the slowest of twenty."""

    def __init__(self, milliseconds: list[float]):
        ordered = sorted(milliseconds)
        self.p50, self.p95 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]

    def __str__(self) -> str:
        return f"{self.p50:.1f} / {self.p95:.1f}"


def asked(desk: Lived, path: str, *, part: bool) -> float:
    """Milliseconds until all of the answer is there, over a connection of its own."""
    headers = {"Cookie": desk.cookies}
    if part:
        headers |= {"HX-Request": "true", "HX-Current-URL": f"{desk.hub.url}/inbox/all"}
    link = http.client.HTTPConnection("127.0.0.1", desk.hub.port, timeout=60)
    link.connect()
    began = time.perf_counter()
    link.request("GET", path, headers=headers)
    answer = link.getresponse()
    answer.read()
    taken = (time.perf_counter() - began) * 1000
    link.close()
    if answer.status not in (200, 204):
        raise SystemExit(f"{path} answered {answer.status}")
    return taken


# From the moment a key went down until the next frame after the thread has the conversation.
KEYS = """() => {
  window.painted = [];
  window.shifts = 0;
  new PerformanceObserver((list) => { for (const each of list.getEntries()) window.shifts += each.value; })
    .observe({ type: "layout-shift", buffered: false });
  let began = 0;
  addEventListener("keydown", (event) => { began = event.timeStamp; }, true);
  const shown = () => document.querySelector("#thread[data-id]")?.dataset.id;
  let last = shown();
  new MutationObserver(() => {
    const now = shown();
    if (!began || !now || now === last) return;
    last = now;
    const since = began;
    began = 0;
    requestAnimationFrame(() => setTimeout(() => window.painted.push(performance.now() - since)));
  }).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-id"] });
}"""

# The wall clock when the row of a person with this name is painted first.
ROW = """(name) => {
  window.rowAt = 0;
  const look = () => {
    if (window.rowAt || !document.querySelector("#rows")?.textContent.includes(name)) return;
    window.rowAt = -1;
    requestAnimationFrame(() => setTimeout(() => { window.rowAt = Date.now(); }));
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def under_hands(page: Page, desk: Lived, what: list[str], times: int) -> None:
    """Keys and pushes beside whole page loads, in a browser whose network is slow."""
    page.goto(f"{desk.hub.url}/inbox/all")
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", {
        "offline": False, "latency": LATENCY, "downloadThroughput": -1, "uploadThroughput": -1,
    })  # fmt: skip
    loads = Spread([loaded(page, f"{desk.hub.url}/inbox/all") for _ in range(max(10, times // 4))])
    print(f"| with {LATENCY} ms to the server | p50 / p95 ms | of a page load |\n|---|---|---|")
    print(f"| a whole page load, until its first paint | {loads} | 1 |")
    if "keys" in what:
        page.wait_for_timeout(1000)  # the stream is open, and what it drops at first is dropped
        page.evaluate(KEYS)
        for turn in range(times):
            page.keyboard.press("k" if turn % 30 > 20 else "j")
            page.wait_for_function("(count) => window.painted.length >= count", arg=turn + 1)
            page.wait_for_timeout(250)  # as fast as somebody reads who goes through a list
        keys = Spread(page.evaluate("window.painted.slice(1)"))
        print(f"| next conversation by key, until painted | {keys} | {keys.p50 / loads.p50:.2f} |", flush=True)
    if "push" in what:
        page.goto(f"{desk.hub.url}/inbox/channel-form")  # what arrives is not on page 40 of what waits longer
        page.wait_for_timeout(1000)
        page.evaluate(KEYS)
        times = min(times, PAGE)
        pushed = Spread([arrived(page, desk, turn) for turn in range(times)])
        print(f"| a customer's message, until its row is painted | {pushed} | {pushed.p50 / loads.p50:.2f} |")
        print(f"\nlayout shift while {times} rows arrived: {page.evaluate('window.shifts'):.4f}", flush=True)
    print()


def loaded(page: Page, address: str) -> float:
    page.goto(address)
    painted = page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    return float(painted.json_value())


def arrived(page: Page, desk: Lived, turn: int) -> float:
    """From the answer to who filled in the form, in milliseconds."""
    name = f"Newcomer {turn}x"
    page.evaluate(ROW, name)
    form = {"email": f"new{turn}@example.net", "name": name, "topic": "Lamp", "message": "Is it there yet?"}
    with ThreadedPost(f"{desk.hub.url}/webhooks/forms/shop", form) as answered:
        page.wait_for_function("() => window.rowAt > 0")
    return float(page.evaluate("window.rowAt")) - answered()


class ThreadedPost:
    """A form that is sent while the browser waits for what comes of it; called afterwards, when it was answered."""

    def __init__(self, address: str, form: dict[str, str]):
        self._at = 0.0
        self._thread = threading.Thread(target=self._post, args=(address, form))

    def _post(self, address: str, form: dict[str, str]) -> None:
        requests.post(address, json=form, timeout=30).raise_for_status()
        self._at = time.time() * 1000

    def __enter__(self) -> Callable[[], float]:
        self._thread.start()
        return self._answered

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _answered(self) -> float:
        self._thread.join()
        return self._at


def streams(desk: Lived, count: int) -> None:
    """Memory for each open stream, and how long after a customer's message the last of them knows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 200)), hard))
    page = desk.agent.get(f"{desk.hub.url}/inbox/all").text
    after = (re.search(r'data-after="(\d+)"', page) or ["", "0"])[1]
    head = f"GET /inbox/stream?after={after} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {desk.cookies}\r\n\r\n".encode()
    before, open_ones = desk.server.memory_info().rss, []
    for _ in range(count):
        link = socket.create_connection(("127.0.0.1", desk.hub.port), timeout=30)
        link.sendall(head)
        if b" 200 " not in link.recv(4096).partition(b"\r\n")[0]:
            raise SystemExit("a stream was refused")
        open_ones.append(link)
    each = (desk.server.memory_info().rss - before) / count / 1024
    told = [0.0] * count

    def listen(number: int) -> None:
        heard = b""
        while b"MessageReceived" not in heard:
            heard = heard[-200:] + open_ones[number].recv(65536)
        told[number] = time.perf_counter()

    ears = [threading.Thread(target=listen, args=(number,)) for number in range(count)]
    for ear in ears:
        ear.start()
    form = {"email": "streams@example.net", "name": "Stream", "topic": "Lamp", "message": "Who hears me?"}
    requests.post(f"{desk.hub.url}/webhooks/forms/shop", json=form, timeout=30).raise_for_status()
    answered = time.perf_counter()
    until(lambda: all(told), "all streams to hear of it", 30)
    spread = Spread([(at - answered) * 1000 for at in told])
    print(
        f"{count} open streams: {each:.0f} kB each; after a message was taken in, heard within {spread} ms (p50 / p95)"
    )
    for link in open_ones:
        link.close()


if __name__ == "__main__":
    main()
