"""What happened in a conversation between its messages, each in one line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from config.language import _, words
from config.retold import retold
from inbox.session import Viewer
from inbox.wording import full
from routing.ladder import span
from storage import Tx
from storage.batches import placeholders
from storage.facts import FactRow
from storage.work import WorkItem

MISSED = words(
    {
        "FirstReplyBreached": "The first reply is late",
        "NextReplyBreached": "The next reply is late",
        "ResolutionBreached": "The time to settle this is used up",
    }
)
ESCALATED = words(
    {
        "priority": "it goes before others now",
        "queue": "it was put into another queue",
        "slack": "Slack was told",
        "supervisors": "supervisors were told",
    }
)
WAITED = words(
    {
        "relaxed": "less is asked of who takes it",
        "joined": "others may take it as well",
        "priority": "it goes before others now",
        "age": "it counts as older",
        "slack": "Slack was told",
        "supervisors": "supervisors were told",
        "queue": "it goes elsewhere",
    }
)
TOLD = (
    "ConversationQueued",
    "ConversationAssigned",
    "ConversationReleased",
    "OfferEnded",
    "ConversationSnoozed",
    "ConversationWoken",
    "ConversationResolved",
    "ConversationReopened",
    *MISSED,
    "ConversationTagged",
    "ConversationUntagged",
    "ConversationSplit",
    "ConversationsMerged",
    "ConversationsParted",
    "MacroRun",
    "ReplyHeld",
    "AutomationHeld",
    "ConversationEscalated",
    "ConversationPrioritised",
    "ConversationLabelled",
    "ConversationUnparked",
    "ConversationPinned",
    "ConversationUnpinned",
    "TransferQuestioned",
    "LadderStepTaken",
)
MOVED = words(
    {
        "ConversationSplit": "made what came after this a conversation of its own:",
        "ConversationsMerged": "merged another conversation into it:",
        "ConversationsParted": "took a merge back and parted it from",
    }
)
VIA = words(
    {
        "offer": "accepted the ring",
        "auto": "got it automatically",
        "claim": "claimed it",
        "next": "asked for the next and got it",
    }
)
HELD = words({"acknowledgement": "The acknowledgement", "notice": "A mail notice"})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in one line. `icon` names a symbol of the sprite, `alarm` colours it."""

    key: str
    at: datetime
    icon: str
    who: str
    text: str
    alarm: bool = False


def events(tx: Tx, who: Viewer, number: int, since: datetime | None, until: datetime | None) -> list[Event]:
    """The newest of them, oldest first."""
    query = select(FactRow).where(FactRow.conversation_id == number, col(FactRow.name).in_(TOLD))
    if since is not None:
        query = query.where(FactRow.at >= since)
    if until is not None:
        query = query.where(FactRow.at <= until)
    rows = list(tx.exec(query.order_by(col(FactRow.id).desc()).limit(200)))[::-1]
    about = {number for row in rows for number in (_actor_id(row), row.data.get("agent_id")) if number}
    agents, traces = agent_names(tx, about), _traces(tx, rows)
    return [event for row in rows if (event := _event(row, who, agents, traces)) is not None]


def _traces(tx: Tx, rows: list[FactRow]) -> dict[int | None, Any]:
    items = {row.data.get("work_item_id") for row in rows if row.name == "ConversationQueued"}
    if not items:
        return {}
    return dict(tx.exec(select(WorkItem.id, WorkItem.trace).where(col(WorkItem.id).in_(items))).all())


