"""Conversations: lists, messages, answers, notes and who has them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from flask import request
from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import col, select

from api import shapes
from api.errors import Refused
from api.routes import Part, aware
from api.tokens import actor_here
from hub import views
from hub.lifecycle import reopen, resolve, snooze, wake
from hub.participants import others_in
from hub.replies import note, reply
from hub.viewfields import states_of
from hub.web import hub_here
from routing.commands import told
from routing.presence import acting_agent
from routing.pull import choices
from routing.work import assign, claim, release, take_next, transfer, why_assigned, why_waiting
from storage import Tx
from storage.access import Actor, NotFound, conversation_for, listed, visible
from storage.clocks import running_clocks
from storage.conversations import Attachment, Conversation, Message, attachments_of
from storage.desk import ChannelAccount, Queue, channel_by_name
from storage.idempotency import answered_before, remember
from storage.people import Agent, Contact
from storage.work import latest_labels

part = Part("conversations", "Conversations")

KEY_CHARS = 255


@part.get("/conversations", query=shapes.ConversationsQuery, gives=shapes.ConversationPage)
def list_conversations(asked: shapes.ConversationsQuery) -> dict[str, Any]:
    """List conversations, newest activity first, without the empty ones that are merged into others."""
    with hub_here().store.read() as tx:
        query = select(Conversation).where(listed(actor_here()), *_conditions(tx, asked))
        if asked.cursor:
            at, number = _read_cursor(asked.cursor)
            older = and_(col(Conversation.last_at) == at, col(Conversation.id) < number)
            query = query.where(or_(col(Conversation.last_at) < at, older))
        query = query.order_by(col(Conversation.last_at).desc(), col(Conversation.id).desc())
        rows = list(tx.exec(query.limit(asked.limit + 1)))
        page = rows[: asked.limit]
        following = _cursor(page[-1]) if len(rows) > asked.limit else None
        return {"conversations": shown(tx, page), "next": following}


@part.get("/conversations/choices", gives=shapes.ConversationList)
def list_choices() -> dict[str, Any]:
    """What the token's agent may take by hand now, the most urgent of each kind first.

    Work of a queue that the agent's own has joined is theirs to take by `next`, and shown once it is theirs.
    """
    with hub_here().store.read() as tx:
        numbers = [item.conversation_id for item in choices(tx, acting_agent(tx, actor_here()).id or 0)]
        rows = {
            row.id: row
            for row in tx.exec(select(Conversation).where(col(Conversation.id).in_(numbers), visible(actor_here())))
        }
        return {"conversations": shown(tx, [rows[number] for number in numbers if number in rows])}


@part.post("/conversations/next", gives=shapes.ConversationDetail, refuses=(403, 409))
def take_next_conversation() -> dict[str, Any]:
    """Take the most urgent that waits for somebody like the token's agent."""
    with hub_here().store.write() as tx:
        taken = tx.get_one(Conversation, take_next(tx, actor_here()).conversation_id)
        tx.flush()
        tx.refresh(taken)
        return _detailed(tx, taken)


@part.get("/conversations/<int:conversation_id>", gives=shapes.ConversationDetail)
def get_conversation(conversation_id: int) -> dict[str, Any]:
    """One conversation, with the reasons why it is where it is."""
    with hub_here().store.read() as tx:
        return _detail(tx, actor_here(), conversation_id)


@part.get("/conversations/<int:conversation_id>/messages", query=shapes.PageQuery, gives=shapes.MessagePage)
def list_messages(conversation_id: int, asked: shapes.PageQuery) -> dict[str, Any]:
    """Its messages and notes, oldest first; `before` pages back."""
    with hub_here().store.read() as tx:
        conversation_for(tx, actor_here(), conversation_id)
        query = select(Message).where(Message.conversation_id == conversation_id, Message.state != "draft")
        return message_page(tx, query, asked, newest_first=False)


@part.post(
    "/conversations/<int:conversation_id>/replies",
    body=shapes.ReplyIn,
    gives=shapes.Message,
    status=201,
    refuses=(403, 409),
)
def send_reply(conversation_id: int, asked: shapes.ReplyIn) -> dict[str, Any]:
    """Answer the customer.

    With an `Idempotency-Key` header the same request again gives the same message and sends nothing twice.
    """
    hub = hub_here()

    def write(tx: Tx, actor: Actor) -> Message:
        return reply(
            tx, actor, conversation_id, text=asked.text, html=asked.html, cc=asked.cc, bcc=asked.bcc, tokens=hub.tokens,
            channel_id=_channel_id(tx, asked.channel),
            seen_message_id=asked.seen_message_id, then=asked.then, undo_seconds=asked.undo_seconds,
            send_at=None if asked.send_at is None else aware(asked.send_at, "send_at"),
            unless_they_write=asked.unless_they_write,
        )  # fmt: skip

    return _written_once(conversation_id, write)


