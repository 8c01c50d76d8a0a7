"""The proofs' own tool: a process dies at a named step when it is told to, and nothing happens otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from storage import failpoints
from tests.processes import ROOT
from tests.prove.killing import long_plan, steps

PROGRAM = """
from storage.failpoints import step
for number in range(5):
    print(number, flush=True)
    step("a.step")
"""


def run(folder: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SWITCHYARD_FAILPOINTS"}
    if folder is not None:
        environment["SWITCHYARD_FAILPOINTS"] = str(folder)
    return subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_step_costs_nothing_when_nobody_proves_anything(tmp_path: Path) -> None:
    (tmp_path / "a.step").write_text("1")
    assert failpoints.step is failpoints._pass
    assert run(None).stdout.split() == ["0", "1", "2", "3", "4"]


def test_a_process_dies_where_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "another.step").write_text("1")
    assert run(tmp_path).returncode == 0

    (tmp_path / "a.step").write_text("3")
    died = run(tmp_path)
    assert died.returncode == -signal.SIGKILL
    assert died.stdout.split() == ["0", "1", "2"]
    assert (tmp_path / "a.step.hit").exists()
    assert run(tmp_path).returncode == 0, "an order is for one death"


def test_the_long_plan_holds_every_step_of_the_product() -> None:
    assert {"intake.filed", "mailbox.stored", "delivery.begun", "router.written", "follower.written"} <= set(steps())
    assert {name for orders in long_plan(len(steps())) for name, _ in orders} == set(steps())
