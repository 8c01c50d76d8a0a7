"""What Settings asks for a queue, a calendar, a skill and a profile, and how that stands in desk.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlmodel import col, select

from channels import KINDS
from hub.deskedit import named_by
from hub.refusals import FieldRefused
from inbox.deskform import Entry, Field, Group
from inbox.wording import kind
from routing.handout import RINGS
from routing.hours import DAYS, read_calendar
from storage import Tx
from storage.calendars import CalendarPlan
from storage.desk import Queue

ON = {"on_warning": "When a target is nearly missed", "on_breach": "When it is missed"}
TOLD = {"slack": "Tell Slack", "supervisors": "Put it on the supervisors' list"}
WORK = {
    "": "By what its waiting costs", "strict": "Strictly by priority", "ageing": "By age and priority",
    "deadline": "By its target alone", "lifo": "The newest first",
}  # fmt: skip
AGENT = {
    "": "Whoever fits best", "longest_idle": "Whoever was idle longest", "least_load": "Whoever has least",
    "best_skill": "Whoever knows most", "round_robin": "In turn",
}  # fmt: skip
DAY_NAMES = dict(zip(DAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True))
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
    open_now = "Open now." if calendar.is_open(tx.now) else "Closed now."
    week = ", ".join(f"{begin:%a %d %b %H:%M}–{end:%H:%M}" for begin, end in local) or "never"
    return [f"{open_now} In these seven days it is open {week}."]


def used_by(tx: Tx, section: str, number: int) -> list[str]:
    """Who and what has it, in sentences."""
    words = {"queues": "Queues", "rules": "Rules", "profiles": "Profiles", "people": "People"}
    return [f"{words[what]}: {_some(names)}." for what, names in named_by(tx, section, number).items()]


def _some(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- queues -----------------------------------------------------------------------------------------------------------


def _queue_groups(tx: Tx) -> list[Group]:
    calendars = tx.exec(select(CalendarPlan.name).where(col(CalendarPlan.active)).order_by(col(CalendarPlan.id))).all()
    queues = tx.exec(select(Queue.name).where(col(Queue.active)).order_by(col(Queue.id))).all()
    closed = {
        "": "As if it were open",
        "hold": "Hold it for the opening",
        **{f"to {q}": f"Send it to {q}" for q in queues},
    }
    others = {"": "Nowhere", **{name: name for name in queues}}
    span = "such as 30s, 15m, 4h or 2d"
    return [
        Group("The queue", [
            Field("name", "Name", required=True),
            Field("default", "It takes what no rule claims", "tick"),
            Field("paused", "It is paused: nothing is handed out", "tick"),
            Field("calendar", "Opening hours", "choice", choices={"": "Always open", **{c: c for c in calendars}}),
            Field("out_of_hours", "What comes while it is closed", "choice", choices=closed),
        ]),
        Group("Targets", [
            Field("sla.first_reply", "First reply within", usual="4h", short=True, help=f"A span {span}."),
            Field("sla.next_reply", "Each further reply within", usual="none", short=True),
            Field("sla.resolution", "Resolved within", usual="none", short=True),
            Field("sla.warn_at", "Warn at, in per cent of a target", "number", usual="80", short=True),
        ], about="They count while the queue is open, for what begins, goes on or changes queue from now on."),
        *(Group(title, [
            Field(f"escalate.{when}.tell", "Tell", "ticks", choices=TOLD),
            Field(f"escalate.{when}.priority", "Raise its priority by", "number", usual="not at all", short=True),
            Field(f"escalate.{when}.queue", "Move it to, while nobody has it", "choice", choices=others),
        ], folded=True) for when, title in ON.items()),
        Group("When it is full", [
            Field("limits.size", "So many wait", "number", usual="no limit", short=True),
            Field("limits.wait", "Or the oldest has waited", usual="no limit", short=True),
            Field("limits.overflow", "What comes then goes to", "choice", choices={**others, "": "The default queue"}),
        ], folded=True),
        Group("Handing out", [
            Field("order.work", "What goes first", "choice", choices=WORK),
            Field("order.agent", "Who is asked first", "choice", choices=AGENT),
            Field("offer", "A chat rings for", usual="30s", short=True),
            Field("offers", "At so many agents at once", "number", usual="1", short=True),
            Field("last_agent.wait", "What is opened again waits for who had it last", usual="1m", short=True,
                  help="Or off."),
            Field("wrap_up.time", "An agent keeps the room of what was resolved for", usual="not at all", short=True),
            Field("park.after", "What waits for the customer takes no room after", usual="never", short=True),
            Field("boost", "A priority is worth at most", usual="10m", short=True,
                  help="In age: how much longer others wait."),
            Field("max_wait", "What is older goes before everything else", usual="never", short=True),
            Field("cooldown", "Nobody is asked again for what they declined for", usual="1m", short=True),
            Field("missed_limit", "So many missed in a row, and the agent is away", "number", usual="3", short=True),
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
        Group("The calendar", [
            Field("name", "Name", required=True),
            Field("time_zone", "Time zone", usual="Europe/Berlin", required=True),
        ]),
        Group("Hours", [
            *(Field(f"hours.{day}", name, usual="closed", short=True) for day, name in DAY_NAMES.items()),
        ], about="As 09:00-17:00; several by commas; past midnight as 22:00-06:00."),
        Group("Holidays and single days", [
            Field("holidays.country", "Public holidays of", usual="none", short=True, help="Two letters, such as DE."),
            Field("holidays.region", "In the region", usual="all", short=True, help="Such as BE for Berlin."),
            Field("closed", "Closed on", "lines", usual="2026-12-24..2026-12-26",
                  help="One a line: a day, or from..to."),
            Field("special", "Other hours on", "lines", usual="2026-12-12: 10:00-14:00", help="One a line."),
            Field("ics", "iCalendar text, whose events close", "long"),
        ], folded=True),
    ]  # fmt: skip


def _week(hours: Mapping[str, Any]) -> dict[str, str]:
    """Hours by single days; several intervals by commas."""
    week = {}
    for written, spans in hours.items():
        first, _, last = written.strip().lower().partition("-")
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
            raise FieldRefused("special", f"{day!r} has no hours: write a line as 2026-12-12: 10:00-14:00.")
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
        Group("The skill", [
            Field("name", "Name", required=True,
                  help="A language, a product, a procedure. Who has it, and how well, is said under People."),
        ]),
    ]  # fmt: skip


def _profile_groups(tx: Tx) -> list[Group]:
    kinds = {name: "Email by webhook" if name == "mailhook" else kind(name).label for name in KINDS}
    return [
        Group("The profile", [Field("name", "Name", required=True)]),
        Group("At most so many at once", [
            *(Field(f"channels.{name}", label, "number", usual="no limit", short=True)
              for name, label in kinds.items()),
        ], about="Within the capacity that an agent has."),
        Group("How it comes", [
            Field("rings", "Asked first, by a ring", "ticks", choices=kinds),
            Field("pull", "Taken by hand only", "ticks", choices=kinds),
            Field("push", "Comes by itself only", "ticks", choices=kinds),
            Field("rate.most", "At most so many new ones", "number", usual="no limit", short=True),
            Field("rate.per", "In the time of", usual="1h", short=True),
        ]),
        Group("When the connection is lost", [
            *(Field(f"disconnect.{name}", f"{label}: to somebody else after", short=True,
                    usual="60s" if name == "chat" else "never") for name, label in kinds.items()),
        ], folded=True, about="As 60s or 10m, at least 30s; off for never."),
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
            "queues", "Queues", "queue",
            "Where work waits, what is promised there, and how it is handed out.", _queue_groups, _queue_flat,
            _queue_deep, "Its work goes to the default queue. What was done in it stays, and its name can come back.",
        ),
        Section(
            "calendars", "Calendars", "calendar", "When somebody is there. Targets of queues count in these hours.",
            _calendar_groups, _calendar_flat, _calendar_deep, "Targets that are running keep what they have counted.",
        ),
        Section(
            "skills", "Skills", "skill", "What people can do, for work that asks for it.", _skill_groups, _same, _typed,
            "People lose it, and work that waits for it no longer asks for it.", more=False,
        ),
        Section(
            "profiles", "Profiles", "profile",
            "How much of what somebody gets at once, and how. People are given one under People.", _profile_groups,
            _profile_flat, _profile_deep, "Whoever has it gets work as everybody does.",
        ),
    )
}  # fmt: skip