@part.post("/conversations/<int:conversation_id>/notes", body=shapes.NoteIn, gives=shapes.Message, status=201)
def add_note(conversation_id: int, asked: shapes.NoteIn) -> dict[str, Any]:
    """Leave a note for the team. `Idempotency-Key` works as with replies."""
    return _written_once(conversation_id, lambda tx, actor: note(tx, actor, conversation_id, asked.text))


@part.post("/conversations/<int:conversation_id>/claim", gives=shapes.ConversationDetail, refuses=(403, 409))
def claim_conversation(conversation_id: int) -> dict[str, Any]:
    """Take it; the token has to belong to an agent."""
    return changed(conversation_id, lambda tx, actor: claim(tx, actor, conversation_id))


@part.post(
    "/conversations/<int:conversation_id>/assign",
    body=shapes.AssignIn,
    gives=shapes.ConversationDetail,
    refuses=(403, 409),
)
def assign_conversation(conversation_id: int, asked: shapes.AssignIn) -> dict[str, Any]:
    """Give it to an agent; a supervisor may exceed the agent's capacity."""
    return changed(
        conversation_id, lambda tx, actor: assign(tx, actor, conversation_id, asked.agent_id, told(asked.reason))
    )


@part.post(
    "/conversations/<int:conversation_id>/transfer",
    body=shapes.TransferIn,
    gives=shapes.ConversationDetail,
    refuses=(403, 409),
)
def transfer_conversation(conversation_id: int, asked: shapes.TransferIn) -> dict[str, Any]:
    """Put it into another queue. The answer is the last look for somebody who does not serve that queue."""
    return changed(
        conversation_id, lambda tx, actor: transfer(tx, actor, conversation_id, asked.queue_id, told(asked.reason))
    )


@part.post("/conversations/<int:conversation_id>/release", gives=shapes.ConversationDetail, refuses=(403, 409))
def release_conversation(conversation_id: int) -> dict[str, Any]:
    """Give it back to its queue."""
    return changed(conversation_id, lambda tx, actor: release(tx, actor, conversation_id))


@part.post(
    "/conversations/<int:conversation_id>/snooze", body=shapes.SnoozeIn, gives=shapes.ConversationDetail, refuses=(409,)
)
def snooze_conversation(conversation_id: int, asked: shapes.SnoozeIn) -> dict[str, Any]:
    """Put it out of sight until a moment or until the customer writes."""
    until = None if asked.until is None else aware(asked.until, "until")
    return changed(conversation_id, lambda tx, actor: snooze(tx, actor, conversation_id, until))


@part.post("/conversations/<int:conversation_id>/wake", gives=shapes.ConversationDetail)
def wake_conversation(conversation_id: int) -> dict[str, Any]:
    """Bring a snoozed one back."""
    return changed(conversation_id, lambda tx, actor: wake(tx, actor, conversation_id))


@part.post("/conversations/<int:conversation_id>/resolve", gives=shapes.ConversationDetail)
def resolve_conversation(conversation_id: int) -> dict[str, Any]:
    """Done."""
    return changed(conversation_id, lambda tx, actor: resolve(tx, actor, conversation_id))


@part.post("/conversations/<int:conversation_id>/reopen", gives=shapes.ConversationDetail)
def reopen_conversation(conversation_id: int) -> dict[str, Any]:
    """Not done after all."""
    return changed(conversation_id, lambda tx, actor: reopen(tx, actor, conversation_id))


def shown(tx: Tx, rows: list[Conversation]) -> list[dict[str, Any]]:
    """Conversations with the names of their contact, queue and agent."""
    people = _named(tx, Contact, [row.contact_id for row in rows], lambda contact: contact.shown)
    queues = _named(tx, Queue, [row.queue_id for row in rows], lambda queue: queue.name)
    agents = _named(tx, Agent, [row.assignee_id for row in rows], lambda agent: agent.name)
    return [
        row.model_dump()
        | {
            "contact": people[row.contact_id],
            "queue": queues.get(row.queue_id),
            "assignee": agents.get(row.assignee_id),
        }
        for row in rows
    ]


def message_page(tx: Tx, query: Any, asked: shapes.PageQuery, *, newest_first: bool) -> dict[str, Any]:
    """A page of messages and the id to go on from."""
    if asked.before is not None:
        query = query.where(col(Message.id) < asked.before)
    rows = list(tx.exec(query.order_by(col(Message.id).desc()).limit(asked.limit + 1)))
    page = rows[: asked.limit]
    following = page[-1].id if len(rows) > asked.limit else None
    return {"messages": _messages(tx, page if newest_first else page[::-1]), "next": following}


