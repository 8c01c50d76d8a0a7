"""STOP and START: what a person may be sent, noted at once."""

from __future__ import annotations

from channels.base import Inbound
from hub.hub import Opened
from hub.identity import Known
from hub.suppression import lift, suppress
from storage import Tx
from storage.facts import OptOutChanged


def note_command(tx: Tx, sender: Known, inbound: Inbound, opened: Opened) -> None:
    """A whole message that was an opt-out or opt-in word changes what may be sent to its sender's address."""
    point = inbound.sender.points[0]
    set_opt_out(
        tx, point.kind, point.value, stopped=inbound.command == "stop", source=f"message on {opened.account.name}"
    )
    tx.emit(OptOutChanged(sender.contact_id, opened.account.kind, inbound.command == "stop"))


def set_opt_out(tx: Tx, kind: str, value: str, *, stopped: bool, source: str) -> None:
    """Stop or allow everything to one address, because its owner said so."""
    if stopped:
        suppress(tx, kind, value, reason="stop", source=source)
        tx.sql("UPDATE identity SET opted_out_at = ? WHERE kind = ? AND value = ?", tx.now, kind, value)
    else:
        lift(tx, kind, value, "stop")
        tx.sql("UPDATE identity SET opted_out_at = NULL WHERE kind = ? AND value = ?", kind, value)
