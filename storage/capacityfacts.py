"""Facts about what counts against an agent's room and limits. Others stand in storage/facts.py."""

from __future__ import annotations

from dataclasses import dataclass

from storage.factrows import Fact


@dataclass(frozen=True, slots=True)
class ConversationLabelled(Fact):
    """Somebody said of which kinds it is. `agent_ids` are who has it, or at whom it rings."""

    conversation_id: int
    work_item_id: int
    agent_ids: tuple[int, ...]
    labels: tuple[str, ...]
    before: tuple[str, ...]
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WrapUpStarted(Fact):
    """Whoever was done with a conversation keeps `weight` of its room for a while, up to `until` (ISO 8601)."""

    conversation_id: int
    agent_id: int
    weight: int
    until: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class WrapUpEnded(Fact):
    """The room is free. `why` is time, hand or reopened."""

    conversation_id: int
    agent_id: int
    why: str
    by: str = "system"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConversationParked(Fact):
    """The customer has the word, or it sleeps: it takes `weight` of its agent's capacity until that changes."""

    conversation_id: int
    agent_id: int
    weight: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ConversationUnparked(Fact):
    """It takes its agent's capacity again, also above what that is."""

    conversation_id: int
    agent_id: int
    over_capacity_by: int = 0
    by: str = "system"
