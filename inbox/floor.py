"""The floor: what waits, how late it is and who is there, live, with everything a supervisor can do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlmodel import col, select

from config.language import _
from hub.web import hub_here
from inbox.answers import Toast
from inbox.lists import names_of
from inbox.screen import Place, Screen, screen
from inbox.session import Viewer, viewer, wants_fragment
from inbox.wording import Pill, due, first_name, span, status_word
from routing import commands, work
from routing.overview import AgentLine, QueueLine, WaitingLine, agent_lines, queue_lines, waiting_lines
from routing.presence import drain, undrain
from routing.work import why_waiting
from routing.wrapups import end_wrap_up
from storage import Tx
from storage.access import SUPERVISE, Actor, Conflict, Forbidden, NotFound, conversation_for
from storage.conversations import Conversation
from storage.desk import Queue
from storage.people import Agent
from storage.work import WorkItem, live_item, parked_by, wraps_until

SEEN = 12  # conversations of an agent that are listed


@dataclass(frozen=True, slots=True)
class Waits:
    """A waiting conversation in words."""

    line: WaitingLine
    person: str
    subject: str
    pinned_to: str


@dataclass(frozen=True, slots=True)
class Floor:
    """The whole page but its frame. `queue` is the one whose work is listed, if only that is wanted."""

    now: datetime
    queues: list[QueueLine]
    agents: list[AgentLine]
    waiting: list[Waits]
    queue: QueueLine | None

    @property
    def number(self) -> int:
        return sum(queue.waiting for queue in self.queues)

    @property
    def late(self) -> int:
        return sum(queue.late for queue in self.queues)

    @property
    def soon(self) -> int:
        return sum(queue.soon for queue in self.queues)

    @property
    def there(self) -> int:
        return sum(agent.status == "available" and not agent.drained for agent in self.agents)

    @property
    def agent_rows(self) -> list[str]:
        return [
            _agent_row(
                agent,
                span(self.now - agent.since) if agent.since else "",
                span(agent.wraps_until - self.now) if agent.wraps_until else "",
            )
            for agent in self.agents
        ]

    @property
    def waiting_rows(self) -> list[str]:
        return [
            _waiting_row(one, due(one.line.due_at, self.now), span(self.now - one.line.since) if one.line.since else "")
            for one in self.waiting
        ]

    @property
    def left(self) -> int:
        """How many wait that the list has no place for."""
        return (self.number if self.queue is None else self.queue.waiting) - len(self.waiting)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What can be done about one conversation, agent or queue: `kind` says which of the rest there is."""

    kind: str
    now: datetime
    conversation: Conversation | None = None
    person: str = ""
    item: WorkItem | None = None
    owner: Agent | None = None
    why: list[str] | None = None
    agents: list[AgentLine] | None = None
    queues: list[Queue] | None = None
    agent: Agent | None = None
    has: list[tuple[Conversation, str]] | None = None
    parked: set[int] = field(default_factory=set)  # which of these
    wraps_until: datetime | None = None
    queue: Queue | None = None


def register(blueprint: Blueprint) -> None:
    """Add the page, the sheets and what they do."""
    add = blueprint.add_url_rule
    add("/inbox/floor", "floor", page)
    for kind, sheet in SHEETS.items():
        add(f"/inbox/floor/{kind}/<int:number>", f"floor_{kind}", _sheet_view(kind, sheet))
        add(f"/inbox/floor/{kind}/<int:number>/do", f"floor_{kind}_do", _doing_view(kind), methods=["POST"])


def page() -> ResponseReturnValue:
    """The floor, or for htmx only what changes on it."""
    hub, who = hub_here(), _supervisor()
    with hub.store.read() as tx:
        floor = read_floor(tx)
        if wants_fragment():
            return make_response(render_template("inbox/_floor.html", floor=floor))
        parts = screen(hub, tx, who, Place("floor"))
    return make_response(render_template("inbox/floor.html", screen=parts, floor=floor))


def read_floor(tx: Tx) -> Floor:
    """Everything on the page, in a handful of queries however much waits."""
    queues, agents = queue_lines(tx), agent_lines(tx)
    wanted = _wanted_queue()
    chosen = next((queue for queue in queues if queue.id == wanted), None)
    lines = waiting_lines(tx, None if chosen is None else chosen.id)
    numbers = [line.conversation_id for line in lines] or [0]
    marks = ",".join("?" * len(numbers))
    rows = tx.sql(f"SELECT id, contact_id, subject, preview FROM conversation WHERE id IN ({marks})", *numbers)
    found = {number: (contact, subject or preview) for number, contact, subject, preview in rows.fetchall()}
    names = names_of(tx, {contact for contact, __ in found.values()})
    called = {agent.id: agent.name for agent in agents}
    waiting = [
        Waits(line, names.get(contact, _("Somebody")), subject, _pinned_to(line, called, tx.now))
        for line in lines
        for contact, subject in [found[line.conversation_id]]
    ]
    return Floor(tx.now, queues, agents, waiting, chosen)


