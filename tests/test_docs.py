"""What the documents say is held to what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli import parser
from config import Settings, SettingsError, load
from config.settings import table
from hub import desk
from inbox.composer import ON_THE_WAY

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_every_setting_is_in_the_readme_as_the_program_prints_it() -> None:
    assert table() in README


def test_a_reply_leaves_as_long_after_its_undo_as_the_settings_say() -> None:
    assert f"from the inbox it leaves {ON_THE_WAY} s later" in README


def test_every_command_the_readme_names_exists() -> None:
    commands = {name for action in parser()._actions for name in (action.choices or ())}
    named = set(re.findall(r"python app\.py ([a-z]+)", README))
    assert named
    assert named <= commands


def test_the_example_desks_can_be_read() -> None:
    for name in ("desk.example.yaml", "demo.desk.yaml"):
        assert desk.read((ROOT / "config" / name).read_text("utf-8"))["channels"]


def test_what_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_proof_that_the_guarantees_name_exists() -> None:
    written = (ROOT / "docs" / "mail-guarantees.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", written))
    tests = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text("utf-8"))
    }
    assert len(named) > 60
    assert named <= tests
    rows = [line for line in written.splitlines() if line.startswith("| ") and not line.startswith("| statement")]
    assert [line for line in rows if "`test_" not in line] == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 1", "did you mean 'port'"),
        ("port = 'x'", "port must be of type int"),
        ("port = ", "not valid TOML"),
    ],
)
def test_a_wrong_settings_file_stops_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        load(file, {})


def test_the_environment_wins_and_secrets_come_from_files(tmp_path: Path) -> None:
    file, secret = tmp_path / "hub.toml", tmp_path / "secret"
    file.write_text("port = 9001\nhost = '0.0.0.0'")
    secret.write_text("hush " * 8 + "\n")
    settings = load(file, {"PORT": "9002", "SECRET_KEY_FILE": str(secret), "DEMO": "yes"})
    assert (settings.port, settings.host, settings.secret_key, settings.demo) == (
        9002,
        "0.0.0.0",
        ("hush " * 8).strip(),
        True,
    )
    with pytest.raises(SettingsError, match="can't be read"):
        load(file, {"SECRET_KEY_FILE": str(tmp_path / "nope")})


def test_two_hubs_keep_their_data_apart(tmp_path: Path) -> None:
    one = load(None, {"DATA_DIR": str(tmp_path / "one"), "HUB_TOML": "/nonexistent"})
    other = load(None, {"DATA_DIR": str(tmp_path / "other"), "HUB_TOML": "/nonexistent"})
    assert one.url != other.url
    assert one.secret_key != other.secret_key
    assert one.secret_key == load(None, {"DATA_DIR": str(tmp_path / "one"), "HUB_TOML": "/nonexistent"}).secret_key


def test_several_processes_must_share_a_secret() -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        load(None, {"DATABASE_URL": "postgresql://x/y", "HUB_TOML": "/nonexistent"})
    assert "secret_key" not in repr(Settings(secret_key="hush"))
