"""Settings → Rules, for admins: the list in its order, a form for each, and what a change would do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from channels import KINDS
from config.language import _
from config.retold import retold
from hub import rules as verbs
from hub.hub import Hub
from hub.rules import RuleRefused, Trial
from hub.web import hub_here
from inbox import ruleform
from inbox.answers import fragment
from inbox.desktold import begun
from inbox.ruleform import Box, Row
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer, wants_fragment
from routing.conditionwords import told_condition, told_op
from routing.fields import FIELDS, Field, Kind
from storage import Tx
from storage.access import SETTINGS, Conflict
from storage.contactdata import contact_fields
from storage.desk import Queue, Skill

VIEW = "settings"  # as the address says it, so that live updates of the navigation agree
LEVELS = range(1, 6)
NEW = {"name": "", "when": {}, "then": {}}


@dataclass
class Draft:
    """A rule as it is being typed. `errors` are by form field; `given` is what is there of it already."""

    rule_id: int | None
    version: int
    name: str
    enabled: bool
    box: Box
    yaml: str | None  # the condition as text, where it is typed so
    queue: str
    skills: dict[str, int]
    priority: str
    labels: str
    then: dict[str, Any]  # what else the rule decides: kept as it is
    errors: dict[str, str] = field(default_factory=dict)
    trial: Trial | None = None

    def document(self) -> dict[str, Any]:
        """The rule as desk.yaml has it. Raises RuleRefused where the text of the condition is none."""
        then = {
            name: value for name, value in self.then.items() if name not in ("queue", "skills", "labels", "priority")
        }
        if self.queue:
            then["queue"] = self.queue
        if self.skills:
            then["skills"] = self.skills
        if labels := [label.strip() for label in self.labels.split(",") if label.strip()]:
            then["labels"] = labels
        if self.priority.strip():
            then["priority"] = _whole(self.priority)
        try:
            when = self.box.tree() if self.yaml is None else ruleform.from_yaml(self.yaml)
        except ValueError as error:
            raise RuleRefused("when", str(error)) from None
        return {"name": self.name, "enabled": self.enabled, "when": when, "then": then}

    def refuse(self, refused: RuleRefused) -> None:
        """Put the sentence beside the field that it is about."""
        place, __, rest = refused.field.partition(".")
        if place == "when":
            path = "yaml" if self.yaml is not None else ruleform.box_path(rest)
            told = retold(refused.sentence)
            told = f"{rest}: {told}" if self.yaml is not None and rest else told
        else:
            path, told = (rest.partition(".")[0] if place == "then" and rest else place), retold(refused.sentence)
        known = path in ("yaml", "name", "queue", "skills", "labels", "priority") or path.startswith(ruleform.ROOT)
        self.errors[path if known else "form"] = begun(told)


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/settings/rules", "rules", view_func=listed)
    add("/inbox/settings/rules/new", "rule_new", view_func=new)
    add("/inbox/settings/rules/<int:number>", "rule", view_func=one)
    add("/inbox/settings/rules/form", "rule_form", view_func=form, methods=["POST"])
    add("/inbox/settings/rules/<int:number>/move", "rule_move", view_func=move, methods=["POST"])
    for verb in ("switch", "delete"):
        add(f"/inbox/settings/rules/<int:number>/{verb}", f"rule_{verb}", view_func=confirm, defaults={"verb": verb})
    add("/inbox/settings/rules/<int:number>/switch", "rule_switch_form", view_func=switch, methods=["POST"])
    add("/inbox/settings/rules/<int:number>/delete", "rule_delete_form", view_func=delete, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Every rule in its order, and what looks wrong."""
    hub, who = _admin()
    with hub.store.read() as tx:
        found = verbs.rules(tx, who.actor)
        parts = screen(hub, tx, who, Place(VIEW))
    odd: dict[str, list[str]] = {}
    for each in found.findings:
        odd.setdefault(each.what.removeprefix("rule "), []).append(begun(retold(each.sentence)))
    page = render_template(
        "inbox/rules.html", screen=parts, rules=found.rules, version=found.version, odd=odd, in_words=told_condition
    )
    return make_response(page)


def new() -> ResponseReturnValue:
    """An empty form."""
    hub, who = _admin()
    with hub.store.read() as tx:
        draft = _draft(verbs.rules(tx, who.actor).version, None, NEW)
        draft.box.parts.append(Row(f"{ruleform.ROOT}.1"))
        return _page(hub, tx, who, draft)


