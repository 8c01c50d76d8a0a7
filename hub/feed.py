"""Facts as the outside knows them: one set of dotted names and one shape for webhooks and the API's event list."""

from __future__ import annotations

import re
from typing import Any

from hub.pump import Happened
from storage import accountfacts
from storage.facts import Fact

_WORD = re.compile(r"[A-Z][a-z0-9]*")


def type_of(fact_name: str) -> str:
    """The public name of a fact: "MessageReceived" is "message.received", "OptOutChanged" is "opt_out.changed"."""
    *subject, verb = (word.lower() for word in _WORD.findall(fact_name))
    return f"{'_'.join(subject)}.{verb}"


# What happens to accounts stands in the audit log, and is told to nobody outside.
TYPES = {type_of(name): name for name in Fact.kinds if name not in accountfacts.NAMES}


def event(fact: Happened) -> dict[str, Any]:
    """A fact as JSON. `id` is its place in the one order of all facts."""
    return {"id": fact.id, "type": type_of(fact.name), "timestamp": fact.at.isoformat(), "data": fact.data}
