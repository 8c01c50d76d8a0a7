"""Bringing in the mail from before: counted first, resumable, beside a running reader, without waking anybody."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date

from channels.base import Cursor, Folder, Raw
from hub.hub import Hub, Opened
from hub.intake import read_first
from hub.mailboxes import follow, in_batches, lease_name, store_mails, whole
from storage import Tx
from storage.access import Conflict
from storage.leases import drop_lease, take_lease
from storage.mailboxes import cursor_of, missing_mails, seen_mails

logger = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
BREAKS = 5  # of the line at one place; before that a mail which it breaks under is left out

Tell = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill of one folder would fetch. `known` mails are here already and are left out."""

    folder: str
    uidvalidity: int
    listed: int
    known: int
    uids: tuple[int, ...]
    size: int

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.listed} mails, {self.known} of them known already; "
            f"{len(self.uids)} to fetch, {self.size / 1_000_000:.1f} MB"
        )


def plan(hub: Hub, opened: Opened, folder: str, since: date) -> Plan:
    """Ask the server what there is; nothing is fetched. Raises Conflict, or the channel's own error."""
    with closing(follow(opened, folder)) as line:
        return _plan(hub, opened, line, since)


def backfill(hub: Hub, opened: Opened, folder: str, since: date, tell: Tell = lambda done, of: None) -> int:
    """Fetch what the plan says; how many were new. Started again, it goes on where it ended.

    `tell` hears how many of how many are done. Raises Conflict while another one runs, or the channel's own error.
    """
    holder = f"{os.getpid()}:{os.urandom(4).hex()}"
    lease = f"past:{lease_name(opened.account.name, folder)}"[:128]

    def lead(tx: Tx) -> int:
        epoch = take_lease(tx, lease, holder, LEASE_SECONDS)
        if epoch is None:
            raise Conflict(f"Another process brings in {folder} of {opened.account.name} just now.")
        return epoch

    hub.store.submit(lead)
    try:
        with closing(follow(opened, folder)) as line:
            wanted = _plan(hub, opened, line, since)
            count = done = 0
            past = frozenset(wanted.uids)
            for batch in in_batches(_insisted(line, wanted.uidvalidity, wanted.uids)):
                stored = store_mails(hub, opened, batch, settles=False, guard=lead, history=past)
                read_first(hub, opened, whole(hub, stored))
                count, done = count + len(stored), done + len(batch)
                tell(done, len(wanted.uids))
            return count
    finally:
        hub.store.submit(lambda tx: drop_lease(tx, lease, holder))


def withheld(hub: Hub, opened: Opened, planned: Plan) -> int:
    """How many mails from before the server has not handed over yet."""
    with hub.store.read() as tx:
        missing = missing_mails(tx, opened.id, planned.folder, planned.uidvalidity)
    return sum(each.history for each in missing.values())


def _plan(hub: Hub, opened: Opened, line: Folder, since: date) -> Plan:
    uidvalidity, listed = line.listing(since)
    with hub.store.read() as tx:
        at = cursor_of(tx, opened.id, line.name)
        seen = seen_mails(tx, opened.id, line.name, uidvalidity)
        missing = missing_mails(tx, opened.id, line.name, uidvalidity)
    seen -= {uid for uid, each in missing.items() if each.history}  # an earlier backfill did not get these
    if at is not None and at.uidvalidity == uidvalidity:
        past = [uid for uid in listed if uid <= at.uid]  # the reader takes what comes after
    elif line.since is not None:
        new = set(line.listing(line.since)[1])
        past = [uid for uid in listed if uid not in new]
    else:
        raise Conflict(
            f"{line.name} of {opened.account.name} has not been read yet, so old mail can't be told from new: let the "
            "hub run first, or say in the channel's settings from which day on mail is new (since)."
        )
    wanted = tuple(uid for uid in past if uid not in seen)
    size = sum(line.sizes(wanted).values()) if wanted else 0
    return Plan(line.name, uidvalidity, len(past), len(past) - len(wanted), wanted, size)


def _insisted(line: Folder, uidvalidity: int, uids: tuple[int, ...]) -> Iterator[tuple[Raw | None, Cursor]]:
    """All of them over as many connections as it takes, as long as it goes on. Raises the channel's own error."""
    done = broken = 0
    while done < len(uids):
        try:
            for found in line.fetch(uidvalidity, uids[done:]):
                done, broken = done + 1, 0
                yield found
        except Exception:
            broken += 1
            if broken == BREAKS:
                raise
            logger.warning("the line broke after %s of %s mails; going on from there", done, len(uids))
