"""What supervisors do while work goes on: to conversations, agents and queues, each with a reason that is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from api import shapes
from api.conversations import changed
from api.routes import Part
from api.shapes import In, Out
from api.tokens import actor_here
from hub.web import hub_here
from routing import commands
from routing.presence import drain, set_status, undrain
from routing.wrapups import end_wrap_up
from storage import Tx
from storage.access import Actor, NotFound
from storage.desk import Queue
from storage.people import Agent
from storage.work import parked_by, wraps_until

part = Part("supervision", "Supervision")


class ReasonIn(In):
    """Why; it is kept with what was done."""

    reason: str = Field("", max_length=commands.MOST_SAID)


class WhyIn(In):
    """Why; here nobody may leave it out."""

    reason: str = Field(min_length=1, max_length=commands.MOST_SAID)


class PriorityIn(ReasonIn):
    """Minutes of age that it is worth, of which its queue counts up to its `boost`."""

    priority: int = Field(ge=-1000, le=1000)


class LabelsIn(ReasonIn):
    """All its labels; none takes away those it has."""

    labels: list[str] = Field(max_length=commands.MOST_LABELS)


class PinIn(ReasonIn):
    """Before everything else: to whoever is free next, or kept for one agent for some minutes."""

    agent_id: int | None = Field(None, ge=1, le=2**53)
    minutes: int = Field(30, ge=1, le=1440)


class StatusIn(ReasonIn):
    """Offline gives conversations back whose customer waits, away keeps them; `give_back` says otherwise."""

    status: Literal["available", "away", "offline"]
    give_back: bool | None = None


class AgentState(Out):
    """An agent as work sees them. Since `drained_at` nothing new comes. So many are `parked`, as the customer has the
    word, and the last of what is wrapped up ends at `wraps_until`."""

    id: int
    name: str
    status: Literal["available", "away", "offline"]
    status_since: datetime | None
    status_why: str
    drained_at: datetime | None
    load: int
    capacity: int
    parked: int
    wraps_until: datetime | None


class QueueState(Out):
    """Whether a queue hands out its work, and what was said when it stopped."""

    id: int
    name: str
    paused: bool
    paused_why: str


@part.post(
    "/conversations/<int:conversation_id>/take-over", body=WhyIn, gives=shapes.ConversationDetail, refuses=(403, 409)
)
def take_over_conversation(conversation_id: int, asked: WhyIn) -> dict[str, Any]:
    """Take it from the agent who has it; the token has to belong to a supervisor."""
    return changed(conversation_id, lambda tx, actor: commands.take_over(tx, actor, conversation_id, asked.reason))


@part.post(
    "/conversations/<int:conversation_id>/priority",
    body=PriorityIn,
    gives=shapes.ConversationDetail,
    refuses=(403, 409),
)
def prioritise_conversation(conversation_id: int, asked: PriorityIn) -> dict[str, Any]:
    """Give it another priority."""
    return changed(
        conversation_id,
        lambda tx, actor: commands.prioritise(tx, actor, conversation_id, asked.priority, asked.reason),
    )


@part.post(
    "/conversations/<int:conversation_id>/labels", body=LabelsIn, gives=shapes.ConversationDetail, refuses=(409,)
)
def label_conversation(conversation_id: int, asked: LabelsIn) -> dict[str, Any]:
    """Say of which kinds it is; profiles may let an agent have only so many of a kind at once.

    Everybody may who sees it. A conversation that is opened again has the labels that rules give it then.
    """
    return changed(
        conversation_id, lambda tx, actor: commands.label(tx, actor, conversation_id, asked.labels, asked.reason)
    )


@part.post("/conversations/<int:conversation_id>/pin", body=PinIn, gives=shapes.ConversationDetail, refuses=(403, 409))
def pin_conversation(conversation_id: int, asked: PinIn) -> dict[str, Any]:
    """Let it go before everything else that waits.

    With an agent it is kept for them while they are there and have not passed on it.
    """
    kept = timedelta(minutes=asked.minutes)
    return changed(
        conversation_id,
        lambda tx, actor: commands.pin(tx, actor, conversation_id, asked.agent_id, kept=kept, reason=asked.reason),
    )


@part.post(
    "/conversations/<int:conversation_id>/unpin", body=ReasonIn, gives=shapes.ConversationDetail, refuses=(403, 409)
)
def unpin_conversation(conversation_id: int, asked: ReasonIn) -> dict[str, Any]:
    """Let it wait in its turn again."""
    return changed(conversation_id, lambda tx, actor: commands.unpin(tx, actor, conversation_id, asked.reason))


@part.post("/agents/<int:agent_id>/status", body=StatusIn, gives=AgentState, refuses=(403, 409))
def set_agent_status(agent_id: int, asked: StatusIn) -> dict[str, Any]:
    """Make an agent available, away or offline; somebody else's status is a supervisor's business."""
    return _agent(
        agent_id,
        lambda tx, actor: set_status(
            tx, actor, agent_id, asked.status, commands.told(asked.reason), give_back=asked.give_back
        ),
    )


@part.post("/agents/<int:agent_id>/drain", body=ReasonIn, gives=AgentState, refuses=(403,))
def drain_agent(agent_id: int, asked: ReasonIn) -> dict[str, Any]:
    """Let an agent finish: nothing new comes, whatever the status becomes."""
    return _agent(agent_id, lambda tx, actor: drain(tx, actor, agent_id, commands.told(asked.reason)))


@part.post("/agents/<int:agent_id>/undrain", body=ReasonIn, gives=AgentState, refuses=(403,))
def undrain_agent(agent_id: int, asked: ReasonIn) -> dict[str, Any]:
    """Let work come to an agent again."""
    return _agent(agent_id, lambda tx, actor: undrain(tx, actor, agent_id, commands.told(asked.reason)))


@part.post("/agents/<int:agent_id>/wrap-up/end", body=ReasonIn, gives=AgentState, refuses=(403,))
def end_agent_wrap_up(agent_id: int, asked: ReasonIn) -> dict[str, Any]:
    """Say that an agent is done with all they wrap up; somebody else's is a supervisor's business."""
    return _agent(agent_id, lambda tx, actor: end_wrap_up(tx, actor, agent_id, commands.told(asked.reason)))


@part.post("/queues/<int:queue_id>/pause", body=WhyIn, gives=QueueState, refuses=(403, 409))
def pause_queue(queue_id: int, asked: WhyIn) -> dict[str, Any]:
    """Hand nothing out from a queue until it goes on; its work may be claimed."""
    return _queue(queue_id, lambda tx, actor: commands.pause(tx, actor, queue_id, asked.reason))


@part.post("/queues/<int:queue_id>/resume", body=ReasonIn, gives=QueueState, refuses=(403,))
def resume_queue(queue_id: int, asked: ReasonIn) -> dict[str, Any]:
    """Let a paused queue go on."""
    return _queue(queue_id, lambda tx, actor: commands.resume(tx, actor, queue_id, asked.reason))


def _agent(agent_id: int, verb: Callable[[Tx, Actor], object]) -> dict[str, Any]:
    actor = actor_here()
    with hub_here().store.write() as tx:
        verb(tx, actor)
        agent = tx.get(Agent, agent_id)
        if agent is None:
            raise NotFound(f"There is no agent {agent_id}.")
        tx.refresh(agent)
        shown = {"parked": len(parked_by(tx, agent_id)), "wraps_until": wraps_until(tx, agent_id)}
        return agent.model_dump() | shown


def _queue(queue_id: int, verb: Callable[[Tx, Actor], object]) -> dict[str, Any]:
    actor = actor_here()
    with hub_here().store.write() as tx:
        verb(tx, actor)
        queue = tx.get_one(Queue, queue_id)
        return {
            "id": queue.id,
            "name": queue.name,
            "paused": bool(queue.handout.get("paused")),
            "paused_why": queue.paused_why,
        }
