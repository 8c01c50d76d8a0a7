"""Where a conversation stands: snoozed, woken, resolved, reopened."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import col, select

from config.language import N_, _
from hub.arrivals import arrival_again
from routing.locks import held, held_unmerged, hold
from routing.parking import follow_parking
from routing.sla import follow_conversation
from routing.work import close, enqueue
from routing.wrapups import end_wrap_up_of
from storage import Tx
from storage.access import ANSWER, SYSTEM, Actor, Conflict
from storage.conversations import Conversation
from storage.facts import ConversationReopened, ConversationResolved, ConversationSnoozed, ConversationWoken

TIME_CAME = N_("its time came")


def snooze(tx: Tx, actor: Actor, conversation_id: int, until: datetime | None) -> Conversation:
    """Out of sight until a moment, or with None until the customer writes. Its owner keeps it.

    Raises Conflict when the moment is past or the conversation is resolved.
    """
    actor.must(ANSWER)
    conversation = held_unmerged(tx, actor, conversation_id)
    if conversation.state == "resolved":
        raise Conflict(_("This conversation is resolved; reopen it first."))
    if until is not None and until <= tx.now:
        raise Conflict(_("Choose a moment in the future."))
    conversation.state, conversation.snoozed_until = "snoozed", until
    tx.add(conversation)
    tx.emit(ConversationSnoozed(conversation_id, until.isoformat() if until else "", by=actor.by))
    follow_conversation(tx, conversation_id)
    follow_parking(tx, conversation_id)
    tx.refresh(conversation)
    return conversation


def wake(tx: Tx, actor: Actor, conversation_id: int, why: str = N_("woken by hand")) -> Conversation:
    """Back into the list. Waking what is awake changes nothing."""
    actor.must(ANSWER)
    conversation = held(tx, actor, conversation_id)
    if conversation.state == "snoozed":  # read under the lock: it may have been resolved a moment ago
        conversation.state, conversation.snoozed_until = "open", None
        tx.add(conversation)
        tx.emit(ConversationWoken(conversation_id, why, by=actor.by))
        follow_conversation(tx, conversation_id)
        follow_parking(tx, conversation_id)
        tx.refresh(conversation)
    return conversation


def wake_due(tx: Tx) -> int:
    """Wake everything whose time has come; how many that were."""
    due = tx.exec(
        select(Conversation.id).where(Conversation.state == "snoozed", col(Conversation.snoozed_until) <= tx.now)
    ).all()
    hold(tx, [number for number in due if number is not None])
    for conversation_id in due:
        wake(tx, SYSTEM, conversation_id or 0, TIME_CAME)
    return len(due)


def resolve(tx: Tx, actor: Actor, conversation_id: int) -> Conversation:
    """Done: the work ends and the agent's room is free again. Resolving twice changes nothing."""
    actor.must(ANSWER)
    conversation = held(tx, actor, conversation_id)
    if conversation.state == "resolved":
        return conversation
    conversation.state, conversation.snoozed_until, conversation.waiting_since = "resolved", None, None
    tx.add(conversation)
    tx.flush()
    close(tx, actor.by, conversation_id, "resolve")
    tx.emit(ConversationResolved(conversation_id, by=actor.by))
    tx.refresh(conversation)
    return conversation


def reopen(tx: Tx, actor: Actor, conversation_id: int, why: str = N_("reopened by hand")) -> Conversation:
    """Open again, as new work that waits to be matched. Reopening what is open changes nothing."""
    actor.must(ANSWER)
    conversation = held_unmerged(tx, actor, conversation_id)
    if conversation.state != "resolved":
        return conversation
    conversation.state = "open"
    tx.add(conversation)
    tx.emit(ConversationReopened(conversation_id, why, by=actor.by))
    end_wrap_up_of(tx, conversation_id, actor.by)
    enqueue(tx, arrival_again(tx, conversation))
    tx.refresh(conversation)
    return conversation
