"""How actions answer: htmx gets the changed parts of its page and a toast, a browser without scripts the whole page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

from config.language import N_, _, words
from hub.intake import OUTAGES
from hub.refusals import FieldRefused
from hub.web import hub_here
from inbox.screen import Composer, Place, place, screen
from inbox.session import viewer, wants_fragment
from storage.access import Conflict, Forbidden, NotFound

OLD_PAGE = N_("This page is from an earlier sign-in. Reload it and try again; nothing was sent.")
NO_DATABASE = N_("The database does not answer right now. Nothing was lost; try again in a few seconds.")
TITLES = words({403: "Not allowed", 404: "Not here", 409: "Not possible now", 413: "Too large", 503: "One moment"})


@dataclass(frozen=True, slots=True)
class Toast:
    """A line at the bottom of the list; `undo` is the address of the inverse, `seconds` how long it stays."""

    text: str
    undo: str = ""
    seconds: int = 6
    countdown: bool = False
    alarm: bool = False
    values: Mapping[str, str] = field(default_factory=dict)


def register(blueprint: Blueprint) -> None:
    """Refusals become sentences, never a trace."""
    for error, status in ((Forbidden, 403), (NotFound, 404), (Conflict, 409), (FieldRefused, 409)):
        blueprint.register_error_handler(error, lambda refused, status=status: refusal(str(refused), status))
    blueprint.register_error_handler(CSRFError, lambda __: refusal(_(OLD_PAGE), 403))
    blueprint.register_error_handler(
        413, lambda __: refusal(_("That is too large: {largest} MB are taken.", largest=_largest()), 413)
    )
    for outage in OUTAGES:
        blueprint.register_error_handler(outage, lambda __: refusal(_(NO_DATABASE), 503))


def refusal(sentence: str, status: int) -> ResponseReturnValue:
    """A sentence in the place where it was asked for."""
    if not wants_fragment():
        title = TITLES.get(status, _("Something is wrong"))
        return render_template("inbox/problem.html", title=title, sentence=sentence, viewer=g.get("viewer")), status
    if request.method == "GET":
        return render_template("inbox/_problem.html", sentence=sentence), status
    return render_template("inbox/_toasts.html", toasts=[Toast(sentence, seconds=10, alarm=True)]), status


def changed(
    open_id: int | None,
    *toasts: Toast,
    moved: bool = False,
    composer: Composer | None = None,
    status: int = 200,
    shuts: bool = False,
) -> ResponseReturnValue:
    """Everything on the page that an action may have changed, with `open_id` as the open conversation.

    `moved` says that another conversation than before is to be shown; `composer` replaces the one on the page;
    `shuts` empties the sheet over it, which closes it.
    """
    where = replace(place(), open_id=open_id)
    if not wants_fragment():
        return redirect(where.link(open_id) if open_id else where.back, 303)
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, where, composer=composer)
    gone = parts.open is None and open_id is not None
    body = render_template(
        "inbox/_changed.html",
        screen=parts,
        toasts=toasts,
        moved=moved or gone,
        with_composer=composer is not None,
        shuts=shuts,
    )
    response = make_response(body, status)
    if moved or gone:
        response.headers["HX-Push-Url"] = where.link(open_id) if parts.open is not None and open_id else where.back
    return response


def fragment(template: str, **values: object) -> Response:
    """A part of a page."""
    return make_response(render_template(template, **values))


def next_open() -> int | None:
    """The conversation the browser wants to see after this one left its list."""
    number = request.form.get("next", "")
    return int(number) if number.isdecimal() and len(number) < 19 else None


def here() -> Place:
    """Where the browser is."""
    return place()


def _largest() -> int:
    return hub_here().settings.max_body_mb
