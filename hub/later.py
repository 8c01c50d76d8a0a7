"""Replies for later: they wait beside the queue, leave at their moment, or are held when the customer wrote before."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import col, select

from channels.base import DeliveryState
from config.language import _
from hub import drafts
from hub.delivery import deliver
from routing.locks import held, hold
from routing.work import answered
from storage import Tx
from storage.access import ANSWER, SYSTEM, Actor, Conflict, NotFound
from storage.conversations import Conversation, Message
from storage.facts import ReplyHeld, ReplyQueued, ReplyScheduled
from storage.later import LaterReply

FURTHEST = timedelta(days=400)
AT_ONCE = 50  # replies that leave in one unit


def wait_for(
    tx: Tx, actor: Actor, conversation: Conversation, message: Message, at: datetime, unless_they_write: bool
) -> None:
    """Let a written reply wait; it answers nothing until it leaves. Raises Conflict for a moment that is none."""
    if not tx.now < at <= tx.now + FURTHEST:
        raise Conflict(_("Choose a moment in the coming year."))
    message.send_after = at
    conversation.message_count += 1
    tx.add(message)
    tx.add(conversation)
    tx.flush()
    tx.emit(ReplyScheduled(conversation.id or 0, message.id or 0, by=actor.by))
    tx.add(LaterReply(message_id=message.id or 0, at=at, unless_they_write=unless_they_write))


def waiting_of(tx: Tx, message_ids: list[int]) -> dict[int, LaterReply]:
    """Which of these messages wait, by message."""
    if not message_ids:
        return {}
    rows = tx.exec(select(LaterReply).where(col(LaterReply.message_id).in_(message_ids)))
    return {row.message_id: row for row in rows}


def stop_waiting(tx: Tx, message_id: int) -> bool:
    """Take a reply out of the line; False when it does not wait (any more)."""
    return tx.sql("DELETE FROM later_reply WHERE message_id = ?", message_id).rowcount == 1


def send_now(tx: Tx, actor: Actor, message_id: int) -> Message:
    """Let it leave at once. Raises Conflict when it has, and NotFound."""
    actor.must(ANSWER)
    message = tx.get(Message, message_id)
    if message is None:
        raise NotFound(_("There is no reply {message_id}.", message_id=message_id))
    held(tx, actor, message.conversation_id)
    if not stop_waiting(tx, message_id):
        raise Conflict(_("It does not wait any more."))
    tx.refresh(message)
    _leave(tx, message)
    return message


def leave_due(tx: Tx) -> int:
    """Let everything leave whose moment has come, or hold it; how many that were. Any number of nodes may call it."""
    due = tx.exec(select(LaterReply).where(LaterReply.at <= tx.now).order_by(col(LaterReply.at)).limit(AT_ONCE)).all()
    if not due:
        return 0
    messages = {row.message_id: tx.get_one(Message, row.message_id) for row in due}
    hold(tx, [message.conversation_id for message in messages.values()])
    done = 0
    for row in due:
        message = messages[row.message_id]
        unless = row.unless_they_write
        tx.expunge(row)
        if not stop_waiting(tx, row.message_id):
            continue  # another node, or its author, was faster
        done += 1
        if unless and _they_wrote(tx, message):
            _hold_back(tx, message)
        else:
            _leave(tx, message)
    return done


def _leave(tx: Tx, message: Message) -> None:
    """Now it is an answer."""
    message.send_after = tx.now
    tx.add(message)
    conversation = tx.get_one(Conversation, message.conversation_id)
    tx.refresh(conversation)
    if not _they_wrote(tx, message):
        conversation.waiting_since = None
    if (message.id or 0) > conversation.last_message_id:
        conversation.last_message_id = message.id or 0
        conversation.preview = " ".join(message.text.split())[:140]
    conversation.last_at = tx.now
    tx.add(conversation)
    tx.flush()
    deliver(
        tx, "channel", f"channel:{message.channel_id}", message.uuid or "", {"message_id": message.id},
        message_id=message.id,
    )  # fmt: skip
    by = f"agent:{message.agent_id}" if message.agent_id is not None else SYSTEM.by
    tx.emit(ReplyQueued(message.conversation_id, message.id or 0, message.channel, by=by))
    if conversation.waiting_since is None:
        answered(tx, message.conversation_id, message.agent_id)


def _hold_back(tx: Tx, message: Message) -> None:
    message.state, message.state_at = DeliveryState.DRAFT.value, tx.now
    tx.add(message)
    tx.flush()
    if message.agent_id is not None:
        drafts.take_back(tx, message.agent_id, message)
    tx.emit(ReplyHeld(message.conversation_id, message.id or 0, by=SYSTEM.by))


def _they_wrote(tx: Tx, message: Message) -> bool:
    newer = tx.sql(
        "SELECT 1 FROM message WHERE conversation_id = ? AND kind = 'inbound' AND automatic = '' AND id > ? LIMIT 1",
        message.conversation_id, message.id,
    )  # fmt: skip
    return newer.fetchone() is not None
