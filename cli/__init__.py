"""The command line: `python app.py --help`."""

from __future__ import annotations

import argparse
import re
import sqlite3
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from config import Settings, SettingsError, load
from config.collector import wait_while_loading

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

MOST_DAYS = 36_500
MOST_ROWS = 1000

AppFactory = Callable[[Settings], Any]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence; the usage is a --help away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Every command with its sentence."""
    top = Parser(
        prog="python app.py",
        description="Switchyard, an omnichannel contact-centre hub. Without a command it runs: web and worker in one "
        "process, on SQLite in DATA_DIR unless DATABASE_URL names a PostgreSQL.",
    )
    top.add_argument("--config", type=Path, metavar="FILE", help="settings file (default: hub.toml, if there is one)")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, sentence: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=sentence, description=sentence)

    command("run", "Serve the inbox, the API and the webhooks, with all background work inside.")
    command("worker", "Do the background work in a process of its own, beside gunicorn (needs PostgreSQL).")
    command("demo", "Run with a demo desk, sample conversations and a sandbox that plays the customers.")

    db = command("db", "Look after the database.").add_subparsers(dest="action", required=True, metavar="ACTION")
    db.add_parser("upgrade", help="Bring the database to the newest shape.")

    channel = command("channel", "Look after channels.").add_subparsers(dest="action", required=True, metavar="ACTION")
    check = channel.add_parser("check", help="Log in to every channel (or the named one) for real.")
    check.add_argument("name", nargs="?")

    authorise = channel.add_parser("authorise", help="Let the hub into a mail account by OAuth, whatever was before.")
    authorise.add_argument("name")
    authorise.add_argument(
        "--paste", action="store_true", help="by pasting an address, not by a code on another device"
    )

    mailbox = command("mailbox", "Look after mailboxes.").add_subparsers(dest="action", required=True, metavar="ACTION")
    past = mailbox.add_parser("backfill", help="Bring old mail into the history, without making work of it.")
    past.add_argument("name", help="the channel")
    past.add_argument("--since", required=True, type=_day, metavar="DAY", help="such as 2026-01-01")
    past.add_argument("--folder", help="one folder, also one that is not read otherwise (default: the channel's)")
    past.add_argument("--dry-run", action="store_true", help="only say how many mails, how large, how many known")

    _receipts(command("receipts", "Look at what arrived, and have it read again."))

    apply = command("apply", "Make the desk what a file says: shows the differences, then asks.")
    apply.add_argument("file", type=Path)
    apply.add_argument("--yes", action="store_true", help="apply without asking")
    apply.add_argument("--dry-run", action="store_true", help="only show the differences")
    export = command("export", "Write the desk as a file that apply takes.")
    export.add_argument("file", type=Path, nargs="?", help="where to (default: standard output)")

    brought = command("import", "Bring rules over from elsewhere, as a desk file.")
    sources = brought.add_subparsers(dest="source", required=True, metavar="SOURCE")
    workflow = sources.add_parser("taskrouter", help="A Twilio TaskRouter workflow; says what could not be translated.")
    workflow.add_argument("file", type=Path, help="the workflow's JSON: its configuration, or as the API gives it")
    workflow.add_argument(
        "--queues", type=Path, metavar="FILE", help="JSON that names queues: {WQ…: name}, or the API's list"
    )
    workflow.add_argument(
        "--field", action="append", default=[], metavar="ATTRIBUTE=FIELD",
        help="what a task's attribute is here (repeatable; default: contact.ATTRIBUTE)",
    )  # fmt: skip

    _simulate(command("simulate", "Play days on the desk, as it is and as a file would make it; changes nothing."))

    command("doctor", "Check settings, database, files and channels, and say what to mend.")
    command("schema", "Print the JSON Schema of the rules in desk.yaml, for editors that check while one types.")
    command("settings", "List every setting with its default, as the README has it.")

    token = command("token", "API tokens.").add_subparsers(dest="action", required=True, metavar="ACTION")
    create = token.add_parser("create", help="Make an API token and print it once.")
    create.add_argument("--name", required=True, type=_name)
    create.add_argument("--role", default="admin", choices=("agent", "supervisor", "admin"))
    create.add_argument("--days", type=_days, help="valid for so many days (default: until revoked)")

    user = command("user", "Agents who sign in.").add_subparsers(dest="action", required=True, metavar="ACTION")
    new = user.add_parser("create", help="Make an agent, or give an existing one a new password.")
    new.add_argument("--name", required=True, type=_name)
    new.add_argument("--email", required=True)
    new.add_argument("--role", default="agent", choices=("agent", "supervisor", "admin"))
    new.add_argument("--queue", action="append", default=[], help="serves this queue (repeatable; default: all)")
    new.add_argument("--password", help="asked for when left out")
    told = user.add_parser("notices", help="Tell an agent by mail what is theirs, and let them answer by mail.")
    told.add_argument("email")
    told.add_argument("wanted", choices=("on", "off"))
    lost = user.add_parser("reset-step", help="Take away the second step of an agent who has lost it.")
    lost.add_argument("email")
    return top


def _simulate(simulate: argparse.ArgumentParser) -> None:
    simulate.add_argument("--desk", type=Path, metavar="FILE", help="a changed desk, beside the one in force")
    simulate.add_argument("--days", type=_days, default=0, help="replay so many past days (default: synthetic ones)")
    simulate.add_argument("--runs", type=_count, default=8, help="synthetic days (default: 8)")
    simulate.add_argument("--hours", type=_count, default=8, help="length of a synthetic day (default: 8)")
    simulate.add_argument(
        "--per-hour", type=_count, default=0, metavar="CONTACTS", help="how many come (default: what keeps agents busy)"
    )
    simulate.add_argument("--curve", choices=("flat", "bank"), default="flat", help="how they spread over the day")
    simulate.add_argument("--agents", type=_count, default=0, help="let the changed desk have so many agents")
    simulate.add_argument(
        "--recommend", action="store_true", help="also look for the best reserve and for the skill to teach next"
    )
    simulate.add_argument(
        "--equivalents", action="store_true", help="also tell how many agents each rule needs for the same service"
    )


def _receipts(receipts: argparse.ArgumentParser) -> None:
    actions = receipts.add_subparsers(dest="action", required=True, metavar="ACTION")
    shown = actions.add_parser("list", help="What arrived, newest first, with what became of it.")
    shown.add_argument("--limit", type=_limit, default=50, help="at most so many (default: 50)")
    shown.add_argument("--before", type=_number, metavar="ID", help="only older ones than this receipt")
    one = actions.add_parser("show", help="One receipt, or its raw bytes.")
    one.add_argument("id", type=_number)
    one.add_argument("--save", type=Path, metavar="FILE", help="write what arrived, to the byte, into a file")
    again = actions.add_parser("retry", help="Read one again that became no message.")
    again.add_argument("id", type=_number)
    every = actions.add_parser("replay", help="Read again what became no message; says how many, then asks.")
    every.add_argument("--yes", action="store_true", help="without asking")
    every.add_argument("--dry-run", action="store_true", help="only say how many")
    for action in (shown, every):
        action.add_argument("--channel", help="only of this channel")
        action.add_argument("--state", choices=("received", "accepted", "duplicate", "ignored", "quarantined"))
        action.add_argument("--kind", choices=("message", "callback"))
        action.add_argument("--since", type=_day, metavar="DAY", help="received on that day (UTC) or later")
        action.add_argument("--until", type=_day, metavar="DAY", help="received on that day (UTC) or earlier")
        action.add_argument("--words", help="that stand in its reason, ids or sender")


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a name can't be empty")
    return text.strip()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a day is written as 2026-01-31") from None


def _days(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"days must be a whole number from 1 to {MOST_DAYS}")
    return int(text)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError("a receipt's id is a whole number from 1")
    return int(text)


def _limit(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_ROWS:
        raise argparse.ArgumentTypeError(f"the limit must be a whole number from 1 to {MOST_ROWS}")
    return int(text)


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 9999")
    return int(text)


def main(create_app: AppFactory, arguments: list[str] | None = None) -> int:
    """Run one command; the exit code. `create_app` makes the web application for those that serve.

    What a person can mend is one sentence on standard error, never a trace.
    """
    given = parser().parse_args(arguments)
    try:
        return _dispatch(given, load(given.config), create_app)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if (sentence := _sentence(error)) is None:
            raise
        print(sentence, file=sys.stderr)
        return 2


def _sentence(error: Exception) -> str | None:
    """What a person can mend, in one sentence; None for what only a trace explains."""
    from sqlalchemy.exc import DBAPIError

    from channels.base import NotConfigured
    from hub import AlreadyRunning
    from hub.desk import DeskError
    from inbox.assets import AssetsMissing
    from storage.access import Conflict, Forbidden, NotFound
    from storage.outages import is_outage

    told = SettingsError | AlreadyRunning | AssetsMissing | DeskError | Conflict | Forbidden | NotFound | NotConfigured
    if isinstance(error, told):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} can't be used: {error.strerror}"
    if is_outage(error) or (isinstance(error, DBAPIError) and _is_damaged(error)):
        why = str(getattr(error, "orig", None) or error).partition("\n")[0]
        return f"The database can't be used ({why}): look at DATABASE_URL, or DATA_DIR without one."
    return None


def _is_damaged(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def _dispatch(given: argparse.Namespace, settings: Settings, create_app: AppFactory) -> int:
    """Each command imports what it needs: making a token must not wait for the whole web application."""
    if given.command in (None, "run", "demo", "worker"):
        wait_while_loading()
        from cli import serve

        if given.command == "worker":
            return serve.worker(settings)
        return (serve.demo if given.command == "demo" else serve.run)(settings, create_app)
    if given.command == "mailbox":
        from cli.backfill import bring_in

        return bring_in(settings, given.name, given.folder, given.since, dry_run=given.dry_run)
    if given.command == "receipts":
        from cli.receipts import receipts

        return receipts(settings, given)
    if given.command == "simulate":
        from cli.simulate import simulate_desk
        from hub.experiments import Wanted

        wanted = Wanted(
            given.days, given.runs, given.hours, given.per_hour, given.curve, given.desk.name if given.desk else "",
            given.agents, recommend=given.recommend, equivalents=given.equivalents,
        )  # fmt: skip
        return simulate_desk(settings, wanted, given.desk)
    if given.command == "channel" and given.action == "authorise":
        from cli.authorise import authorise

        return authorise(settings, given.name, paste=given.paste)
    if given.command == "import":
        from cli.importing import taskrouter

        return taskrouter(given.file, given.queues, given.field)
    if given.command in ("doctor", "channel"):
        from cli import doctor

        return doctor.examine(settings) if given.command == "doctor" else doctor.check_channels(settings, given.name)
    return _on_the_desk(given, settings)


def _on_the_desk(given: argparse.Namespace, settings: Settings) -> int:
    from cli import desk

    if given.command == "settings":
        return desk.print_settings()
    if given.command == "schema":
        return desk.print_schema()
    if given.command == "db":
        return desk.upgrade_database(settings)
    if given.command == "apply":
        return desk.apply_file(settings, given.file, ask=not given.yes, dry_run=given.dry_run)
    if given.command == "export":
        return desk.export_file(settings, given.file)
    if given.command == "token":
        return desk.create_api_token(settings, given.name, given.role, given.days)
    if given.action == "notices":
        return desk.set_notices(settings, given.email, wanted=given.wanted == "on")
    if given.action == "reset-step":
        return desk.reset_step(settings, given.email)
    return desk.create_user(settings, given.name, given.email, given.role, given.queue, given.password)
