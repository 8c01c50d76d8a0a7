"""Who had the customer last: a conversation that is opened again, or a new one, is kept for that agent for a while."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from routing.calendars import Calendar
from storage.columns import moment
from storage.store import Tx

WAIT = timedelta(seconds=60)
WITHIN = timedelta(days=3)
BACK_SOON = timedelta(minutes=15)  # who is away for longer than that may be away for the day

_OWNER = (
    "SELECT conversation.assignee_id, work_item.closed_at FROM conversation "
    "JOIN work_item ON work_item.conversation_id = conversation.id WHERE conversation.assignee_id IS NOT NULL "
)
_OF_CONVERSATION = f"{_OWNER} AND conversation.id = ? ORDER BY work_item.id DESC LIMIT 1"
_OF_PERSON = (
    f"{_OWNER} AND conversation.id <> ? AND conversation.contact_id IN (SELECT id FROM contact WHERE person_id = "
    "(SELECT person_id FROM contact WHERE id = ?)) ORDER BY work_item.id DESC LIMIT 1"
)
_SERVES = (
    "SELECT status, status_since FROM agent WHERE id = ? AND active AND EXISTS "
    "(SELECT 1 FROM agent_queue WHERE agent_queue.agent_id = agent.id AND agent_queue.queue_id = ?)"
)
_SKILLS = (
    "SELECT skill.name, agent_skill.level FROM agent_skill JOIN skill ON skill.id = agent_skill.skill_id "
    "WHERE agent_skill.agent_id = ?"
)


@dataclass(frozen=True, slots=True)
class LastAgent:
    """How long work waits at most for who had it last, when that was `within` this time; 0 switches it off.

    `new` says that a known customer's new conversation is kept as well as one that is opened again.
    """

    wait: timedelta = WAIT
    within: timedelta = WITHIN
    new: bool = False


USUALLY = LastAgent()


class Keeping(Protocol):
    """What has to be known of a queue."""

    @property
    def id(self) -> int: ...

    @property
    def calendar(self) -> Calendar: ...

    @property
    def last_agent(self) -> LastAgent: ...

    def holds(self, now: datetime) -> bool:
        """Whether work waits for the opening."""


def read_last_agent(said: dict[str, Any]) -> LastAgent:
    """As a queue's handout has it: {wait, within, new}, in seconds."""
    wait, within = said.get("wait", WAIT.total_seconds()), said.get("within", WITHIN.total_seconds())
    return LastAgent(timedelta(seconds=wait), timedelta(seconds=within), bool(said.get("new", False)))


def kept_for(
    tx: Tx, queue: Keeping, conversation_id: int, contact_id: int, skills: str, reopens: bool
) -> tuple[int | None, datetime | None]:
    """For which agent a piece of work is kept, and until when; nobody where that makes no sense.

    The agent must serve the queue, have the `skills` (JSON), and be available, or away since a moment ago.
    """
    terms = queue.last_agent
    if not terms.wait or not (reopens or terms.new):
        return None, None
    row = tx.sql(_OF_CONVERSATION, conversation_id).fetchone() if reopens else None
    if row is None and terms.new:
        row = tx.sql(_OF_PERSON, conversation_id, contact_id).fetchone()
    if row is None or (moment(row[1]) or tx.now) < tx.now - terms.within:
        return None, None
    agent = tx.sql(_SERVES, row[0], queue.id).fetchone()
    if agent is None or not _is_near(agent[0], moment(agent[1]), tx.now):
        return None, None
    if skills != "{}":
        levels = dict(tx.sql(_SKILLS, row[0]).fetchall())
        if any(levels.get(name, 0) < level for name, level in json.loads(skills).items()):
            return None, None
    since = (queue.calendar.next_opening(tx.now) or tx.now) if queue.holds(tx.now) else tx.now
    return int(row[0]), since + terms.wait


def _is_near(status: str, since: datetime | None, now: datetime) -> bool:
    return status == "available" or (status == "away" and since is not None and since > now - BACK_SOON)
