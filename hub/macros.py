"""Macros: a reply or note, tags, an owner or queue, a priority and an end, all in one unit and taken back as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import sha256
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import select

from channels.text import storable
from config.language import _
from hub import lifecycle, replies
from hub.refusals import FieldRefused
from hub.slots import fill, must_be_known, must_be_whole, values_of
from hub.tags import tag, untag
from routing import work
from routing.commands import set_priority
from routing.ladder import HIGHEST, span
from storage import Tx
from storage.access import ANSWER, REPLIES, Actor, Conflict, NotFound, conversation_for
from storage.conversations import Conversation, Message
from storage.desk import touch_desk
from storage.facts import DeskChanged, MacroRun
from storage.macros import Macro

MAX_NAME, MAX_TEXT = 64, 20_000  # characters


class Does(BaseModel):
    """What a macro does, in the order it does it. `assign` is 0 for whoever runs it; `snooze` 0 until they reply."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reply: str = Field(default="", max_length=MAX_TEXT)
    note: str = Field(default="", max_length=MAX_TEXT)
    tags: tuple[str, ...] = ()
    untag: tuple[str, ...] = ()
    assign: int | None = None
    queue_id: int | None = None
    priority: int | None = Field(default=None, ge=-HIGHEST, le=HIGHEST)
    then: Literal["", "resolve", "snooze"] = ""
    snooze: int = Field(default=0, ge=0)

    @property
    def problem(self) -> str:
        """Why it makes no sense; empty when it does."""
        if not any((self.reply, self.note, self.tags, self.untag, self.queue_id, self.then)) and (
            self.assign is None and self.priority is None
        ):
            return _("It does nothing yet.")
        if self.assign is not None and self.queue_id is not None:
            return _("Give it to somebody or to a queue, not to both.")
        if self.then == "resolve" and (self.assign is not None or self.queue_id is not None):
            return _("What is resolved has no owner and no queue: leave those out, or don't resolve it.")
        if both := sorted(set(self.tags) & set(self.untag)):
            return _("It puts the tag “{tag}” on and takes it off.", tag=both[0])
        return ""

    @property
    def leaves(self) -> bool:
        """Whether the conversation leaves the list of whoever runs it."""
        return bool(self.then or self.queue_id or self.assign)


