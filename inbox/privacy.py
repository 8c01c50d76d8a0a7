"""Blocking a person, taking out everything about one as a file, and erasing one for good."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from config.language import _, n_
from hub.contactexport import zipped
from hub.contacts import block
from hub.erasure import Extent, erase, extent
from hub.web import hub_here
from inbox.about import sheet
from inbox.answers import Toast, changed
from inbox.panel import person_of
from inbox.screen import new_composer
from inbox.session import viewer
from storage.access import ERASE, conversation_for

SURE = "erase"


def register(blueprint: Blueprint) -> None:
    """Add the four."""
    add = blueprint.add_url_rule
    add("/inbox/c/<int:number>/block", "block_form", view_func=block_person, methods=["POST"])
    add("/inbox/c/<int:number>/export", "export_contact", view_func=export)
    add("/inbox/c/<int:number>/erase", "erase_contact", view_func=confirm)
    add("/inbox/c/<int:number>/erase", "erase_contact_form", view_func=erase_person, methods=["POST"])


def block_person(number: int) -> ResponseReturnValue:
    """What they write makes no work from now on, or makes work again."""
    who, on = viewer(), bool(request.form.get("on"))
    with hub_here().store.write() as tx:
        person = person_of(tx, conversation_for(tx, who.actor, number))
        block(tx, who.actor, person, on)
    told = _("Blocked: what they write is kept and makes no work.") if on else _("Unblocked.")
    return changed(number, Toast(told, undo=f"/inbox/c/{number}/block", values={"on": "" if on else "1"}))


def export(number: int) -> ResponseReturnValue:
    """Everything about the person of a conversation, as one file to save."""
    who = viewer()
    who.actor.must(ERASE)
    return zipped(hub_here(), who.actor, _person(number))


def confirm(number: int) -> ResponseReturnValue:
    """Say what would go, and ask for a word."""
    return _page(number, {})


def erase_person(number: int) -> ResponseReturnValue:
    """Do it, if the word was typed."""
    who = viewer()
    who.actor.must(ERASE)
    if request.form.get("sure", "").strip().lower() != SURE:
        return _page(number, {"sure": _("Type the word {sure}, so that this doesn't happen by accident.", sure=SURE)})
    hub = hub_here()
    done = erase(hub, who.actor, _person(number))
    count = done.messages
    with hub.store.read() as tx:
        composer = new_composer(hub, tx, who, conversation_for(tx, who.actor, number))
    return changed(
        number,
        Toast(n_("Erased, with {count} message.", "Erased, with {count} messages.", count), seconds=10),
        composer=composer,
        shuts=True,
    )


def _page(number: int, errors: dict[str, str]) -> ResponseReturnValue:
    who = viewer()
    with hub_here().store.read() as tx:
        who.actor.must(ERASE)
        found: Extent = extent(tx, who.actor, person_of(tx, conversation_for(tx, who.actor, number)))
    return sheet(number, "inbox/_erase.html", 422 if errors else 200, errors=errors, extent=found)


def _person(number: int) -> int:
    with hub_here().store.read() as tx:
        return person_of(tx, conversation_for(tx, viewer().actor, number))