def _messages(tx: Tx, rows: list[Message]) -> list[dict[str, Any]]:
    files = attachments_of(tx, [row.id or 0 for row in rows])
    agents = _named(tx, Agent, [row.agent_id for row in rows], lambda agent: agent.name)
    return [
        row.model_dump()
        | {"to": row.to_address, "agent": agents.get(row.agent_id), "attachments": _files(files.get(row.id or 0, []))}
        for row in rows
    ]


def _files(files: list[Attachment]) -> list[dict[str, Any]]:
    return [{"id": f.id, "name": f.name, "content_type": f.content_type, "size": f.size} for f in files]


def _named(tx: Tx, model: Any, ids: list[int | None], name: Callable[[Any], str]) -> dict[int | None, dict[str, Any]]:
    wanted = {number for number in ids if number is not None}
    if not wanted:
        return {}
    return {row.id: {"id": row.id, "name": name(row)} for row in tx.exec(select(model).where(model.id.in_(wanted)))}


def _detail(tx: Tx, actor: Actor, conversation_id: int) -> dict[str, Any]:
    return _detailed(tx, conversation_for(tx, actor, conversation_id))


def _detailed(tx: Tx, found: Conversation) -> dict[str, Any]:
    number = found.id or 0
    reasons = {"why_assigned": why_assigned(tx, number), "why_waiting": why_waiting(tx, number)}
    participants = [each.model_dump() for each in others_in(tx, found)]
    targets = [clock.model_dump() for clock in running_clocks(tx, number)]
    parts = {"participants": participants, "targets": targets, "labels": latest_labels(tx, number)}
    return shown(tx, [found])[0] | reasons | parts


def changed(conversation_id: int, verb: Callable[[Tx, Actor], object]) -> dict[str, Any]:
    """Do it, and answer with how the conversation stands afterwards."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        found = conversation_for(tx, actor, conversation_id)
        verb(tx, actor)
        tx.flush()
        tx.refresh(found)
        return _detailed(tx, found)


def _written_once(conversation_id: int, write: Callable[[Tx, Actor], Message]) -> dict[str, Any]:
    """Write a message; under an Idempotency-Key at most once, and the answer is the same message again."""
    actor, key = actor_here(), request.headers.get("Idempotency-Key", "").strip()
    if len(key) > KEY_CHARS or not key.isprintable():
        raise Refused(400, "bad_request", f"An Idempotency-Key has at most {KEY_CHARS} printable characters.")
    digest = sha256(f"{request.path}\n".encode() + request.get_data()).hexdigest()
    with hub_here().store.write() as tx:
        conversation_for(tx, actor, conversation_id)
        before = answered_before(tx, actor, key, digest) if key else None
        if before is None:
            message = write(tx, actor)
            tx.flush()
            if key:
                remember(tx, actor, key, message.id or 0)
        else:
            message = tx.get_one(Message, before)
        return _messages(tx, [message])[0]


def _channel_id(tx: Tx, name: str | None) -> int | None:
    if name is None:
        return None
    account: ChannelAccount | None = channel_by_name(tx, name)
    if account is None or not account.active:
        raise NotFound(f"There is no active channel called {name!r}.")
    return account.id


def _conditions(tx: Tx, asked: shapes.ConversationsQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.state:
        found.append(col(Conversation.state) == asked.state)
    if asked.channel:
        found.append(col(Conversation.channel) == asked.channel)
    if asked.assignee:
        found.append(_assignee(asked.assignee))
    if asked.queue is not None:
        named = Queue.id == int(asked.queue) if asked.queue.isdecimal() else Queue.name == asked.queue
        found.append(col(Conversation.queue_id).in_(select(Queue.id).where(named)))
    if asked.contact is not None:
        person = select(Contact.person_id).where(Contact.id == asked.contact)
        records = select(Contact.id).where(col(Contact.person_id).in_(person))
        found.append(col(Conversation.contact_id).in_(records))
    if asked.view is not None:
        condition = views.view(tx, actor_here(), asked.view).condition
        found += [views.has(tx, condition, actor_here().agent_id), col(Conversation.state).in_(states_of(condition))]
    if asked.updated_after is not None:
        found.append(col(Conversation.last_at) > aware(asked.updated_after, "updated_after"))
    return found


def _assignee(asked: str) -> ColumnElement[bool]:
    if asked == "none":
        return col(Conversation.assignee_id).is_(None)
    if asked == "me":
        agent_id = actor_here().agent_id
        if agent_id is None:
            raise Refused(422, "invalid", 'assignee "me" needs a token that belongs to an agent.')
        return col(Conversation.assignee_id) == agent_id
    return col(Conversation.assignee_id) == int(asked)


def _cursor(last: Conversation) -> str:
    return base64.urlsafe_b64encode(f"{last.last_at.isoformat()} {last.id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        at, _, number = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(" ")
        return datetime.fromisoformat(at).astimezone(UTC), int(number)
    except (ValueError, binascii.Error) as error:
        raise Refused(422, "invalid", "cursor has to be `next` of the page before.") from error
