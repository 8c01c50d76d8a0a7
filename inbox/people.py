"""People and access, for admins: who works here, what each may do, and what was done about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from config.language import N_, _, words
from hub import secondstep, staff
from hub.agentmail import mail_account
from hub.audit import TOPICS, AuditFilter, audit, names_of_actors
from hub.hub import Hub
from hub.refusals import FieldRefused
from hub.signin import sign_ins_of
from hub.staff import LEVELS, Person
from hub.web import hub_here
from inbox.auditwords import ICONS, TOPIC_WORDS, told
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer
from storage import Tx
from storage.access import AUDIT, PEOPLE, Actor, known_roles
from storage.conversations import Conversation
from storage.desk import Queue, RoutingProfile, Skill
from storage.doors import has_second_step, second_step_required
from storage.people import Agent

VIEW = "people"  # as the address says it, so that live updates of the navigation agree
PAGE = 50
ABOUT_ROLES = words(
    {
        "agent": "Answers what is in their queues",
        "supervisor": "Sees everything, steps in, watches the floor",
        "admin": "Everything, with settings and people",
    }
)
OWN_ROLE = N_("As this desk has made it")


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/people", "people_list", view_func=listed)
    add("/inbox/people/new", "person_new", view_func=new)
    add("/inbox/people/new", "person_add", view_func=add_person, methods=["POST"])
    add("/inbox/people/<int:number>", "person", view_func=one)
    add("/inbox/people/<int:number>", "person_save", view_func=save, methods=["POST"])
    add("/inbox/people/<int:number>/switch", "person_switch", view_func=switch, methods=["POST"])
    add("/inbox/people/<int:number>/invite", "person_invite", view_func=invite, methods=["POST"])
    add("/inbox/people/<int:number>/sign-out", "person_sign_out", view_func=sign_out, methods=["POST"])
    add("/inbox/people/<int:number>/reset-step", "person_reset_step", view_func=reset_step, methods=["POST"])
    add("/inbox/people/second-step", "people_second_step", view_func=require_step, methods=["POST"])
    add("/inbox/people/audit", "audit", view_func=audit_log)


def listed() -> ResponseReturnValue:
    """Everybody, with what an admin wants to know at a glance."""
    hub, who = _admin()
    with hub.store.read() as tx:
        found = staff.people(tx, who.actor)
        parts = screen(hub, tx, who, Place(VIEW))
        required = second_step_required(tx)
    return make_response(render_template("inbox/people.html", screen=parts, people=found, required=required))


def new() -> ResponseReturnValue:
    """An empty form."""
    hub, who = _admin()
    with hub.store.read() as tx:
        return _page(hub, tx, who, None, Person())


def add_person() -> ResponseReturnValue:
    """Make the account and send the invitation."""
    hub, who = _admin()
    typed = _typed()
    try:
        with hub.store.write() as tx:
            agent, link = staff.add_person(hub, tx, who.actor, typed)
    except FieldRefused as refused:
        with hub.store.read() as tx:
            return _page(hub, tx, who, None, typed, refused)
    return _invited(agent, link)


def one(number: int) -> ResponseReturnValue:
    """Somebody's form, and what can be done about their account."""
    hub, who = _admin()
    with hub.store.read() as tx:
        agent, form = staff.person(tx, who.actor, number)
        return _page(hub, tx, who, agent, form)


def save(number: int) -> ResponseReturnValue:
    """Keep what was changed."""
    hub, who = _admin()
    typed = _typed()
    try:
        with hub.store.write() as tx:
            what = staff.change_person(tx, who.actor, number, typed)
    except FieldRefused as refused:
        with hub.store.read() as tx:
            agent, __ = staff.person(tx, who.actor, number)
            return _page(hub, tx, who, agent, typed, refused)
    flash(_("{name} is kept.", name=typed.name.strip()) if what else _("Nothing was changed."))
    return redirect(url_for("inbox.people_list"), 303)


def switch(number: int) -> ResponseReturnValue:
    """Off or on again."""
    on = request.form.get("on") == "1"
    told = (
        _("The account is on again.") if on else _("The account is switched off; its open work is back in its queues.")
    )
    return _done(number, lambda tx, actor: staff.switch_person(tx, actor, number, on), told)


def invite(number: int) -> ResponseReturnValue:
    """Another link for the first password."""
    hub, who = _admin()
    with hub.store.write() as tx:
        link = staff.invite_again(hub, tx, who.actor, number)
        agent = tx.get_one(Agent, number)
    return _invited(agent, link)


def sign_out(number: int) -> ResponseReturnValue:
    """Out of every browser."""
    return _done(
        number, lambda tx, actor: staff.sign_out_person(tx, actor, number), _("They are signed out everywhere.")
    )


def reset_step(number: int) -> ResponseReturnValue:
    """Away with the second step of who has lost it."""
    told = _("Their second step is gone: tell them to set it up anew in their account.")
    return _done(number, lambda tx, actor: secondstep.reset(tx, actor, number), told)


