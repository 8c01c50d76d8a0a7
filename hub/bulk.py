"""The same done to many conversations: each by the verb that does it to one, with its rights, and taken back as one.

Each has a unit of its own: what is refused fails alone, and nobody who writes meanwhile waits for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from config.language import N_, _
from hub.macros import Back, take_back
from routing.agents import agent_names
from routing.locks import held
from storage import Store, Tx
from storage.access import SYSTEM, Actor, Conflict, Forbidden, NotFound, conversation_for
from storage.outages import OUTAGES, is_outage
from storage.tags import tags_of

MOST = 500  # conversations at once
SILENT = N_("The database did not answer; try again in a few seconds.")

Verb = Callable[[Tx, Actor, int], object]


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


def act(store: Store, actor: Actor, numbers: Iterable[int], verb: Verb) -> Outcome:
    """Do it to each of them. Raises Conflict for more than `MOST`."""
    wanted = list(dict.fromkeys(numbers))
    if len(wanted) > MOST:
        raise Conflict(_("At most {most} conversations are changed at once.", most=MOST))
    return _each(store, {number: partial(_changed, actor, number, verb) for number in wanted})


def undo(store: Store, actor: Actor, backs: Iterable[Back], given_to: int | None = None) -> Outcome:
    """Make each as it was; one that somebody has or has changed by now stays. `given_to` is whom all were assigned
    to.
    """
    units = {back.conversation_id: partial(_taken_back, actor, back, given_to) for back in backs}
    return _each(store, units)


def _each(store: Store, units: Mapping[int, Callable[[Tx], Back | None]]) -> Outcome:
    outcome, silent = Outcome(), False
    for number, unit in units.items():
        try:
            back = None if silent else store.submit(unit)
        except (Conflict, Forbidden, NotFound) as error:
            outcome.refused[number] = str(error)
            continue
        except OUTAGES as error:
            if not is_outage(error):
                raise
            silent = True  # each of the others would only wait in vain again
        if silent:
            outcome.refused[number] = _(SILENT)
        elif back is None:
            outcome.already.append(number)
        else:
            outcome.done.append(back)
    return outcome


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