def conversation_sheet(tx: Tx, who: Viewer, number: int) -> Sheet:
    """What can be done about a conversation."""
    conversation = conversation_for(tx, who.actor, number)
    queues = tx.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id)))
    return Sheet(
        "conversations",
        tx.now,
        conversation=conversation,
        person=names_of(tx, {conversation.contact_id})[conversation.contact_id],
        item=live_item(tx, number),
        owner=None if conversation.assignee_id is None else tx.get(Agent, conversation.assignee_id),
        why=list(why_waiting(tx, number)),
        agents=agent_lines(tx),
        queues=list(queues),
    )


def agent_sheet(tx: Tx, who: Viewer, number: int) -> Sheet:
    """What an agent has, and what can be done about it."""
    agent = tx.get(Agent, number)
    if agent is None or not agent.active:
        raise NotFound(_("There is no agent {number}.", number=number))
    owned = (
        select(Conversation)
        .where(Conversation.assignee_id == number, Conversation.state != "resolved")
        .order_by(col(Conversation.due_at).is_(None), col(Conversation.due_at), col(Conversation.id))
        .limit(SEEN)
    )
    rows = list(tx.exec(owned))
    names = names_of(tx, {row.contact_id for row in rows})
    has = [(row, names[row.contact_id]) for row in rows]
    return Sheet(
        "agents", tx.now, agent=agent, has=has, parked=parked_by(tx, number), wraps_until=wraps_until(tx, number)
    )


def queue_sheet(tx: Tx, who: Viewer, number: int) -> Sheet:
    """What can be done about a queue."""
    queue = tx.get(Queue, number)
    if queue is None or not queue.active:
        raise NotFound(_("There is no active queue {number}.", number=number))
    return Sheet("queues", tx.now, queue=queue)


SHEETS: Mapping[str, Callable[[Tx, Viewer, int], Sheet]] = {
    "conversations": conversation_sheet,
    "agents": agent_sheet,
    "queues": queue_sheet,
}


def _about_conversation(tx: Tx, actor: Actor, number: int, what: str, reason: str) -> Toast:
    undo = url_for("inbox.floor_conversations_do", number=number)
    before = conversation_for(tx, actor, number)
    was, queue_id = before.assignee_id, before.queue_id
    if what == "assign":
        given = work.assign(tx, actor, number, _number("agent"), reason)
        name = first_name(tx.get_one(Agent, given.agent_id).name)
        told = _("{name} has it now.", name=name)
        if over := given.over_capacity_by:
            told = _("{name} has it now, {over} over capacity.", name=name, over=over)
        back = {"do": "assign", "agent": str(was)} if was else {"do": "release"}
        return Toast(told, undo=undo, values=back)
    if what == "move":
        target = _number("queue")
        work.transfer(tx, actor, number, target, reason)
        moved = Toast(_("Moved to {name}.", name=tx.get_one(Queue, target).name))
        if was or queue_id in (None, target):
            return moved
        return Toast(moved.text, undo=undo, values={"do": "move", "queue": str(queue_id)})
    if what == "priority":
        commands.prioritise(tx, actor, number, _signed("priority"), reason)
        return Toast(_("It has another priority."))
    if what == "label":
        commands.label(tx, actor, number, _listed("labels"), reason)
        return Toast(_("It has other labels."))
    if what == "take":
        if was is None:
            work.claim(tx, actor, number)
        else:
            commands.take_over(tx, actor, number, reason)
        return Toast(_("It is yours."))
    if what == "release":
        work.release(tx, actor, number, reason)
        return Toast(_("Back in its queue."))
    if what == "unpin":
        commands.unpin(tx, actor, number, reason)
        return Toast(_("It waits in its turn."))
    agent_id = _number("agent") if what == "pin" else None
    if what not in ("pin", "next"):
        raise NotFound(_("There is no command {what}.", what=repr(what)))
    kept = _minutes() if what == "pin" and request.form.get("minutes") else commands.KEPT_FOR
    commands.pin(tx, actor, number, agent_id, kept=kept, reason=reason)
    who = _("whoever is free next") if agent_id is None else first_name(tx.get_one(Agent, agent_id).name)
    return Toast(_("Pinned: it goes to {who}.", who=who), undo=undo, values={"do": "unpin"})


