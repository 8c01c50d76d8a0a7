"""The background duties of a hub: reading mailboxes, matching work, carrying deliveries, waking what sleeps.

`python worker.py` runs them in a process of their own beside gunicorn; `python app.py` runs them inside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from datetime import timedelta

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import OperationalError

from chatops import notices
from config import Settings, SettingsError, load
from config.collector import spare_what_is_loaded
from config.logs import set_up_logging
from hub import Hub, Opened, accesslinks, acknowledge, digests
from hub import notices as mail_notices
from hub.authorise import renew_due
from hub.delivery import Courier, Sender
from hub.followers import Follower, Followers
from hub.gate import forget_old_sends
from hub.laboratory import Laboratory, forget_old
from hub.later import leave_due
from hub.lifecycle import wake_due
from hub.mailboxes import SILENT_SECONDS, Mailbox, file_left_over, folders_of
from hub.mailhealth import warn_of_secrets
from hub.media import fetch_waiting
from hub.outbound import file_copy, reconcile_message, send_message
from hub.pacing import forget_old_turns
from hub.retention import drop_old
from hub.throttle import forget_old_failures
from routing.retire import is_stranded, take_up_stranded
from routing.router import Router
from storage.leases import drop_all_leases
from storage.migrations import HEAD, current
from storage.outages import is_news
from storage.search import index_new_messages
from webhooks import outgoing

logger = logging.getLogger(__name__)

OUTAGE_SECONDS = 2
INDEXED_SECONDS = 0.5  # a burst is indexed together; whoever searches meanwhile brings the index up to date

SENDERS: dict[str, Sender] = {
    "channel": send_message, "copy": file_copy, "digest": digests.send, "letter": accesslinks.send,
    "notice": mail_notices.send, "slack": notices.send, "webhook": outgoing.send,
}  # fmt: skip
FOLLOWERS: dict[str, Follower] = {
    "slack": notices.FOLLOWER, "webhooks": outgoing.FOLLOWER, "acknowledgements": acknowledge.FOLLOWER,
    "mail notices": mail_notices.FOLLOWER,
}  # fmt: skip


class Worker:
    """Everything a hub does without being asked. Any number may run on one PostgreSQL: leases share out the duties."""

    def __init__(self, hub: Hub):
        self.hub = hub
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._mailboxes: dict[tuple[int, str], tuple[Opened, Mailbox, threading.Event, threading.Thread]] = {}
        self._scheduler = BackgroundScheduler(
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}, timezone="UTC"
        )

    def start(self) -> None:
        """Begin every duty."""
        hub = self.hub
        hub.listener.start()
        if hub.settings.embedded:
            hub.store.submit(drop_all_leases)
        courier = Courier(hub, SENDERS, reconcile_message)
        followers = Followers(hub, FOLLOWERS, self.holder)
        router = Router(hub.store, self.holder)
        for name, loop in (("courier", courier.loop), ("followers", followers.loop), ("router", router.loop)):
            self._run(name, loop)
        self._run("laboratory", Laboratory(hub, self.holder).loop)
        self._run("indexer", self._index)
        self._every(1, self._watch_mailboxes)
        self._every(1, self._wake_snoozed)
        self._every(1, self._send_later)
        self._every(2, lambda: fetch_waiting(hub))
        self._every(15, lambda: file_left_over(hub))
        self._every(30, self._take_up_stranded)
        self._every(60, lambda: renew_due([each.keeper for each in hub.channels() if each.keeper]))
        self._every(43_200, lambda: warn_of_secrets(hub))
        self._every(3600, lambda: hub.store.submit(forget_old_failures))
        self._every(3600, lambda: hub.store.submit(forget_old_turns))
        self._every(3600, lambda: hub.store.submit(forget_old_sends))
        self._every(3600, lambda: hub.store.submit(digests.forget_old_digests))
        self._every(3600, lambda: hub.store.submit(forget_old))
        # Daily, and soon after a start: a hub that is switched off every evening has to drop things as well.
        soon = hub.store.clock() + timedelta(minutes=10)
        self._scheduler.add_job(lambda: drop_old(hub, self.holder), "interval", hours=24, next_run_time=soon)
        self._scheduler.start()
        self._watch_mailboxes()

    def stop(self) -> None:
        """Let every duty finish what it holds; leases are given back."""
        self._stop.set()
        with contextlib.suppress(Exception):
            self._scheduler.shutdown(wait=False)
        self.hub.store.bell.ring()
        for key in list(self._mailboxes):
            self._close_mailbox(key)
        for thread in self._threads:
            thread.join(10)

    def _run(self, name: str, loop: Callable[[threading.Event], None]) -> None:
        thread = threading.Thread(target=loop, args=(self._stop,), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _every(self, seconds: int, duty: Callable[[], object]) -> None:
        self._scheduler.add_job(duty, "interval", seconds=seconds)

    def _index(self, stop: threading.Event) -> None:
        """New messages become searchable right after they arrive."""
        for _ in self.hub.store.bell.rounds(stop, INDEXED_SECONDS):
            try:
                index_new_messages(self.hub.store)
            except Exception:
                logger.exception("indexing failed; trying again")
                stop.wait(1)

    def _wake_snoozed(self) -> None:
        with self.hub.store.read() as tx:
            due = tx.sql("SELECT 1 FROM conversation WHERE state = 'snoozed' AND snoozed_until <= ? LIMIT 1", tx.now)
            if due.fetchone() is None:
                return
        self.hub.store.submit(wake_due)

    def _send_later(self) -> None:
        with self.hub.store.read() as tx:
            if tx.sql("SELECT 1 FROM later_reply WHERE at <= ? LIMIT 1", tx.now).fetchone() is None:
                return
        self.hub.store.submit(leave_due)

    def _take_up_stranded(self) -> None:
        with self.hub.store.read() as tx:
            if not is_stranded(tx):
                return
        self.hub.store.submit(take_up_stranded)

    def _watch_mailboxes(self) -> None:
        """Follow the desk: a new folder gets a reader, a changed or closed one loses it, a silent one is replaced."""
        wanted = {(opened.id, folder): opened for opened in self.hub.channels() for folder in folders_of(opened)}
        for key, (opened, mailbox, _stop, thread) in list(self._mailboxes.items()):
            changed = key not in wanted or wanted[key].channel is not opened.channel
            if not changed and mailbox.silent_for > SILENT_SECONDS:
                logger.error("the reader of %s was silent for too long: it is replaced", mailbox.lease)
            elif not changed and thread.is_alive():
                continue
            self._close_mailbox(key)
        for key, opened in wanted.items():
            if key not in self._mailboxes:
                mailbox, stop = Mailbox(self.hub, opened, self.holder, key[1]), threading.Event()
                name = f"mailbox-{key[0]}-{key[1]}"
                thread = threading.Thread(target=mailbox.loop, args=(stop,), name=name, daemon=True)
                self._mailboxes[key] = (opened, mailbox, stop, thread)
                thread.start()

    def _close_mailbox(self, key: tuple[int, str]) -> None:
        _opened, mailbox, stop, thread = self._mailboxes.pop(key)
        stop.set()
        mailbox.close()
        thread.join(10)


def run(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT. A database that is away is waited for; one without our tables is not."""
    if settings.embedded:
        print(
            "A separate worker needs PostgreSQL: set DATABASE_URL=postgresql+psycopg://… "
            "On SQLite `python app.py` does all the work in one process.",
            file=sys.stderr,
        )
        return 2
    set_up_logging(settings, is_news)
    hub = Hub(settings)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    at = _revision(hub, done)
    if done.is_set() or at < HEAD:
        hub.stop()
        if not done.is_set():
            print(f"The database is {_told(at)}: run `python app.py db upgrade` first.", file=sys.stderr)
        return 0 if done.is_set() else 2
    worker = Worker(hub)
    worker.start()
    spare_what_is_loaded()
    logger.info("worker %s is at work", worker.holder)
    done.wait()
    worker.stop()
    hub.stop()
    return 0


def _told(revision: str) -> str:
    return f"at revision {revision}, not {HEAD}" if revision else "empty"


def _revision(hub: Hub, done: threading.Event) -> str:
    """What shape the database has, as soon as it answers; empty also when `done` comes first."""
    while not done.is_set():
        try:
            return current(hub.store)
        except OperationalError as error:
            why = str(error.orig).partition("\n")[0]
            logger.warning("the database does not answer; the next try is in %s seconds: %s", OUTAGE_SECONDS, why)
            done.wait(OUTAGE_SECONDS)
    return ""


if __name__ == "__main__":
    try:
        sys.exit(run(load()))
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
