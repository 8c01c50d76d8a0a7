"""The ledger at the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app import create_app
from cli import main
from hub.mailboxes import file_left_over
from tests.browser.scene import quarantine
from tests.desk import Desk

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    settings = desk.hub.settings
    monkeypatch.setenv("HUB_TOML", "/nonexistent")
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("SECRET_KEY", "k" * 40)

    def ran(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(create_app, ["receipts", *words])
        told = capsys.readouterr()
        return code, told.out + told.err

    return ran


def spoiled(desk: Desk, body: bytes, why: str, key: str = "spoiled") -> int:
    with desk.hub.store.write() as tx:
        return quarantine(tx, body, why, key)


def test_an_operator_finds_looks_at_and_saves_what_arrived(desk: Desk, run: Run, tmp_path: Path) -> None:
    text = desk.text("hello").receipt_id
    body = b"From: a@example.com\r\n\r\n\x1b[2J"
    ghost = spoiled(desk, body, "It says \x1b[31mred\x1b[0m.")

    code, told = run("list", "--words", "red", "--kind", "message", "--until", "2026-11-24")
    assert code == 0 and told.split()[:4] == [str(ghost), "2026-11-24", "10:00:00", "quarantined"]
    assert "\x1b" not in told and told.count("\n") == 1
    assert run("list", "--limit", "1")[1].endswith(f"More with --before {ghost}\n")
    assert f"{text}  2026-11-24" in run("list", "--before", str(ghost))[1]
    assert "Nothing that arrived fits" in run("list", "--since", "2026-11-25")[1]
    shown = run("show", str(text))[1]
    assert "sender      +46701740605" in shown and "in conversation" in shown and "delivered" not in shown
    saved = tmp_path / "raw"
    assert run("show", str(ghost), "--save", str(saved)) == (0, f"{len(body)} bytes written to {saved}.\n")
    assert saved.read_bytes() == body


def test_an_operator_has_things_read_again(desk: Desk, run: Run) -> None:
    one = spoiled(desk, b"From: a@example.com\n\nHello", "A bug of ours.", "one")
    other = spoiled(desk, b"From: b@example.com\n\nHello", "A bug of ours.", "two")

    code, told = run("retry", str(one))
    assert code == 0 and "accepted" in told
    assert run("retry", str(one)) == (2, "This one is accepted already.\n")
    assert run("replay", "--dry-run") == (0, "2 receipts: 1 to read again, 1 are messages and stay so, 0 make none.\n")
    code, told = run("replay", "--state", "quarantined", "--yes")
    assert code == 0 and "1 will be read" in told
    desk.clock.forward(minutes=1)
    file_left_over(desk.hub)
    assert f"{other}" in run("list", "--state", "accepted")[1]
    assert len(desk.conversations()) == 2


def test_a_replay_asks_first_and_says_so_where_nobody_can_be_asked(
    desk: Desk, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(desk, b"From: a@example.com\n\nHello", "A bug of ours.")
    with Path("/dev/null").open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        code, told = run("replay")
    assert code == 2 and "give --yes" in told
    assert "quarantined" in run("list")[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("show 999", "There is no receipt 999."),
        ("retry 999", "There is no receipt 999."),
        ("show 1 --save {}", "can't be used"),
    ],
)
def test_what_is_not_there_is_one_sentence(desk: Desk, run: Run, words: str, sentence: str, tmp_path: Path) -> None:
    desk.text("hello")
    code, told = run(*words.format(tmp_path).split())
    assert code == 2 and sentence in told and told.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    ["", "show", "show x", "show 0", "list --limit 0", "list --state lost", "list --since monday", "replay --kind fax"],
)
def test_wrong_use_is_one_sentence(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(create_app, ["receipts", *words.split()])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
