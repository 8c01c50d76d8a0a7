"""What was acknowledged survives the loss of everything that the disk had not been told to keep, on SQLite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.prove.powercut import Verdict, power_cuts

CUTS = int(os.environ.get("PROVE_CUTS", "300"))


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "secret")
    monkeypatch.setenv("SHOP_SECRET", "the shop's secret, at least thirty-two bytes long")


def holds(verdict: Verdict) -> bool:
    return (verdict.lost, verdict.doubled, verdict.halves, verdict.broken) == (0, 0, 0, 0)


def test_a_power_cut_loses_nothing_that_was_acknowledged(sqlite_template: Path, tmp_path: Path) -> None:
    verdict = power_cuts(sqlite_template, tmp_path, "FULL", texts=120, cuts=40)
    assert verdict.said > 0
    assert holds(verdict)


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_with_less_syncing_the_same_proof_fails(sqlite_template: Path, tmp_path: Path, synchronous: str) -> None:
    assert power_cuts(sqlite_template, tmp_path, synchronous, texts=120, cuts=20).lost > 0


@pytest.mark.prove
def test_many_power_cuts(sqlite_template: Path, tmp_path: Path) -> None:
    assert holds(power_cuts(sqlite_template, tmp_path, "FULL", texts=3000, cuts=CUTS))
