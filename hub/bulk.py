"""The same done to many conversations: each by the verb that does it to one, with its rights, and taken back as one.

Some share a unit: a commit takes longer than what is done in it, and nobody who writes meanwhile waits for all of them.
Where one of those is refused, each has a unit of its own, so that it fails alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from config.language import N_, _
from hub.macros import Back, take_back
from routing.agents import agent_names
from routing.locks import held, hold, hold_agents
from routing.moves import ringing_at
from storage import Store, Tx
from storage.access import SYSTEM, Actor, Conflict, Forbidden, NotFound, conversation_for
from storage.batches import batches, placeholders
from storage.outages import OUTAGES, is_outage
from storage.tags import tags_of

MOST = 500  # conversations at once
TOGETHER = 25  # of them in one unit
SILENT = N_("The database did not answer; try again in a few seconds.")

Verb = Callable[[Tx, Actor, int], object]
Unit = Callable[[Tx], Back | None]


@dataclass
class Outcome:
    """What became of each: `done` with what there was before, `already` so, or `refused` with a sentence."""

    done: list[Back] = field(default_factory=list)
    already: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def sentences(self) -> dict[str, list[int]]:
        """Why some were refused, each sentence once."""
        told: dict[str, list[int]] = {}
        for number, sentence in self.refused.items():
            told.setdefault(sentence, []).append(number)
        return told


def act(store: Store, actor: Actor, numbers: Iterable[int], verb: Verb, given_to: int | None = None) -> Outcome:
    """Do it to each of them; `given_to` is who gets them by it. Raises Conflict for more than `MOST`."""
    wanted = list(dict.fromkeys(numbers))
    if len(wanted) > MOST:
        raise Conflict(_("At most {most} conversations are changed at once.", most=MOST))
    return _each(store, {number: partial(_changed, actor, number, verb) for number in wanted}, {given_to})


def undo(store: Store, actor: Actor, backs: Iterable[Back], given_to: int | None = None) -> Outcome:
    """Make each as it was; one that somebody has or has changed by now stays. `given_to` is whom all were assigned
    to.
    """
    backs = list(backs)
    units = {back.conversation_id: partial(_taken_back, actor, back, given_to) for back in backs}
    return _each(store, units, {given_to, *(back.assignee_id for back in backs)})


def _each(store: Store, units: Mapping[int, Unit], gain: Collection[int | None]) -> Outcome:
    outcome, waiting = Outcome(), list(batches(units, TOGETHER))
    agents = {agent_id for agent_id in gain if agent_id is not None}
    while waiting:
        some = waiting.pop(0)
        try:
            found = store.submit(partial(_together, {number: units[number] for number in some}, agents))
        except (Conflict, Forbidden, NotFound) as error:
            if len(some) > 1:
                waiting[:0] = [[number] for number in some]
            else:
                outcome.refused[some[0]] = str(error)
        except OUTAGES as error:
            if not is_outage(error):
                raise
            # Each of the others would only wait in vain again.
            outcome.refused |= dict.fromkeys([*some, *chain.from_iterable(waiting)], _(SILENT))
            break
        else:
            outcome.already += [number for number, back in zip(some, found, strict=True) if back is None]
            outcome.done += [back for back in found if back is not None]
    return outcome


def _together(units: Mapping[int, Unit], agents: Collection[int], tx: Tx) -> list[Back | None]:
    """One after the other, with all that they change locked first, in the order in which everybody locks."""
    hold(tx, units)
    owners = f"SELECT assignee_id FROM conversation WHERE id IN ({placeholders(units)}) AND assignee_id IS NOT NULL"
    hold_agents(tx, {*agents, *(row[0] for row in tx.sql(owners, *units).fetchall()), *ringing_at(tx, units)})
    found = []
    for unit in units.values():
        found.append(unit(tx))
        tx.flush()
        tx.expunge_all()  # the next one must read what this one wrote by SQL
    return found


def _changed(actor: Actor, number: int, verb: Verb, tx: Tx) -> Back | None:
    """What there was before; None when it was so already."""
    before, tags = Back.of(conversation_for(tx, actor, number)), _tags(tx, number)
    verb(tx, actor, number)
    tx.flush()
    conversation = conversation_for(tx, SYSTEM, number)  # it may have left the actor's sight
    tx.refresh(conversation)
    after, now = Back.of(conversation), _tags(tx, number)
    if (before, tags) == (after, now):
        return None
    return replace(before, added=sorted(now - tags), removed=sorted(tags - now), left=after.stamp)


def _taken_back(actor: Actor, back: Back, given_to: int | None, tx: Tx) -> Back:
    now = held(tx, SYSTEM, back.conversation_id)
    owner = now.assignee_id
    if owner not in (None, back.assignee_id, given_to):
        raise Conflict(_("{name} has it meanwhile.", name=agent_names(tx, [owner])[owner]))
    if Back.of(now).stamp != back.left:
        raise Conflict(_("It was changed meanwhile."))
    take_back(tx, actor, back)
    return back


def _tags(tx: Tx, number: int) -> set[str]:
    return set(tags_of(tx, [number]).get(number, []))
