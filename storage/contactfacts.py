"""What becomes known of people beside their messages; `storage.facts` has all else."""

from __future__ import annotations

from dataclasses import dataclass

from storage.factrows import Fact


@dataclass(frozen=True, slots=True)
class ContactNoted(Fact):
    """Somebody wrote a note about a person, or took one away."""

    contact_id: int
    note_id: int
    gone: bool
    by: str


@dataclass(frozen=True, slots=True)
class ContactEventNoted(Fact):
    """Another program told of something: an order, an invoice, or that one changed. `gone` when it took it back."""

    contact_id: int
    event_id: int
    kind: str
    gone: bool
    by: str


@dataclass(frozen=True, slots=True)
class ConsentRecorded(Fact):
    """A person agreed to be written to for a purpose, or took that back."""

    contact_id: int
    consent_id: int
    purpose: str
    given: bool
    by: str


@dataclass(frozen=True, slots=True)
class ContactBlocked(Fact):
    """What a person writes makes no work from now on, or makes work again."""

    contact_id: int
    on: bool
    by: str


@dataclass(frozen=True, slots=True)
class ContactsParted(Fact):
    """Two people are not the same, whatever they have in common; or, with `on` false, nobody says so any more."""

    contact_id: int
    other_id: int
    on: bool
    by: str


@dataclass(frozen=True, slots=True)
class ContactExported(Fact):
    """Everything about a person was handed out as one file."""

    contact_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ContactErased(Fact):
    """Everything that a person wrote, and all that was known of them, is gone; these are how many there were."""

    contact_id: int
    conversations: int
    messages: int
    files: int
    by: str
