"""What happened at the door and to people's accounts: facts of who came in, how, and who may do what.

They carry ids and never an address, a password or a code. With the other facts that name a person's hand they are
the audit log (`storage.factrows.AUDITED`).
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.factrows import Fact


@dataclass(frozen=True, slots=True)
class SignedIn(Fact):
    """A browser was let in. `how` is password, second step, recovery code or single sign-on."""

    agent_id: int
    sign_in_id: int
    how: str
    by: str


@dataclass(frozen=True, slots=True)
class SignInsEnded(Fact):
    """Browsers were signed out. `why` is signed out, revoked, password changed or switched off."""

    agent_id: int
    number: int
    why: str
    by: str


@dataclass(frozen=True, slots=True)
class SignInStopped(Fact):
    """There were too many wrong passwords or codes: the next try has to wait. `what` is password, code, link
    or sso (single sign-on).
    """

    agent_id: int | None
    what: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class PasswordChanged(Fact):
    """An agent has a new password. `how` is by hand, reset or invitation."""

    agent_id: int
    how: str
    by: str


@dataclass(frozen=True, slots=True)
class PasswordResetAsked(Fact):
    """A link for choosing a new password was sent to an agent's own address."""

    agent_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class SecondStepChanged(Fact):
    """Signing in asks an agent for a code from now on, or no longer does."""

    agent_id: int
    on: bool
    by: str


@dataclass(frozen=True, slots=True)
class RecoveryCodesMade(Fact):
    """An agent has new recovery codes; those before count no more."""

    agent_id: int
    by: str


@dataclass(frozen=True, slots=True)
class AgentInvited(Fact):
    """Somebody was sent a link for choosing their first password."""

    agent_id: int
    by: str


@dataclass(frozen=True, slots=True)
class AgentChanged(Fact):
    """Name, address, role, capacity, queues or skills of an agent were changed by hand."""

    agent_id: int
    what: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class AgentSwitched(Fact):
    """An account was switched off or on again."""

    agent_id: int
    on: bool
    by: str


@dataclass(frozen=True, slots=True)
class RoleChanged(Fact):
    """A role was made, changed or deleted; `what` says which."""

    role: str
    what: str
    by: str


@dataclass(frozen=True, slots=True)
class TokenCreated(Fact):
    """A bearer token for the API was made."""

    token_id: int
    by: str


@dataclass(frozen=True, slots=True)
class TokenRevoked(Fact):
    """A bearer token counts no more."""

    token_id: int
    by: str


@dataclass(frozen=True, slots=True)
class SignInRulesChanged(Fact):
    """Whether everybody needs a second step was decided anew."""

    second_step_required: bool
    by: str


NAMES = frozenset(name for name, kind in Fact.kinds.items() if kind.__module__ == __name__)
