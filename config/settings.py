"""Every setting of the program: its name, its default, its sentence. Read from hub.toml and the environment."""

from __future__ import annotations

import difflib
import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints


class SettingsError(Exception):
    """A setting is unknown or can't be used. The sentence names it and says what to do."""


def _setting(default: Any, sentence: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"sentence": sentence, "secret": secret}, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """One running process's settings. In hub.toml keys are lower case; in the environment the same in capitals."""

    host: str = _setting("127.0.0.1", "Address the server listens on.")
    port: int = _setting(8000, "Port the server listens on.")
    database_url: str = _setting("", "PostgreSQL (`postgresql+psycopg://…`); empty means SQLite inside `data_dir`.")
    public_base_url: str = _setting("", "How the outside reaches us, with scheme; empty means `http://HOST:PORT`.")
    data_dir: Path = _setting(Path("data"), "Where the embedded database, attachments and raw mails live.")  # noqa: RUF009
    secret_key: str = _setting(
        "", "Signs sessions and reply tokens; empty means one is made and kept in `data_dir`.", secret=True
    )
    undo_seconds: int = _setting(10, "How long a sent reply can be taken back, in seconds.")
    session_hours: int = _setting(24 * 14, "How long a browser stays signed in, in hours.")
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")
    log_json: bool = _setting(False, "Write logs as one JSON object a line.")
    max_body_mb: int = _setting(30, "Largest request body taken, in megabytes.")
    mail_poll_seconds: int = _setting(60, "How often a mailbox is asked even when IDLE is silent, in seconds.")
    twilio_account_sid: str = _setting("", "Account for channels of kind sms that name none themselves.")
    twilio_auth_token: str = _setting("", "Signs and authorises Twilio's requests.", secret=True)
    twilio_base_url: str = _setting("", "A local double of Twilio; never set in production.")
    slack_bot_token: str = _setting("", "Bot token (`xoxb-…`); empty switches Slack off.", secret=True)
    slack_signing_secret: str = _setting("", "Verifies what Slack sends us.", secret=True)
    slack_channel: str = _setting("", "Channel id that gets the notices.")
    slack_base_url: str = _setting("", "A local double of Slack; never set in production.")
    webhook_allow_private: bool = _setting(False, "Let outbound webhooks reach private addresses and plain http.")
    pin_cpu: bool = _setting(True, "Keep an embedded process on one core (faster: Python uses one anyway).")
    demo: bool = _setting(False, "Show the sandbox page that plays the customers.")

    @property
    def base_url(self) -> str:
        """How the outside reaches us, without a trailing slash."""
        return (self.public_base_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'hub.db').absolute()}"

    @property
    def embedded(self) -> bool:
        """Whether this is the one process that has everything inside, on SQLite."""
        return self.url.startswith("sqlite")

    def changed(self, **values: Any) -> Settings:
        """A copy with other values."""
        return replace(self, **values)


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read hub.toml (if there is one), then the environment, which wins. `NAME_FILE` reads a value from a file.

    Raises SettingsError for an unknown key, an unusable value or a secret file that is missing.
    """
    path = file or Path(environ.get("HUB_TOML", "hub.toml"))
    values: dict[str, Any] = {}
    if path.exists():
        try:
            values = _known(tomllib.loads(path.read_text("utf-8")), path)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from None
    elif file is not None:
        raise SettingsError(f"there is no settings file {path}")
    for name, kind in get_type_hints(Settings).items():
        if (text := _from_environment(name.upper(), environ)) is not None:
            values[name] = _converted(name.upper(), text, kind)
    settings = Settings(**values)
    return _with_secret_key(settings)


def _known(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    kinds = get_type_hints(Settings)
    for name, value in document.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"{path}: unknown setting {name!r}{hint}")
        wanted = str if kinds[name] is Path else kinds[name]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise SettingsError(f"{path}: {name} must be of type {wanted.__name__}, not {value!r}")
    return {name: Path(value) if kinds[name] is Path else value for name, value in document.items()}


def _from_environment(name: str, environ: Mapping[str, str]) -> str | None:
    file = environ.get(f"{name}_FILE")
    if file:
        try:
            return Path(file).read_text("utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name}_FILE={file} can't be read: {error.strerror}") from None
    return environ.get(name)


def _converted(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        known = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }
        if text.lower() not in known:
            raise SettingsError(f"{name} must be yes or no, not {text!r}")
        return known[text.lower()]
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise SettingsError(f"{name} must be a whole number, not {text!r}") from None
    return kind(text)


def _with_secret_key(settings: Settings) -> Settings:
    if settings.secret_key:
        return settings
    if not settings.embedded:
        raise SettingsError("SECRET_KEY is not set: several processes must share one, e.g. `openssl rand -hex 32`")
    file = settings.data_dir / "secret_key"
    if not file.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return settings.changed(secret_key=file.read_text().strip())


def table() -> str:
    """All settings as a Markdown table, for the README."""
    lines = ["| hub.toml | environment | default | what for |", "|---|---|---|---|"]
    for item in fields(Settings):
        default = "" if item.metadata["secret"] else str(item.default)
        shown = f"`{default}`" if default else "–"
        lines.append(f"| `{item.name}` | `{item.name.upper()}` | {shown} | {item.metadata['sentence']} |")
    return "\n".join(lines)


def resolve_secret(value: Any, environ: Mapping[str, str] = os.environ) -> Any:
    """A configured value with `env:NAME` and `file:/path` references replaced.

    Raises SettingsError when the variable or file is missing.
    """
    if not isinstance(value, str):
        return value
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        if name not in environ:
            raise SettingsError(f"the environment variable {name} is not set")
        return environ[name]
    if value.startswith("file:"):
        path = Path(value.removeprefix("file:"))
        try:
            return path.read_text("utf-8").strip()
        except OSError as error:
            raise SettingsError(f"the secret file {path} can't be read: {error.strerror}") from None
    return value
