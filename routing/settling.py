"""Writes a batch of decisions: what they rest on is locked and compared, then each table is written at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from routing.engine import Decision
from routing.floor import STATUS
from routing.handout import RING_SECONDS
from routing.locks import held_rows
from routing.moves import INSERT_ASSIGNMENT, INSERT_OFFER, OFFER_ITEM, OWN_CONVERSATION, OWN_ITEM, park_at
from routing.rules import rule_book
from routing.steps import rest
from storage.facts import ConversationAssigned, OfferMade
from storage.store import Tx

_TAKE_LOAD = "UPDATE agent SET load = load + ?, idle_since = ?, last_offer_at = ? WHERE id = ?"


@dataclass
class Holding:
    """The decisions that still hold, each with the agents who can still have it, and what they give to whom."""

    decisions: list[tuple[Decision, tuple[int, ...]]] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)
    profiles: dict[int, int | None] = field(default_factory=dict)

    def give_back(self, agent_id: int, weight: int) -> None:
        """What this agent was to have went to somebody else."""
        self.taken[agent_id] -= weight
        if not self.taken[agent_id]:
            del self.taken[agent_id]


def settle(tx: Tx, decisions: Sequence[Decision]) -> int:
    """Write what still holds, nothing of the others; how many were written as they were made."""
    holding = _holding(tx, decisions)
    # As the engine has noted it already: it need not read again what it has brought about itself.
    book, now = rule_book(tx), datetime.fromtimestamp(decisions[0].at, UTC)
    rings_first = {agent_id: book.profile(number).rings for agent_id, number in holding.profiles.items()}
    offers, assignments, owners, rings, changed = [], [], [], [], 0
    for decision, agent_ids in holding.decisions:
        item, agent_id, why = decision.item, agent_ids[0], json.dumps(decision.explanation)
        is_rung = item.channel in rings_first[agent_id]
        changed += (agent_ids if is_rung else agent_ids[:1]) != decision.agent_ids
        if is_rung:
            queue = book.queues.get(item.queue_id)
            until = tx.now + (queue.ring if queue else timedelta(seconds=RING_SECONDS))
            rings += [
                (item.id, item.conversation_id, each, "offered", item.weight, now, until, None, why)
                for each in agent_ids
            ]
        else:
            # Accepted without ringing: so every match has an offer.
            offers.append((item.id, item.conversation_id, agent_id, "accepted", item.weight, now, now, now, why))
            assignments.append((
                item.conversation_id, item.id, agent_id, item.weight, "auto", 0, "system", now,
                park_at(tx, item.queue_id, item.channel), why,
            ))  # fmt: skip
            owners.append((agent_id, item.conversation_id))
            for other in agent_ids[1:]:  # an agent whom the decision took for one to be asked
                holding.give_back(other, item.weight)
            tx.emit(ConversationAssigned(item.conversation_id, item.id, agent_id, "auto"))
    first = {item_id: agent_id for item_id, _, agent_id, *_ in reversed(rings)}
    tx.sql_many(OFFER_ITEM, [(agent_id, item_id) for item_id, agent_id in sorted(first.items())])
    tx.sql_many(OWN_ITEM, [(agent_id, item_id) for item_id, _, agent_id, *_ in offers])
    tx.sql_many(INSERT_OFFER, offers)
    tx.sql_many(INSERT_ASSIGNMENT, assignments)
    tx.sql_many(OWN_CONVERSATION, owners)
    for item_id, *_ in offers if book.has_ladders else ():
        rest(tx, item_id)
    for row, ring in zip(tx.sql_many(f"{INSERT_OFFER} RETURNING id", rings), rings, strict=True):
        tx.emit(OfferMade(ring[1], ring[0], int(row[0]), ring[2]))
    tx.sql_many(_TAKE_LOAD, [(weight, now, now, agent_id) for agent_id, weight in sorted(holding.taken.items())])
    return len(holding.decisions) - changed


def _holding(tx: Tx, decisions: Sequence[Decision]) -> Holding:
    """Lock conversations, work and agents in this order and compare: what is the same now stays so until the commit."""
    wanted = [decision.item for decision in decisions]
    conversations = dict(held_rows(tx, "conversation", "id, state", {item.conversation_id for item in wanted}))
    items = {
        row[0]: row[1:]
        for row in held_rows(tx, "work_item", "id, state, version, queue_id", {item.id for item in wanted})
    }
    ids = {agent_id for decision in decisions for agent_id in decision.agent_ids}
    agents = {
        row[0]: row[1:] for row in held_rows(tx, "agent", f"id, active, {STATUS}, capacity, load, profile_id", ids)
    }
    holding = Holding()
    for decision in decisions:
        item, able = decision.item, list[int]()
        if items.get(item.id) != ("queued", item.version, item.queue_id):
            continue
        if conversations.get(item.conversation_id) != "open":
            continue
        for agent_id in decision.agent_ids:
            active, status, capacity, load, profile_id = agents.get(agent_id, (False, "", 0, 0, None))
            if active and status == "available" and load + holding.taken.get(agent_id, 0) + item.weight <= capacity:
                able.append(agent_id)
                holding.taken[agent_id] = holding.taken.get(agent_id, 0) + item.weight
                holding.profiles[agent_id] = profile_id
        if able:
            holding.decisions.append((decision, tuple(able)))
    return holding
