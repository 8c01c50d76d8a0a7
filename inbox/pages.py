"""What an agent looks at: lists, conversations, search, unreadable items."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from config.language import _
from hub.contacts import differing
from hub.intake import retry_receipt
from hub.receipts import leave
from hub.web import hub_here
from inbox.answers import Toast, fragment
from inbox.counts import counts
from inbox.panel import candidate, candidates, in_words_of, person_of
from inbox.screen import Place, Screen, list_for, open_conversation, place, screen
from inbox.session import Viewer, viewer, wants_fragment
from inbox.thread import note_reading
from storage import Tx
from storage.access import NotFound, conversation_for, merged_into, person_for, visible_receipt
from storage.desk import ChannelAccount
from storage.receipts import Receipt, is_unseen
from storage.search import index_new_messages

RECEIPTS = 100


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/", view_func=home)
    add("/inbox", endpoint="mine", view_func=lambda: redirect(url_for("inbox.view_page", view="mine")))
    add("/inbox/unreadable", view_func=unreadable)
    add("/inbox/receipts/<int:number>/retry", view_func=retry, methods=["POST"])
    add("/inbox/receipts/<int:number>/leave", view_func=leave_unreadable, methods=["POST"])
    add("/inbox/live", view_func=live)
    add("/inbox/search/typed", view_func=typed)
    add("/inbox/<view>", view_func=view_page)
    add("/inbox/c/<int:number>", view_func=conversation_page)
    add("/inbox/c/<int:number>/people", view_func=people)
    add("/inbox/c/<int:number>/merge/<int:person>", view_func=merge_preview)


def home() -> ResponseReturnValue:
    """The way in."""
    return redirect(url_for("inbox.sign_in_page") if g.viewer is None else url_for("inbox.view_page", view="mine"))


def view_page(view: str) -> ResponseReturnValue:
    """A list; with `after` its next page, as htmx adds it below."""
    hub, who = hub_here(), viewer()
    where = Place(view, None, request.args.get("q", "")[:500], request.args.get("after", ""))
    if view == "search":
        index_new_messages(hub.store)
    with hub.store.read() as tx:
        if where.after and wants_fragment():
            found = list_for(tx, who, where)
            parts = None
        else:
            parts = screen(hub, tx, who, where)
            found = parts.listing
        now = tx.now
    if found is None:
        raise NotFound(_("There is no view {view}.", view=repr(view)))
    if parts is None:
        return fragment("inbox/_rows.html", listing=found, place=where, who=who, now=now)
    return fragment("inbox/_view.html", screen=parts) if wants_fragment() else _page(parts)


def typed() -> ResponseReturnValue:
    """What is found for what is typed so far, in the list's place; once nothing is, the list from which one came."""
    hub, who, at = hub_here(), viewer(), place()
    query = request.args.get("q", "")[:500].strip()
    where = Place("search" if query else request.args.get("from", "mine"), at.open_id, query)
    if query:
        index_new_messages(hub.store)
    with hub.store.read() as tx:
        found = list_for(tx, who, where)
        if found is None:
            where = replace(where, view="mine")
            found = list_for(tx, who, where)
        many = 0 if query else counts(tx, who).views.get(where.view)
        response = fragment("inbox/_typed.html", listing=found, place=where, who=who, now=tx.now, n=many)
    # The first letter is a step to come back from, those after it are the same step.
    header = "HX-Replace-Url" if at.view == "search" else "HX-Push-Url"
    response.headers[header] = where.link(at.open_id) if at.open_id else where.back
    return response


