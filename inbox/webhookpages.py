"""Settings → Webhooks: who is told what happens, a secret that is shown once, and the log of what was handed over."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from config.language import _
from hub import endpoints as verbs
from hub.endpoints import EndpointRefused
from hub.feed import TYPES
from hub.hub import Hub
from hub.web import hub_here
from inbox.answers import fragment
from inbox.desksheet import VIEW
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer
from storage import Tx
from storage.access import WEBHOOKS
from storage.deliveries import Delivery, WebhookEndpoint

PAGE = 50
UNDER_WAY = ("queued", "sending")


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    base = "/inbox/settings/webhooks"
    add(base, "webhooks", view_func=listed)
    add(f"{base}/new", "webhook_new", view_func=new)
    add(f"{base}/new", "webhook_add", view_func=make, methods=["POST"])
    add(f"{base}/<int:number>", "webhook", view_func=one)
    add(f"{base}/<int:number>", "webhook_save", view_func=save, methods=["POST"])
    add(f"{base}/<int:number>/log", "webhook_log", view_func=log)
    add(f"{base}/<int:number>/test", "webhook_test", view_func=test, methods=["POST"])
    add(f"{base}/<int:number>/switch", "webhook_switch", view_func=switch, methods=["POST"])
    add(f"{base}/<int:number>/secret", "webhook_secret", view_func=renew, methods=["POST"])
    add(f"{base}/<int:number>/remove", "webhook_remove", view_func=confirm)
    add(f"{base}/<int:number>/remove", "webhook_remove_form", view_func=remove, methods=["POST"])
    add(f"{base}/deliveries/<int:number>/replay", "webhook_replay", view_func=replay, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Everybody who is told, and whether they take it."""
    hub, who = _may()
    with hub.store.read() as tx:
        rows = verbs.endpoints(tx, who.actor)
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/webhooks.html", screen=parts, rows=rows))


def new() -> ResponseReturnValue:
    """An empty form."""
    hub, who = _may()
    with hub.store.read() as tx:
        return _page(hub, tx, who, None, {"name": "", "url": "", "events": []})


def make() -> ResponseReturnValue:
    """Make one; its secret comes with the answer and never again."""
    hub, who = _may()
    typed = _typed()
    try:
        with hub.store.write() as tx:
            row = verbs.add_endpoint(tx, who.actor, **typed, private=hub.settings.webhook_allow_private)
            secret = row.secret
    except EndpointRefused as refused:
        with hub.store.read() as tx:
            return _page(hub, tx, who, None, typed, refused)
    with hub.store.read() as tx:
        return _page(hub, tx, who, row, _said(row), secret=secret)


def one(number: int) -> ResponseReturnValue:
    """One with its form and its log."""
    hub, who = _may()
    with hub.store.read() as tx:
        row = verbs.endpoint(tx, who.actor, number)
        return _page(hub, tx, who, row, _said(row))


def save(number: int) -> ResponseReturnValue:
    """Another address, other events."""
    hub, who = _may()
    typed = _typed()
    try:
        with hub.store.write() as tx:
            what = verbs.change_endpoint(
                tx, who.actor, number, url=typed["url"], events=typed["events"],
                private=hub.settings.webhook_allow_private,
            )  # fmt: skip
    except EndpointRefused as refused:
        with hub.store.read() as tx:
            return _page(hub, tx, who, verbs.endpoint(tx, who.actor, number), typed, refused)
    return _back(number, _("It is kept, and counts from now on.") if what else _("Nothing was changed."))


def log(number: int) -> ResponseReturnValue:
    """What was handed over, newest first; while something is under way, the page asks for it again."""
    hub, who = _may()
    with hub.store.read() as tx:
        return fragment("inbox/_webhook_log.html", **_log(tx, who, number), who=who)


def test(number: int) -> ResponseReturnValue:
    """An event that happened nowhere."""
    hub, who = _may()
    with hub.store.write() as tx:
        verbs.send_test(tx, who.actor, number)
    return _back(number, _("A test event is on its way: the log below says how it goes."))


def switch(number: int) -> ResponseReturnValue:
    """Off or on again."""
    hub, who = _may()
    on = request.form.get("on") == "1"
    with hub.store.write() as tx:
        verbs.switch_endpoint(tx, who.actor, number, on)
    return _back(number, _("It is told again what happens.") if on else _("It is told nothing any more."))


def renew(number: int) -> ResponseReturnValue:
    """Another secret, shown with the answer and never again."""
    hub, who = _may()
    with hub.store.write() as tx:
        secret = verbs.renew_secret(tx, who.actor, number)
    with hub.store.read() as tx:
        row = verbs.endpoint(tx, who.actor, number)
        return _page(hub, tx, who, row, _said(row), secret=secret)


def confirm(number: int) -> ResponseReturnValue:
    """Ask first."""
    hub, who = _may()
    with hub.store.read() as tx:
        row = verbs.endpoint(tx, who.actor, number)
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/webhook_remove.html", screen=parts, row=row))


def remove(number: int) -> ResponseReturnValue:
    """Gone, with its log."""
    hub, who = _may()
    with hub.store.write() as tx:
        name = verbs.endpoint(tx, who.actor, number).name
        verbs.remove_endpoint(tx, who.actor, number)
    flash(_("{name} is gone.", name=name))
    return redirect(url_for("inbox.webhooks"), 303)


def replay(number: int) -> ResponseReturnValue:
    """Hand one event over again, under its own id."""
    hub, who = _may()
    with hub.store.write() as tx:
        delivery = verbs.replay(tx, who.actor, number)
        endpoint = int(delivery.target.partition(":")[2])
    return _back(endpoint, _("Event {number} is handed over again.", number=number))


def _may() -> tuple[Hub, Viewer]:
    """Raises Forbidden for everybody who may not decide on webhooks."""
    who = viewer()
    who.actor.must(WEBHOOKS)
    return hub_here(), who


def _typed() -> dict[str, Any]:
    given = request.form
    return {
        "name": given.get("name", "")[:200], "url": given.get("url", "").strip()[:2000],
        "events": given.getlist("event")[:500],
    }  # fmt: skip


def _said(row: WebhookEndpoint) -> dict[str, Any]:
    return {"name": row.name, "url": row.url, "events": row.events}


def _log(tx: Tx, who: Viewer, number: int) -> dict[str, Any]:
    before = request.args.get("before", "")
    at = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    rows: list[Delivery] = verbs.deliveries_of(tx, who.actor, number, before=at, limit=PAGE + 1)
    return {
        "number": number, "deliveries": rows[:PAGE], "more": rows[PAGE - 1].id if len(rows) > PAGE else None,
        "before": at, "moving": at is None and any(each.state in UNDER_WAY for each in rows),
    }  # fmt: skip


def _page(
    hub: Hub, tx: Tx, who: Viewer, row: WebhookEndpoint | None, typed: dict[str, Any],
    refused: EndpointRefused | None = None, *, secret: str = "",
) -> ResponseReturnValue:  # fmt: skip
    shown: dict[str, Any] = {
        "screen": screen(hub, tx, who, Place(VIEW)), "row": row, "typed": typed, "secret": secret,
        "types": sorted(TYPES),
        "errors": {refused.field: refused.sentence} if refused else {},
    }  # fmt: skip
    shown |= _log(tx, who, row.id or 0) if row else {}
    return make_response(render_template("inbox/webhook.html", **shown), 422 if refused else 200)


def _back(number: int, told: str) -> ResponseReturnValue:
    flash(told)
    return redirect(url_for("inbox.webhook", number=number), 303)
