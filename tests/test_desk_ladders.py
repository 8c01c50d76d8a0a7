"""Ladders and limits in desk.yaml: applied, given out, compared, and refused where they lead nowhere."""

from __future__ import annotations

from datetime import UTC

import pytest

from hub.desk import DeskError, apply, export, read
from hub.rulecheck import look_over
from inbox.counts import counts
from inbox.events import Event
from inbox.session import Viewer
from inbox.thread import thread
from routing.router import Router
from storage.access import SYSTEM
from storage.people import Agent
from tests.desk import Desk

QUEUES = """
queues:
  - name: Shipping
    ladder:
      - {after: 45s, relax: {orders: 1}, join: [General]}
      - {after: 2m, relax: {orders: 0}, age_credit: 5m, priority: 2}
      - {after: 10m, overflow: General, notify: [supervisors, slack]}
    limits: {size: 50, wait: 1h, overflow: General}
  - {name: General, default: true, limits: {size: 500}}
  - {name: Billing}
rules:
  - name: Parcels
    when: {field: item.subject, op: has, value: parcel}
    then:
      queue: Shipping
      skills: {orders: 2}
      ladder: [{after: 30s, require: {}}, {after: 1m, overflow: Billing, require: {billing: 1}}]
"""


def applied(desk: Desk, text: str) -> list[str]:
    with desk.hub.store.write() as tx:
        return [str(change) for change in apply(tx, SYSTEM, read(text))]


def warnings(desk: Desk) -> list[str]:
    with desk.hub.store.read() as tx:
        return [str(finding) for finding in look_over(tx)]


def test_a_ladder_is_given_out_as_it_was_written(desk: Desk) -> None:
    told = applied(desk, QUEUES)
    assert "~ queue Shipping: ladder, limits" in told and "~ queue General: limits" in told
    assert applied(desk, QUEUES) == []
    with desk.hub.store.read() as tx:
        out = export(tx)
    assert applied(desk, out) == []
    written, given = read(QUEUES), read(out)
    for section in ("queues", "rules"):
        after = {each["name"]: each for each in given[section]}
        for before in written[section]:
            for key in ("ladder", "limits"):
                one, other = (each.get("then", each).get(key) for each in (before, after[before["name"]]))
                assert one == other
    assert "~ queue Shipping: ladder" in applied(desk, QUEUES.replace("after: 45s", "after: 50s"))


def test_supervisors_find_what_a_step_tells_them_of(desk: Desk) -> None:
    applied(desk, "queues: [{name: Shipping, ladder: [{after: 10m, notify: [supervisors]}]}]\nrules: []")
    desk.mail("lamp", "Where is it?")
    router = Router(desk.hub.store, "test")
    told: list[str] = []
    for minutes, found in ((9, 0), (1, 1)):
        desk.clock.forward(minutes=minutes)
        router.climb_once()
        with desk.hub.store.read() as tx:
            viewer = Viewer(tx.get_one(Agent, desk.ines.agent_id), desk.ines, UTC)
            assert counts(tx, viewer).views["escalated"] == found
            told = [one.text for one in thread(tx, viewer, desk.only_conversation()).entries if isinstance(one, Event)]
    assert "It has waited for 10 minutes: supervisors were told" in told


@pytest.mark.parametrize(
    ("queues", "sentence"),
    [
        ("{name: A, ladder: [{after: 1m}]}", r"queues\[1\].ladder\[1\] must do something"),
        ("{name: A, ladder: [{after: 1m, prioriti: 5}]}", "unknown key 'prioriti'; did you mean 'priority'"),
        ("{name: A, ladder: [{after: 0s, priority: 5}]}", r"ladder\[1\].after must be a span"),
        ("{name: A, ladder: [{after: 2m, priority: 5}, {after: 1m, notify: [slack]}]}",
         "steps out of order: step 2 comes after 1m, and the one before it after 2m"),
        ("{name: A, ladder: [{after: 1m, relax: {orders: 1}}, {after: 2m, relax: {orders: 2}}]}",
         "step 2 lets orders 2 do, and an earlier one orders 1 already"),
        ("{name: A, ladder: [{after: 1m, overflow: B}, {after: 2m, priority: 2}]}, {name: B}",
         "after step 1 the ladder of 'B' counts"),
        ("{name: A, ladder: [{after: 1m, relax: {orders: 1}, require: {orders: 2}}]}", "has both require and relax"),
        ("{name: A, ladder: [{after: 1m, join: [B], overflow: B}]}, {name: B}", "has both join and overflow"),
        ("{name: A, ladder: [{after: 1m, join: [Bb]}]}, {name: B}", "there is no queue 'Bb'; did you mean 'B'"),
        ("{name: A, ladder: [{after: 1m, overflow: Bb}]}, {name: B}", "there is no queue 'Bb'"),
        ("{name: A, ladder: [{after: 1m, relax: {order: 1}}]}", "there is no skill 'order'; did you mean 'orders'"),
        ("{name: A, ladder: [{after: 1m, notify: [slacks]}]}", "'slacks' is no receiver; did you mean 'slack'"),
        ("{name: A, limits: {overflow: B}}, {name: B}", "limits must have a size or a wait"),
        ("{name: A, limits: {size: 5, overflow: Bb}}, {name: B}", "there is no queue 'Bb'"),
        ("{name: A, ladder: [{after: 1m, overflow: B}]}, {name: B, limits: {size: 3, overflow: A}}",
         "ladder goes in a circle: A → B → A"),
        ("{name: A, limits: {size: 3, overflow: B}}, {name: B, out_of_hours: {overflow: C}}, "
         "{name: C, ladder: [{after: 1m, overflow: A}]}", "limits goes in a circle: A → B → C → A"),
    ],
)  # fmt: skip
def test_ladders_that_lead_nowhere_are_refused(desk: Desk, queues: str, sentence: str) -> None:
    with pytest.raises(DeskError, match=sentence), desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read(f"queues: [{queues}]\nrules: []"))


def test_a_ladder_that_helps_nobody_is_warned_of(desk: Desk) -> None:
    applied(desk, QUEUES)
    assert [told for told in warnings(desk) if "ladder" in told] == [
        "rule Parcels, ladder[2].require: nobody who serves it has billing ≥ 1; the nearest is Jonas Weber with "
        "billing 0"
    ]
    applied(
        desk,
        QUEUES.replace("skills: {orders: 2}", "skills: {orders: 5, sv: 5}")
        .replace("[{after: 30s, require: {}}, {after: 1m, overflow: Billing, require: {billing: 1}}]",
                 "[{after: 30s, relax: {orders: 4}, join: [Shipping]}]"),
    )  # fmt: skip
    told = " ".join(warnings(desk))
    assert "rule Parcels: queue Shipping: its ladder never helps: even after the last step nobody who serves it" in told
    assert "the nearest is" in told
    assert "rule Parcels, ladder[1].join: Shipping is there already; leave it out" in told
