"""The policy lab: experiments wait in line, are played by a process of their own, and can be cancelled."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from time import monotonic

import psutil
import pytest

from hub.desk import DeskError, export
from hub.experiments import Wanted
from hub.laboratory import KEPT, Laboratory, begin, cancel, experiment_for, experiments, forget_old, note
from storage.access import Conflict, Forbidden, NotFound
from storage.experiments import Experiment
from tests.desk import Desk

SHORT = Wanted(runs=2, hours=1, per_hour=20, peers=False)
LONG = Wanted(runs=40, hours=4, per_hour=60)


def put(desk: Desk, wanted: Wanted = SHORT, text: str = "") -> int:
    with desk.hub.store.write() as tx:
        return begin(tx, desk.ines, wanted, text)


def row(desk: Desk, number: int) -> Experiment:
    with desk.hub.store.read() as tx:
        return experiment_for(tx, desk.ines, number)


def children() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie, until its parent has waited for it
            found += [one] if "hub.playing" in one.cmdline() else []
    return found


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    end = monotonic() + seconds
    waiting = threading.Event()
    while not holds():
        assert monotonic() < end
        waiting.wait(0.05)


@pytest.fixture
def playing(desk: Desk) -> Iterator[Callable[[], threading.Event]]:
    """Begins to play what waits, in the background; all of it is stopped in the end."""
    stop, threads = threading.Event(), list[threading.Thread]()

    def play() -> threading.Event:
        threads.append(threading.Thread(target=Laboratory(desk.hub, "test").play_next, args=(stop,)))
        threads[-1].start()
        return stop

    yield play
    stop.set()
    for thread in threads:
        thread.join(20)
    assert children() == []


def test_an_experiment_is_played_by_a_process_of_its_own(desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        text = export(tx).replace("capacity: 100", "capacity: 300")
    number = put(desk, SHORT, text)
    assert row(desk, number).state == "waiting"
    assert Laboratory(desk.hub, "test").play_next(threading.Event())
    played = row(desk, number)
    assert (played.state, played.problem) == ("done", "")
    today, changed = played.result["rows"]
    assert today["occupancy"] > 2 * changed["occupancy"] > 0
    assert played.started_at == played.ended_at == desk.clock()
    assert not Laboratory(desk.hub, "test").play_next(threading.Event()), "nothing waits any more"


def test_what_is_cancelled_ends_at_once(desk: Desk, playing: Callable[[], threading.Event]) -> None:
    number = put(desk, LONG)
    playing()
    until(lambda: row(desk, number).done > 0)
    (process,) = children()
    assert process.nice() == 19, "everybody else goes first"
    with desk.hub.store.write() as tx:
        cancel(tx, desk.ines, number)
    until(lambda: not children())
    assert row(desk, number).state == "cancelled"
    with desk.hub.store.write() as tx:
        cancel(tx, desk.ines, number)
        assert not note(tx, number, {"result": {}}), "a late word of the process changes nothing"
    assert row(desk, number).state == "cancelled"


def test_what_a_restart_interrupts_is_played_again(desk: Desk, playing: Callable[[], threading.Event]) -> None:
    number = put(desk, LONG)
    stop = playing()
    until(lambda: row(desk, number).done > 0)
    stop.set()
    until(lambda: not children())
    assert row(desk, number).state == "running"
    with desk.hub.store.write() as tx:
        tx.get_one(Experiment, number).wanted = {**row(desk, number).wanted, "runs": 1, "hours": 1, "per_hour": 5}
    until(lambda: Laboratory(desk.hub, "another node").play_next(threading.Event()))  # once the lease is given back
    assert (row(desk, number).state, row(desk, number).tries) == ("done", 2)


def test_what_ends_its_process_every_time_is_given_up(desk: Desk) -> None:
    number = put(desk, LONG)
    for _ in range(3):
        thread = threading.Thread(target=Laboratory(desk.hub, "test").play_next, args=(threading.Event(),))
        thread.start()
        until(children)
        for process in children():
            process.kill()
        thread.join(20)
    assert (row(desk, number).state, row(desk, number).tries) == ("running", 3)
    Laboratory(desk.hub, "test").play_next(threading.Event())
    assert row(desk, number).state == "failed" and "memory" in row(desk, number).problem


def test_one_at_a_time_over_all_nodes(desk: Desk, playing: Callable[[], threading.Event]) -> None:
    first, second = put(desk, LONG), put(desk)
    playing()
    until(lambda: row(desk, first).state == "running")
    assert not Laboratory(desk.hub, "another node").play_next(threading.Event())
    assert row(desk, second).state == "waiting"


def test_what_can_not_be_played_says_why(desk: Desk) -> None:
    number = put(desk, Wanted(days=3))
    Laboratory(desk.hub, "test").play_next(threading.Event())
    assert row(desk, number).state == "failed"
    assert "Nothing came in the last 3 days" in row(desk, number).problem


def test_what_makes_no_sense_is_refused_before_it_waits(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        for actor in (desk.jonas, desk.tomas):
            with pytest.raises(Forbidden):
                begin(tx, actor, SHORT, "")
            with pytest.raises(Forbidden):
                experiments(tx, actor)
        with pytest.raises(DeskError, match="unknown section 'queue'"):
            begin(tx, desk.ines, SHORT, "queue: []")
        with pytest.raises(Conflict, match="more than"):
            begin(tx, desk.ines, Wanted(runs=50, hours=24, per_hour=5000), "")
        with pytest.raises(NotFound):
            cancel(tx, desk.ines, 99)
        for _ in range(10):
            begin(tx, desk.ines, SHORT, "")
        with pytest.raises(Conflict, match="10 experiments wait already"):
            begin(tx, desk.ines, SHORT, "")


def test_they_are_kept_for_a_month(desk: Desk) -> None:
    put(desk)
    desk.clock.moment += KEPT - timedelta(hours=1)
    second = put(desk)
    desk.clock.moment += timedelta(hours=2)
    with desk.hub.store.write() as tx:
        assert forget_old(tx) == 1
        assert [one.id for one in experiments(tx, desk.ines)] == [second]
