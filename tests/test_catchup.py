"""A mailbox after an outage, in short; `make prove` has two thousand mails."""

from __future__ import annotations

from pathlib import Path

from tests.prove.catchup import catch_up
from tests.support.dovecot import dovecot


def test_two_nodes_catch_up_while_lines_are_cut_and_the_folder_gets_new_numbers(
    database_url: str, tmp_path: Path
) -> None:
    with dovecot() as server:
        came = catch_up(server, "catchup", database_url, tmp_path, mails=120, cut_every=0.1, seed=7, most_cuts=4)
    assert (came.stored, came.lost, came.doubled) == (came.distinct, 0, 0)
    assert came.cuts >= 2 and came.takeovers == 1
