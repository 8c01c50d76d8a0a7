"""What agents say again and again, for programs that write answers for them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.routes import Part
from api.shapes import In, Out
from api.tokens import actor_here
from hub import savedreplies as verbs
from hub.slots import fill, gaps, values_of
from hub.web import hub_here
from storage import Tx
from storage.access import conversation_for
from storage.desk import SavedReply

part = Part("saved_replies", "Saved replies")


class SavedRepliesQuery(In):
    """For which conversation the texts are to be filled; without one they keep their slots."""

    conversation_id: int | None = Field(None, ge=1, le=2**53)


class SavedReplyOut(Out):
    """One of them. `own` is the token's agent's alone; `gaps` are what a person has to fill in."""

    id: int
    shortcut: str
    title: str
    text: str
    own: bool
    gaps: list[str]


class SavedReplies(Out):
    """All that the token's agent may use; those of everybody for a token without an agent."""

    replies: list[SavedReplyOut]


@part.get("/saved-replies", query=SavedRepliesQuery, gives=SavedReplies)
def list_saved_replies(asked: SavedRepliesQuery) -> dict[str, Any]:
    """Every saved reply, by its shortcut; with `conversation_id` filled for that conversation."""
    with hub_here().store.read() as tx:
        values = _values(tx, asked)
        return {"replies": [_shown(row, values) for row in verbs.saved_replies(tx, actor_here())]}


@part.get("/saved-replies/<int:reply_id>", query=SavedRepliesQuery, gives=SavedReplyOut)
def get_saved_reply(reply_id: int, asked: SavedRepliesQuery) -> dict[str, Any]:
    """One saved reply."""
    with hub_here().store.read() as tx:
        return _shown(verbs.saved_reply(tx, actor_here(), reply_id), _values(tx, asked))


def _values(tx: Tx, asked: SavedRepliesQuery) -> dict[str, str] | None:
    if asked.conversation_id is None:
        return None
    return values_of(tx, actor_here(), conversation_for(tx, actor_here(), asked.conversation_id))


def _shown(row: SavedReply, values: dict[str, str] | None) -> dict[str, Any]:
    text = row.text if values is None else fill(row.text, values)
    own = row.agent_id is not None
    return {"id": row.id, "shortcut": row.shortcut, "title": row.title, "text": text, "own": own, "gaps": gaps(text)}
