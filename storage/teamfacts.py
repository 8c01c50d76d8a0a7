"""What the team does to a conversation among itself; `storage.facts` has all else."""

from __future__ import annotations

from dataclasses import dataclass

from storage.factrows import Fact


@dataclass(frozen=True, slots=True)
class ConversationTagged(Fact):
    """Words were put on it, to find and count it by."""

    conversation_id: int
    tags: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class ConversationUntagged(Fact):
    """Words were taken off it."""

    conversation_id: int
    tags: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class MacroRun(Fact):
    """Several things were done at once, by a macro of this name; each has its own fact as well."""

    conversation_id: int
    macro: str
    by: str


@dataclass(frozen=True, slots=True)
class AgentMentioned(Fact):
    """An agent was named in a note, and may see it."""

    conversation_id: int
    message_id: int
    agent_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ConversationSplit(Fact):
    """The end of a conversation is one of its own now, `other_id`; `move_id` undoes it."""

    conversation_id: int
    other_id: int
    move_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ConversationsMerged(Fact):
    """All of another conversation, `other_id`, came into this one; `move_id` undoes it."""

    conversation_id: int
    other_id: int
    move_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ConversationsParted(Fact):
    """A merge of conversations was taken back: `other_id` has its own messages again."""

    conversation_id: int
    other_id: int
    move_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ParticipantsChanged(Fact):
    """An agent has "added" or "removed" somebody who takes part by mail."""

    conversation_id: int
    what: str
    by: str
