"""Routing → Try a change, for supervisors and admins: play days with it, look, and only then apply it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from config.language import _, n_
from hub.desk import DeskError, export
from hub.experiments import Wanted
from hub.hub import Hub
from hub.laboratory import begin, cancel, experiment_for, experiments, wanted_of
from hub.preview import apply_seen, preview
from hub.web import hub_here
from hub.whatif import as_changed, desk_plan
from inbox import labform, labview
from inbox.answers import fragment
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer, wants_fragment
from storage import Tx
from storage.access import LAB, SETTINGS, Conflict
from storage.desk import active_channels, desk_version
from storage.experiments import PENDING, Experiment
from storage.people import Agent

VIEW = "lab"
NUMBERS = {"days": (1, 60), "runs": (2, 50), "hours": (1, 24), "per_hour": (1, 5000), "agents": (1, 5000)}
OPTIONAL = ("per_hour", "agents")


@dataclass
class Draft:
    """An experiment as it is being typed. `text` is the changed desk; with `as_text` it is typed itself."""

    text: str
    as_text: bool = False
    traffic: str = "synthetic"
    typed: dict[str, str] = field(default_factory=lambda: {"days": "7", "runs": "8", "hours": "8"})
    curve: str = "flat"
    peers: bool = True
    recommend: bool = False
    equivalents: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    def wanted(self) -> Wanted | None:
        """What to play; None when something typed is no number, which then stands in `errors`."""
        numbers = {name: self._number(name) for name in NUMBERS}
        if self.errors:
            return None
        return Wanted(
            numbers["days"] if self.traffic == "past" else 0, numbers["runs"], numbers["hours"], numbers["per_hour"],
            self.curve, "", numbers["agents"], self.peers, self.recommend, self.equivalents,
        )  # fmt: skip

    def _number(self, name: str) -> int:
        low, high = NUMBERS[name]
        typed = self.typed.get(name, "").strip()
        if not typed and name in OPTIONAL:
            return 0
        if not typed.isdecimal() or len(typed) > 6 or not low <= int(typed) <= high:
            self.errors[name] = _("Must be a whole number from {low} to {high}", low=low, high=high)
            return low
        return int(typed)


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/lab", "lab", view_func=front)
    add("/inbox/lab/form", "lab_form", view_func=form, methods=["POST"])
    add("/inbox/lab/<int:number>", "lab_experiment", view_func=one)
    add("/inbox/lab/<int:number>/state", "lab_state", view_func=state)
    add("/inbox/lab/<int:number>/cancel", "lab_cancel", view_func=stop, methods=["POST"])
    add("/inbox/lab/<int:number>/apply", "lab_apply", view_func=confirm)
    add("/inbox/lab/<int:number>/apply", "lab_apply_form", view_func=apply_it, methods=["POST"])


def front() -> ResponseReturnValue:
    """A new experiment, on the desk as it is or as an earlier one changed it (`from`), and those there were."""
    hub, who = _overseer()
    with hub.store.read() as tx:
        now = labform.written(labform.routing_of(export(tx)))
        draft = Draft(now)
        number = request.args.get("from", "")
        if number.isdecimal() and len(number) < 19:
            draft = _again(tx, who, int(number), now, request.args.get("use", ""))
        return _page(hub, tx, who, draft)


def form() -> ResponseReturnValue:
    """Whatever is done in the form: other knobs, the text instead, or begin."""
    hub, who = _overseer()
    done = request.form.get("do", "redraw")
    draft = _sent()
    with hub.store.read() as tx:
        now = labform.routing_of(export(tx))
        kinds = _kinds(tx)
    _turn(draft, kinds)
    if not draft.errors and done in ("text", "knobs"):
        draft.as_text = done == "text"
    elif done == "today":
        draft.text, draft.errors = labform.written(now), {}
    elif done == "start" and (number := _start(hub, who, draft, now)):
        return _to(url_for("inbox.lab_experiment", number=number))
    with hub.store.read() as tx:
        return _page(hub, tx, who, draft)


def one(number: int) -> ResponseReturnValue:
    """How far it is, or what came of it."""
    hub, who = _overseer()
    with hub.store.read() as tx:
        row = experiment_for(tx, who.actor, number)
        parts = screen(hub, tx, who, Place(VIEW))
        shown = _shown(tx, row)
    return make_response(render_template("inbox/lab_experiment.html", screen=parts, now=parts.now, **shown))


def state(number: int) -> ResponseReturnValue:
    """The progress bar; when it has ended, the page is loaded anew."""
    hub, who = _overseer()
    with hub.store.read() as tx:
        row = experiment_for(tx, who.actor, number)
    if row.state not in PENDING:
        return _to(url_for("inbox.lab_experiment", number=number))
    return fragment("inbox/_lab_state.html", row=row)


def stop(number: int) -> ResponseReturnValue:
    """Play it no further."""
    hub, who = _overseer()
    with hub.store.write() as tx:
        cancel(tx, who.actor, number)
    return _to(url_for("inbox.lab_experiment", number=number))


def confirm(number: int) -> ResponseReturnValue:
    """The differences between its desk and the one in force, before they are applied."""
    hub, who = _overseer()
    who.actor.must(SETTINGS)
    with hub.store.read() as tx:
        row = _changed(experiment_for(tx, who.actor, number))
    try:
        seen = preview(hub.store, labform.parsed(row.text), private=hub.settings.webhook_allow_private)
    except DeskError as refused:
        raise Conflict(_("It can't be applied any more: {refused}", refused=refused)) from None
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, Place(VIEW))
        now = labform.written(labform.routing_of(export(tx)))
    differing = labview.lines(now, labform.written(labform.parsed(row.text)))
    page = render_template(
        "inbox/lab_apply.html", lines=differing, screen=parts, row=row, seen=seen, moved_on=seen.version != row.desk,
        agents=wanted_of(row).agents,
    )  # fmt: skip
    return make_response(page)


def apply_it(number: int) -> ResponseReturnValue:
    """Make the desk what the experiment tried, as `app.py apply` does."""
    hub, who = _overseer()
    who.actor.must(SETTINGS)
    version = request.form.get("version", "")
    if not version.isdecimal() or len(version) > 15:
        raise Conflict(_("This page is too old: look at the differences again."))
    try:
        with hub.store.write() as tx:
            row = _changed(experiment_for(tx, who.actor, number))
            document = labform.parsed(row.text)
            done = apply_seen(tx, who.actor, document, int(version), private=hub.settings.webhook_allow_private)
    except DeskError as refused:
        raise Conflict(_("Nothing was changed: {refused}", refused=refused)) from None
    hub.look_again()
    flash(
        n_(
            "Applied {count} change: the desk works so from now on.",
            "Applied {count} changes: the desk works so from now on.",
            len(done),
        )
    )
    return _to(url_for("inbox.lab"))


def _overseer() -> tuple[Hub, Viewer]:
    """Raises Forbidden for those who don't see everything."""
    who = viewer()
    who.actor.must(LAB)
    return hub_here(), who


