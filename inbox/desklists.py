"""Settings → Queues, Calendars, Skills and Profiles: lists, and forms that say what they would change."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Blueprint, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import select

from config.language import _, words
from config.retold import retold
from hub.deskedit import MODELS, Edit, entries, keep_edit, name_of, try_edit
from hub.hub import Hub
from hub.refusals import FieldRefused
from hub.rulecheck import look_over
from inbox import desksheet
from inbox.deskform import Entry, version_in
from inbox.desksections import SECTIONS, Section, joined, told, used_by
from inbox.desksheet import VIEW, Draft, admin, to
from inbox.screen import Place, screen
from inbox.session import Viewer
from storage import Tx


def register(blueprint: Blueprint) -> None:
    """Add the pages of every section."""
    for section in SECTIONS.values():
        noun, base = section.noun, f"/inbox/settings/{section.name}"
        for path, endpoint, view, methods in (
            (base, section.name, listed, ["GET"]),
            (f"{base}/new", f"{noun}_new", new, ["GET"]),
            (f"{base}/new", f"{noun}_add", save_new, ["POST"]),
            (f"{base}/<int:number>", noun, one, ["GET"]),
            (f"{base}/<int:number>", f"{noun}_save", save, ["POST"]),
            (f"{base}/<int:number>/remove", f"{noun}_remove", confirm, ["GET"]),
            (f"{base}/<int:number>/remove", f"{noun}_remove_form", remove, ["POST"]),
        ):
            blueprint.add_url_rule(path, endpoint, partial(view, section), methods=methods)


def listed(section: Section) -> ResponseReturnValue:
    """Every entry with what matters of it, and what looks wrong."""
    hub, who = admin()
    with hub.store.read() as tx:
        model = MODELS[section.name]
        numbers = dict(tx.exec(select(model.name, model.id)).all())
        rows = [(numbers[each["name"]], each, _words(section, each)) for each in entries(tx, section.name)]
        odd: dict[str, list[str]] = {}
        for each in look_over(tx):
            odd.setdefault(each.what, []).append(
                f"{each.path}: {retold(each.sentence)}" if each.path else retold(each.sentence)
            )
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/desk_list.html", screen=parts, section=section, rows=rows, odd=odd))


def new(section: Section) -> ResponseReturnValue:
    """An empty form."""
    hub, who = admin()
    with hub.store.read() as tx:
        draft = desksheet.blank(tx, section.name, section.groups(tx), section.flat({}), more=section.more)
        return _page(hub, tx, who, section, draft, {})


def save_new(section: Section) -> ResponseReturnValue:
    """Look at it, or keep it."""
    hub, who = admin()
    with hub.store.read() as tx:
        draft = desksheet.sent(hub, tx, section.name, section.groups(tx), None, None)
    return _done(hub, who, section, draft, {})


def one(section: Section, number: int) -> ResponseReturnValue:
    """An entry in its form, and what has it."""
    hub, who = admin()
    with hub.store.read() as tx:
        entry = desksheet.stored(tx, who, section.name, number)
        draft = desksheet.opened(tx, section.name, section.groups(tx), number, section.flat(entry))
        return _page(hub, tx, who, section, draft, entry)


def save(section: Section, number: int) -> ResponseReturnValue:
    """Look at the changes, or keep them."""
    hub, who = admin()
    with hub.store.read() as tx:
        entry = desksheet.stored(tx, who, section.name, number)
        draft = desksheet.sent(hub, tx, section.name, section.groups(tx), number, section.flat(entry))
    return _done(hub, who, section, draft, entry)


def confirm(section: Section, number: int) -> ResponseReturnValue:
    """What taking it out would do, before it is done."""
    hub, who = admin()
    with hub.store.read() as tx:
        name, uses = name_of(tx, section.name, number), used_by(tx, section.name, number)
        parts = screen(hub, tx, who, Place(VIEW))
    shown: dict[str, Any] = {"screen": parts, "section": section, "name": name, "uses": uses, "number": number}
    try:
        shown["seen"] = try_edit(hub.store, who.actor, Edit(section.name, name, None))
    except FieldRefused as refused:
        shown["problem"] = refused.sentence
    return make_response(render_template("inbox/desk_remove.html", **shown))


def remove(section: Section, number: int) -> ResponseReturnValue:
    """Gone."""
    hub, who = admin()
    with hub.store.write() as tx:
        name = name_of(tx, section.name, number)
        keep_edit(tx, who.actor, Edit(section.name, name, None), version_in(request.form))
    return to(section.name, _("{name} is gone.", name=name))


def _done(hub: Hub, who: Viewer, section: Section, draft: Draft, entry: Entry) -> ResponseReturnValue:
    draft.more = section.more

    def deep(typed: Entry) -> Entry:
        return section.deep(typed, entry)

    name = draft.typed.values["name"].strip()
    if request.form.get("do") == "save":
        if desksheet.keep(hub, who, draft, deep):
            return to(section.name, _("{name} is kept, and counts from now on.", name=name))
    else:
        desksheet.look(hub, who, draft, deep)
    with hub.store.read() as tx:
        return _page(hub, tx, who, section, draft, entry)


def _page(hub: Hub, tx: Tx, who: Viewer, section: Section, draft: Draft, entry: Entry) -> ResponseReturnValue:
    number, noun = draft.number, section.noun
    action = url_for(f"inbox.{noun}_save", number=number) if number else url_for(f"inbox.{noun}_add")
    return desksheet.page(
        hub, tx, who, "inbox/desk_one.html", draft, section=section, action=action,
        uses=used_by(tx, section.name, number) if number else [], told=told(tx, section.name, draft.entry or entry),
    )  # fmt: skip


def _words(section: Section, entry: Entry) -> list[str]:
    """What matters of an entry, in a few words each."""
    if section.name == "queues":
        targets = section.flat(entry).get("sla", {})
        said = [f"{label} {targets[key]}" for key, label in _PROMISED.items() if key in targets]
        said += [entry.get("calendar", _("always open"))]
        said += ["limited"] if "limits" in entry else []
        return said + (["paused"] if entry.get("paused") else [])
    if section.name == "calendars":
        return [entry["time_zone"], *(f"{days} {joined(spans)}" for days, spans in entry["hours"].items())]
    if section.name == "profiles":
        return [f"{most} {name}" for name, most in entry.get("channels", {}).items()]
    return []


_PROMISED = words({"first_reply": "First reply", "next_reply": "next reply", "resolution": "resolved"})
