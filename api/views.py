"""Saved views, for programs that work through them: `GET /conversations?view=…` gives what is in one."""

from __future__ import annotations

from typing import Any

from api.routes import Part
from api.shapes import Out
from api.tokens import actor_here
from hub import views as verbs
from hub.web import hub_here

part = Part("views", "Views")


class ViewOut(Out):
    """A view. `own` is the token's agent's alone, `queue_id` that of a team; `more` says that there may be others
    than those that were counted; without `count` it can't be counted.
    """

    id: int
    name: str
    condition: dict[str, Any]
    own: bool
    queue_id: int | None
    count: int | None
    more: bool


class Views(Out):
    """All that the token has."""

    views: list[ViewOut]


@part.get("/views", gives=Views)
def list_views() -> dict[str, Any]:
    """Every saved view, with how many conversations it has now."""
    actor, shown = actor_here(), []
    with hub_here().store.read() as tx:
        for row in verbs.views(tx, actor):
            tally = verbs.tallies(tx).fresh(tx, actor, row)
            own = row.agent_id is not None
            shown.append(row.model_dump() | {"own": own, "count": tally.number, "more": tally.more})
    return {"views": shown}
