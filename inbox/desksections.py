"""What Settings asks for a queue, a calendar, a skill and a profile, and how that stands in desk.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import col, select

from channels import KINDS
from config.language import N_, _, month, weekday, words
from hub.deskedit import named_by
from hub.refusals import FieldRefused
from inbox.deskform import Entry, Field, Group
from inbox.wording import kind
from routing.handout import RINGS
from routing.hours import DAYS, read_calendar
from storage import Tx
from storage.calendars import CalendarPlan
from storage.desk import Queue

ON = words({"on_warning": "When a target is nearly missed", "on_breach": "When it is missed"})
TOLD = words({"slack": "Tell Slack", "supervisors": "Put it on the supervisors' list"})
WORK = words({
    "": "By what its waiting costs", "strict": "Strictly by priority", "ageing": "By age and priority",
    "deadline": "By its target alone", "lifo": "The newest first",
})  # fmt: skip
AGENT = words({
    "": "Whoever fits best", "longest_idle": "Whoever was idle longest", "least_load": "Whoever has least",
    "best_skill": "Whoever knows most", "round_robin": "In turn",
})  # fmt: skip
DAY_NAMES = words({
    "mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday", "sat": "Saturday",
    "sun": "Sunday",
})  # fmt: skip
SHOWN_DAYS = 7


@dataclass(frozen=True, slots=True)
class Section:
    """A section of desk.yaml with a page of its own.

    `flat` is an entry as its form takes it, `deep` the way back from the form beside the entry as it was.
    """

    name: str
    title: str
    noun: str
    about: str
    groups: Callable[[Tx], list[Group]]
    flat: Callable[[Entry], Entry]
    deep: Callable[[Entry, Entry], Entry]
    goes: str  # what taking one out means
    more: bool = True


def told(tx: Tx, section: str, entry: Mapping[str, Any]) -> list[str]:
    """What to know of an entry beside its form: of a calendar when it is open in the coming days."""
    if section != "calendars":
        return []
    plan = {name: value for name, value in entry.items() if name != "name"}
    try:
        calendar = read_calendar(str(entry.get("name", "")), plan)
    except (TypeError, ValueError):
        return []
    today = calendar.first_moment(tx.now.astimezone(calendar.zone).date())
    found = calendar.openings(today, today + timedelta(days=SHOWN_DAYS))
    local = [(begin.astimezone(calendar.zone), end.astimezone(calendar.zone)) for begin, end in found]
    open_now = _("Open now.") if calendar.is_open(tx.now) else _("Closed now.")
    week = ", ".join(f"{_opening(begin)}–{end:%H:%M}" for begin, end in local) or _("never")
    return [_("{open_now} In these seven days it is open {week}.", open_now=open_now, week=week)]


def used_by(tx: Tx, section: str, number: int) -> list[str]:
    """Who and what has it, in sentences."""
    words = {"queues": _("Queues"), "rules": _("Rules"), "profiles": _("Profiles"), "people": _("People")}
    return [f"{words[what]}: {_some(names)}." for what, names in named_by(tx, section, number).items()]


def _some(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (" " + _("and {names} more", names=len(names) - most) if len(names) > most else "")


# --- queues -----------------------------------------------------------------------------------------------------------


def _queue_groups(tx: Tx) -> list[Group]:
    calendars = tx.exec(select(CalendarPlan.name).where(col(CalendarPlan.active)).order_by(col(CalendarPlan.id))).all()
    queues = tx.exec(select(Queue.name).where(col(Queue.active)).order_by(col(Queue.id))).all()
    closed = {
        "": _("As if it were open"),
        "hold": _("Hold it for the opening"),
        **{f"to {queue}": _("Send it to {queue}", queue=queue) for queue in queues},
    }
    others = {"": _("Nowhere"), **{name: name for name in queues}}
    return [
        Group(_("The queue"), [
            Field("name", "Name", required=True),
            Field("default", _("It takes what no rule claims"), "tick"),
            Field("paused", _("It is paused: nothing is handed out"), "tick"),
            Field("calendar", _("Opening hours"), "choice",
                  choices={"": _("Always open"), **{c: c for c in calendars}}),
            Field("out_of_hours", _("What comes while it is closed"), "choice", choices=closed),
        ]),
        Group(_("Targets"), [
            Field("sla.first_reply", _("First reply within"), usual="4h", short=True,
                  help=_("A span such as 30s, 15m, 4h or 2d.")),
            Field("sla.next_reply", _("Each further reply within"), usual=_("none"), short=True),
            Field("sla.resolution", _("Resolved within"), usual=_("none"), short=True),
            Field("sla.warn_at", _("Warn at, in per cent of a target"), "number", usual="80", short=True),
        ], about=_("They count while the queue is open, for what begins, goes on or changes queue from now on.")),
        *(Group(title, [
            Field(f"escalate.{when}.tell", _("Tell"), "ticks", choices=TOLD),
            Field(f"escalate.{when}.priority", _("Raise its priority by"), "number", usual=_("not at all"), short=True),
            Field(f"escalate.{when}.queue", _("Move it to, while nobody has it"), "choice", choices=others),
        ], folded=True) for when, title in ON.items()),
        Group(_("When it is full"), [
            Field("limits.size", _("So many wait"), "number", usual=_("no limit"), short=True),
            Field("limits.wait", _("Or the oldest has waited"), usual=_("no limit"), short=True),
            Field("limits.overflow", _("What comes then goes to"), "choice",
                  choices={**others, "": _("The default queue")}),
        ], folded=True),
        Group(_("Handing out"), [
            Field("order.work", _("What goes first"), "choice", choices=WORK),
            Field("order.agent", _("Who is asked first"), "choice", choices=AGENT),
            Field("offer", _("A chat rings for"), usual="30s", short=True),
            Field("offers", _("At so many agents at once"), "number", usual="1", short=True),
            Field("last_agent.wait", _("What is opened again waits for who had it last"), usual="1m", short=True,
                  help=_("Or off.")),
            Field("wrap_up.time", _("An agent keeps the room of what was resolved for"), usual=_("not at all"),
                  short=True),
            Field("park.after", _("What waits for the customer takes no room after"), usual=_("never"), short=True),
            Field("boost", _("A priority is worth at most"), usual="10m", short=True,
                  help=_("In age: how much longer others wait.")),
            Field("max_wait", _("What is older goes before everything else"), usual=_("never"), short=True),
            Field("cooldown", _("Nobody is asked again for what they declined for"), usual="1m", short=True),
            Field("missed_limit", _("So many missed in a row, and the agent is away"), "number", usual="3", short=True),
        ], folded=True),
    ]  # fmt: skip


def _queue_flat(entry: Entry) -> Entry:
    flat = dict(entry)
    if "first_reply" in flat:
        flat["sla"] = {"first_reply": flat.pop("first_reply"), **flat.get("sla", {})}
    if isinstance(closed := flat.get("out_of_hours"), dict):
        flat["out_of_hours"] = f"to {closed['overflow']}"
    if flat.get("last_agent") == "off":
        flat["last_agent"] = {"wait": "off"}
    if "escalate" in flat:
        flat["escalate"] = {when: _actions_flat(actions) for when, actions in flat["escalate"].items()}
    return {name: value for name, value in flat.items() if value != ""}


def _actions_flat(actions: list[Any]) -> Any:
    """Actions by what they do; as they are where one of them is there twice."""
    named = [action for action in actions if isinstance(action, dict)]
    keys = [key for action in named for key in action]
    if len(set(keys)) != len(keys):
        return actions
    tell = [action for action in actions if isinstance(action, str)]
    return {**({"tell": tell} if tell else {}), **{key: value for each in named for key, value in each.items()}}


def _queue_deep(flat: Entry, before: Entry) -> Entry:
    entry = dict(flat)
    closed = entry.get("out_of_hours", "")
    if isinstance(closed, str) and closed.startswith("to "):
        entry["out_of_hours"] = {"overflow": closed.removeprefix("to ")}
    if isinstance(last := entry.get("last_agent"), dict) and last.get("wait") == "off":
        entry["last_agent"] = "off"
    if isinstance(escalate := entry.get("escalate"), dict):
        entry["escalate"] = {when: _actions_deep(actions) for when, actions in escalate.items()}
    return entry


def _actions_deep(actions: Any) -> Any:
    if not isinstance(actions, dict):
        return actions
    named = [{name: value} for name, value in actions.items() if name != "tell"]
    return [*actions.get("tell", []), *named]


# --- calendars --------------------------------------------------------------------------------------------------------


def _calendar_groups(tx: Tx) -> list[Group]:
    return [
        Group(_("The calendar"), [
            Field("name", "Name", required=True),
            Field("time_zone", _("Time zone"), usual="Europe/Berlin", required=True),
        ]),
        Group(_("Hours"), [
            *(Field(f"hours.{day}", name, usual=_("closed"), short=True) for day, name in DAY_NAMES.items()),
        ], about=_("As 09:00-17:00; several by commas; past midnight as 22:00-06:00.")),
        Group(_("Holidays and single days"), [
            Field("holidays.country", _("Public holidays of"), usual=_("none"), short=True,
                  help=_("Two letters, such as DE.")),
            Field("holidays.region", _("In the region"), usual=_("all"), short=True, help=_("Such as BE for Berlin.")),
            Field("closed", _("Closed on"), "lines", usual="2026-12-24..2026-12-26",
                  help=_("One a line: a day, or from..to.")),
            Field("special", _("Other hours on"), "lines", usual="2026-12-12: 10:00-14:00", help=_("One a line.")),
            Field("ics", _("iCalendar text, whose events close"), "long"),
        ], folded=True),
    ]  # fmt: skip


def _opening(begin: datetime) -> str:
    names = {"weekday": weekday(begin, short=True), "month": month(begin, short=True)}
    return _("{weekday} {day} {month} {time}", day=f"{begin:%d}", time=f"{begin:%H:%M}", **names)


def _week(hours: Mapping[str, Any]) -> dict[str, str]:
    """Hours by single days; several intervals by commas."""
    week = {}
    for written, spans in hours.items():
        first, __, last = written.strip().lower().partition("-")
        if first in DAYS and (last or first) in DAYS:
            begin, end = DAYS.index(first), DAYS.index(last or first)
            for number in range((end - begin) % 7 + 1):
                week[DAYS[(begin + number) % 7]] = joined(spans)
    return week


def _calendar_flat(entry: Entry) -> Entry:
    flat = dict(entry)
    if hours := entry.get("hours"):
        flat["hours"] = _week(hours)
    if special := entry.get("special"):
        flat["special"] = [f"{day}: {joined(spans)}" for day, spans in special.items()]
    return flat


def joined(spans: Any) -> str:
    """Intervals of a day as one text."""
    return spans if isinstance(spans, str) else ", ".join(spans)


def _calendar_deep(flat: Entry, before: Entry) -> Entry:
    entry, week = dict(flat), dict(flat.get("hours") or {})
    same = before and _week(before.get("hours", {})) == {day: joined(_spans(text)) for day, text in week.items()}
    entry["hours"] = before["hours"] if same else _hours(week)
    if isinstance(special := entry.get("special"), list):
        entry["special"] = dict(_special([line.partition(":") for line in special]))
    return entry


def _special(lines: Iterable[tuple[str, str, str]]) -> Iterable[tuple[str, Any]]:
    for day, colon, spans in lines:
        if not colon or not spans.strip():
            raise FieldRefused(
                "special", _("{day} has no hours: write a line as 2026-12-12: 10:00-14:00.", day=repr(day))
            )
        yield day.strip(), _spans(spans)


def _spans(text: str) -> Any:
    """One interval as text, several as a list."""
    spans = [each.strip() for each in str(text).split(",") if each.strip()]
    return spans[0] if len(spans) == 1 else spans


def _hours(week: Mapping[str, str]) -> dict[str, Any]:
    """Neighbouring days with the same hours stand together."""
    hours: dict[str, Any] = {}
    run: list[str] = []
    for day in [*DAYS, ""]:
        if run and (not day or week.get(day) != week[run[0]]):
            hours[run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}"] = _spans(week[run[0]])
            run = []
        if day in week:
            run.append(day)
    return hours


# --- skills and profiles ----------------------------------------------------------------------------------------------


def _skill_groups(tx: Tx) -> list[Group]:
    return [
        Group(_("The skill"), [
            Field("name", "Name", required=True,
                  help=_("A language, a product, a procedure. Who has it, and how well, is said under People.")),
        ]),
    ]  # fmt: skip


def _profile_groups(tx: Tx) -> list[Group]:
    kinds = {name: _("Email by webhook") if name == "mailhook" else kind(name).label for name in KINDS}
    return [
        Group(_("The profile"), [Field("name", "Name", required=True)]),
        Group(_("At most so many at once"), [
            *(Field(f"channels.{name}", label, "number", usual=_("no limit"), short=True)
              for name, label in kinds.items()),
        ], about=_("Within the capacity that an agent has.")),
        Group(_("How it comes"), [
            Field("rings", _("Asked first, by a ring"), "ticks", choices=kinds),
            Field("pull", _("Taken by hand only"), "ticks", choices=kinds),
            Field("push", _("Comes by itself only"), "ticks", choices=kinds),
            Field("rate.most", _("At most so many new ones"), "number", usual=_("no limit"), short=True),
            Field("rate.per", _("In the time of"), usual="1h", short=True),
        ]),
        Group(_("When the connection is lost"), [
            *(Field(f"disconnect.{name}", _("{label}: to somebody else after", label=label), short=True,
                    usual="60s" if name == "chat" else "never") for name, label in kinds.items()),
        ], folded=True, about=_("As 60s or 10m, at least 30s; off for never.")),
    ]  # fmt: skip


def _profile_flat(entry: Entry) -> Entry:
    return {"rings": sorted(RINGS), **entry}


def _profile_deep(flat: Entry, before: Entry) -> Entry:
    rings = sorted(flat.get("rings", []))
    return {**flat, "rings": rings}


def _same(entry: Entry) -> Entry:
    return entry


def _typed(flat: Entry, before: Entry) -> Entry:
    return flat


SECTIONS = {
    each.name: each
    for each in (
        Section(
            "queues", N_("Queues"), N_("queue"),
            N_("Where work waits, what is promised there, and how it is handed out."), _queue_groups, _queue_flat,
            _queue_deep,
            N_("Its work goes to the default queue. What was done in it stays, and its name can come back."),
        ),
        Section(
            "calendars", N_("Calendars"), N_("calendar"),
            N_("When somebody is there. Targets of queues count in these hours."),
            _calendar_groups, _calendar_flat, _calendar_deep,
            N_("Targets that are running keep what they have counted."),
        ),
        Section(
            "skills", N_("Skills"), N_("skill"), N_("What people can do, for work that asks for it."), _skill_groups,
            _same, _typed,
            N_("People lose it, and work that waits for it no longer asks for it."), more=False,
        ),
        Section(
            "profiles", N_("Profiles"), N_("profile"),
            N_("How much of what somebody gets at once, and how. People are given one under People."), _profile_groups,
            _profile_flat, _profile_deep, N_("Whoever has it gets work as everybody does."),
        ),
    )
}  # fmt: skip
