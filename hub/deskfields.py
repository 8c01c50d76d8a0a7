"""Contact fields as the desk file has them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, model_validator

from config.language import N_
from config.retold import stored
from hub.contactfields import KINDS, MOST_CHOICE, MOST_CHOICES, NAME, TAKEN
from hub.deskchange import Change
from hub.deskvalues import Entry, among, distinct
from storage import Tx
from storage.contactdata import ContactField, contact_fields


def _named(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(N_("must be small letters, digits and _, beginning with a letter, at most 40"))
    if name in TAKEN:
        raise ValueError(stored("contact.{name} is something else already: choose another name", name=name))
    return name


Choice = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHOICE, strip_whitespace=True)]


class ContactFieldEntry(Entry):
    """What the desk wants to know of its customers; rules know it as contact.<name>."""

    name: Annotated[str, AfterValidator(_named)]
    label: Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]
    kind: Annotated[str, among(KINDS, "kind of field")] = "text"
    choices: Annotated[list[Choice], distinct()] = []

    @model_validator(mode="after")
    def _chosen(self) -> ContactFieldEntry:
        if (self.kind == "choice") != bool(self.choices) or len(self.choices) == 1 or len(self.choices) > MOST_CHOICES:
            raise ValueError(
                stored("choices are for kind: choice, which has 2 to {most_choices} of them", most_choices=MOST_CHOICES)
            )
        return self


def apply_contact_fields(tx: Tx, entries: list[ContactFieldEntry]) -> list[Change]:
    """Make the fields those of the file; what is written in one that goes stays with the contacts."""
    changes, rows = [], {row.name: row for row in contact_fields(tx)}
    for position, entry in enumerate(entries, 1):
        row = rows.pop(entry.name, None)
        values = entry.model_dump() | {"position": position}
        if row is None:
            tx.add(ContactField(**values))
            changes.append(Change("+", f"contact field {entry.name}"))
            continue
        differing = [name for name, value in values.items() if getattr(row, name) != value]
        for name in differing:
            setattr(row, name, values[name])
        if differing:
            tx.add(row)
            changes.append(Change("~", f"contact field {entry.name}", ", ".join(differing)))
    for gone in rows.values():
        tx.delete(gone)
        changes.append(Change("-", f"contact field {gone.name}"))
    return changes


def contact_fields_out(tx: Tx) -> list[dict[str, Any]]:
    """The fields as the file has them."""
    return [
        {"name": row.name, "label": row.label, "kind": row.kind} | ({"choices": row.choices} if row.choices else {})
        for row in contact_fields(tx)
    ]