def _changed(row: Experiment) -> Experiment:
    if not row.text:
        raise Conflict(_("This experiment changed nothing that could be applied."))
    return row


def _again(tx: Tx, who: Viewer, number: int, now: str, use: str) -> Draft:
    """An earlier experiment's form, with what it recommended where that is to be used."""
    row = experiment_for(tx, who.actor, number)
    wanted = wanted_of(row)
    text, advice = row.text or now, row.result.get("advice") or {}
    if use in ("release", "lesson") and (advised := advice.get(use)):
        document = labform.parsed(text)
        if use == "release":
            document = labform.with_release(document, advised)
        else:
            pupils = tx.exec(select(Agent.email).where(col(Agent.id).in_(advised["agents"])))
            document = labform.with_lesson(document, advised, pupils)
        text = labform.written(document)
    typed = {"days": str(wanted.days or 7), "runs": str(wanted.runs), "hours": f"{wanted.hours:g}"}
    typed |= {name: f"{value:g}" for name, value in (("per_hour", wanted.per_hour), ("agents", wanted.agents)) if value}
    return Draft(
        text, False, "past" if wanted.days else "synthetic", typed, wanted.curve, wanted.peers, wanted.recommend,
        wanted.equivalents,
    )  # fmt: skip


def _sent() -> Draft:
    """The form as it was sent."""
    given = request.form
    return Draft(
        given.get("text", ""), given.get("as_text") == "1", "past" if given.get("traffic") == "past" else "synthetic",
        {name: given.get(name, "")[:20] for name in NUMBERS}, "bank" if given.get("curve") == "bank" else "flat",
        given.get("peers") == "on", given.get("recommend") == "on", given.get("equivalents") == "on",
    )  # fmt: skip