def conversation_page(number: int) -> ResponseReturnValue:
    """A conversation beside its list, or only its parts for htmx; with `before` the messages before those shown."""
    hub, who = hub_here(), viewer()
    before = request.args.get("before", "")
    where = Place(request.args.get("view", "all"), number, request.args.get("q", "")[:500])
    with hub.store.read() as tx:
        found = conversation_for(tx, who.actor, number)
        if found.merged_into_id is not None and (rest := merged_into(tx, who.actor, found)):
            return redirect(replace(where, open_id=None).link(rest))
        if before.isdecimal() and wants_fragment():
            opened = open_conversation(hub, tx, who, found, before=int(before[:18]))
            return fragment("inbox/_timeline.html", open=opened, place=where, who=who, now=tx.now)
        if wants_fragment():
            opened = open_conversation(hub, tx, who, found)
            return fragment("inbox/_conversation.html", open=opened, place=where, who=who, now=tx.now)
        parts = screen(hub, tx, who, where)
    last = found.last_message_id
    hub.store.submit(lambda tx: note_reading(tx, who, number, last))
    return _page(parts)


def live() -> ResponseReturnValue:
    """What may have changed on the page at hand: its list and counts, and with `open` its conversation."""
    hub, who, where = hub_here(), viewer(), place()
    if where.view == "search":
        index_new_messages(hub.store)
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, where, opens=bool(request.args.get("open")))
    # A composer keeps what is typed, unless it still shows the address of somebody who was erased meanwhile.
    erased = parts.open is not None and parts.open.panel.person.erased_at is not None
    composer = erased and bool(request.headers.get("X-Addressed"))
    return fragment("inbox/_changed.html", screen=parts, toasts=(), moved=False, with_composer=composer, shuts=False)


def people(number: int) -> ResponseReturnValue:
    """Who this person might be the same as, by a part of a name or address."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        person = person_of(tx, conversation_for(tx, who.actor, number))
        found = candidates(tx, who, person, request.args.get("q", "")[:200])
    return fragment("inbox/_people.html", number=number, found=found, typed=request.args.get("q", ""))


def merge_preview(number: int, person: int) -> ResponseReturnValue:
    """What a merge would bring together."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        mine = candidate(tx, who, person_of(tx, conversation_for(tx, who.actor, number)))
        other = candidate(tx, who, person_for(tx, who.actor, person).id or 0)
        pairs = in_words_of(tx, differing(mine.person, other.person))
    return fragment("inbox/_merge.html", number=number, mine=mine, other=other, pairs=pairs)


def unreadable() -> ResponseReturnValue:
    """What arrived and could not be read."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        where = Place("unreadable")
        rows = _quarantined(tx, who)
        parts = screen(hub, tx, who, where)
    page = render_template("inbox/unreadable.html", screen=parts, receipts=rows)
    return make_response(page)


def retry(number: int) -> ResponseReturnValue:
    """Read a quarantined receipt again."""
    hub, who = hub_here(), viewer()
    taken = retry_receipt(hub, who.actor, number)
    if taken.state == "quarantined":
        toast = Toast(_("It still can't be read; the reason is beside it."), seconds=8, alarm=True)
    else:
        toast = Toast(_("It is read now and in the list."))
    return _still_unreadable(toast)


def leave_unreadable(number: int) -> ResponseReturnValue:
    """Somebody has looked at it and leaves it as it is; the ledger keeps it."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        leave(tx, who.actor, number)
    return _still_unreadable(Toast(_("It stays in the ledger and is not counted any more.")))


def _still_unreadable(toast: Toast) -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    if not wants_fragment():
        return redirect(url_for("inbox.unreadable"), 303)
    with hub.store.read() as tx:
        rows, tally = _quarantined(tx, who), counts(tx, who)
    return fragment(
        "inbox/_receipts.html", receipts=rows, toasts=[toast], counts=tally, who=who, place=Place("unreadable")
    )


def _page(parts: Screen) -> ResponseReturnValue:
    return make_response(render_template("inbox/inbox.html", screen=parts))


def _quarantined(tx: Tx, who: Viewer) -> list[tuple[Receipt, ChannelAccount]]:
    query = (
        select(Receipt, ChannelAccount)
        .join(ChannelAccount, col(ChannelAccount.id) == col(Receipt.channel_id))
        .where(is_unseen(), visible_receipt(who.actor))
        .order_by(col(Receipt.id).desc())
        .limit(RECEIPTS)
    )
    return list(tx.exec(query))
