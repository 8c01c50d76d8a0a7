"""What proofs start by the hundred is forked from one that has loaded everything, and is a program all the same."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import TimeoutExpired

import psutil
import pytest

from tests.processes import ROOT, until
from tests.support.forkserver import ForkServer, Process

PROGRAM = """
import os, signal, sys
print(sys.argv[1:], __name__, "hub" in sys.modules, os.environ["OF_THE_SERVER"], os.environ["OF_ITS_OWN"])
if "wait" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))
    signal.pause()
sys.exit(len(sys.argv))
"""


class Starting:
    """Programs whose output lies in files beside them."""

    def __init__(self, server: ForkServer, folder: Path):
        self.server, self.folder = server, folder
        (folder / "program.py").write_text(PROGRAM)

    def start(self, *words: str) -> Process:
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            args = [sys.executable, str(self.folder / "program.py"), *words]
            return self.server.spawn(args, {"OF_ITS_OWN": "no"}, out, err)

    def waiting(self) -> Process:
        """One that has begun to wait."""
        process = self.start("wait")
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING and self._said(), "it to wait")
        return process

    def _said(self) -> str:
        return (self.folder / "out").read_text()


def serving(*, cold: bool) -> ForkServer:
    return ForkServer(ROOT, {**os.environ, "OF_THE_SERVER": "yes"}, cold=cold)


@pytest.fixture(scope="module", params=["warm", "cold"])
def starting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starting]:
    server = serving(cold=request.param == "cold")
    yield Starting(server, tmp_path_factory.mktemp("forks"))
    server.close()


def test_a_program_has_its_words_environment_output_and_end(starting: Starting) -> None:
    done = starting.start("one", "two")
    assert done.wait(60) == 3 == done.poll()
    assert (starting.folder / "out").read_text() == f"['one', 'two'] __main__ {not starting.server.cold} yes no\n"
    assert starting.start("one").wait(60) == 2, "and the next one"


def test_it_is_killed_or_ends_when_asked(starting: Starting) -> None:
    killed = starting.waiting()
    with pytest.raises(TimeoutExpired):
        killed.wait(0.01)
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    asked = starting.waiting()
    asked.terminate()
    assert asked.wait(60) == 1
    assert (starting.folder / "err").read_text() == "asked to end\n"
    asked.kill()  # its number may be somebody else's by now


def test_a_server_that_is_closed_leaves_nothing_running(tmp_path: Path) -> None:
    server = serving(cold=True)
    left = Starting(server, tmp_path).waiting()
    server.close()
    until(lambda: not psutil.pid_exists(left.pid) or psutil.Process(left.pid).status() == "zombie", "its end", 60)
