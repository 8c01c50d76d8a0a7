"""Regular expressions that outside text can't slow down: a pattern is costed before it is used."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# The parser has no public name since sre_parse was deprecated; without it a pattern's cost can't be known.
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from config.language import N_
from config.retold import stored

LONGEST_PATTERN = 200
LONGEST_TEXT = 4000
SHORTEST_TEXT = 200
STEPS = 20_000_000  # what the worst text may cost: a fraction of a second

_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_FEW = 20  # a repeat with more choices than this counts as unbounded


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern and how many characters of a text it may look at."""

    regex: re.Pattern[str]
    reach: int

    def found_in(self, text: str) -> bool:
        """Whether the first `reach` characters hold a match, whatever the case."""
        return self.regex.search(text, 0, self.reach) is not None


def read_pattern(source: str) -> Pattern:
    """Compile a pattern. Raises ValueError with a sentence when it is wrong or could take too long.

    Python's engine backtracks: with k unbounded repeats the worst text of n characters costs about
    n^(k+1) / (k+1)! steps for each way through the alternatives. `reach` is the n that stays within STEPS.
    """
    if len(source) > LONGEST_PATTERN:
        raise ValueError(
            stored("the pattern is longer than {longest_pattern} characters", longest_pattern=LONGEST_PATTERN)
        )
    try:
        regex = re.compile(source, re.IGNORECASE)
        ways, unbounded = _cost(_parser.parse(source), inside_repeat=False)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(stored("the pattern can't be read: {error}", error=error)) from None
    order = unbounded + 1
    reach = min(LONGEST_TEXT, int((STEPS * math.factorial(order) / ways) ** (1 / order)))
    if reach < SHORTEST_TEXT:
        raise ValueError(N_("the pattern could take too long: use at most two of * and +, and fewer alternatives"))
    return Pattern(regex, reach)


def _cost(parsed: Any, inside_repeat: bool) -> tuple[float, int]:
    """(ways through bounded choices, number of unbounded repeats) of one sequence."""
    ways, unbounded = 1.0, 0
    for code, argument in parsed:
        name = str(code)
        more_ways, more_unbounded = 1.0, 0
        if name in _REPEATS:
            low, high, body = argument
            choices = high - low + 1
            if inside_repeat and choices > 1:
                raise ValueError(N_("the pattern could take too long: a repeat must not contain another repeat"))
            more_ways, more_unbounded = _cost(body, inside_repeat or high > 1)
            if choices > _FEW:
                more_unbounded += 1
            else:
                more_ways *= choices
        elif name == "BRANCH":
            if inside_repeat:
                raise ValueError(N_("the pattern could take too long: a repeat must not contain alternatives"))
            costs = [_cost(branch, inside_repeat) for branch in argument[1]]
            more_ways, more_unbounded = sum(cost[0] for cost in costs), max(cost[1] for cost in costs)
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            more_ways, more_unbounded = _cost(argument[-1] if name == "SUBPATTERN" else argument, inside_repeat)
        elif name in ("ASSERT", "ASSERT_NOT"):
            more_ways, more_unbounded = _cost(argument[1], inside_repeat)
        elif name.startswith("GROUPREF"):
            raise ValueError(N_("the pattern could take too long: it must not refer back to a group"))
        ways, unbounded = ways * more_ways, unbounded + more_unbounded
    return ways, unbounded