def _turn(draft: Draft, kinds: list[str]) -> None:
    """Write the knobs into the text, where they are what was typed."""
    try:
        document = labform.parsed(draft.text)
        if not draft.as_text:
            draft.text = labform.written(labform.turned(document, request.form, kinds))
            labform.parsed(draft.text)
    except DeskError as refused:
        draft.errors["text" if draft.as_text else "form"] = _sentence(str(refused))


def _start(hub: Hub, who: Viewer, draft: Draft, now: Mapping[str, Any]) -> int:
    """Put it in line; 0 when something has to be mended first."""
    wanted = draft.wanted()
    if wanted is None or draft.errors:
        return 0
    document = labform.parsed(draft.text)
    text = "" if document == now else draft.text
    try:
        if text:
            as_changed(hub.store, document, desk_plan, private=hub.settings.webhook_allow_private)
        with hub.store.write() as tx:
            return begin(tx, who.actor, wanted, text)
    except (DeskError, Conflict) as refused:
        draft.errors["form"] = _sentence(str(refused))
        return 0


def _page(hub: Hub, tx: Tx, who: Viewer, draft: Draft) -> ResponseReturnValue:
    kinds = _kinds(tx)
    try:
        document = labform.parsed(draft.text)
    except DeskError:
        document = {}
    shown: dict[str, Any] = {
        "draft": draft, "queues": labform.queues_of(document), "teams": labform.teams_of(document, kinds),
        "orders": labform.WORK, "agent_orders": labform.AGENT,
        "crew": tx.sql("SELECT count(*) FROM agent WHERE active AND capacity > 0").fetchone()[0],
        "recorded": tx.sql("SELECT count(*) FROM work_item").fetchone()[0],
        "is_changed": document != labform.routing_of(export(tx)),
    }  # fmt: skip
    if wants_fragment():
        return fragment("inbox/_lab_form.html", **shown)
    parts = screen(hub, tx, who, Place(VIEW))
    rows = experiments(tx, who.actor, 30)
    page = render_template(
        "inbox/lab.html", screen=parts, rows=[(row, wanted_of(row)) for row in rows], names=_names(tx, rows),
        now=parts.now, view=labview, **shown,
    )  # fmt: skip
    return make_response(page, 422 if draft.errors else 200)


def _shown(tx: Tx, row: Experiment) -> dict[str, Any]:
    values: dict[str, Any] = {"row": row, "wanted": wanted_of(row), "names": _names(tx, [row])}
    if row.state != "done":
        return values
    result = row.result
    return values | {
        "result": result, "headline": labview.headline(result), "cards": labview.cards(result),
        "bars": labview.bars(result), "waits": labview.waits(result), "ticks": labview.ticks(),
        "busy": labview.busy(result), "view": labview, "moved_on": desk_version(tx) != row.desk,
    }  # fmt: skip


def _names(tx: Tx, rows: list[Experiment]) -> dict[int | None, str]:
    numbers = {row.agent_id for row in rows if row.agent_id is not None}
    return {agent.id: agent.name for agent in tx.exec(select(Agent).where(col(Agent.id).in_(numbers)))}


def _kinds(tx: Tx) -> list[str]:
    return sorted({account.kind for account in active_channels(tx)})


def _sentence(told: str) -> str:
    return told[:1].upper() + told[1:]


def _to(target: str) -> ResponseReturnValue:
    if wants_fragment():
        response = make_response("", 204)
        response.headers["HX-Redirect"] = target
        return response
    return redirect(target, 303)
