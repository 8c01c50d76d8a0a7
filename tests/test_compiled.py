"""Compiled templates outlive a restart, and are never in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader

from inbox.compiled import Compiled


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    (tmp_path / "page.html").write_text("Hello {{ name }}")
    return tmp_path


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What has been compiled, in order."""
    names: list[Any] = []
    compile_ = Environment.compile

    def noted(self: Environment, source: Any, name: Any = None, *more: Any) -> Any:
        names.append(name)
        return compile_(self, source, name, *more)

    monkeypatch.setattr(Environment, "compile", noted)
    return names


def started(templates: Path, folder: Path) -> Environment:
    return Environment(loader=FileSystemLoader(templates), bytecode_cache=Compiled(folder), autoescape=True)


def test_a_restart_compiles_nothing_again(templates: Path, tmp_path: Path, compiled: list[Any]) -> None:
    folder = tmp_path / "templates"
    for _ in range(2):
        assert started(templates, folder).get_template("page.html").render(name="Mara") == "Hello Mara"
    assert compiled == ["page.html"]
    assert folder.stat().st_mode & 0o077 == 0, "nobody else says what a page runs"


def test_a_template_that_was_changed_is_compiled_anew(templates: Path, tmp_path: Path, compiled: list[Any]) -> None:
    started(templates, tmp_path / "templates").get_template("page.html")
    (templates / "page.html").write_text("Bye {{ name }}")
    assert started(templates, tmp_path / "templates").get_template("page.html").render(name="Mara") == "Bye Mara"


@pytest.mark.parametrize("what", ["a file in its place", "no folder above it", "nonsense in it"])
def test_a_page_comes_whatever_has_become_of_the_folder(templates: Path, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "templates"
    if what == "a file in its place":
        folder.write_text("not a folder")
    elif what == "no folder above it":
        folder = tmp_path / "gone" / "templates"
    else:
        started(templates, folder).get_template("page.html")
        for file in folder.iterdir():
            file.write_bytes(file.read_bytes()[:40] or b"x")
    assert started(templates, folder).get_template("page.html").render(name="Mara") == "Hello Mara"
