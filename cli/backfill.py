"""`python app.py mailbox backfill NAME --since DAY`: old mail into the history of its senders."""

from __future__ import annotations

import sys
from datetime import date

from channels.base import Polls
from channels.mail import ConnectionLost
from config import Settings
from hub import Hub
from hub.backfill import backfill, plan, withheld
from storage.access import Conflict, NotFound
from storage.migrations import is_current


def bring_in(settings: Settings, name: str, folder: str | None, since: date, *, dry_run: bool) -> int:
    """Say what there is; unless it is a dry run, fetch it. Whatever ends it, it goes on from there when run again."""
    hub = Hub(settings)
    try:
        if not dry_run:
            hub.occupy()
        if not is_current(hub.store):
            raise NotFound("The database is empty or old: run `python app.py db upgrade` first.")
        opened = hub.channel_named(name)
        channel = opened.must()
        if not isinstance(channel, Polls):
            raise Conflict(f"Channel {name!r} has no mailbox: its mail comes by webhook.")
        folders = (folder,) if folder else channel.folders()
        try:
            for each in folders:
                planned = plan(hub, opened, each, since)
                print(planned)
                if not dry_run:
                    new = backfill(hub, opened, each, since, _tell)
                    print(f"{each}: {new} mails are new here; nobody was woken.")
                    if left := withheld(hub, opened, planned):
                        print(f"  The server does not hand {left} over; the hub asks for them again every hour.")
        except ConnectionLost as lost:
            print(f"{lost} Run it again: it goes on where it ended.", file=sys.stderr)
            return 1
    finally:
        hub.stop()
    return 0


def _tell(done: int, of: int) -> None:
    if done % 1000 < 50 or done == of:
        print(f"  {done} of {of}", flush=True)