def _event(row: FactRow, who: Viewer, agents: dict[int, str], traces: dict[int | None, Any]) -> Event | None:
    data = row.data
    by, me = _by(row, who, agents), data.get("agent_id") == who.id
    agent = _("You") if me else agents.get(data.get("agent_id", 0), _("Somebody"))
    whom = _("you") if me else agent

    def event(icon: str, subject: str, text: str, alarm: bool = False) -> Event:
        return Event(f"f{row.id}", row.at, icon, subject, text, alarm)

    match row.name:
        case "ConversationQueued" if data["why"] == "disconnect":
            return None
        case "ConversationQueued":
            return event("route", "", _routed(data, traces.get(data.get("work_item_id"), []), by))
        case "ConversationAssigned" if data["via"] in VIA:
            return event("user", agent, VIA[data["via"]])
        case "ConversationAssigned":
            return event("user", by, _given(data, whom))
        case "ConversationReleased" if data["why"] in ("resolve", "transfer"):
            return None  # told by what happened beside it
        case "ConversationReleased" if data["why"] == "disconnect":
            return event("user", agent, _("lost the connection, and it went back to the queue"))
        case "ConversationReleased" if data.get("by") != f"agent:{data['agent_id']}":
            return event("user", by, _("took it from {agent} and gave it back", agent=whom))
        case "ConversationReleased" if data["why"] == "sign_out":
            return event("user", agent, _("went offline and gave it back"))
        case "ConversationReleased":
            return event("user", agent, _("gave it back to the queue"))
        case "OfferEnded" if data["state"] == "declined":
            return event("bell", agent, _("declined the ring"))
        case "OfferEnded" if data["state"] == "expired":
            return event("bell", agent, _("missed the ring"))
        case "ConversationSnoozed" if data["until"]:
            until = full(datetime.fromisoformat(data["until"]), who.zone)
            return event("moon", by, _("snoozed it until {time}", time=until))
        case "ConversationSnoozed":
            return event("moon", by, _("snoozed it until the customer writes"))
        case "ConversationWoken":
            return event("moon", "", _("Awake again: {why}", why=retold(data["why"])))
        case "ConversationResolved":
            return event("check", by, _("resolved it"))
        case "ConversationReopened":
            return event("inbox", "", _("Open again: {why}", why=retold(data["why"])))
        case "ConversationTagged":
            return event("tag", by, _("tagged it {tags}", tags=", ".join(data["tags"])))
        case "ConversationUntagged":
            return event("tag", by, _("took off {tags}", tags=", ".join(data["tags"])))
        case "ConversationSplit" | "ConversationsMerged" | "ConversationsParted":
            return event("merge", by, f"{MOVED[row.name]} #{data['other_id']}")
        case "MacroRun":
            return event("bolt", by, _("ran the macro “{macro}”", macro=data["macro"]))
        case "ReplyHeld":
            said = _("A reply for later was not sent, because they wrote before; it is a draft again")
            return event("clock", "", said)
        case "AutomationHeld":
            held = HELD.get(data["kind"], _("An automatic message"))
            return event("alert", "", _("{message} was not sent. {why}", message=held, why=retold(data["why"])))
        case "ConversationPrioritised":
            values = {"priority": data["priority"], "before": data["before"]}
            return event("flag", by, _("gave it priority {priority} instead of {before}", **values) + _said(data))
        case "ConversationLabelled" if data["labels"]:
            labelled = _("labelled it {labels}", labels=", ".join(data["labels"]))
            return event("tag", by, f"{labelled}{_said(data)}")
        case "ConversationLabelled":
            return event("tag", by, _("took its labels away") + _said(data))
        case "ConversationUnparked" if data["over_capacity_by"]:
            return event("user", agent, _("took it up again, {over} over capacity", over=data["over_capacity_by"]))
        case "ConversationPinned" if data["agent_id"]:
            kept = full(datetime.fromisoformat(data["until"]), who.zone)
            return event("pin", by, _("pinned it to {agent} until {time}", agent=whom, time=kept) + _said(data))
        case "ConversationPinned":
            return event("pin", by, _("pinned it: it goes before everything else") + _said(data))
        case "ConversationUnpinned":
            return event("pin", by, _("took the pin out") + _said(data))
        case "TransferQuestioned" if data["stopped"]:
            stays = _("{why} It stays where it is, and supervisors were told.", why=retold(data["why"]))
            return event("alert", "", stays, alarm=True)
        case "TransferQuestioned":
            return event("alert", "", _("{why} Supervisors were told.", why=retold(data["why"])), alarm=True)
        case "ConversationEscalated":
            actions = ", ".join(ESCALATED[action] for action in data["actions"])
            return event("bell", "", _("Escalated: {actions}", actions=actions))
        case "LadderStepTaken" if data["actions"]:
            done = ", ".join(WAITED[action] for action in data["actions"])
            return event("clock", "", _("It has waited for {time}: {done}", time=span(data["after"]), done=done))
        case name if name in MISSED:
            return event("clock", "", MISSED[name], alarm=True)
    return None


