"""Settings → Tags: which there are and how often, given another name, brought together, taken off everything."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, make_response, render_template, request
from flask.typing import ResponseReturnValue

from config.language import _
from hub import tags as verbs
from hub.refusals import FieldRefused
from inbox.desksheet import VIEW, admin, to
from inbox.screen import Place, screen


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/settings/tags", "tags", view_func=listed)
    add("/inbox/settings/tags/<int:number>", "tag", view_func=one)
    add("/inbox/settings/tags/<int:number>", "tag_rename", view_func=rename, methods=["POST"])
    add("/inbox/settings/tags/<int:number>/remove", "tag_remove", view_func=remove, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Every tag, those that are on most first."""
    hub, who = admin()
    with hub.store.read() as tx:
        found = verbs.tags_in_use(tx, who.actor)
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/tags.html", screen=parts, tags=found))


def one(number: int) -> ResponseReturnValue:
    """A tag, where it stands, and what can be done with it."""
    return _page(number)


def rename(number: int) -> ResponseReturnValue:
    """Another name, once it was said what just that one would do: it may bring two tags together."""
    hub, who = admin()
    typed = request.form.get("name", "")[:200]
    try:
        if request.form.get("do") != "save" or request.form.get("looked") != typed:
            with hub.store.read() as tx:
                return _page(number, typed, into=verbs.named(tx, typed, number))
        with hub.store.write() as tx:
            told = verbs.rename_tag(tx, who.actor, number, typed)
    except FieldRefused as refused:
        return _page(number, typed, refused)
    return to("tags", told)


def remove(number: int) -> ResponseReturnValue:
    """Off every conversation, and out of every macro."""
    hub, who = admin()
    with hub.store.write() as tx:
        name = verbs.remove_tag(tx, who.actor, number)
    return to("tags", _("“{name}” is gone.", name=name))


def _page(
    number: int, typed: str | None = None, refused: FieldRefused | None = None, into: verbs.Use | None = None
) -> ResponseReturnValue:
    hub, who = admin()
    with hub.store.read() as tx:
        use = verbs.tag_in_use(tx, who.actor, number)
        parts = screen(hub, tx, who, Place(VIEW))
    shown: dict[str, Any] = {
        "screen": parts, "use": use, "typed": use.name if typed is None else typed, "looked": typed is not None,
        "into": into, "errors": {refused.field: refused.sentence} if refused else {},
    }  # fmt: skip
    return make_response(render_template("inbox/tag.html", **shown), 422 if refused else 200)
