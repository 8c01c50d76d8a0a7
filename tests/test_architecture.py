"""The plan of the house, held: who may import whom, what things may be called, where the clock is read."""

from __future__ import annotations

import ast
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

BELOW_DOORS = {"config", "storage", "channels", "routing", "hub"}
DOORS = {"webhooks", "chatops", "inbox", "api"}
MAY_IMPORT = {
    "config": set[str](),
    "storage": {"config"},
    "channels": {"config"},
    "routing": {"config", "storage"},
    "hub": {"config", "storage", "channels", "routing"},
    "sandbox": {"channels", "config", "storage", "hub"},
    **dict.fromkeys(DOORS, BELOW_DOORS),
    "app": BELOW_DOORS | DOORS | {"sandbox", "worker", "cli"},
    "cli": BELOW_DOORS | DOORS | {"sandbox", "worker"},
    "worker": BELOW_DOORS | DOORS,
}
SCAFFOLDING = {"tests", "bench"}  # may import everything; nobody imports them
OURS = set(MAY_IMPORT) | SCAFFOLDING

VAGUE = ("Service", "Manager", "Helper", "Util", "Handler", "Processor")
VAGUE_MODULES = tuple(ending.lower() + plural for ending in VAGUE for plural in ("", "s"))
CLOCKS = {
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
    ("time", "time"), ("time", "time_ns"),
}  # fmt: skip
MAY_READ_THE_CLOCK = {"config", "sandbox"} | SCAFFOLDING


def sources() -> list[Path]:
    return sorted(
        path
        for path in [*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.py")]
        if path.relative_to(ROOT).parts[0] not in {"node_modules", "data"}
    )


def package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            found.add((node.module or "").partition(".")[0])
    return found


def clock_reads(code: ast.AST) -> list[int]:
    """Lines that read the time of day: `datetime.now(...)`, `dt.datetime.now(...)`, `time.time()`, imported or not."""
    lines = []
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            lines += [node.lineno for alias in node.names if ("time", alias.name) in CLOCKS]
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            lines += [node.lineno] if (name, node.attr) in CLOCKS else []
    return lines


def test_every_package_keeps_to_its_imports() -> None:
    strays = []
    for path in sources():
        home = package(path)
        if home not in SCAFFOLDING and home != "gunicorn.conf":
            assert home in MAY_IMPORT, f"{path}: a new top-level package needs a line in this table"
            allowed = MAY_IMPORT[home] | {home}
            strays += [f"{path.relative_to(ROOT)} imports {name}" for name in imports(path) & OURS - allowed]
    assert strays == []


def test_names_say_what_a_thing_is() -> None:
    vague = []
    for path in sources():
        if path.stem.lower().endswith(VAGUE_MODULES):
            vague.append(str(path.relative_to(ROOT)))
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and node.name.removesuffix("s").endswith(VAGUE):
                vague.append(f"{path.relative_to(ROOT)}: class {node.name}")
    assert vague == []


def test_the_time_of_day_is_read_in_one_place() -> None:
    reads = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        if package(path) not in MAY_READ_THE_CLOCK and path != ROOT / "storage" / "clock.py"
        for line in clock_reads(tree(path))
    ]
    assert reads == []


@pytest.mark.parametrize(
    "line",
    [
        "datetime.now(UTC)",
        "dt.datetime.utcnow()",
        "time.time()",
        "from time import time",
        "Field(factory=datetime.now)",
    ],
)
def test_a_hidden_clock_is_found(line: str) -> None:
    assert clock_reads(ast.parse(line))
    assert not clock_reads(ast.parse("time.monotonic(); tx.now; func.now(); clock.now()"))


def test_every_advisory_lock_has_a_number_of_its_own() -> None:
    numbers: dict[int, str] = {}
    for path in sources():
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                name, number = ast.unparse(node.targets[0]), node.value.value
                if name.endswith("_LOCK") and isinstance(number, int):
                    assert number not in numbers, f"{path}: {name} would wait for {numbers[number]}"
                    numbers[number] = name
    assert len(numbers) >= 7


def test_no_file_outgrows_a_reader() -> None:
    long = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in sources()}
    generated = "storage/migrations/versions/"  # read once, when it is written
    assert {name: lines for name, lines in long.items() if lines > 500 and not name.startswith(generated)} == {}


def test_ours_win() -> None:
    """Flat package names could be taken by an installed one; started from here, ours are found first."""
    for name in sorted(OURS):
        here = (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()
        found = PathFinder.find_spec(name, sys.path) if here else None
        places = [found.origin, *(found.submodule_search_locations or [])] if found else []
        assert not here or any(place and Path(place).is_relative_to(ROOT) for place in places), f"{name}: {places}"
