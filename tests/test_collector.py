"""Python's garbage collector waits while a process loads, and works once it serves."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import gc
from config.collector import spare_what_is_loaded, wait_while_loading

wait_while_loading()
assert not gc.isenabled()
import storage
spare_what_is_loaded()
before = gc.get_freeze_count()
cycle = []
cycle.append(cycle)
del cycle
print(gc.isenabled(), before > 10_000, gc.collect() >= 1)
"""


def test_what_is_loaded_is_spared_and_what_comes_later_is_collected() -> None:
    told = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "True", "True"]
