"""The full door against a bare handler: HTTP, signature, contact, conversation, message, work item and fact, durable.

Both run on the same gunicorn settings, in turn, in this process's minutes. `python bench/ingest.py --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from twilio.request_validator import RequestValidator  # noqa: E402

from bench.load import store  # noqa: E402
from storage import Store  # noqa: E402
from storage.migrations import upgrade  # noqa: E402
from tests.support import postgres  # noqa: E402

ACCOUNT, TOKEN, OURS = "AC" + "0" * 32, "a" * 32, "+46700000001"
PATH = "/webhooks/twilio/messages"
CUSTOMERS = 2000  # numbers that write; each writes several times, so most messages meet a known contact
DESK = f'channels: [{{name: sms, kind: sms, address: "{OURS}"}}]'


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--requests", type=int, default=6000, help="per round and side")
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--databases", default="sqlite,postgresql")
    given = options.parse_args()
    print(f"{given.rounds} rounds of {given.requests} requests on {given.connections} connections, in turn\n")
    print("| database | side | requests/s | p50 ms | p99 ms | CPU µs a request | ratio |")
    print("|---|---|---|---|---|---|---|")
    for database in given.databases.split(","):
        with a_database(database) as urls:
            compare(database, urls, given)


@contextmanager
def a_database(kind: str) -> Iterator[dict[str, str]]:
    """A place of its own for each side."""
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
        if kind == "sqlite":
            yield {"bare": f"{folder}/bare.db", "hub": f"sqlite:///{folder}/hub.db", "folder": folder}
            return
        with postgres.server(durable=True) as server:
            yield {"bare": postgres.database(server), "hub": postgres.database(server), "folder": folder}


def compare(database: str, urls: dict[str, str], given: argparse.Namespace) -> None:
    """Both sides in turn, the order reversed every other round; medians."""
    folder = Path(urls["folder"])
    prepare(urls["hub"], folder)
    results: dict[str, list[dict[str, float]]] = {"bare": [], "hub": []}
    for round_ in range(given.rounds):
        for side in ("bare", "hub") if round_ % 2 == 0 else ("hub", "bare"):
            results[side].append(measure(side, urls, folder, round_, given))
    ratios = [hub["per_second"] / bare["per_second"] for hub, bare in zip(results["hub"], results["bare"], strict=True)]
    for side, runs in results.items():
        row = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        ratio = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})" if side == "hub" else "1"
        print(
            f"| {database} | {side} | {row['per_second']:.0f} | {row['p50']:.1f} | {row['p99']:.1f} "
            f"| {row['cpu']:.0f} | {ratio} |",
            flush=True,
        )


def prepare(url: str, folder: Path) -> None:
    """A migrated desk with one SMS channel."""
    store_ = Store(url)
    upgrade(store_)
    store_.close()
    desk = folder / "desk.yaml"
    desk.write_text(DESK)
    subprocess.run(
        [sys.executable, "app.py", "apply", "--yes", str(desk)], cwd=ROOT, env=environment(url, folder, 1), check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def environment(url: str, folder: Path, port: int) -> dict[str, str]:
    own = {
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "SECRET_KEY": "b" * 64,
        "PUBLIC_BASE_URL": "https://bench.example",
    }
    own |= {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "PIN_CPU": "on", "LOG_LEVEL": "WARNING"}
    own["DATABASE_URL"] = "" if url.startswith("sqlite") else url
    return {**os.environ, **own}


def measure(side: str, urls: dict[str, str], folder: Path, round_: int, given: argparse.Namespace) -> dict[str, float]:
    """One side, one round: a fresh server, a warm-up, then the counted requests."""
    port = free_port()
    env = environment(urls["hub"], folder, port) | {"BARE_DATABASE": urls["bare"]}
    target = "app:create_app()" if side == "hub" else "bench.bare:create_app()"
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "--log-level", "error", target], cwd=ROOT, env=env
    )
    try:
        wait_until_open(server, port)
        first = (round_ * 2 + (side == "hub")) * 1_000_000
        run_load(folder, port, requests(first, 500), given.connections)
        process = psutil.Process(server.pid)
        before = cpu(process)
        result = run_load(folder, port, requests(first + 500, given.requests), given.connections)
        result["cpu"] = (cpu(process) - before) / given.requests * 1e6
        if result["refused"]:
            raise SystemExit(f"{side}: {result['refused']:.0f} requests were not answered with 200")
        return result
    finally:
        server.terminate()
        server.wait(20)


def requests(first: int, count: int) -> list[bytes]:
    """Signed webhooks as Twilio posts them."""
    validator = RequestValidator(TOKEN)
    made = []
    for number in range(first, first + count):
        sid = f"SM{number:032x}"
        form = {
            "ToCountry": "SE", "MessageSid": sid, "SmsMessageSid": sid, "SmsSid": sid, "SmsStatus": "received",
            "NumMedia": "0", "NumSegments": "1", "AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "To": OURS,
            "From": f"+4670{1000000 + number * 7 % CUSTOMERS}", "Body": f"Hello, where is my order {number}? Thanks",
            "FromCountry": "SE",
        }  # fmt: skip
        signature = validator.compute_signature("https://bench.example" + PATH, form)
        body = urlencode(form).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: bench.example\r\nX-Twilio-Signature: {signature}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


def run_load(folder: Path, port: int, bodies: list[bytes], connections: int) -> dict[str, float]:
    """From a process of its own, so that it shares no interpreter with what is measured."""
    file = folder / "load"
    store(file, bodies)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", str(port), str(connections), str(file)], cwd=ROOT, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    loaded: dict[str, float] = json.loads(done.stdout)
    return loaded


def cpu(process: psutil.Process) -> float:
    """Seconds of CPU that the server and its children have used."""
    times = [each.cpu_times() for each in [process, *process.children(recursive=True)]]
    return float(sum(each.user + each.system for each in times))


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_open(server: subprocess.Popen[bytes], port: int) -> None:
    import socket

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit("the server did not start")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the server did not open its port")


if __name__ == "__main__":
    main()