def one(number: int) -> ResponseReturnValue:
    """A rule in its form."""
    hub, who = _admin()
    with hub.store.read() as tx:
        rule = verbs.rule(tx, who.actor, number)
        return _page(hub, tx, who, _draft(verbs.rules(tx, who.actor).version, number, rule))


def form() -> ResponseReturnValue:
    """Whatever is done in the form: a row more or less, another way to type it, try it, keep it."""
    hub, who = _admin()
    done = request.form.get("do", "redraw")
    with hub.store.read() as tx:
        draft = _sent(tx, who)
    what, __, path = done.partition(":")
    if what == "save":
        try:
            _save(hub, who, draft)
        except (RuleRefused, Conflict) as refused:
            draft.refuse(refused if isinstance(refused, RuleRefused) else RuleRefused("form", str(refused)))
        else:
            return _to_list(_("“{name}” is kept and decides from now on.", name=draft.name.strip()) if draft.enabled
                            else _("“{name}” is kept, switched off.", name=draft.name.strip()))  # fmt: skip
    elif what == "try":
        _try(hub, who, draft)
    else:
        _edit(draft, what, path)
    with hub.store.read() as tx:
        return _page(hub, tx, who, draft)


def move(number: int) -> ResponseReturnValue:
    """One up or down."""
    hub, who = _admin()
    with hub.store.read() as tx:
        found = verbs.rules(tx, who.actor)
        ids = [int(rule["id"]) for rule in found.rules]
        at = ids.index(number) if number in ids else -1
        to = at + (1 if request.form.get("to") == "down" else -1)
        if at < 0 or not 0 <= to < len(ids):
            return _to_list(_("It is there already."))
        ids.insert(to, ids.pop(at))
        trial = verbs.try_order(tx, who.actor, ids)
    with hub.store.write() as tx:
        verbs.reorder_rules(tx, who.actor, _version(), ids)
    return _to_list(_("Moved. {changes}", changes=changes_told(trial)))


def confirm(number: int, verb: str) -> ResponseReturnValue:
    """What switching or deleting a rule would do, before it is done."""
    hub, who = _admin()
    with hub.store.read() as tx:
        rule = verbs.rule(tx, who.actor, number)
        trial = verbs.try_without(tx, who.actor, number)
        version = verbs.rules(tx, who.actor).version
        parts = screen(hub, tx, who, Place(VIEW))
    on = rule.get("enabled", True)
    page = render_template(
        "inbox/rule_confirm.html", screen=parts, rule=rule, verb=verb, on=on, trial=trial, version=version,
        changes_told=changes_told, in_words=told_condition,
    )  # fmt: skip
    return make_response(page)


def switch(number: int) -> ResponseReturnValue:
    """Off or on again."""
    hub, who = _admin()
    on = request.form.get("on") == "1"
    with hub.store.write() as tx:
        verbs.switch_rule(tx, who.actor, _version(), number, on)
    return _to_list(_("It decides again.") if on else _("It is switched off and decides nothing."))


def delete(number: int) -> ResponseReturnValue:
    """Gone."""
    hub, who = _admin()
    with hub.store.write() as tx:
        name = verbs.rule(tx, who.actor, number)["name"]
        verbs.delete_rule(tx, who.actor, _version(), number)
    return _to_list(_("“{name}” is deleted.", name=name))


def changes_told(trial: Trial) -> str:
    """What would be otherwise, in a sentence."""
    if not trial.tried:
        return _("Nothing has come in yet to try it on.")
    if not trial.changed:
        return _("Of the last {tried} conversations none would be placed otherwise.", tried=trial.tried)
    moves = [
        _("{count} from {was} to {now}", count=count, was=was, now=now) for (was, now), count in trial.moved.items()
    ]
    rest = trial.changed - sum(trial.moved.values())
    moves += [_("{rest} with other skills or priority", rest=rest)] if rest else []
    return _(
        "Of the last {tried} conversations {changed} would be placed otherwise: {moves}.",
        tried=trial.tried,
        changed=trial.changed,
        moves=", ".join(moves),
    )


def _admin() -> tuple[Hub, Viewer]:
    """Raises Forbidden for everybody else."""
    who = viewer()
    who.actor.must(SETTINGS)
    return hub_here(), who


def _save(hub: Hub, who: Viewer, draft: Draft) -> None:
    with hub.store.write() as tx:
        if draft.rule_id is None:
            verbs.add_rule(tx, who.actor, draft.version, draft.document())
        else:
            verbs.replace_rule(tx, who.actor, draft.version, draft.rule_id, draft.document())


