"""People beside the customer: who takes part in a conversation by mail, and what that lets them do.

A participant's mail finds the conversation by its references and its number; a stranger's needs a signed reference.
"""

from __future__ import annotations

from channels.base import Inbound, Strength
from config.language import _
from hub.contacts import must_be_known
from hub.identity import Known
from hub.recipients import checked, own_addresses, untagged
from routing.locks import held_unmerged
from storage import Tx
from storage.access import ANSWER, Actor, Conflict, NotFound
from storage.conversations import Conversation
from storage.facts import ParticipantJoined
from storage.participants import (
    Participant,
    is_participant,
    note_copied,
    note_writer,
    participants_of,
    set_participant,
)
from storage.people import Contact, identities_of
from storage.teamfacts import ParticipantsChanged

MAX_COPIED = 50  # of one mail


def is_stranger(tx: Tx, inbound: Inbound, conversation_id: int) -> bool:
    """Whether somebody who is not the customer, and not known to take part, wrote this."""
    if inbound.automatic:
        return False
    address = _address(inbound)
    return not address or not is_participant(tx, conversation_id, address)


def note_participants(
    tx: Tx, inbound: Inbound, conversation_id: int, sender: Known, *, customer: bool, stranger: bool
) -> None:
    """Who takes part from now on: whom the customer named, or the one who answered in their place."""
    address = _address(inbound)
    if inbound.automatic or not address:
        return
    if customer:
        for each in inbound.others[:MAX_COPIED]:
            note_copied(tx, conversation_id, each)
        return
    note_writer(tx, conversation_id, address, sender.name or inbound.sender.name, sender.contact_id)
    if stranger:
        tx.emit(ParticipantJoined(conversation_id, sender.contact_id))


def others_in(tx: Tx, conversation: Conversation) -> list[Participant]:
    """Everybody beside the customer and ourselves."""
    number = conversation.id or 0
    found = participants_of(tx, number)
    if not found:
        return []
    person = tx.get_one(Contact, conversation.contact_id).person_id or conversation.contact_id
    known = {identity.value for identity in identities_of(tx, person) if identity.kind == "email"}
    ours = own_addresses(tx)
    return [each for each in found if each.address not in known and untagged(each.address) not in ours]


def add_participant(tx: Tx, actor: Actor, conversation_id: int, typed: str) -> str:
    """Somebody gets a copy of every answer by mail from now on; their address. Raises NotFound and Conflict."""
    actor.must(ANSWER)
    conversation = held_unmerged(tx, actor, conversation_id)
    must_be_known(tx.get_one(Contact, conversation.contact_id))
    found = checked(tx, "", [typed])
    if not found:
        raise Conflict(_("Write an e-mail address."))
    set_participant(tx, conversation_id, found[0], "added")
    tx.emit(ParticipantsChanged(conversation_id, "added", by=actor.by))
    return found[0]


def remove_participant(tx: Tx, actor: Actor, conversation_id: int, address: str) -> None:
    """Somebody gets no more copies, and what they write in it is a stranger's. Raises NotFound."""
    actor.must(ANSWER)
    held_unmerged(tx, actor, conversation_id)
    if not is_participant(tx, conversation_id, address):
        raise NotFound(_("{address} takes no part in this conversation.", address=address[:100]))
    set_participant(tx, conversation_id, address, "removed")
    tx.emit(ParticipantsChanged(conversation_id, "removed", by=actor.by))


def _address(inbound: Inbound) -> str:
    """Where a mail is from, unless its domain disowns it or it is only a claim."""
    point = inbound.sender.points[0]
    return point.value if point.kind == "email" and point.strength >= Strength.MAIL else ""
