"""Erlang's formulas, held to published and simulated numbers."""

from __future__ import annotations

from math import factorial, inf

import pytest

from routing.simulation.staffing import Pool, agents_needed, staffed

CALLS = Pool(per_second=100 / 1800, handling=180)


def test_a_hundred_calls_in_half_an_hour_take_fourteen_agents() -> None:
    """The example of pyworkforce's manual: 3 minutes each, 80 % within 20 s. It finds 14 and a level of 0.88835."""
    found = agents_needed(CALLS, target=20, share=0.8)
    assert found.agents == 14
    assert found.within == pytest.approx(0.88835, abs=1e-5)


def test_the_chance_to_wait_is_erlangs_own_formula() -> None:
    agents, offered = 14, 10.0
    blocked = offered**agents / factorial(agents) * agents / (agents - offered)
    formula = blocked / (sum(offered**number / factorial(number) for number in range(agents)) + blocked)
    found = staffed(CALLS, agents, 20)
    assert found.share_waiting == pytest.approx(formula)
    assert found.mean_wait == pytest.approx(formula * 180 / (agents - offered))


def test_customers_who_leave_make_the_line_shorter() -> None:
    found = agents_needed(Pool(100 / 1800, 180, patience=120), target=20, share=0.8)
    assert found.agents == 12
    assert found.share_leaving == pytest.approx(0.062, abs=5e-4)
    assert found.mean_wait == pytest.approx(120 * found.share_leaving), "Erlang A: leaving = waiting / patience"


def test_one_who_serves_three_chats_is_not_three_agents() -> None:
    chats = Pool(620 / 3600, 399, 300, (1.0, 1.6, 1.95))
    found = agents_needed(chats, target=60, share=0.95)
    assert found.agents == 36
    assert found.share_waiting == pytest.approx(0.271, abs=5e-4)


def test_too_few_agents_are_told_apart_from_few() -> None:
    assert CALLS.least() == 11
    with pytest.raises(ValueError, match="at least 11"):
        staffed(CALLS, 10, 20)
    assert staffed(Pool(100 / 1800, 180, patience=120), 5, 20).share_leaving > 0.4
    with pytest.raises(ValueError, match="not enough"):
        agents_needed(Pool(1e6, 180, inf), 20, 0.8)
