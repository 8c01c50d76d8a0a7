"""People → Roles: what the desk's own roles allow."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from config.language import _
from hub import roles as verbs
from hub.hub import Hub
from hub.refusals import FieldRefused
from hub.roles import RoleForm
from hub.web import hub_here
from inbox.people import VIEW
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer
from storage import Tx
from storage.access import BUILT_IN, PERMISSIONS
from storage.desk import Queue


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/people/roles", "roles", view_func=listed)
    add("/inbox/people/roles/new", "role_new", view_func=new)
    add("/inbox/people/roles/new", "role_add", view_func=add_role, methods=["POST"])
    add("/inbox/people/roles/<int:number>", "role", view_func=one)
    add("/inbox/people/roles/<int:number>", "role_save", view_func=save, methods=["POST"])
    add("/inbox/people/roles/<int:number>/delete", "role_delete", view_func=delete, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Those that are built in, and the desk's own."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        found = verbs.roles(tx, who.actor)
        queues = dict(tx.exec(select(Queue.id, Queue.name)).all())
        parts = screen(hub, tx, who, Place(VIEW))
    page = render_template(
        "inbox/roles.html", screen=parts, roles=found, built_in=BUILT_IN, permissions=PERMISSIONS, queues=queues
    )
    return make_response(page)


def new() -> ResponseReturnValue:
    """An empty form."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        verbs.roles(tx, who.actor)  # asks whether it is theirs to make
        return _page(hub, tx, who, None, RoleForm())


def add_role() -> ResponseReturnValue:
    """Make one."""
    return _save(None)


def one(number: int) -> ResponseReturnValue:
    """A role in its form."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        __, form = verbs.role(tx, who.actor, number)
        return _page(hub, tx, who, number, form)


def save(number: int) -> ResponseReturnValue:
    """Keep what was changed."""
    return _save(number)


def delete(number: int) -> ResponseReturnValue:
    """Gone, if nobody has it."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        verbs.delete_role(tx, who.actor, number)
    flash(_("The role is deleted."))
    return redirect(url_for("inbox.roles"), 303)


def _save(number: int | None) -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    given = request.form
    typed = RoleForm(given.get("name", "")[:200], set(given.getlist("allow")[:50]), set(given.getlist("queue")[:500]))
    try:
        with hub.store.write() as tx:
            name = verbs.save_role(tx, who.actor, number, typed)
    except FieldRefused as refused:
        with hub.store.read() as tx:
            return _page(hub, tx, who, number, typed, refused)
    flash(_("“{name}” is kept. Whoever has it may do that from now on.", name=name))
    return redirect(url_for("inbox.roles"), 303)


def _page(
    hub: Hub, tx: Tx, who: Viewer, number: int | None, typed: RoleForm, refused: FieldRefused | None = None
) -> ResponseReturnValue:
    shown: dict[str, Any] = {
        "screen": screen(hub, tx, who, Place(VIEW)),
        "number": number,
        "typed": typed,
        "permissions": PERMISSIONS,
        "queues": tx.exec(select(Queue.name).where(col(Queue.active)).order_by(col(Queue.id))).all(),
        "errors": {refused.field: refused.sentence} if refused else {},
    }
    return make_response(render_template("inbox/role.html", **shown), 422 if refused else 200)