def _about_agent(tx: Tx, actor: Actor, number: int, what: str, reason: str) -> Toast:
    undo = url_for("inbox.floor_agents_do", number=number)
    if what == "drain":
        drain(tx, actor, number, reason)
        return Toast(
            _("{name} finishes and gets nothing new.", name=_first(tx, number)), undo=undo, values={"do": "undrain"}
        )
    if what == "undrain":
        undrain(tx, actor, number, reason)
        return Toast(_("Work comes to {name} again.", name=_first(tx, number)), undo=undo, values={"do": "drain"})
    if what == "wrapped":
        end_wrap_up(tx, actor, number, reason)
        return Toast(_("{name} has done with wrapping up.", name=_first(tx, number)))
    if what not in ("available", "away", "offline"):
        raise NotFound(_("There is no command {what}.", what=repr(what)))
    give_back = None if what == "available" else request.form.get("give_back") == "on"
    work.set_status(tx, actor, number, what, reason or "by a supervisor", give_back=give_back)
    return Toast(_("{name} is {status}.", name=_first(tx, number), status=status_word(what).lower()))


def _about_queue(tx: Tx, actor: Actor, number: int, what: str, reason: str) -> Toast:
    if what == "pause":
        commands.pause(tx, actor, number, reason)
        told = _("{queue} is paused.", queue=tx.get_one(Queue, number).name)
    elif what == "resume":
        commands.resume(tx, actor, number, reason)
        told = _("{queue} goes on.", queue=tx.get_one(Queue, number).name)
    else:
        raise NotFound(_("There is no command {what}.", what=repr(what)))
    return Toast(told)


DOING: Mapping[str, Callable[[Tx, Actor, int, str, str], Toast]] = {
    "conversations": _about_conversation,
    "agents": _about_agent,
    "queues": _about_queue,
}


def _sheet_view(kind: str, read: Callable[[Tx, Viewer, int], Sheet]) -> Callable[[int], ResponseReturnValue]:
    def view(number: int) -> ResponseReturnValue:
        hub, who = hub_here(), _supervisor()
        with hub.store.read() as tx:
            sheet = read(tx, who, number)
            if wants_fragment():
                return make_response(render_template("inbox/_sheet.html", sheet=sheet, who=who))
            parts: Screen = screen(hub, tx, who, Place("floor"))
        return make_response(render_template("inbox/sheet.html", sheet=sheet, screen=parts, who=who))

    return view


def _doing_view(kind: str) -> Callable[[int], ResponseReturnValue]:
    def view(number: int) -> ResponseReturnValue:
        who, what = _supervisor(), request.form.get("do", "")
        try:
            with hub_here().store.write() as tx:
                toast = DOING[kind](tx, who.actor, number, what, commands.told(request.form.get("reason", "")))
        except (Conflict, Forbidden, NotFound) as refused:
            if not (wants_fragment() and request.form.get("sheet")):
                raise
            # The sheet lies above everything: what is wrong has to be said in it.
            status = 409 if isinstance(refused, Conflict) else 403 if isinstance(refused, Forbidden) else 404
            return make_response(render_template("inbox/_sheet_problem.html", sentence=str(refused)), status)
        if not wants_fragment():
            return redirect(url_for("inbox.floor"), 303)
        with hub_here().store.read() as tx:
            floor = read_floor(tx)
        return make_response(render_template("inbox/_floor_changed.html", floor=floor, toasts=[toast]))

    return view


@lru_cache(maxsize=1000)
def _waiting_row(one: Waits, pill: Pill | None, waits: str) -> str:
    """One waiting conversation as HTML, made again when its minutes change."""
    return Markup(render_template("inbox/_floor_waiting.html", one=one, pill=pill, waits=waits))


@lru_cache(maxsize=2000)
def _agent_row(agent: AgentLine, since: str, wraps: str) -> str:
    """One agent as HTML: of hundreds only a few differ from a second ago."""
    return Markup(render_template("inbox/_floor_agent.html", agent=agent, since=since, wraps=wraps))


def _supervisor() -> Viewer:
    who = viewer()
    who.actor.must(SUPERVISE)
    return who


def _pinned_to(line: WaitingLine, called: Mapping[int, str], now: datetime) -> str:
    if line.pin_agent_id is None or line.pin_until is None or line.pin_until <= now:
        return ""
    return first_name(called.get(line.pin_agent_id, "somebody"))


def _wanted_queue() -> int | None:
    wanted = request.values.get("only", "")
    return int(wanted) if wanted.isdecimal() and len(wanted) < 10 else None


def _first(tx: Tx, agent_id: int) -> str:
    return first_name(tx.get_one(Agent, agent_id).name)


def _listed(name: str) -> list[str]:
    return [part for part in request.form.get(name, "").split(",") if part.strip()]


def _number(name: str) -> int:
    value = request.form.get(name, "")
    if not value.isdecimal() or len(value) > 18:
        raise Conflict(_("Choose one: {name} is missing.", name=name))
    return int(value)


def _minutes() -> timedelta:
    return timedelta(minutes=min(_number("minutes"), 10_000))  # over a day is refused, however much it is


def _signed(name: str) -> int:
    value = request.form.get(name, "").strip()
    digits = value.removeprefix("-")
    if not digits.isdecimal() or len(digits) > 6:
        raise Conflict(_("A priority is a number."))
    return -int(digits) if value.startswith("-") else int(digits)
