"""The ledger of receipts for those who see everything: what arrived, what became of it, and reading it again."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from hub.hub import Hub
from hub.intake import DROPPED, retry_receipt
from hub.replay import plan_replay, replay
from hub.web import hub_here
from inbox.answers import fragment
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer, wants_fragment
from storage import Tx
from storage.access import RECEIPTS, receipt_for
from storage.desk import ChannelAccount
from storage.ledger import SORTS, STATES, Entry, Filter, entries, entry, words_of

PAGE = 50
PEEK = 4_000  # characters of a receipt that its page shows
VIEW = "ledger"
FIELDS = ("q", "channel", "state", "sort", "since", "until")


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/ledger", "ledger", view_func=listed)
    add("/inbox/ledger/<int:number>", "ledger_entry", view_func=one)
    add("/inbox/ledger/<int:number>/retry", "ledger_retry", view_func=retry, methods=["POST"])
    add("/inbox/ledger/replay", "ledger_replay", view_func=confirm)
    add("/inbox/ledger/replay", "ledger_replay_form", view_func=replay_form, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Everything that arrived, newest first, as far as the filter lets through; with `before` the rows below."""
    hub, who = _overseer()
    wanted, given = _asked(who)
    before, done = request.args.get("before", ""), request.args.get("replayed", "")
    with hub.store.read() as tx:
        at = int(before[:18]) if before.isdecimal() else None
        found = entries(tx, who.actor, wanted, before=at, limit=PAGE)
        shown: dict[str, Any] = {"page": found, "given": given, "now": tx.now}
        if at is not None and wants_fragment():
            return fragment("inbox/_ledger_rows.html", who=who, **shown)
        shown["screen"] = screen(hub, tx, who, Place(VIEW))
        shown["channels"] = tx.exec(select(ChannelAccount.name).order_by(col(ChannelAccount.name))).all()
    replayed = int(done[:9]) if done.isdecimal() else None
    page = render_template("inbox/ledger.html", states=STATES, sorts=SORTS, replayed=replayed, **shown)
    return make_response(page)


def one(number: int) -> ResponseReturnValue:
    """One receipt with the beginning of its bytes."""
    hub, who = _overseer()
    with hub.store.read() as tx:
        found = entry(tx, who.actor, number)
        peek = _peek(tx, who, number)
        parts = screen(hub, tx, who, Place(VIEW))
    page = render_template(
        "inbox/ledger_entry.html", screen=parts, found=found, peek=peek, spam=_is_spam(found), now=parts.now,
        given=_asked(who)[1],
    )  # fmt: skip
    return make_response(page)


def retry(number: int) -> ResponseReturnValue:
    """Read one again; its page then says what became of it."""
    hub, who = _overseer()
    retry_receipt(hub, who.actor, number)
    return redirect(url_for("inbox.ledger_entry", number=number), 303)


def confirm() -> ResponseReturnValue:
    """How many a replay of the filter would concern, before it happens."""
    hub, who = _overseer()
    wanted, given = _asked(who)
    with hub.store.read() as tx:
        planned = plan_replay(tx, who.actor, wanted)
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/ledger_replay.html", screen=parts, planned=planned, given=given))


def replay_form() -> ResponseReturnValue:
    """Read again what the filter shows and what became no message."""
    hub, who = _overseer()
    wanted, given = _asked(who)
    done = replay(hub, who.actor, wanted)
    return redirect(url_for("inbox.ledger", **given, replayed=done.to_read), 303)


def _overseer() -> tuple[Hub, Viewer]:
    """Raises Forbidden for those who don't see everything."""
    who = viewer()
    who.actor.must(RECEIPTS)
    return hub_here(), who


def _asked(who: Viewer) -> tuple[Filter, dict[str, Any]]:
    """The filter of the request, and what of it goes into links. What makes no sense does not narrow."""
    typed = {name: request.values.get(name, "")[:200].strip() for name in FIELDS}
    since, until = _day(typed["since"], who), _day(typed["until"], who)
    wanted = Filter(
        channel=typed["channel"],
        state=typed["state"] if typed["state"] in STATES else "",
        sort=typed["sort"] if typed["sort"] in SORTS else "",
        since=since,
        until=None if until is None else until + timedelta(days=1),
        words=words_of(typed["q"]),
    )
    return wanted, {name: value for name, value in typed.items() if value}


def _day(typed: str, who: Viewer) -> datetime | None:
    """Where a day begins for whom is looking."""
    try:
        return datetime.combine(date.fromisoformat(typed), time(), who.zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _is_spam(found: Entry) -> bool:
    return found.state == "ignored" and found.why == DROPPED["spam"] and found.kept


def _peek(tx: Tx, who: Viewer, number: int) -> str:
    body = receipt_for(tx, who.actor, number).body
    return "" if body is None else body[:PEEK].decode("utf-8", "replace")
