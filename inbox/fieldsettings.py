"""Settings → Contact fields: what a desk wants to know of its customers, edited by admins."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from config.language import _
from hub import contactfields as verbs
from hub.contactfields import KINDS, FieldForm
from hub.refusals import FieldRefused
from hub.web import hub_here
from inbox.screen import Place, screen
from inbox.session import viewer
from storage.access import SETTINGS
from storage.contactdata import ContactField, contact_fields

VIEW = "fields"


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    at = "/inbox/settings/fields"
    add(at, "contact_fields", view_func=listed)
    add(f"{at}/new", "contact_field_new", view_func=new)
    add(f"{at}/new", "contact_field_create", view_func=save, methods=["POST"], defaults={"number": None})
    add(f"{at}/<int:number>", "contact_field", view_func=one)
    add(f"{at}/<int:number>", "contact_field_change", view_func=save, methods=["POST"])
    add(f"{at}/<int:number>/move", "contact_field_move", view_func=move, methods=["POST"])
    add(f"{at}/<int:number>/delete", "contact_field_delete", view_func=confirm)
    add(f"{at}/<int:number>/delete", "contact_field_delete_form", view_func=delete, methods=["POST"])


def listed() -> ResponseReturnValue:
    """All of them, in the order in which forms show them."""
    hub, who = hub_here(), viewer()
    who.actor.must(SETTINGS)
    with hub.store.read() as tx:
        rows, parts = contact_fields(tx), screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/contact_fields.html", screen=parts, rows=rows, kinds=KINDS))


def new() -> ResponseReturnValue:
    """An empty form."""
    viewer().actor.must(SETTINGS)
    return _page(None, FieldForm())


def one(number: int) -> ResponseReturnValue:
    """One in its form."""
    viewer().actor.must(SETTINGS)
    row = _row(number)
    return _page(row, FieldForm(row.label, row.name, row.kind, "\n".join(row.choices)))


def save(number: int | None) -> ResponseReturnValue:
    """Keep what was typed; what can't be kept stays in the form with a sentence beside it."""
    hub, who, given = hub_here(), viewer(), request.form
    form = FieldForm(
        given.get("label", "")[:1000], given.get("name", "")[:1000], given.get("kind", "text"),
        given.get("choices", "")[:20_000].replace("\r\n", "\n"),
    )  # fmt: skip
    try:
        with hub.store.write() as tx:
            row = verbs.save_field(tx, who.actor, number, form, given.get("seen", ""))
    except FieldRefused as refused:
        row_now = None if number is None else _row(number)
        return _page(row_now, form, {refused.field: refused.sentence}, given.get("seen", ""))
    flash(_("“{label}” is kept. Rules know it as contact.{name}.", label=row.label, name=row.name))
    return redirect(url_for("inbox.contact_fields"), 303)


def move(number: int) -> ResponseReturnValue:
    """One place up or down."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        verbs.move_field(tx, who.actor, number, up=request.form.get("to") == "up")
    return redirect(url_for("inbox.contact_fields"), 303)


def confirm(number: int) -> ResponseReturnValue:
    """Ask first, and say who has something in it."""
    hub, who = hub_here(), viewer()
    who.actor.must(SETTINGS)
    with hub.store.read() as tx:
        row = verbs.field(tx, number)
        count, parts = verbs.used_by(tx, row.name), screen(hub, tx, who, Place(VIEW))
    page = render_template("inbox/contact_field_delete.html", screen=parts, row=row, count=count)
    return make_response(page)


def delete(number: int) -> ResponseReturnValue:
    """Take it away."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        label = verbs.delete_field(tx, who.actor, number).label
    flash(_("“{label}” is deleted.", label=label))
    return redirect(url_for("inbox.contact_fields"), 303)


def _row(number: int) -> ContactField:
    with hub_here().store.read() as tx:
        return verbs.field(tx, number)


def _page(
    row: ContactField | None, form: FieldForm, errors: dict[str, str] | None = None, seen: str = ""
) -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        shown: dict[str, Any] = {"screen": screen(hub, tx, who, Place(VIEW))}
    shown |= {"row": row, "form": form, "kinds": KINDS, "errors": errors or {}}
    shown["seen"] = seen or (verbs.stamp(row) if row else "")
    return make_response(render_template("inbox/contact_field.html", **shown), 422 if errors else 200)
