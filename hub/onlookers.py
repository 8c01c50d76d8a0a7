"""Who is looking at a conversation or replying in it: told by their browsers, forgotten when those fall silent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from storage import Tx
from storage.batches import placeholders

LEASE = timedelta(seconds=20)  # browsers tell every ten
LOOKING, REPLYING = "looking", "replying"
HERE = (
    "INSERT INTO onlooker(agent_id, conversation_id, doing, until) VALUES(?, ?, ?, ?) "
    "ON CONFLICT (agent_id) DO UPDATE SET conversation_id = excluded.conversation_id, doing = excluded.doing, "
    "until = excluded.until"
)
GONE = "DELETE FROM onlooker WHERE agent_id = ? AND conversation_id = ?"
NOW = (
    "SELECT o.agent_id, a.name, o.conversation_id, o.doing FROM onlooker o JOIN agent a ON a.id = o.agent_id "
    "WHERE o.until > ?"
)
OTHERS = NOW + " AND o.conversation_id IN ({}) AND o.agent_id <> ? ORDER BY o.doing DESC, a.name"


@dataclass(frozen=True, slots=True)
class Seen:
    """An agent at a conversation."""

    agent_id: int
    name: str
    conversation_id: int
    doing: str


def here(tx: Tx, agent_id: int, conversation_id: int, doing: str) -> None:
    """An agent is at a conversation, and nowhere else."""
    tx.sql(HERE, agent_id, conversation_id, doing if doing == REPLYING else LOOKING, tx.now + LEASE)


def gone(tx: Tx, agent_id: int, conversation_id: int) -> None:
    """An agent has left it."""
    tx.sql(GONE, agent_id, conversation_id)


def everybody(tx: Tx) -> dict[int, Seen]:
    """Where everybody is now, by agent."""
    return {row[0]: Seen(row[0], row[1], row[2], row[3]) for row in tx.sql(NOW, tx.now).fetchall()}


def others_at(tx: Tx, agent_id: int, conversation_ids: Iterable[int]) -> dict[int, list[Seen]]:
    """Who else is at these conversations; whoever replies comes first."""
    ids = list(conversation_ids)
    found: dict[int, list[Seen]] = {}
    for row in tx.sql(OTHERS.format(placeholders(ids)), tx.now, *ids, agent_id).fetchall():
        found.setdefault(row[2], []).append(Seen(*row))
    return found


class Watch:
    """What has changed since the last look, for live streams: who came, began to reply, or left."""

    def __init__(self) -> None:
        self._known: dict[int, Seen] = {}

    def changes(self, tx: Tx) -> list[Seen]:
        """One for each conversation that somebody came to or left; who left does nothing (`doing` is empty)."""
        now, before = everybody(tx), self._known
        self._known = now
        left = [
            Seen(one.agent_id, one.name, one.conversation_id, "")
            for number, one in before.items()
            if number not in now or now[number].conversation_id != one.conversation_id
        ]
        return left + [one for number, one in now.items() if before.get(number) != one]
