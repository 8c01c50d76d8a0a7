"""Dividing a conversation at a message, and making two of one person one; both taken back.

Only messages move, as they are: what answers one of them finds the conversation in which it is now, also by the
signed reference that names the old one (`hub.threads`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from sqlmodel import col, select

from config.language import N_, _
from hub import drafts
from hub.arrivals import arrival_again
from hub.lifecycle import reopen, resolve, wake
from hub.macros import Back, take_back
from hub.replies import waited_since
from hub.tags import tag, untag
from routing.locks import held, hold
from routing.parking import follow_parking
from routing.rules import rule_book
from routing.sla import follow_conversation
from routing.work import claim, enqueue
from storage import Tx
from storage.access import ANSWER, SYSTEM, Actor, Conflict, NotFound, conversation_for
from storage.batches import batches, placeholders
from storage.conversations import Conversation, Message
from storage.facts import ConversationOpened
from storage.moves import ConversationMove
from storage.people import Agent, Contact
from storage.tags import ConversationTag, Tag, tags_of
from storage.teamfacts import ConversationsMerged, ConversationsParted, ConversationSplit

COUNTED = (
    "SELECT count(*), COALESCE(max(id), 0), COALESCE(max(CASE WHEN kind = 'inbound' THEN id END), 0), "
    "COALESCE(max(CASE WHEN kind <> 'note' THEN id END), 0) FROM message WHERE conversation_id = ? AND state <> 'draft'"
)
SHARED = (  # what belongs to a conversation as a whole goes along with both parts
    "INSERT INTO participant(conversation_id, address, name, how, contact_id, created_at) "
    "SELECT ?, address, name, how, contact_id, ? FROM participant WHERE conversation_id = ? "
    "ON CONFLICT (conversation_id, address) DO NOTHING"
)
UNSHARED = (  # those that came at that moment and are as they came
    "DELETE FROM participant WHERE conversation_id = ? AND created_at = ? AND EXISTS (SELECT 1 FROM participant s "
    "WHERE s.conversation_id = ? AND s.address = participant.address AND s.how = participant.how "
    "AND COALESCE(s.contact_id, 0) = COALESCE(participant.contact_id, 0))"
)
READ = (
    "INSERT INTO reading(agent_id, conversation_id, message_id, at) SELECT agent_id, ?, message_id, at FROM reading "
    "WHERE conversation_id = ? ON CONFLICT (agent_id, conversation_id) DO NOTHING"
)


def split(tx: Tx, actor: Actor, conversation_id: int, message_id: int) -> ConversationMove:
    """A message and all after it become a conversation of their own, which is new work.

    Whoever has the old one has the new one as well, if there is room and rules give it to nobody else's queue. Raises
    NotFound, and Conflict for the first.
    """
    actor.must(ANSWER)
    source = held(tx, actor, conversation_id)
    query = select(Message).where(Message.conversation_id == conversation_id).order_by(col(Message.id))
    messages = list(tx.exec(query))
    moving = [each for each in messages if (each.id or 0) >= message_id]
    if not any(each.id == message_id for each in moving):
        raise NotFound(_("There is no message {message_id} in this conversation.", message_id=message_id))
    if len(moving) == len(messages):
        raise Conflict(_("This is the first message: there is nothing to part it from."))
    written = [each for each in moving if each.kind == "inbound"]
    first = written[0] if written else moving[0]
    fresh = Conversation(
        contact_id=_whose(tx, written, source),
        subject=first.subject or " ".join(first.visible_text.split())[:100] or source.subject,
        channel=source.channel, last_at=tx.now, created_at=tx.now,
    )  # fmt: skip
    tx.add(fresh)
    tx.flush()
    number = fresh.id or 0
    tx.emit(ConversationOpened(number, fresh.contact_id, fresh.channel, by=actor.by))
    move = _moved(tx, actor, "split", conversation_id, number, [each.id or 0 for each in moving])
    tx.sql(SHARED, number, tx.now, conversation_id)
    tx.sql(READ, number, conversation_id)
    source.divided = True
    tx.add(source)
    mine = source.assignee_id is not None and source.assignee_id == actor.agent_id and source.state != "resolved"
    recount(tx, source)
    recount(tx, fresh)
    enqueue(tx, arrival_again(tx, fresh))
    if mine:
        with suppress(Conflict, NotFound):  # no room, or a queue of others: it waits there like anything else
            claim(tx, actor, number)
    _follow(tx, conversation_id)
    tx.emit(ConversationSplit(conversation_id, number, move.id or 0, by=actor.by))
    return move


def merge(tx: Tx, actor: Actor, survivor_id: int, other_id: int) -> ConversationMove:
    """Everything of another conversation of the same person comes into this one; the other one is empty and resolved.

    Raises NotFound, and Conflict where they are different people's or one is merged already.
    """
    actor.must(ANSWER)
    if survivor_id == other_id:
        raise Conflict(_("Choose another conversation to merge with this one."))
    hold(tx, [survivor_id, other_id])
    survivor, other = (conversation_for(tx, actor, number) for number in (survivor_id, other_id))
    for row in (survivor, other):
        tx.refresh(row)
        if row.merged_into_id is not None:
            raise Conflict(_("Conversation {id} is merged into another one already.", id=row.id))
    if _person(tx, survivor) != _person(tx, other):
        raise Conflict(_("They are of different people: if those are one, merge the people first."))
    return _join(tx, actor, survivor, other)


def _join(tx: Tx, actor: Actor, survivor: Conversation, other: Conversation) -> ConversationMove:
    survivor_id, other_id = survivor.id or 0, other.id or 0
    before, open_ = Back.of(other), other.state != "resolved"
    resolve(tx, SYSTEM, other_id)
    messages = list(tx.exec(select(Message.id).where(Message.conversation_id == other_id).order_by(col(Message.id))))
    move = _moved(tx, actor, "merge", other_id, survivor_id, [number or 0 for number in messages])
    move.before = before.as_dict()
    tx.sql(SHARED, survivor_id, tx.now, other_id)
    drafts.join(tx, other_id, survivor_id)
    tag(tx, actor, survivor_id, tags_of(tx, [other_id]).get(other_id, []))
    other.merged_into_id = survivor_id
    tx.add_all((other, move))
    recount(tx, other)
    recount(tx, survivor)
    if open_ and survivor.state == "resolved":
        reopen(tx, actor, survivor_id, N_("an open conversation was merged into it"))
    elif open_ and survivor.state == "snoozed":
        wake(tx, actor, survivor_id, N_("an open conversation was merged into it"))
    recount(tx, survivor)
    _follow(tx, survivor_id)
    tx.emit(ConversationsMerged(survivor_id, other_id, move.id or 0, by=actor.by))
    return move


def undo(tx: Tx, actor: Actor, move_id: int) -> ConversationMove:
    """Take a division or merge back: what moved goes back to where it came from, what came since stays.

    A conversation that was merged is again as it was, in its queue and with its owner while those are there; else it
    waits where rules put it. What the other one got of its tags, participants and drafts goes, unless somebody has
    changed it since. Who divided it may take that back wherever rules put the new one, while nobody else has anything
    there. Raises NotFound and Conflict.
    """
    actor.must(ANSWER)
    move = tx.get(ConversationMove, move_id)
    if move is None:
        raise NotFound(_("There is no move {move_id}.", move_id=move_id))
    hold(tx, [move.from_id, move.to_id])
    tx.refresh(move)
    source, target = (_row(tx, actor, number, move) for number in (move.from_id, move.to_id))
    if move.undone_at is not None:
        raise Conflict(_("This was taken back already."))
    if target.merged_into_id is not None or (move.kind == "split" and source.merged_into_id is not None):
        raise Conflict(_("It was merged again later; take that back first."))
    if move.kind == "split" and not actor.sees(target.queue_id, target.assignee_id):
        _must_be_as_divided(tx, move, target)
    move.undone_at = tx.now
    tx.add(move)
    if move.kind == "split":
        _join(tx, actor, source, target)
        return move
    source.merged_into_id = None
    tx.add(source)
    tx.flush()
    _carry(tx, move.moved, move.to_id, move.from_id)
    recount(tx, source)
    recount(tx, target)
    tx.sql(UNSHARED, move.to_id, move.at, move.from_id)
    untag(tx, actor, move.to_id, _came_along(tx, move))
    drafts.part(tx, move.from_id, move.to_id, move.at)
    take_back(tx, actor, _still_there(tx, Back(**move.before)))
    recount(tx, source)
    _follow(tx, move.from_id)
    _follow(tx, move.to_id)
    tx.emit(ConversationsParted(move.to_id, move.from_id, move_id, by=actor.by))
    return move


def recount(tx: Tx, conversation: Conversation) -> None:
    """Say of a conversation again what its messages say."""
    number = conversation.id or 0
    tx.flush()
    count, *ids = tx.sql(COUNTED, number).fetchone()
    newest, inbound, spoken = (tx.get(Message, each) if each else None for each in ids)
    conversation.message_count, conversation.last_message_id, conversation.last_inbound_id = count, ids[0], ids[1]
    conversation.preview = " ".join((spoken.visible_text if spoken else "").split())[:140]
    if newest is not None:
        conversation.last_at = newest.created_at
    if inbound is not None:
        conversation.channel = inbound.channel
    conversation.waiting_since = None if conversation.state == "resolved" else waited_since(tx, number)
    tx.add(conversation)
    tx.flush()


def _moved(tx: Tx, actor: Actor, kind: str, from_id: int, to_id: int, messages: Sequence[int]) -> ConversationMove:
    _carry(tx, messages, from_id, to_id)
    move = ConversationMove(kind=kind, from_id=from_id, to_id=to_id, moved=list(messages), by=actor.by, at=tx.now)
    tx.add(move)
    tx.flush()
    return move


def _carry(tx: Tx, messages: Sequence[int], from_id: int, to_id: int) -> None:
    """Those that are still there; who was named in them is named there."""
    for batch in batches(messages):
        for table, key in (("message", "id"), ("mention", "message_id")):
            there = f"conversation_id = ? AND {key} IN ({placeholders(batch)})"
            tx.sql(f"UPDATE {table} SET conversation_id = ? WHERE {there}", to_id, from_id, *batch)
    tx.expire_all()


def _follow(tx: Tx, conversation_id: int) -> None:
    follow_conversation(tx, conversation_id)
    follow_parking(tx, conversation_id)


def _whose(tx: Tx, written: Sequence[Message], source: Conversation) -> int:
    """The customer's, unless all of it that anybody wrote to us is a guest's: then it is their own matter."""
    first = written[0].contact_id if written else None
    people = {_person_of(tx, each.contact_id) for each in written if each.contact_id is not None}
    return source.contact_id if first is None or _person(tx, source) in people else first


def _came_along(tx: Tx, move: ConversationMove) -> list[str]:
    """The tags that a merge put there and nobody has touched since."""
    there = select(Tag.name).join(ConversationTag, col(ConversationTag.tag_id) == col(Tag.id))
    there = there.where(ConversationTag.conversation_id == move.to_id, ConversationTag.at == move.at)
    theirs = tags_of(tx, [move.from_id]).get(move.from_id, [])
    return [name for name in tx.exec(there) if name in theirs]


def _must_be_as_divided(tx: Tx, move: ConversationMove, target: Conversation) -> None:
    """Who does not see a conversation any more must not get what others made of it. Raises Conflict."""
    there = set(tx.exec(select(Message.id).where(Message.conversation_id == target.id)))
    merged = select(ConversationMove.id).where(ConversationMove.to_id == target.id, ConversationMove.kind == "merge")
    if there != set(move.moved) or target.assignee_id is not None or tx.exec(merged).first() is not None:
        raise Conflict(_("Others work on it by now: they can merge it back."))


def _still_there(tx: Tx, back: Back) -> Back:
    """Without a queue that was switched off and an owner who has left."""
    queue_id = back.queue_id if back.queue_id in rule_book(tx).queues else None
    owner = tx.get(Agent, back.assignee_id) if back.assignee_id is not None else None
    return replace(back, queue_id=queue_id, assignee_id=owner.id if owner is not None and owner.active else None)


def _person(tx: Tx, conversation: Conversation) -> int:
    return _person_of(tx, conversation.contact_id)


def _person_of(tx: Tx, contact_id: int) -> int:
    contact = tx.get_one(Contact, contact_id)
    return contact.person_id or contact.id or 0


def _row(tx: Tx, actor: Actor, number: int, move: ConversationMove) -> Conversation:
    """A conversation of a move: who may see where it began or, of a merge, ended, may bring the other one back."""
    mine = move.kind == "split" and move.by == actor.by
    seen = {move.from_id} if mine else {move.to_id} if move.kind == "merge" else {move.from_id, move.to_id}
    row = conversation_for(tx, actor, number) if number in seen else tx.get_one(Conversation, number)
    tx.refresh(row)
    if tx.get_one(Contact, row.contact_id).erased_at is not None:
        raise Conflict(_("This person was erased: there is nothing left to take back."))
    return row
