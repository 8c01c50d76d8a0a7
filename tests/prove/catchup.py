"""A mailbox after an outage: two nodes catch up while lines are cut, one node dies and the folder gets new numbers."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hub.hub import Hub
from hub.mailboxes import Mailbox
from storage import Tx
from storage.clock import utcnow
from tests.doors import furnish, messages, settings_for
from tests.office import account, mail
from tests.support.dovecot import Dovecot

PATIENCE = 600.0  # seconds


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What was delivered and what came of it."""

    mails: int
    distinct: int
    stored: int
    lost: int
    doubled: int
    cuts: int
    takeovers: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.mails} mails ({self.distinct} distinct) in {self.seconds:.1f} s, {self.cuts} cuts, "
            f"{self.takeovers} take-overs, new numbers once: lost {self.lost}, doubled {self.doubled}"
        )


def catch_up(
    server: Dovecot, user: str, url: str, folder: Path, mails: int, cut_every: float, seed: int, most_cuts: int = 1000
) -> CatchUp:
    """Deliver `mails`, let two nodes read them under fire, and count. Lines are cut at most `most_cuts` times."""
    dice = random.Random(seed)
    sent = [_letter(number) for number in range(mails)]
    for subject, text in sent:
        server.deliver(user, mail(subject, text))
    distinct = {(f"<{subject}@x>", text) for subject, text in sent}
    hubs = [Hub(settings_for(url, folder), utcnow) for _ in range(1 if url.startswith("sqlite") else 2)]
    furnish(hubs[0], account(server, user))
    stop, cuts, took = threading.Event(), 0, 0
    places = [(hubs[n % len(hubs)], f"node {n}") for n in range(2)]
    boxes = [Mailbox(hub, hub.channel_named("support-mail"), name) for hub, name in places]
    threads = [threading.Thread(target=box.loop, args=(stop,), daemon=True) for box in boxes]
    began = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        reset = died = False
        while (have := len(messages(hubs[0]))) < len(distinct) or not reset:
            if time.monotonic() - began > PATIENCE:
                break
            time.sleep(cut_every * dice.uniform(0.5, 1.5))
            if have > len(distinct) // 3 and not died:  # the one that leads is stopped without a word
                died, leader = True, next(box for box in boxes if box.epoch is not None)
                took += _hand_over(leader, hubs[0])
            elif have > len(distinct) // 2 and not reset:
                server.reset_uidvalidity(user)
                reset = True
            elif cuts < most_cuts:
                server.kick(user)
                cuts += 1
        seconds = time.monotonic() - began
        found = Counter((each.external_id, each.text.strip()) for each in messages(hubs[0]))
    finally:
        stop.set()
        for box in boxes:
            box.close()
        for thread in threads:
            thread.join(20)
        for hub in hubs:
            hub.stop()
    stored, lost = sum(found.values()), len(distinct - set(found))
    return CatchUp(mails, len(distinct), stored, lost, stored - len(found), cuts, took, seconds)


def _letter(number: int) -> tuple[str, str]:
    """Every tenth mail has the Message-ID of an earlier one and other words; every fifteenth is one for all."""
    if number % 15 == 4:
        return "newsletter", "the same to everybody"
    return f"m{number // 2 if number % 10 == 1 else number}", f"words {number}"


def _hand_over(leader: Mailbox, hub: Hub) -> int:
    """Somebody else has the lease of a node that is in the middle of a batch."""
    taken = "UPDATE lease SET holder = 'another node', epoch = epoch + 1, expires_at = ? WHERE name = ?"

    def unit(tx: Tx) -> None:
        tx.sql(taken, tx.now, leader.lease)

    hub.store.submit(unit)
    return 1
