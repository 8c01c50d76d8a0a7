"""What a machine reports about a message that we sent: which recipient it failed for, how, and by what it names it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Failing(StrEnum):
    """What became of a message that a report is about."""

    ADDRESS = "address"  # the address does not exist or is closed: nothing will ever arrive there
    REFUSED = "refused"  # this message was refused for good, another one may be taken
    FULL = "full"
    TIMEOUT = "timeout"  # tried for days, then given up
    DELAYED = "delayed"  # not there yet, still being tried
    COMPLAINT = "complaint"  # the recipient called it spam


@dataclass(frozen=True, slots=True)
class Failure:
    """What a report says about one recipient: `addresses` are normalised, as we wrote to it and as it was resolved."""

    kind: Failing
    addresses: tuple[str, ...]
    status: str = ""  # RFC 3463
    said: str = ""  # the other server's words, on one line


@dataclass(frozen=True, slots=True)
class Report:
    """A machine's word about an earlier message of ours, which it proves to be about only by ids that we issued.

    `ids` are Message-IDs and `marks` our marks found in what was returned. `ours` is what the hub made of them: a
    column of the outgoing message and its value, the surest first.
    """

    failures: tuple[Failure, ...] = ()
    ids: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    ours: tuple[tuple[str, str | int], ...] = ()
