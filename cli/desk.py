"""Commands that change or show the desk and end."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import col, select

from config import Settings, SettingsError
from config.settings import read_text, table
from hub import desk
from hub.apitokens import create_token
from hub.people import create_agent, set_mail_notices, set_password
from hub.preview import preview
from hub.ruleschema import rules_schema
from hub.secondstep import reset
from storage import Store, Tx
from storage.access import Actor, NotFound
from storage.desk import Queue
from storage.migrations import current, upgrade
from storage.people import agent_by_email

OPERATOR = Actor(by="operator", role="admin")


@contextmanager
def opened_store(settings: Settings) -> Iterator[Store]:
    """The database, brought to the newest shape."""
    if settings.embedded:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.url, pool_size=5)
    try:
        upgrade(store)
        yield store
    finally:
        store.close()


def print_settings() -> int:
    """The table that the README has."""
    print(table())
    return 0


def upgrade_database(settings: Settings) -> int:
    """Bring the database to the newest shape and say where it is."""
    with opened_store(settings) as store:
        print(f"The database is at revision {current(store)}.")
    return 0


def apply_file(settings: Settings, file: Path, *, ask: bool, dry_run: bool) -> int:
    """Show what would change; then change it, all or nothing."""
    document, private = desk.read(read_text(file), file.parent), settings.webhook_allow_private
    with opened_store(settings) as store:
        seen = preview(store, document, private=private)
        changes = seen.changes
        for change in changes:
            print(change)
        for finding in seen.findings:
            print(f"! {finding}")
        if not changes:
            print("Nothing to change: the desk is as the file says.")
            return 0
        if dry_run:
            return 0
        if ask and not agreed(f"Apply these {len(changes)} changes? [y/N] "):
            print("Nothing was changed.")
            return 1
        with store.write() as tx:
            desk.apply(tx, OPERATOR, document, private=private)
    print(f"Applied {len(changes)} changes.")
    return 0


def print_schema() -> int:
    """The rules of a desk file as JSON Schema; docs/rules.schema.json has it."""
    print(json.dumps(rules_schema(), indent=2, ensure_ascii=False))
    return 0


def export_file(settings: Settings, file: Path | None) -> int:
    """The desk as YAML."""
    with opened_store(settings) as store, store.read() as tx:
        text = desk.export(tx)
    if file is None:
        sys.stdout.write(text)
    else:
        file.write_text(text, "utf-8")
        print(f"Written to {file}.")
    return 0


def create_api_token(settings: Settings, name: str, role: str, days: int | None) -> int:
    """Print a new token; it can't be shown again."""
    with opened_store(settings) as store, store.write() as tx:
        token = create_token(tx, name=name, role=role, days=days)
    print(token)
    return 0


def create_user(settings: Settings, name: str, email: str, role: str, queues: list[str], password: str | None) -> int:
    """A new agent, or a new password for the one who has this address, who stays what they are otherwise."""
    password = password or _ask_password()
    with opened_store(settings) as store, store.write() as tx:
        agent = agent_by_email(tx, email)
        try:
            if agent is not None:
                set_password(tx, agent, password)
                told = f"{agent.name} ({agent.role}) was there already and has a new password; nothing else is changed."
            else:
                new = create_agent(tx, name=name, email=email, role=role, password=password, queues=_queues(tx, queues))
                told = f"{new.name} can sign in as {new.email} ({new.role})."
        except ValueError as error:
            raise SettingsError(str(error)) from None
    print(told)
    return 0


def set_notices(settings: Settings, email: str, *, wanted: bool) -> int:
    """Mail to an agent on or off."""
    with opened_store(settings) as store, store.write() as tx:
        agent = agent_by_email(tx, email)
        if agent is None:
            raise NotFound(f"There is no agent {email}.")
        set_mail_notices(tx, agent, wanted)
        name = agent.name
    by = settings.notices_by
    ready = f"by {by}" if by else "once the setting notices_by names the mail channel that does it"
    print(f"{name} is told by mail what is theirs, {ready}." if wanted else f"{name} gets no more mail.")
    return 0


def reset_step(settings: Settings, email: str) -> int:
    """For an admin who has lost phone and recovery codes, and whom no other admin can help."""
    with opened_store(settings) as store, store.write() as tx:
        agent = agent_by_email(tx, email)
        if agent is None:
            raise NotFound(f"There is no agent {email}.")
        reset(tx, OPERATOR, agent.id or 0)
    print(f"{agent.name} signs in with the password alone and can set a second step up anew.")
    return 0


def agreed(question: str) -> bool:
    """Ask at the terminal. Raises SettingsError where nobody is there."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        raise SettingsError("Nothing was changed: give --yes where nobody can be asked.") from None


def _queues(tx: Tx, names: list[str]) -> list[str]:
    known = list(tx.exec(select(Queue.name).where(col(Queue.active))))
    for name in names:
        if name not in known:
            raise NotFound(f"There is no queue {name!r}; known are {', '.join(known)}.")
    return names or known


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise SettingsError("Give the password with --password, or run this at a terminal to be asked for it.")
    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Again: "):
        raise SettingsError("The two passwords differ; nothing was changed.")
    return first
