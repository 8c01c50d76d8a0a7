"""Guessing is slowed down: so many wrong passwords, codes or requests for links within a time, then one has to wait."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import col, select

from config.language import n_
from storage import Tx
from storage.accountfacts import SignInStopped
from storage.people import SignInFailure

TRIES = {"email": 5, "ip": 20, "code": 5, "link": 3}  # within WINDOW, before the next one has to wait
WINDOW = timedelta(minutes=15)


class SignInRefused(Exception):
    """Wrong address, password or code, or too many of them (`wait`). The sentence is for the person at the door."""

    def __init__(self, sentence: str, *, wait: bool = False):
        super().__init__(sentence)
        self.wait = wait


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
    before = must_wait(tx, **who)
    for kind, value in who.items():
        tx.add(SignInFailure(what=f"{kind}:{value}", at=tx.now))
    tx.flush()
    if not before and must_wait(tx, **who):
        tx.emit(SignInStopped(agent_id, what))


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
