"""A small desk for routing tests: the people, two queues, one skill, and conversations made without a channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlmodel import col, func, select

from routing.router import Router
from routing.work import Arrival, enqueue, load_drift, set_status
from storage import Store, Tx
from storage.access import Actor, actor_for
from storage.conversations import Conversation
from storage.desk import Queue, RoutingRule, Skill, touch_desk
from storage.facts import FactRow
from storage.people import Agent, AgentQueue, AgentSkill, Contact
from storage.work import Assignment, Offer, WorkItem, live_item, live_offers, open_assignment

ORDER_WORDS = {"field": "item.text", "op": "has_any", "value": ["order", "parcel"]}


@dataclass
class Desk:
    """Jonas and Amara serve Support and Shipping, Tomás serves Billing, Ines is the admin; Amara knows orders."""

    store: Store
    queues: dict[str, int] = field(default_factory=dict)
    agents: dict[str, int] = field(default_factory=dict)
    contact_id: int = 0

    def __post_init__(self) -> None:
        with self.store.write() as tx:
            tx.sql("UPDATE queue SET is_default = false, active = false")  # the one a new database begins with
            for name in ("Support", "Shipping", "Billing"):
                queue = Queue(name=name, is_default=name == "Support", first_reply_seconds=3600)
                tx.add(queue)
                tx.flush()
                self.queues[name] = queue.id or 0
            skill = Skill(name="order")
            mara = Contact(name="Mara Lindqvist", language="sv", created_at=tx.now)
            tx.add(skill)
            tx.add(mara)
            tx.flush()
            self.contact_id = mara.id or 0
            self._add_rules(tx)
            self._add_people(tx, skill.id or 0)
            touch_desk(tx)

    def _add_rules(self, tx: Tx) -> None:
        tx.add(
            RoutingRule(
                position=1,
                name="Order keywords",
                condition=ORDER_WORDS,
                queue_id=self.queues["Shipping"],
                skills={"order": 2},
            )
        )
        vip = {"field": "contact.tier", "op": "eq", "value": "gold"}
        tx.add(RoutingRule(position=2, name="Gold first", condition=vip, priority=10))

    def _add_people(self, tx: Tx, skill_id: int) -> None:
        for name, role, queues, level in (
            ("Jonas Weber", "agent", ("Support", "Shipping"), 0),
            ("Amara Obi", "agent", ("Support", "Shipping"), 4),
            ("Tomás", "agent", ("Billing",), 0),
            ("Ines", "admin", (), 0),
        ):
            key = name.split()[0]
            self.agents[key] = self.add_agent(tx, name, f"{key.lower()}@example.com", role, queues)
            if level:
                tx.add(AgentSkill(agent_id=self.agents[key], skill_id=skill_id, level=level))

    def add_agent(self, tx: Tx, name: str, email: str, role: str = "agent", queues: tuple[str, ...] = ()) -> int:
        """One more person, offline."""
        agent = Agent(name=name, email=email, role=role, created_at=tx.now)
        tx.add(agent)
        tx.flush()
        for queue in queues:
            tx.add(AgentQueue(agent_id=agent.id or 0, queue_id=self.queues[queue]))
        touch_desk(tx)
        return agent.id or 0

    def actor(self, tx: Tx, name: str) -> Actor:
        """The person as an actor."""
        return actor_for(tx, tx.get_one(Agent, self.agents[name]))

    def arrive(self, tx: Tx, channel: str = "email", text: str = "Hello", **attributes: Any) -> int:
        """Mara writes and waits; answers the conversation's id."""
        conversation = Conversation(
            contact_id=self.contact_id, channel=channel, waiting_since=tx.now, last_at=tx.now, created_at=tx.now
        )
        tx.add(conversation)
        tx.flush()
        conversation_id = conversation.id or 0
        enqueue(tx, Arrival(conversation_id, self.contact_id, channel, f"support-{channel}", "", text, attributes))
        tx.refresh(conversation)
        return conversation_id

    def comes_in(self, channel: str = "email", text: str = "Hello", **attributes: Any) -> int:
        """`arrive` in a unit of its own."""
        with self.store.write() as tx:
            return self.arrive(tx, channel, text, **attributes)

    def signs_in(self, *names: str) -> None:
        """Each becomes available, in this order."""
        for name in names:
            with self.store.write() as tx:
                set_status(tx, self.actor(tx, name), self.agents[name], "available")

    def router(self, holder: str = "node-1") -> Router:
        """A router on this store."""
        return Router(self.store, holder)

    def owner(self, conversation_id: int) -> str | None:
        """The first name of who has it."""
        with self.store.read() as tx:
            owned = open_assignment(tx, conversation_id)
            return None if owned is None else tx.get_one(Agent, owned.agent_id).name.split()[0]

    def rings_at(self, name: str) -> list[Offer]:
        """What rings at somebody."""
        with self.store.read() as tx:
            return live_offers(tx, self.agents[name])

    def item(self, conversation_id: int) -> WorkItem:
        """The live work item."""
        with self.store.read() as tx:
            found = live_item(tx, conversation_id)
        assert found is not None
        return found

    def agent(self, name: str) -> Agent:
        """The row as it is now."""
        with self.store.read() as tx:
            return tx.get_one(Agent, self.agents[name])

    def facts(self, *names: str) -> list[FactRow]:
        """Facts of these kinds, in order."""
        with self.store.read() as tx:
            return list(tx.exec(select(FactRow).where(col(FactRow.name).in_(names)).order_by(col(FactRow.id))))

    def is_sound(self) -> None:
        """The invariants that hold after every commit."""
        with self.store.read() as tx:
            if tx.dialect == "postgresql":  # others may go on meanwhile
                tx.sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert load_drift(tx) == {}
            twice = select(Assignment.conversation_id).where(col(Assignment.ended_at).is_(None))
            assert not tx.exec(twice.group_by(col(Assignment.conversation_id)).having(func.count() > 1)).all()
            ringing = select(Offer.work_item_id).where(Offer.state == "offered")
            per_agent = ringing.group_by(col(Offer.work_item_id), col(Offer.agent_id))
            assert not tx.exec(per_agent.having(func.count() > 1)).all()
            for agent in tx.exec(select(Agent)):
                over = select(func.coalesce(func.sum(Assignment.over_capacity_by), 0)).where(
                    Assignment.agent_id == agent.id
                )
                assert agent.load <= agent.capacity + tx.exec(over).one()
            for item in tx.exec(select(WorkItem)):
                _fits(tx, item)


def _fits(tx: Tx, item: WorkItem) -> None:
    """An item's state, its offer, its assignment and its conversation say the same."""
    owned = open_assignment(tx, item.conversation_id)
    offers = tx.exec(select(Offer).where(Offer.work_item_id == item.id, Offer.state == "offered")).all()
    conversation = tx.get_one(Conversation, item.conversation_id)
    if item.state == "assigned":
        assert owned is not None and owned.work_item_id == item.id and owned.agent_id == item.agent_id
        assert conversation.assignee_id == item.agent_id and not offers
    elif item.state == "offered":
        assert owned is None and item.agent_id in [offer.agent_id for offer in offers]
    elif item.state == "queued":
        assert owned is None and not offers and item.agent_id is None and conversation.assignee_id is None
    else:
        assert not offers and (owned is None or owned.work_item_id != item.id)