@dataclass(frozen=True, slots=True)
class Back:
    """What there was before, to take something back."""

    conversation_id: int
    message_id: int = 0
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    priority: int | None = None
    queue_id: int | None = None
    assignee_id: int | None = None
    state: str = ""
    snoozed_until: str = ""
    left: str = ""  # `stamp` of how the deed left it

    @property
    def stamp(self) -> str:
        """The same for the same place, owner, state and priority."""
        stands = (self.priority, self.queue_id, self.assignee_id, self.state, self.snoozed_until)
        return sha256(repr(stands).encode()).hexdigest()[:12]

    @classmethod
    def of(cls, conversation: Conversation) -> Back:
        """How it is now."""
        until = conversation.snoozed_until
        return cls(
            conversation.id or 0, priority=conversation.priority, queue_id=conversation.queue_id,
            assignee_id=conversation.assignee_id, state=conversation.state,
            snoozed_until=until.isoformat() if until else "",
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def macros(tx: Tx) -> list[Macro]:
    """All of them, by the alphabet."""
    return sorted(tx.exec(select(Macro)), key=lambda row: row.name.lower())


def macro(tx: Tx, number: int) -> Macro:
    """One of them. Raises NotFound."""
    row = tx.get(Macro, number)
    if row is None:
        raise NotFound(_("There is no macro {number}: somebody deleted it.", number=number))
    return row


def reply_of(tx: Tx, actor: Actor, conversation: Conversation, row: Macro, zone: tzinfo = UTC) -> str:
    """The reply of a macro, filled in for a conversation."""
    return fill(Does.model_validate(row.does).reply, values_of(tx, actor, conversation, zone))


def run(
    tx: Tx, actor: Actor, conversation_id: int, row: Macro, reply: Callable[[], Message] | None = None
) -> tuple[Back, Message | None]:
    """Do all of it or nothing. The reply, if there is one, is written by `reply`, because its author has seen it.

    Raises what each of its parts raises.
    """
    actor.must(ANSWER)
    does = Does.model_validate(row.does)
    conversation = conversation_for(tx, actor, conversation_id)
    if does.reply and reply is None:
        raise Conflict(_("This macro writes a reply: look at it and send it."))
    note = fill(does.note, values_of(tx, actor, conversation)) if does.note else ""
    must_be_whole(note)
    back = Back.of(conversation)
    message = reply() if reply else None
    if note:
        replies.note(tx, actor, conversation_id, note, keep_draft=True)
    added, removed = tag(tx, actor, conversation_id, does.tags), untag(tx, actor, conversation_id, does.untag)
    if does.priority is not None and does.priority != conversation.priority:
        set_priority(tx, actor, conversation_id, does.priority, f"macro {row.name}")
    tx.emit(MacroRun(conversation_id, row.name, by=actor.by))
    _end(tx, actor, conversation_id, does)
    return replace(back, message_id=message.id or 0 if message else 0, added=added, removed=removed), message


def _end(tx: Tx, actor: Actor, conversation_id: int, does: Does) -> None:
    """What may take it out of the actor's sight comes last."""
    if does.then == "resolve":
        lifecycle.resolve(tx, actor, conversation_id)
    elif does.then == "snooze":
        lifecycle.snooze(tx, actor, conversation_id, tx.now + timedelta(seconds=does.snooze) if does.snooze else None)
    if does.assign is not None:
        if actor.agent_id is None and not does.assign:
            raise Conflict(_("This macro gives it to whoever runs it: only an agent can."))
        work.assign(tx, actor, conversation_id, does.assign or actor.agent_id or 0)
    elif does.queue_id is not None:
        work.transfer(tx, actor, conversation_id, does.queue_id)


def take_back(tx: Tx, actor: Actor, back: Back) -> None:
    """Make it as it was; a note stays. The actor ran it a moment ago, so it does not matter who may see it now.

    Raises Conflict when its reply has left already; then nothing is taken back.
    """
    actor = replace(actor, role="system", granted=None)
    number = back.conversation_id
    if back.message_id:
        replies.undo(tx, actor, back.message_id)
        tx.flush()
    now = conversation_for(tx, actor, number)
    tx.refresh(now)
    if now.state == "resolved" and back.state != "resolved":
        lifecycle.reopen(tx, actor, number)
    elif now.state == "snoozed" and back.state == "open":
        lifecycle.wake(tx, actor, number)
    if back.state != "resolved":
        _give_back(tx, actor, number, back)
    if back.state == "snoozed":
        until = datetime.fromisoformat(back.snoozed_until) if back.snoozed_until else None
        if (now.state, now.snoozed_until) != ("snoozed", until) and (until is None or until > tx.now):
            lifecycle.snooze(tx, actor, number, until)
    untag(tx, actor, number, back.added)
    tag(tx, actor, number, back.removed)


def _give_back(tx: Tx, actor: Actor, number: int, back: Back) -> None:
    now = conversation_for(tx, actor, number)
    tx.refresh(now)
    if back.queue_id is not None and now.queue_id != back.queue_id:
        work.transfer(tx, actor, number, back.queue_id)
    tx.refresh(now)
    if back.assignee_id is None and now.assignee_id is not None:
        work.release(tx, actor, number)
    elif back.assignee_id is not None and now.assignee_id != back.assignee_id:
        work.assign(tx, actor, number, back.assignee_id)
    tx.refresh(now)
    if back.priority is not None and now.priority != back.priority:
        set_priority(tx, actor, number, back.priority)


def in_words(does: Does, agents: Mapping[int, str], queues: Mapping[int, str], *, reply: bool = True) -> list[str]:
    """What it does, part by part, with the names of those at hand; without the `reply` where it is to be seen."""
    told = [_("replies")] if does.reply and reply else []
    told += [_("leaves a note")] if does.note else []
    told += [_("tags {tags}", tags=", ".join(does.tags))] if does.tags else []
    told += [_("takes off {tags}", tags=", ".join(does.untag))] if does.untag else []
    if does.priority is not None:
        told.append(_("gives it priority {priority}", priority=does.priority))
    if does.assign is not None:
        agent = agents.get(does.assign)
        known = _("gives it to {agent}", agent=agent) if agent else _("gives it to somebody who is gone")
        told.append(known if does.assign else _("gives it to you"))
    if does.queue_id is not None:
        queue = queues.get(does.queue_id)
        told.append(_("moves it to {queue}", queue=queue) if queue else _("moves it to a queue that is gone"))
    if does.then == "resolve":
        told.append(_("resolves it"))
    elif does.then:
        told.append(
            _("snoozes it for {span}", span=span(does.snooze)) if does.snooze else _("snoozes it until they reply")
        )
    return told


@dataclass(frozen=True, slots=True)
class Wanted:
    """A macro as somebody wants it."""

    name: str
    does: Does


def create(tx: Tx, actor: Actor, wanted: Wanted) -> Macro:
    """Add one. Raises FieldRefused and Forbidden."""
    actor.must(REPLIES)
    row = Macro(name=_checked(tx, wanted, None), does=_stored(wanted.does))
    tx.add(row)
    tx.flush()
    _tell(tx, actor, row, "added")
    return row


def change(tx: Tx, actor: Actor, number: int, wanted: Wanted, seen: str) -> Macro:
    """Let it do something else. Raises FieldRefused, Forbidden, NotFound, and Conflict when `seen` is not its stamp."""
    actor.must(REPLIES)
    row = macro(tx, number)
    if stamp(row) != seen:
        raise Conflict(
            _("Somebody changed “{name}” meanwhile. Reload the page; what you typed is still here.", name=row.name)
        )
    row.name, row.does = _checked(tx, wanted, number), _stored(wanted.does)
    tx.add(row)
    _tell(tx, actor, row, "changed")
    return row


def delete(tx: Tx, actor: Actor, number: int) -> Macro:
    """Take one away. Raises NotFound and Forbidden."""
    actor.must(REPLIES)
    row = macro(tx, number)
    tx.delete(row)
    _tell(tx, actor, row, "deleted")
    return row


def stamp(row: Macro) -> str:
    """What a form carries to know whether somebody else was faster."""
    return sha256(repr((row.name, sorted(row.does.items()))).encode()).hexdigest()[:16]


def _checked(tx: Tx, wanted: Wanted, number: int | None) -> str:
    name = " ".join(storable(wanted.name).split())
    if not 0 < len(name) <= MAX_NAME:
        raise FieldRefused("name", _("A name has one to {max_name} characters.", max_name=MAX_NAME))
    same = tx.exec(select(Macro.id).where(Macro.name == name)).first()
    if same is not None and same != number:
        raise FieldRefused("name", _("“{name}” is taken; choose another name.", name=name))
    for place in ("reply", "note"):
        try:
            must_be_known(getattr(wanted.does, place))
        except ValueError as error:
            raise FieldRefused(place, _("{error}.", error=error)) from None
    if wanted.does.problem:
        raise FieldRefused("form", wanted.does.problem)
    return name


def _stored(does: Does) -> dict[str, Any]:
    """Only what it does, so that two macros that do the same are equal."""
    return does.model_dump(mode="json", exclude_defaults=True)


def _tell(tx: Tx, actor: Actor, row: Macro, what: str) -> None:
    touch_desk(tx)
    tx.emit(DeskChanged(f"macro {row.name} {what}", by=actor.by))
