"""One entry of the desk at a time, as Settings edits it: its section as desk.yaml has it, with this entry changed.

It is checked and applied by what applies a whole file, so that a page takes nothing that the file would refuse, and
what a page has changed is in the next export.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import yaml
from sqlmodel import col, select

from channels.text import storable
from config.language import N_, _
from config.retold import retold, stored
from hub.desk import Change, DeskError, apply, sections
from hub.deskchange import SAID, thing
from hub.preview import CHANGED, looked_at
from hub.refusals import FieldRefused
from hub.rulecheck import Finding, look_over
from storage import Store, Tx
from storage.access import SETTINGS, Actor, Conflict, NotFound
from storage.calendars import CalendarPlan
from storage.desk import ChannelAccount, Queue, RoutingProfile, Skill, touch_desk_from
from storage.people import Agent, AgentQueue, AgentSkill

MODELS: dict[str, Any] = {
    "calendars": CalendarPlan, "queues": Queue, "skills": Skill, "profiles": RoutingProfile, "channels": ChannelAccount
}  # fmt: skip
RENAMED = ("calendars", "queues", "profiles")  # what is referred to by its number, so that its name may change
NOUNS = {
    "calendars": "calendar", "queues": "queue", "skills": "skill", "profiles": "profile", "channels": "channel"
}  # fmt: skip
FORM = "form"  # where a sentence stands that is about no single field
KEPT_DEFAULT = N_("Some queue has to take what no rule claims: make another one the default instead.")
_PLACE = re.compile(r"(?P<section>\w+)\[(?P<number>\d+)\]\.?(?P<field>[^\s:]*):? (?P<sentence>.*)", re.DOTALL)
_OF_NAME = re.compile(r"\w+ '(?P<name>[^']*)':? (?P<sentence>.*)", re.DOTALL)
_WORD = re.compile(r"\w+")
_HOURS = re.compile(r"hours (\w{3})\b")  # of a day, or of several from that day

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edit:
    """The entry called `name` says something else from now on; without a name it is new, without an entry it goes."""

    section: str
    name: str | None
    entry: Entry | None

    @property
    def noun(self) -> str:
        return NOUNS[self.section]


@dataclass(frozen=True, slots=True)
class Seen:
    """What an edit would do to the desk in its state `version`: to the entry itself, line by line as desk.yaml has it,
    and elsewhere; and what would look wrong then and does not now."""

    lines: list[tuple[str, str]]
    elsewhere: list[Change]
    findings: list[Finding]
    version: int


def entries(tx: Tx, section: str) -> list[Entry]:
    """A section of the desk as desk.yaml has it."""
    found = sections(tx)[section]()
    return [{"name": each} for each in found] if section == "skills" else found


def entry(tx: Tx, actor: Actor, section: str, number: int) -> Entry:
    """One entry by its row's number. Raises NotFound, also for one that is switched off."""
    actor.must(SETTINGS)
    name = name_of(tx, section, number)
    found = next((each for each in entries(tx, section) if each["name"] == name), None)
    if found is None:
        raise NotFound(_("The {nouns} {name} is switched off.", nouns=SAID[NOUNS[section]], name=repr(name)))
    return found


def name_of(tx: Tx, section: str, number: int) -> str:
    """Raises NotFound."""
    row = tx.get(MODELS[section], number)
    if row is None:
        raise NotFound(_("There is no {nouns} {number}.", nouns=SAID[NOUNS[section]], number=number))
    name: str = row.name
    return name


def number_of(tx: Tx, section: str, name: str) -> int:
    """The row of an entry in use. Raises NotFound."""
    number = tx.exec(select(MODELS[section].id).where(MODELS[section].name == name)).first()
    if number is None:
        raise NotFound(_("There is no {nouns} {name}.", nouns=SAID[NOUNS[section]], name=repr(name)))
    return int(number)


def try_edit(store: Store, actor: Actor, edit: Edit) -> Seen:
    """What it would do; nothing is changed. Raises FieldRefused like keeping it, and Forbidden."""
    known: list[str] = []
    shown: list[tuple[str, str]] = []

    def change(tx: Tx) -> list[Change]:
        known.extend(str(each) for each in look_over(tx))
        before = _text(tx, edit.section, edit.name)
        changes = _make(tx, actor, edit)
        shown.extend(_lines(before, _text(tx, edit.section, edit.entry["name"] if edit.entry else None)))
        return changes

    seen = looked_at(store, change)
    own = {f"{edit.noun} {name}" for name in (edit.name, edit.entry and edit.entry["name"]) if name}
    return Seen(
        shown,
        [each for each in seen.changes if each.what not in own],
        [each for each in seen.findings if str(each) not in known],
        seen.version,
    )


def keep_edit(tx: Tx, actor: Actor, edit: Edit, version: int) -> list[Change]:
    """Make it so. Raises FieldRefused, Forbidden, and Conflict when the desk is another one than in that state."""
    actor.must(SETTINGS)
    if not touch_desk_from(tx, version):
        raise Conflict(_(CHANGED))
    return _make(tx, actor, edit)


