"""The process in which an experiment is played: `python -m hub.playing`, told what to play on standard input.

It answers in lines of JSON: `{"done": 3, "total": 40}` as it goes on, and last a `result` or a `problem`. It reads the
database and never writes to it; the changed desk is a copy in a database of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

from hub.desk import DeskError, read
from hub.experiments import Wanted, experiment
from storage import Store
from storage.access import Conflict
from storage.outages import is_outage

PDEATHSIG = 1  # prctl(2)
NICE = 19


def main() -> None:
    """Play what standard input says."""
    step_back()
    request = json.load(sys.stdin)
    now = datetime.fromisoformat(request["now"])
    store = Store(request["url"], lambda: now, pool_size=3)
    try:
        document = read(request["text"]) if request["text"] else None
        wanted = Wanted(**request["wanted"])
        found = experiment(store, wanted, document, _tell_progress, private=request["private"])
        say({"result": found})
    except (Conflict, DeskError) as refused:
        say({"problem": str(refused)})
    except Exception as error:
        if not is_outage(error):
            raise
        say({"problem": "The database did not answer: try again."})
    finally:
        store.close()


def step_back() -> None:
    """Behind everybody else, on any core, and not without whoever asked for it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):  # where only some cores are ours
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
    os.nice(NICE)


def say(what: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _tell_progress(done: int, total: int) -> None:
    say({"done": done, "total": total})


if __name__ == "__main__":
    main()
