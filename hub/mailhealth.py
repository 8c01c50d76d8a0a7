"""How mail accounts do, told from what is written down about them: whoever asks need not be the one who reads."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from config.language import _, n_
from config.retold import retold
from hub.hub import Hub
from hub.mailboxes import folders_of
from storage import Tx
from storage.columns import moment

logger = logging.getLogger(__name__)

# A reader looks every quarter of a minute and writes that down every twenty seconds, whatever the polling interval.
LATE = timedelta(minutes=5)
WARN_DAYS = 30  # before a secret runs out
URGENT_DAYS = 7

COUNT = (
    "(SELECT count(*) FROM mail_seen s WHERE s.channel_id = m.channel_id AND s.folder = m.folder "
    "AND s.uidvalidity = m.uidvalidity AND s.state = '{}')"
)
FOLDERS = (
    f"SELECT c.id, c.name, m.folder, m.looked_at, m.behind, m.problem, {COUNT.format('missing')}, "
    f"{COUNT.format('unsettled')} FROM mail_cursor m JOIN channel c ON c.id = m.channel_id WHERE c.active "
    "ORDER BY c.name, m.folder"
)


@dataclass(frozen=True, slots=True)
class FolderHealth:
    """One folder. `silent` is how long ago the server last told what is new, None before the first time.

    `withheld` mails are announced by the server but not handed over; with `unsettled` ones something is still to be
    done there.
    """

    channel: str
    folder: str
    looked_at: datetime | None
    silent: timedelta | None
    behind: int
    problem: str
    withheld: int
    unsettled: int

    @property
    def well(self) -> bool:
        """Whether somebody reads it, without a problem."""
        return not self.problem and self.silent is not None and self.silent <= LATE

    def __str__(self) -> str:
        parts = [
            _("last looked at {ago}", ago=_ago(self.silent)) if self.silent is not None else _("never looked at yet")
        ]
        if self.behind:
            parts.append(n_("{count} mail still to be fetched", "{count} mails still to be fetched", self.behind))
        if self.withheld:
            parts.append(
                n_(
                    "{count} mail that the server does not hand over",
                    "{count} mails that the server does not hand over",
                    self.withheld,
                )
            )
        if self.unsettled:
            parts.append(
                n_(
                    "{count} mail still to be marked or moved there",
                    "{count} mails still to be marked or moved there",
                    self.unsettled,
                )
            )
        return ", ".join(parts) + (f". {retold(self.problem)}" if self.problem else "")


@dataclass(frozen=True, slots=True)
class SecretAge:
    """A secret of a channel, and in how many days it runs out; negative when it has."""

    channel: str
    on: date
    days: int

    def __str__(self) -> str:
        if self.days < 0:
            return _("its secret ran out on {date}", date=self.on)
        return n_(
            "its secret runs out in {count} day, on {date}",
            "its secret runs out in {count} days, on {date}",
            self.days,
            date=self.on,
        )


def folder_health(hub: Hub, tx: Tx) -> list[FolderHealth]:
    """Every folder that is to be followed, whether somebody does or not."""
    followed = {opened.id: folders_of(opened) for opened in hub.channels()}
    found = []
    for channel_id, name, folder, looked, behind, problem, withheld, unsettled in tx.sql(FOLDERS).fetchall():
        if folder in followed.get(channel_id, ()):
            at = moment(looked)
            silent = None if at is None else max(tx.now - at, timedelta(0))
            found.append(FolderHealth(name, folder, at, silent, behind, problem, withheld, unsettled))
    known = {(each.channel, each.folder) for each in found}
    for opened in hub.channels():
        for folder in followed[opened.id]:
            if (opened.account.name, folder) not in known:
                found.append(FolderHealth(opened.account.name, folder, None, None, 0, "", 0, 0))
    return found


def secret_ages(hub: Hub) -> list[SecretAge]:
    """Of every channel whose settings say when a secret runs out."""
    today = hub.store.clock().date()
    dated = [(opened.account.name, getattr(opened.channel, "secret_expires", None)) for opened in hub.channels()]
    return [SecretAge(name, on, (on - today).days) for name, on in dated if on is not None]


def token_problems(tx: Tx) -> dict[str, str]:
    """Why the token of a channel could not be refreshed, by the channel's name."""
    rows = tx.sql(
        "SELECT c.name, t.problem FROM channel_token t JOIN channel c ON c.id = t.channel_id "
        "WHERE c.active AND t.problem <> ''"
    ).fetchall()
    return {name: problem for name, problem in rows}


def warn_of_secrets(hub: Hub) -> None:
    """The duty that says in the log what will stop working soon."""
    for each in secret_ages(hub):
        if each.days <= WARN_DAYS:
            logger.warning("channel %s: %s; make a new one and put it into the settings", each.channel, each)


def _ago(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    if seconds >= 2 * 86_400:
        return n_("{count} day ago", "{count} days ago", seconds // 86_400)
    if seconds >= 2 * 3600:
        return n_("{count} hour ago", "{count} hours ago", seconds // 3600)
    if seconds >= 120:
        return n_("{count} minute ago", "{count} minutes ago", seconds // 60)
    return n_("{count} second ago", "{count} seconds ago", seconds)