def _given(data: dict[str, Any], agent: str) -> str:
    over = data.get("over_capacity_by")
    if data["via"] == "take_over":
        told = _("took it over, {over} over capacity", over=over) if over else _("took it over")
    elif data["via"] == "transfer":
        told = _("handed it to {agent}", agent=agent)
        told = _("handed it to {agent}, {over} over capacity", agent=agent, over=over) if over else told
    else:
        told = _("assigned it to {agent}", agent=agent)
        told = _("assigned it to {agent}, {over} over capacity", agent=agent, over=over) if over else told
    return f"{told}{_said(data)}"


def _said(data: dict[str, Any]) -> str:
    return f": {data['reason']}" if data.get("reason") else ""


def _routed(data: dict[str, Any], trace: list[dict[str, Any]], by: str) -> str:
    steps = {step.get("step"): step for step in trace}

    def queue(step: str, usual: str) -> str:
        return str(steps[step].get("queue") or usual)

    if data["why"] == "overflow" and "overflow" in steps:
        return _("Put into {queue}, because nobody took it in time", queue=queue("overflow", _("another queue")))
    if data["why"] == "transfer" and "transfer" in steps:
        to = queue("transfer", _("another queue"))
        return _("{agent} moved it to {queue}", agent=by or _("Somebody"), queue=to) + _said(data)
    if "closed" in steps:
        values = {"queue": queue("closed", _("a queue")), "closed": steps["closed"]["closed"]}
        return _("Routed to {queue}, because {closed} is closed", **values)
    if "unserved" in steps:
        values = {"queue": queue("unserved", _("a queue")), "unserved": steps["unserved"]["unserved"]}
        return _("Routed to {queue}, because nobody can take it in {unserved}", **values)
    if "full" in steps:
        return _("Routed to {queue}, because {full} is full", queue=queue("full", _("a queue")),
                 full=steps["full"]["full"])  # fmt: skip
    if "rule" in steps:
        return _("Routed to {queue} by the rule “{rule}”", queue=queue("rule", _("a queue")),
                 rule=steps["rule"].get("rule", ""))  # fmt: skip
    if "default" in steps:
        return _("Routed to {queue}, because no rule matched", queue=queue("default", _("the default queue")))
    return _("Put into a queue: {why}", why=retold(data["why"]))


def _actor_id(row: FactRow) -> int | None:
    kind_name, __, number = str(row.data.get("by", "")).partition(":")
    return int(number) if kind_name == "agent" and number.isdecimal() else None


def _by(row: FactRow, who: Viewer, agents: dict[int, str]) -> str:
    number = _actor_id(row)
    if number is None:
        said = str(row.data.get("by", ""))
        return _("An API client") if said.startswith("token:") else "Switchyard"
    return _("You") if number == who.id else agents.get(number, _("Somebody"))


def agent_names(tx: Tx, ids: set[int]) -> dict[int, str]:
    """Agents' names by their numbers."""
    if not ids:
        return {}
    return dict(tx.sql(f"SELECT id, name FROM agent WHERE id IN ({placeholders(ids)})", *ids).fetchall())