def require_step() -> ResponseReturnValue:
    """Ask it of everybody, or no longer."""
    hub, who = _admin()
    wanted = request.form.get("wanted") == "1"
    with hub.store.write() as tx:
        secondstep.require_of_all(tx, who.actor, wanted)
    flash(_("Everybody sets up a second step the next time they are here.") if wanted
          else _("The second step is everybody's own choice again."))  # fmt: skip
    return redirect(url_for("inbox.people_list"), 303)


def audit_log() -> ResponseReturnValue:
    """Who did what, newest first, as far as the filter lets through; with `before` what is older."""
    hub, who = hub_here(), viewer()
    who.actor.must(AUDIT)
    wanted, given = _asked(who)
    before = request.args.get("before", "")
    at = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    with hub.store.read() as tx:
        rows = audit(tx, who.actor, wanted, before=at, limit=PAGE + 1)
        names = names_of_actors(tx)
        queues = {number or 0: name for number, name in tx.exec(select(Queue.id, Queue.name))}
        agents = tx.exec(select(Agent).order_by(col(Agent.name))).all()
        parts = screen(hub, tx, who, Place(VIEW))
    shown = [(row, names.get(row.data.get("by", ""), row.data.get("by", "")), told(row.name, row.data, names, queues),
              ICONS.get(row.name, "pen")) for row in rows[:PAGE]]  # fmt: skip
    more = rows[PAGE - 1].id if len(rows) > PAGE else None
    page = render_template(
        "inbox/audit.html", screen=parts, rows=shown, more=more, given=given, agents=agents, topics=TOPIC_WORDS
    )
    return make_response(page)


def _admin() -> tuple[Hub, Viewer]:
    """Raises Forbidden for everybody else."""
    who = viewer()
    who.actor.must(PEOPLE)
    return hub_here(), who


def _done(number: int, verb: Callable[[Tx, Actor], object], told: str) -> ResponseReturnValue:
    hub, who = _admin()
    with hub.store.write() as tx:
        verb(tx, who.actor)
    flash(told)
    return redirect(url_for("inbox.person", number=number), 303)


def _invited(agent: Agent, link: str) -> ResponseReturnValue:
    """Sent; or, where this desk sends no mail, the link to hand over, which is shown this once."""
    if not link:
        flash(_("{name} is invited: a mail with a link is on its way to {email}.", name=agent.name, email=agent.email))
        return redirect(url_for("inbox.people_list"), 303)
    hub, who = _admin()
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/person_link.html", screen=parts, agent=agent, link=link))


def _typed() -> Person:
    given = request.form
    levels = {name.removeprefix("skill."): value for name, value in given.items() if name.startswith("skill.")}
    return Person(
        given.get("name", "")[:200], given.get("email", "")[:400], given.get("role", "")[:64],
        given.get("capacity", "")[:20], set(given.getlist("queue")[:500]),
        {name: int(level) for name, level in levels.items() if level in [str(each) for each in LEVELS]},
        given.get("profile", "")[:64],
    )  # fmt: skip


def _page(
    hub: Hub, tx: Tx, who: Viewer, agent: Agent | None, typed: Person, refused: FieldRefused | None = None
) -> ResponseReturnValue:
    number = agent.id or 0 if agent else 0
    owned = select(Conversation.id).where(Conversation.assignee_id == number, Conversation.state != "resolved")
    shown: dict[str, Any] = {
        "screen": screen(hub, tx, who, Place(VIEW)),
        "agent": agent, "typed": typed, "roles": {role: ABOUT_ROLES.get(role, _(OWN_ROLE)) for role in known_roles(tx)},
        "errors": {refused.field: refused.sentence} if refused else {},
        "queues": tx.exec(select(Queue.name).where(col(Queue.active)).order_by(col(Queue.id))).all(),
        "profiles": tx.exec(
            select(RoutingProfile.name).where(col(RoutingProfile.active)).order_by(col(RoutingProfile.name))
        ).all(),
        "skills": tx.exec(select(Skill.name).order_by(col(Skill.name))).all(),
        "levels": LEVELS,
        "mails": mail_account(hub) is not None,
        "owned": len(tx.exec(owned).all()) if agent else 0,
        "sign_ins": sign_ins_of(tx, number) if agent else [],
        "has_step": agent is not None and has_second_step(tx, number),
    }  # fmt: skip
    return make_response(render_template("inbox/person.html", **shown), 422 if refused else 200)


def _asked(who: Viewer) -> tuple[AuditFilter, dict[str, str]]:
    """The filter of the request, and what of it goes into links. What makes no sense does not narrow."""
    typed = {name: request.args.get(name, "")[:40].strip() for name in ("about", "topic", "since", "until")}
    wanted = AuditFilter(
        about=int(typed["about"]) if typed["about"].isascii() and typed["about"].isdigit() and len(typed["about"]) < 16
        else None,
        topic=typed["topic"] if typed["topic"] in TOPICS else "",
        since=_day(typed["since"], who), until=_day(typed["until"], who, 1),
    )  # fmt: skip
    return wanted, {name: value for name, value in typed.items() if value}


def _day(typed: str, who: Viewer, later: int = 0) -> datetime | None:
    """Where a day begins for whom is looking, or one so many days later."""
    try:
        day = date.fromisoformat(typed) + timedelta(days=later)
        return datetime.combine(day, time(), who.zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
