"""One's own account: password, second step, and where one is signed in."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from config.language import LANGUAGES, N_, _, n_
from hub import secondstep
from hub.people import check_password, set_password
from hub.signin import BY_PASSWORD, end_sign_in, sign_ins_of
from hub.throttle import SignInRefused, tried
from hub.web import hub_here
from inbox.door import going_to, open_sign_in
from inbox.screen import Place, screen
from inbox.session import keep_cookie, viewer
from storage.doors import has_second_step, second_step_required
from storage.people import Agent, end_sign_ins

VIEW = "account"
NOT_YOURS = N_("This is not your password. Type the one that you sign in with now.")
BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("Chrome", "Chrome"),
            ("CriOS", "Chrome"), ("Safari", "Safari"), ("curl", "curl"), ("python", "Python"))  # fmt: skip
SYSTEMS = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
           ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    blueprint.add_app_template_filter(device)
    add("/inbox/account", "account", view_func=page)
    add("/inbox/account/password", "own_password", view_func=change_password, methods=["POST"])
    add("/inbox/account/language", "own_language", view_func=choose_language, methods=["POST"])
    add("/inbox/account/sign-ins/<int:number>/end", "own_sign_in_end", view_func=end_one, methods=["POST"])
    add("/inbox/account/sign-ins/end", "own_sign_ins_end", view_func=end_others, methods=["POST"])
    add("/inbox/account/second-step", "own_step", view_func=step)
    add("/inbox/account/second-step", "own_step_begin", view_func=begin_step, methods=["POST"])
    add("/inbox/account/second-step/confirm", "own_step_confirm", view_func=confirm_step, methods=["POST"])
    add("/inbox/account/second-step/codes", "own_step_codes", view_func=new_codes, methods=["POST"])
    add("/inbox/account/second-step/off", "own_step_off", view_func=switch_step_off, methods=["POST"])


def device(user_agent: str) -> str:
    """What a person calls the browser behind a User-Agent: Firefox on Windows."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), _("A browser"))
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return _("{browser} on {system}", browser=browser, system=system) if system else browser


def page() -> ResponseReturnValue:
    """All of it."""
    return _page()


def change_password() -> ResponseReturnValue:
    """A new password; every other browser has to sign in again, this one goes on."""
    hub, who = hub_here(), viewer()
    new = request.form.get("new", "")
    errors = _not_proved("current")
    if not errors:
        try:
            with hub.store.write() as tx:
                agent = tx.get_one(Agent, who.id)
                set_password(tx, agent, new, who.actor.by)
        except ValueError as error:
            errors = {"new": f"{str(error)[0].upper()}{str(error)[1:]}."}
    if errors:
        return _page(errors, 422)
    flash(_("Your password is changed. Every other browser is signed out."))
    response = redirect(url_for("inbox.account"), 303)
    keep_cookie(response, open_sign_in(agent, BY_PASSWORD))
    return response


def choose_language() -> ResponseReturnValue:
    """What one reads here; no choice leaves it to the browser."""
    hub, who = hub_here(), viewer()
    chosen = request.form.get("language", "")
    with hub.store.write() as tx:
        agent = tx.get_one(Agent, who.id)
        agent.preferences = {**agent.preferences, "language": chosen if chosen in LANGUAGES else ""}
        tx.add(agent)
    return redirect(url_for("inbox.account"), 303)


def end_one(number: int) -> ResponseReturnValue:
    """Sign one browser out; it may be this one."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        end_sign_in(tx, who.id, number, who.actor.by)
    flash(_("That browser is signed out."))
    return redirect(url_for("inbox.account", _anchor="sign-ins"), 303)


def end_others() -> ResponseReturnValue:
    """Sign every other browser out."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        ended = end_sign_ins(tx, who.id, "revoked", who.actor.by, but=who.sign_in_id)
    flash(
        n_("{count} other browser is signed out.", "{count} other browsers are signed out.", ended)
        if ended
        else _("No other browser was signed in.")
    )
    return redirect(url_for("inbox.account", _anchor="sign-ins"), 303)