def _make(tx: Tx, actor: Actor, edit: Edit) -> list[Change]:
    actor.must(SETTINGS)
    changes: list[Change] = []
    listed = entries(tx, edit.section)
    place = next((at for at, each in enumerate(listed) if each["name"] == edit.name), len(listed))
    if edit.name is not None and place == len(listed):
        raise NotFound(_("There is no {noun} {edit} any more.", noun=SAID[edit.noun], edit=repr(edit.name)))
    if edit.entry is None:
        if edit.section == "queues" and listed[place].get("default"):
            raise FieldRefused("default", _(KEPT_DEFAULT))
        del listed[place]
    else:
        new = {**edit.entry, "name": storable(str(edit.entry.get("name", ""))).strip()}
        if not new["name"]:
            raise FieldRefused("name", _("Give it a name."))
        if edit.name is not None and new["name"] != edit.name:
            changes += _rename(tx, edit, new["name"])
        elif edit.name is None and any(each["name"] == new["name"] for each in listed):
            raise FieldRefused("name", _("There is a {noun} of this name already.", noun=SAID[edit.noun]))
        if edit.section == "queues":
            _one_default(listed, place, new)
        listed[place : place + 1] = [new]
    section: Any = [each["name"] for each in listed] if edit.section == "skills" else listed
    name = edit.name or (edit.entry or {}).get("name", "")
    what = "taken out" if edit.entry is None else "added" if edit.name is None else "changed"
    try:
        return changes + apply(tx, actor, {edit.section: section}, told=f"{edit.noun} {name} {what}")
    except DeskError as error:
        raise _refused(error, edit, place + 1) from None


def _rename(tx: Tx, edit: Edit, name: str) -> list[Change]:
    if edit.section not in RENAMED:
        raise FieldRefused("name", _("A {noun} keeps its name: others know it by that.", noun=SAID[edit.noun]))
    model = MODELS[edit.section]
    if tx.exec(select(model.id).where(model.name == name)).first() is not None:
        raise FieldRefused(
            "name", _("There is, or was, a {noun} of this name already: take another one.", noun=SAID[edit.noun])
        )
    row = tx.exec(select(model).where(model.name == edit.name, col(model.active))).one()
    row.name = name
    tx.add(row)
    tx.flush()
    return [Change("~", f"{edit.noun} {edit.name}", stored("is called {name}", name=name))]


def _one_default(listed: Sequence[Entry], place: int, new: Entry) -> None:
    """One queue takes what no rule claims; it changes by naming another one."""
    had = place < len(listed) and listed[place].get("default")
    if had and not new.get("default"):
        raise FieldRefused("default", _(KEPT_DEFAULT))
    if new.get("default"):
        for each in listed:
            each.pop("default", None)


def _refused(error: DeskError, edit: Edit, number: int) -> FieldRefused:
    """The sentence with the field that it is about, as far as it says so."""
    told = str(error)
    if (found := _PLACE.fullmatch(told)) and found["section"] == edit.section and int(found["number"]) == number:
        return FieldRefused(found["field"] or _subject(edit, found["sentence"]), _begun(retold(found["sentence"])))
    name = edit.entry["name"] if edit.entry else edit.name
    if (found := _OF_NAME.fullmatch(told)) and found["name"] == name:
        return FieldRefused(_subject(edit, found["sentence"]), _begun(retold(found["sentence"])))
    place, colon, sentence = told.partition(": ")
    return FieldRefused(FORM, _begun(f"{thing(place)}: {retold(sentence)}" if colon else retold(told)))


def _subject(edit: Edit, sentence: str) -> str:
    """The field that a sentence about a whole entry is about: the first that it names."""
    if day := _HOURS.match(sentence):
        return f"hours.{day[1]}"
    known = (edit.entry or {}).keys()
    return next((word for word in _WORD.findall(sentence) if word in known and word != "name"), FORM)


def _begun(sentence: str) -> str:
    return f"{sentence[:1].upper()}{sentence[1:]}{'' if sentence.endswith(('.', '?')) else '.'}"


def _text(tx: Tx, section: str, name: str | None) -> str:
    found = next((each for each in entries(tx, section) if each["name"] == name), None)
    return "" if found is None else yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100)


def _lines(before: str, after: str) -> list[tuple[str, str]]:
    """What differs, line by line, each marked + or -; sealed secrets are only said to be there."""
    found = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [(line[0], _veiled(line[1:])) for line in found if line[0] in "+-" and line[:3] not in ("+++", "---")]


def _veiled(line: str) -> str:
    key, sealed, __ = line.partition(" sealed:")
    return f"{key} (sealed)" if sealed else line


def named_by(tx: Tx, section: str, number: int) -> dict[str, list[str]]:
    """What names an entry elsewhere: names of queues, rules and profiles, and of the people who have it."""
    name, noun = name_of(tx, section, number), NOUNS[section]
    if noun not in _KEYS:
        return {}
    made = sections(tx)
    found = {
        other: [each["name"] for each in made[other]() if _names(each, _KEYS[noun], name)]
        for other in ("queues", "rules", "profiles")
    }
    found["people"] = list(tx.exec(_PEOPLE[noun](number))) if noun in _PEOPLE else []
    return {other: names for other, names in found.items() if names}


def _staff(condition: Any, link: Any = None) -> Any:
    query = select(Agent.name).where(col(Agent.active), condition).order_by(col(Agent.name))
    return query if link is None else query.join(link, link.agent_id == col(Agent.id))


_PEOPLE: dict[str, Callable[[int], Any]] = {
    "queue": lambda number: _staff(AgentQueue.queue_id == number, AgentQueue),
    "skill": lambda number: _staff(AgentSkill.skill_id == number, AgentSkill),
    "profile": lambda number: _staff(Agent.profile_id == number),
}
_KEYS = {
    "calendar": ("calendar",), "profile": ("profile",), "skill": ("skills", "require", "relax"),
    "queue": ("queue", "queues", "overflow", "join"),
}  # fmt: skip


def _names(value: Any, keys: Sequence[str], name: str) -> bool:
    """Whether one of these keys, anywhere in an entry, has that name."""
    if isinstance(value, list):
        return any(_names(each, keys, name) for each in value)
    if not isinstance(value, dict):
        return False
    said = (inner for key, inner in value.items() if key in keys)
    if any(inner == name or (isinstance(inner, list | dict) and name in inner) for inner in said):
        return True
    return any(_names(inner, keys, name) for inner in value.values())
