"""A desk file before it is applied: what would change, what looks wrong afterwards, and applying just that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from config.language import N_, _
from hub.desk import Change, apply
from hub.rulecheck import Finding, look_over
from storage import Store, Tx
from storage.access import SETTINGS, SYSTEM, Actor, Conflict
from storage.desk import desk_version, touch_desk_from

CHANGED = N_("The desk was changed since you looked at the differences: look at them again.")


@dataclass(frozen=True, slots=True)
class Preview:
    """The differences between a file and the desk in its state `version`."""

    changes: list[Change]
    findings: list[Finding]
    version: int


class _Looked(Exception):
    """Ends a unit whose changes were only to be looked at."""


def preview(store: Store, document: Mapping[str, Any], *, private: bool = False) -> Preview:
    """What applying a file would do; nothing is changed. Raises DeskError."""
    return looked_at(store, lambda tx: apply(tx, SYSTEM, document, private=private))


def looked_at(store: Store, change: Callable[[Tx], list[Change]]) -> Preview:
    """What a change of the desk would do; nothing is changed. Raises what the change raises."""
    found: list[Preview] = []
    try:
        with store.write() as tx:
            version = desk_version(tx)
            changes = change(tx)
            tx.flush()
            found.append(Preview(changes, look_over(tx), version))
            raise _Looked
    except _Looked:
        return found[0]


def apply_seen(
    tx: Tx, actor: Actor, document: Mapping[str, Any], version: int, *, private: bool = False
) -> list[Change]:
    """Apply a file whose differences somebody has seen. Raises Conflict when the desk is another one by now."""
    actor.must(SETTINGS)
    if not touch_desk_from(tx, version):
        raise Conflict(_(CHANGED))
    return apply(tx, actor, document, private=private)
