"""Every setting of the program: its name, its default, its sentence. Read from hub.toml and the environment."""

from __future__ import annotations

import contextlib
import difflib
import os
import secrets
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from config.retold import stored


class SettingsError(Exception):
    """A setting is unknown or can't be used. The sentence names it and says what to do."""


SHORTEST_KEY = 32  # characters
DATABASES = ("postgresql+psycopg", "postgresql", "postgres", "sqlite")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
YES_OR_NO = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}


def _setting(default: Any, sentence: str, *, secret: bool = False, between: tuple[int, int] | None = None) -> Any:
    return field(
        default=default, metadata={"sentence": sentence, "secret": secret, "between": between}, repr=not secret
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """One running process's settings. In hub.toml keys are lower case; in the environment the same in capitals."""

    host: str = _setting("127.0.0.1", "Address the server listens on.")
    port: int = _setting(8000, "Port the server listens on.", between=(1, 65535))
    database_url: str = _setting("", "PostgreSQL (`postgresql+psycopg://…`); empty means SQLite inside `data_dir`.")
    database_connections: int = _setting(
        12, "PostgreSQL connections of each process, besides one that listens.", between=(2, 500)
    )
    public_base_url: str = _setting("", "How the outside reaches us, with scheme; empty means `http://HOST:PORT`.")
    data_dir: Path = _setting(Path("data"), "Where the embedded database, attachments and raw mails live.")  # noqa: RUF009
    secret_key: str = _setting(
        "",
        "Signs sessions and reply tokens and seals secrets in the database; empty means one is made and kept in "
        "`data_dir`.",
        secret=True,
    )
    undo_seconds: int = _setting(
        10,
        "How long Undo is offered for a sent reply, in seconds; from the inbox it leaves 2 s later, so that a press in "
        "the last moment counts. 0: at once.",
        between=(0, 86_400),
    )
    session_hours: int = _setting(24 * 14, "How long a browser stays signed in, in hours.", between=(1, 87_600))
    oidc_issuer: str = _setting("", "Identity provider (OpenID Connect) for single sign-on; empty: none.")
    oidc_client_id: str = _setting("", "What this hub is called there; it answers to `…/sign-in/oidc/back`.")
    oidc_client_secret: str = _setting("", "What the hub proves itself with there.", secret=True)
    oidc_name: str = _setting("single sign-on", "What the button for it says: “Go on with …”.")
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")
    log_json: bool = _setting(False, "Write logs as one JSON object a line.")
    max_body_mb: int = _setting(30, "Largest request body taken, in megabytes.", between=(1, 1024))
    mail_poll_seconds: int = _setting(
        60, "How often a mailbox is asked even when IDLE is silent, in seconds.", between=(1, 86_400)
    )
    readers: int = _setting(2, "Processes that read mail at the same time, in each process.", between=(1, 64))
    reading_seconds: int = _setting(
        20, "Longest time for reading one mail, in seconds; half of it may be work.", between=(2, 600)
    )
    reading_memory_mb: int = _setting(768, "Most memory for reading one mail, in megabytes.", between=(256, 16_384))
    languages: str = _setting("", "Languages that mail is told apart by (`en de sv`); empty means some thirty.")
    redact_cards: bool = _setting(
        False, "Mask numbers of payment cards but for their last four digits before anything is stored."
    )
    keep_callbacks_days: int = _setting(
        180, "Days that raw bytes of callbacks and of what was ignored or a duplicate are kept; 0 means for ever.",
        between=(0, 36_500),
    )  # fmt: skip
    keep_deliveries_days: int = _setting(
        180, "Days that outgoing webhooks stay in their log; 0 means for ever.", between=(0, 36_500)
    )
    keep_keys_days: int = _setting(
        30, "Days that an Idempotency-Key of the API counts; 0 means for ever.", between=(0, 36_500)
    )
    keep_mail_copies_days: int = _setting(
        1095, "Days that a later copy of a mail is known as one; 0 means for ever.", between=(0, 36_500)
    )
    keep_orphans_days: int = _setting(
        30, "Days that files are kept that nothing names any more; 0 means for ever.", between=(0, 36_500)
    )
    notices_by: str = _setting("", "Mail channel that tells agents who want it what is theirs; empty: none does.")
    automatic_per_recipient: int = _setting(10, "Most acknowledgements to one address in a day.", between=(0, 10_000))
    automatic_per_subject: int = _setting(
        3, "Most acknowledgements with one subject to one address in a day.", between=(0, 10_000)
    )
    automatic_per_conversation: int = _setting(
        20, "Most automatic messages about one conversation in an hour.", between=(0, 10_000)
    )
    automatic_per_agent: int = _setting(60, "Most mail notices to one agent in an hour.", between=(0, 10_000))
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
            values = _known(tomllib.loads(read_text(path)), path)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from None
    elif file is not None:
        raise SettingsError(f"there is no settings file {path}")
    for name, kind in get_type_hints(Settings).items():
        if (text := _from_environment(name.upper(), environ)) is not None:
            values[name] = _converted(name.upper(), text, kind)
    settings = Settings(**values)
    _must_be_usable(settings)
    return _with_secret_key(settings)


def _must_be_usable(settings: Settings) -> None:
    for item in fields(Settings):
        value, between = getattr(settings, item.name), item.metadata["between"]
        if between and not between[0] <= value <= between[1]:
            raise SettingsError(f"{item.name} must be from {between[0]} to {between[1]}, not {value}")
        if item.name.endswith("_base_url") and value and not _is_web_address(value):
            raise SettingsError(f"{item.name} must begin with https:// or http:// and name a host, not {value!r}")
    if settings.oidc_issuer and not _is_web_address(settings.oidc_issuer):
        raise SettingsError(f"oidc_issuer must begin with https:// and name a host, not {settings.oidc_issuer!r}")
    if settings.oidc_issuer and not settings.oidc_client_id:
        raise SettingsError("oidc_issuer needs oidc_client_id: what the identity provider calls this hub")
    if settings.log_level.upper() not in LEVELS:
        raise SettingsError(f"log_level must be one of {', '.join(LEVELS)}, not {settings.log_level!r}")
    if settings.database_url and not _is_database(settings.database_url):
        raise SettingsError("database_url must be like postgresql+psycopg://user@host/name, or empty for SQLite")


def _is_database(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in DATABASES and "://" in text and parts.port != 0
    except ValueError:
        return False


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def read_text(path: Path) -> str:
    """A file's text. Raises SettingsError."""
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(stored("{path} can't be read: {reason}", path=path, reason=error.strerror)) from None
    except UnicodeDecodeError:
        raise SettingsError(stored("{path} can't be read: it is not text in UTF-8", path=path)) from None


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
        return read_text(Path(file))
    return environ.get(name)


def _converted(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in YES_OR_NO:
            raise SettingsError(f"{name} must be yes or no, not {text!r}")
        return YES_OR_NO[text.lower()]
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise SettingsError(f"{name} must be a whole number, not {text!r}") from None
    return kind(text)


def _with_secret_key(settings: Settings) -> Settings:
    """The key that is set, or one of our own that is made once. Everything that is signed stands on it."""
    source, key = "secret_key", settings.secret_key
    if not key:
        if not settings.embedded:
            raise SettingsError("SECRET_KEY is not set: several processes must share one, e.g. `openssl rand -hex 32`")
        file = settings.data_dir / "secret_key"
        _make_secret(file)
        source, key = f"{file}", read_text(file)
    if len(key) < SHORTEST_KEY:
        raise SettingsError(
            f"{source} is shorter than {SHORTEST_KEY} characters and could be guessed: make one with "
            "`openssl rand -hex 32` (whoever is signed in has to sign in again)"
        )
    return settings.changed(secret_key=key)


def _make_secret(file: Path) -> None:
    """The file appears whole or not at all, whatever else starts or stops meanwhile."""
    if file.exists():
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=file.parent, prefix=".secret_key")  # readable by its owner alone
        try:
            with os.fdopen(number, "w") as made:
                made.write(secrets.token_hex(32))
                made.flush()
                os.fsync(number)
            with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
                os.link(name, file)
        finally:
            os.unlink(name)
    except OSError as error:
        raise SettingsError(f"the folder {file.parent} can't be used ({error.strerror}): set DATA_DIR") from None


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
            raise SettingsError(stored("the environment variable {name} is not set", name=name))
        return environ[name]
    if value.startswith("file:"):
        return read_text(Path(value.removeprefix("file:")))
    return value
