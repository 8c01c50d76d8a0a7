"""Every stored reason of a conversation, as data and in plain words, and what would be decided as things stand now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlmodel import col, select

from routing.agents import agent_names
from routing.demand import Waiting
from routing.engine import Engine
from routing.floor import one_waiting, roster
from routing.live import Stand
from routing.moves import ringing_at
from routing.reasons import told_decision, told_ownership, told_path, told_rejected, why_waiting
from routing.supply import Candidate
from storage.store import Tx
from storage.work import Assignment, Offer, WorkItem, open_assignment

LATEST = 50  # offers and assignments that are told

Document = dict[str, Any]


def stored_reasons(tx: Tx, conversation_id: int) -> Document:
    """How it came into its queue, every offer and every owner, the oldest first, and what it waits for."""
    item = _latest(tx, conversation_id)
    offers = _oldest_first(tx, Offer, conversation_id)
    owned = _oldest_first(tx, Assignment, conversation_id)
    names = agent_names(tx, {row.agent_id for row in (*offers, *owned)})
    return {
        "path": {"steps": [] if item is None else item.trace, "told": [] if item is None else told_path(tx, item)},
        "offers": [
            {
                **row.model_dump(include={"id", "state", "offered_at", "expires_at", "ended_at", "explanation"}),
                "agent": {"id": row.agent_id, "name": names[row.agent_id]},
                "told": told_decision(row.explanation),
            }
            for row in offers
        ],
        "assignments": [
            {
                **row.model_dump(exclude={"conversation_id", "work_item_id", "agent_id", "weight"}),
                "agent": {"id": row.agent_id, "name": names[row.agent_id]},
                "told": told_ownership(tx, row),
            }
            for row in owned
        ],
        "waiting": {**_waiting_now(tx, item), "told": why_waiting(tx, conversation_id)},
    }


def recomputed(tx: Tx, conversation_id: int) -> Document:
    """The last decision of the router, made again from what is now, and what is different.

    `then` is what was stored, None when the router never decided; `now` is what it would store, None when nobody could
    take it. Whoever has it is taken not to have it.
    """
    item = _latest(tx, conversation_id)
    then = _last_decision(tx, conversation_id)
    if item is None:
        return {"then": then, "now": None, "rejected": {}, "changed": ["It was never put into a queue."]}
    now, rejected = _decide_again(tx, item)
    return {"then": then, "now": now, "rejected": rejected, "changed": _changes(tx, then, now, rejected)}


def _decide_again(tx: Tx, item: WorkItem) -> tuple[Document | None, Mapping[str, int]]:
    engine, wanted = _engine(tx, item)
    if wanted is None:
        return None, {}
    now = tx.now.timestamp()
    engine.put(wanted, now)
    made = engine.decide(now)
    if not made:
        return None, engine.judge(wanted, now).rejected
    return {**made[0].explanation, "agent_id": made[0].agent_ids[0]}, made[0].explanation["rejected"]


def _engine(tx: Tx, item: WorkItem) -> tuple[Engine, Waiting | None]:
    """Everybody as they are, without this piece of work, and the piece as if it waited."""
    stand, now = Stand.read(tx), tx.now.timestamp()
    book, engine = stand.book, stand.new_engine()
    having = {item.agent_id, *ringing_at(tx, [item.conversation_id])} if item.state in ("offered", "assigned") else ()
    owned = open_assignment(tx, item.conversation_id)
    for one in roster(tx, book):
        engine.put_agent(_without(one, item, owned) if one.id in having else one, now)
    return engine, one_waiting(tx, book, int(item.id or 0))


def _without(one: Candidate, item: WorkItem, owned: Assignment | None) -> Candidate:
    if owned is not None and owned.parked_at is not None:
        return replace(one, load=max(0, one.load - owned.weight))
    left = {**one.open, item.channel: one.open.get(item.channel, 1) - 1}
    labelled = {name: number - (name in item.labels) for name, number in one.labelled.items()}
    return replace(one, load=max(0, one.load - item.weight), open=left, labelled=labelled)


def _waiting_now(tx: Tx, item: WorkItem | None) -> Document:
    if item is None:
        return {"state": "", "queue_id": None, "skills": {}, "eligible": 0, "rejected": {}}
    found: Document = {"state": item.state, "queue_id": item.queue_id, "skills": item.skills}
    if item.state != "queued":
        return {**found, "eligible": 0, "rejected": {}}
    engine, wanted = _engine(tx, item)
    verdict = None if wanted is None else engine.judge(wanted, tx.now.timestamp())
    return {
        **found,
        "eligible": 0 if verdict is None else verdict.eligible,
        "rejected": {} if verdict is None else dict(verdict.rejected),
    }


def _changes(tx: Tx, then: Document | None, now: Document | None, rejected: Mapping[str, int]) -> list[str]:
    chosen = [one["agent_id"] for one in (then, now) if one is not None]
    names = agent_names(tx, chosen)
    if now is None:
        why = told_rejected(rejected)
        return [f"Nobody could take it now{': ' + why if why else ', because nobody serves its queue'}."]
    to = names[now["agent_id"]]
    if then is None:
        return [f"The router never decided on it. Now it would go to {to}."]
    if then["agent_id"] == now["agent_id"]:
        sentences = [f"It would go to {to} again."]
    else:
        sentences = [f"It would go to {to} now, and not to {names[then['agent_id']]}."]
    if then.get("order") != now["order"]:
        sentences.append(f"Agents were chosen by {_words(then.get('order'))} then, by {_words(now['order'])} now.")
    if then.get("skills") != now["skills"]:
        sentences.append("It requires other skills now.")
    if then.get("eligible") != now["eligible"]:
        sentences.append(f"{then.get('eligible', 0)} could take it then, {now['eligible']} could now.")
    if then.get("rejected", {}) != now["rejected"]:
        before, after = (told_rejected(one) or "nobody" for one in (then.get("rejected", {}), now["rejected"]))
        sentences.append(f"Passed over then: {before}. Now: {after}.")
    return sentences


def _words(order: Any) -> str:
    return str(order or "another rule").replace("_", " ")


def _latest(tx: Tx, conversation_id: int) -> WorkItem | None:
    query = select(WorkItem).where(WorkItem.conversation_id == conversation_id).order_by(col(WorkItem.id).desc())
    return tx.exec(query.execution_options(populate_existing=True)).first()


def _last_decision(tx: Tx, conversation_id: int) -> Document | None:
    query = select(Offer).where(Offer.conversation_id == conversation_id).order_by(col(Offer.id).desc())
    offer = tx.exec(query).first()
    return None if offer is None else {**offer.explanation, "agent_id": offer.agent_id}


def _oldest_first(tx: Tx, model: type[Any], conversation_id: int) -> list[Any]:
    query = select(model).where(model.conversation_id == conversation_id).order_by(model.id.desc()).limit(LATEST)
    return list(tx.exec(query.execution_options(populate_existing=True)))[::-1]
