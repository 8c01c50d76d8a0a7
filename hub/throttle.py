"""Guessing is slowed down: so many wrong passwords, codes or requests for links within a time, then one has to wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlmodel import col, select

from config.language import n_
from storage import Store, Tx
from storage.accountfacts import SignInStopped
from storage.people import SignInFailure

TRIES = {"email": 5, "ip": 20, "code": 5, "link": 3}  # within WINDOW, before the next one has to wait
WINDOW = timedelta(minutes=15)
TRY_LOCK = 7_316_006  # pg_advisory_xact_lock: tries that come at the same time are counted one after the other


class SignInRefused(Exception):
    """Wrong address, password or code, or too many of them (`wait`). The sentence is for the person at the door."""

    def __init__(self, sentence: str, *, wait: bool = False):
        super().__init__(sentence)
        self.wait = wait


def tried(
    store: Store, right: Callable[[], bool], what: str, agent_id: int | None, *, email: str, ip: str = ""
) -> bool:
    """Whether it was right; counted for the address before it is looked at, so that of many at the same time no more
    are looked at. For the place only what was wrong counts: a whole office may come in at once.

    Takes the store and not a unit: a password takes a tenth of a second, for which nobody must wait.
    Raises SignInRefused when too many were wrong.
    """
    who = {"email": email} | ({"ip": ip} if ip else {})

    def must_not_wait(tx: Tx) -> None:
        if waiting := must_wait(tx, **who):
            raise SignInRefused(waiting, wait=True)

    with store.read() as tx:
        must_not_wait(tx)
    with store.write() as tx:  # of its own: in one with others it would hold its lock while they wait for theirs
        one_at_a_time(tx, email=email)
        must_not_wait(tx)
        counted = _counted(tx, email=email)
    if right():
        store.submit(lambda tx: tx.sql("DELETE FROM sign_in_failure WHERE id = ?", counted[0]).rowcount)
        return True

    def fail(tx: Tx) -> None:
        numbers = counted + (_counted(tx, ip=ip) if ip else [])
        if any(_at_limit(tx, number) for number in numbers):
            tx.emit(SignInStopped(agent_id, what))

    store.submit(fail)
    return False


def one_at_a_time(tx: Tx, **who: str) -> None:
    """Until this unit ends, nobody else begins to count for one of these; for a unit that has its transaction alone."""
    if tx.dialect == "postgresql":
        for kind, value in who.items():
            tx.sql(f"SELECT pg_advisory_xact_lock({TRY_LOCK}, hashtext(?))", f"{kind}:{value}")


def must_wait(tx: Tx, **who: str) -> str:
    """Why the next try has to wait, in a sentence, or nothing. `who` maps kinds of TRIES to what is counted."""
    for kind, value in who.items():
        recent = list(
            tx.exec(
                select(SignInFailure.at)
                .where(SignInFailure.what == f"{kind}:{value}", SignInFailure.at > tx.now - WINDOW)
                .order_by(col(SignInFailure.at).desc())
                .limit(TRIES[kind])
            )
        )
        if len(recent) == TRIES[kind]:
            left = recent[-1] + WINDOW - tx.now
            minutes = max(1, -(-int(left.total_seconds()) // 60))
            return n_(
                "Too many tries. Wait {count} minute and try again.",
                "Too many tries. Wait {count} minutes and try again.",
                minutes,
            )  # fmt: skip
    return ""


def note_try(tx: Tx, what: str, agent_id: int | None, **who: str) -> None:
    """Count a try; the one that makes the next wait is a fact. `what` is password, code or link."""
    if any(_at_limit(tx, number) for number in _counted(tx, **who)):
        tx.emit(SignInStopped(agent_id, what))


def _counted(tx: Tx, **who: str) -> list[int]:
    rows = [SignInFailure(what=f"{kind}:{value}", at=tx.now) for kind, value in who.items()]
    for row in rows:
        tx.add(row)
    tx.flush()
    return [row.id or 0 for row in rows]


def _at_limit(tx: Tx, number: int) -> bool:
    """Whether this try is the last one that is looked at."""
    row = tx.get(SignInFailure, number)
    if row is None:  # whoever came in rightly meanwhile was forgiven all
        return False
    earlier = tx.sql(
        "SELECT count(*) FROM sign_in_failure WHERE what = ? AND at > ? AND id < ?", row.what, tx.now - WINDOW, number
    ).fetchone()
    return bool(earlier[0] + 1 == TRIES[row.what.partition(":")[0]])


def forgive(tx: Tx, **who: str) -> None:
    """What was wrong before the right one counts no more."""
    for kind, value in who.items():
        tx.sql("DELETE FROM sign_in_failure WHERE what = ?", f"{kind}:{value}")


def forget_old_failures(tx: Tx) -> int:
    """Drop tries that no longer count, and sign-ins and links a month after their end; how many rows that were."""
    month_ago = tx.now - timedelta(days=30)
    failures = tx.sql("DELETE FROM sign_in_failure WHERE at < ?", tx.now - WINDOW).rowcount
    sign_ins = tx.sql("DELETE FROM sign_in WHERE expires_at < ?", month_ago).rowcount
    links = tx.sql("DELETE FROM access_link WHERE expires_at < ?", month_ago).rowcount
    return failures + sign_ins + links
