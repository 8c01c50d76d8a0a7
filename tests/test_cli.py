"""What a person at the command line can get wrong is answered with one sentence, never with a trace."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app import create_app
from cli import main
from config import SettingsError, load
from storage import Store
from storage.doors import SecondStep
from tests.processes import ROOT, free_port, until
from tests.support import postgres

KEY = "k" * 40
NOWHERE = "postgresql+psycopg://hub@127.0.0.1:1/hub"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own data folder, with odd files beside it, and no settings but the test's."""
    for name in ("DATABASE_URL", "SECRET_KEY", "PUBLIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HUB_TOML", "/nonexistent")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PORT", str(free_port()))
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "bad.yaml").write_text("queues: [")
    (tmp_path / "desk.yaml").write_text("skills: [en]")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--config {}/folder db upgrade", "folder can't be read: Is a directory"),
        ("--config {}/binary db upgrade", "not text in UTF-8"),
        ("apply {}/nope.yaml", "can't be read: No such file"),
        ("apply {}/binary", "not text in UTF-8"),
        ("apply {}/bad.yaml", "not valid YAML in line 1"),
        ("apply {}/desk.yaml", "give --yes"),
        ("export {}/folder", "folder can't be used: Is a directory"),
        ("export {}/no/such", "can't be used: No such file"),
        ("channel check", "run `python app.py db upgrade`"),
    ],
)
def test_a_wrong_file_is_one_sentence(
    folder: Path,
    words: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert main(create_app, words.format(folder).split()) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    ["token create --name a --days -1", "token create --name a --days 999999999", "token create", "frobnicate"],
)
def test_a_wrong_word_is_one_sentence(folder: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(create_app, words.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "99999", "port must be from 1 to 65535"),
        ("PORT", "-1", "port must be"),
        ("UNDO_SECONDS", "-5", "undo_seconds must be"),
        ("MAIL_POLL_SECONDS", "0", "mail_poll_seconds must be"),
        ("LOG_LEVEL", "LOUD", "log_level must be one of"),
        ("PUBLIC_BASE_URL", "desk.example", "public_base_url must begin with https://"),
        ("DATABASE_URL", "nonsense", "database_url must be like"),
        ("DATABASE_URL", "mysql://hub@db/hub", "database_url must be like"),
        ("DATABASE_URL", "postgresql://hub:geheim@db:x/hub", "database_url must be like"),
        ("DATABASE_URL", NOWHERE, "The database can't be used"),
        ("DATA_DIR", "{}/binary", "set DATA_DIR"),
        ("DATA_DIR", "{}/binary/below", "set DATA_DIR"),
        ("SECRET_KEY", "short", "shorter than 32 characters"),
        ("SECRET_KEY_FILE", "{}/binary", "not text in UTF-8"),
        ("WEB_THREADS", "many", "WEB_THREADS must be a whole number"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    folder: Path, name: str, value: str, sentence: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if name == "DATABASE_URL":
        monkeypatch.setenv("SECRET_KEY", KEY)
    monkeypatch.setenv(name, value.format(folder))
    assert main(create_app, ["run"]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert "geheim" not in told


def test_a_damaged_or_locked_database_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "hub.db").write_bytes(os.urandom(8192))
    assert main(create_app, ["db", "upgrade"]) == 2
    assert "file is not a database" in capsys.readouterr().err
    (folder / "data" / "hub.db").unlink()
    assert main(create_app, ["db", "upgrade"]) == 0
    other = sqlite3.connect(folder / "data" / "hub.db")
    other.execute("BEGIN EXCLUSIVE")
    assert main(create_app, ["token", "create", "--name", "crm"]) == 2
    assert "database is locked" in capsys.readouterr().err
    other.close()


def test_the_signing_key_is_made_once_and_whole(folder: Path) -> None:
    file = folder / "data" / "secret_key"
    keys: list[str] = []
    threads = [threading.Thread(target=lambda: keys.append(load().secret_key)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert set(keys) == {file.read_text()}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["secret_key"]


def test_an_empty_signing_key_is_refused(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "secret_key").touch()
    with pytest.raises(SettingsError, match="shorter than 32 characters"):
        load()


def worker(url: str, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DATABASE_URL": url, "SECRET_KEY": KEY, "DATA_DIR": str(folder)}
    with log.open("wb") as output:
        return subprocess.Popen([sys.executable, "worker.py"], cwd=ROOT, env=environment, stdout=output, stderr=output)


def test_a_worker_waits_for_a_database_that_is_away(folder: Path) -> None:
    process, log = worker(NOWHERE, folder, folder / "worker.log"), folder / "worker.log"
    try:
        until(lambda: "the database does not answer" in log.read_text(), "the worker to say that it waits")
        assert process.poll() is None
        assert "Traceback" not in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_a_worker_on_an_empty_database_says_what_is_missing(folder: Path, postgres_server: str) -> None:
    url, log = postgres.database(postgres_server), folder / "worker.log"
    process = worker(url, folder, log)
    try:
        assert process.wait(30) == 2
    finally:
        process.kill()
        process.wait()
        postgres.drop(url)
    assert log.read_text() == "The database is empty: run `python app.py db upgrade` first.\n"


def test_a_lost_second_step_is_taken_away_at_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = ["user", "create", "--name", "Ines", "--email", "ines@example.com", "--role", "admin"]
    assert main(create_app, [*new, "--password", "correct horse"]) == 0
    lost = ["user", "reset-step", "ines@example.com"]
    assert main(create_app, lost) != 0
    assert "no second step to reset" in capsys.readouterr().err
    store = Store(load(None).url)
    with store.write() as tx:
        tx.add(SecondStep(agent_id=1, sealed="x", created_at=tx.now, confirmed_at=tx.now))
    store.close()
    assert main(create_app, lost) == 0
    assert "password alone" in capsys.readouterr().out