def step() -> ResponseReturnValue:
    """Setting up the second step, or what there is of it."""
    return _step_page()


def begin_step() -> ResponseReturnValue:
    """Make the secret for the authenticator."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        secondstep.begin(tx, hub.envelope, tx.get_one(Agent, who.id))
    return redirect(url_for("inbox.own_step", next=going_to()), 303)


def confirm_step() -> ResponseReturnValue:
    """The first code; the recovery codes are shown with the answer and never again."""
    hub, who = hub_here(), viewer()
    try:
        codes = secondstep.confirm(hub.store, hub.envelope, who.agent, request.form.get("code", "")[:100])
    except SignInRefused as refused:
        return _step_page({"code": str(refused)}, status=429 if refused.wait else 422)
    with hub.store.write() as tx:
        end_sign_ins(tx, who.id, "revoked", who.actor.by, but=who.sign_in_id)
    return _step_page(codes=codes)


def new_codes() -> ResponseReturnValue:
    """Other recovery codes, for who has used them up or lost them."""
    hub, who = hub_here(), viewer()
    if errors := _not_proved("codes_password"):
        return _step_page(errors, status=422)
    with hub.store.write() as tx:
        codes = secondstep.renew_codes(tx, who.agent)
    return _step_page(codes=codes)


def switch_step_off() -> ResponseReturnValue:
    """No code is asked for any more."""
    hub, who = hub_here(), viewer()
    if errors := _not_proved("off_password"):
        return _step_page(errors, status=422)
    with hub.store.write() as tx:
        secondstep.switch_off(tx, who.agent)
    flash(_("Signing in asks for your password alone again."))
    return redirect(url_for("inbox.account"), 303)


def _not_proved(field: str) -> dict[str, str]:
    """What is wrong with the password that has to be typed again: whoever sits at a browser left open can't know it."""
    who, typed = viewer(), request.form.get(field, "")
    try:
        right = tried(
            hub_here().store, lambda: check_password(who.agent, typed), "password", who.id, email=who.agent.email
        )
    except SignInRefused as refused:
        return {field: str(refused)}
    return {} if right else {field: _(NOT_YOURS)}


def _page(errors: dict[str, str] | None = None, status: int = 200) -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        shown: dict[str, Any] = {
            "screen": screen(hub, tx, who, Place(VIEW)),
            "sign_ins": sign_ins_of(tx, who.id),
            "has_step": has_second_step(tx, who.id),
            "codes_left": secondstep.codes_left(tx, who.id),
        }
    return make_response(render_template("inbox/account.html", errors=errors or {}, **shown), status)


def _step_page(
    errors: dict[str, str] | None = None, *, codes: list[str] | None = None, status: int = 200
) -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        pending = secondstep.pending(tx, hub.envelope, who.agent)
        shown: dict[str, Any] = {
            "screen": screen(hub, tx, who, Place(VIEW)),
            "pending": pending,
            "has_step": has_second_step(tx, who.id),
            "codes_left": secondstep.codes_left(tx, who.id),
            "required": second_step_required(tx),
        }
    picture = _picture(pending.uri) if pending else ""
    grouped = " ".join(re.findall(".{1,4}", pending.secret)) if pending else ""
    page = render_template(
        "inbox/own_step.html", errors=errors or {}, codes=codes, picture=picture, grouped=grouped, next=going_to(),
        **shown,
    )  # fmt: skip
    return make_response(page, status)


def _picture(uri: str) -> Markup:
    """A QR code as SVG, drawn here: the secret in it goes to nobody else."""
    import segno  # here, because an agent needs it once

    made = segno.make(uri, error="m", micro=False)
    return Markup(made.svg_inline(omitsize=True, border=3, svgclass="qr", lineclass=None, title="QR code"))