def _try(hub: Hub, who: Viewer, draft: Draft) -> None:
    try:
        with hub.store.read() as tx:
            draft.trial = verbs.try_rule(tx, who.actor, draft.document(), replaces=draft.rule_id)
    except RuleRefused as refused:
        draft.refuse(refused)


def _edit(draft: Draft, what: str, path: str) -> None:
    box = draft.box
    target = ruleform.at(box, path) if path else None
    if what == "yaml":
        try:
            draft.yaml = ruleform.as_yaml(draft.document()["when"])
        except RuleRefused as refused:
            draft.refuse(refused)
    elif what == "boxes":
        _into_boxes(draft)
    elif what in ("row", "box") and isinstance(target, Box) and len(target.parts) < ruleform.MOST_PARTS:
        target.parts.append(Row("") if what == "row" else Box("", "any", [Row("")]))
    elif what == "drop" and path != ruleform.ROOT:
        ruleform.drop(box, path)
    ruleform.settle(draft.box)


def _into_boxes(draft: Draft) -> None:
    """From text to boxes, where the text is a condition that fits into them."""
    try:
        when = draft.document()["when"]
        verbs.checked({**NEW, "name": "x", "when": when})
    except RuleRefused as refused:
        draft.refuse(refused)
        return
    box = ruleform.box_of(when)
    if box is None:
        draft.errors["yaml"] = _(
            "It is nested deeper than {most_boxes} boxes: it stays as text.", most_boxes=ruleform.MOST_BOXES
        )
    else:
        draft.box, draft.yaml = box, None


def _draft(version: int, number: int | None, rule: dict[str, Any]) -> Draft:
    then, box = rule["then"], ruleform.box_of(rule["when"])
    return Draft(
        number, version, rule["name"], rule.get("enabled", True), box or Box(ruleform.ROOT),
        None if box else ruleform.as_yaml(rule["when"]), then.get("queue", ""), dict(then.get("skills", {})),
        str(then.get("priority", "")), ", ".join(then.get("labels", [])), then,
    )  # fmt: skip


def _sent(tx: Tx, who: Viewer) -> Draft:
    """The form as it was sent."""
    given = request.form
    number = given.get("rule", "")
    rule_id = int(number[:18]) if number.isdecimal() else None
    then = {} if rule_id is None else verbs.rule(tx, who.actor, rule_id)["then"]
    levels = {name.removeprefix("skill."): value for name, value in given.items() if name.startswith("skill.")}
    draft = Draft(
        rule_id, _version(), given.get("name", "")[:200], given.get("enabled") == "on", ruleform.read_box(given),
        given["yaml"][:100_000] if "yaml" in given else None, given.get("queue", ""),
        {name: int(level) for name, level in levels.items() if level.isdecimal() and len(level) < 3},
        given.get("priority", "")[:20], given.get("labels", "")[:2000], then,
    )  # fmt: skip
    ruleform.settle(draft.box)
    return draft


def _page(hub: Hub, tx: Tx, who: Viewer, draft: Draft) -> ResponseReturnValue:
    shown: dict[str, Any] = {
        "draft": draft,
        "queues": tx.exec(select(Queue.name).where(col(Queue.active)).order_by(col(Queue.id))).all(),
        "skills": tx.exec(select(Skill.name).order_by(col(Skill.name))).all(),
        "levels": LEVELS, "fields": [*FIELDS, *_own_fields(tx)], "told_op": told_op, "channels": sorted(KINDS),
        "changes_told": changes_told,
    }  # fmt: skip
    if wants_fragment():
        return fragment("inbox/_rule_form.html", **shown)
    page = render_template("inbox/rule.html", screen=screen(hub, tx, who, Place(VIEW)), **shown)
    return make_response(page, 422 if draft.errors else 200)


def _own_fields(tx: Tx) -> list[Field]:
    """What this desk knows of its contacts, to choose from."""
    return [
        Field(f"contact.{one.name}", Kind.ANY, _("{label}, a field of this desk", label=one.label))
        for one in contact_fields(tx)
    ]


def _to_list(told: str) -> ResponseReturnValue:
    flash(told)
    target = url_for("inbox.rules")
    if wants_fragment():
        response = make_response("", 204)
        response.headers["HX-Redirect"] = target
        return response
    return redirect(target, 303)


def _version() -> int:
    version = request.form.get("version", "")
    if not version.isdecimal() or len(version) > 15:
        raise Conflict(_("This page is too old: open the rules again."))
    return int(version)


def _whole(text: str) -> Any:
    """A number, or what was typed, so that the sentence about it can be shown."""
    try:
        return int(text.strip())
    except ValueError:
        return text
