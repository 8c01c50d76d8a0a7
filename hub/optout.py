"""STOP and START: what a person may be sent, noted at once and checked before every send."""

from __future__ import annotations

from channels.base import Inbound
from hub.hub import Opened
from hub.identity import Known
from storage import Tx
from storage.facts import OptOutChanged

STOP = (
    "INSERT INTO suppression(kind, value, reason, source, at) VALUES(?, ?, ?, ?, ?) "
    "ON CONFLICT (kind, value) DO NOTHING"
)


def note_command(tx: Tx, sender: Known, inbound: Inbound, opened: Opened) -> None:
    """A whole message that was an opt-out or opt-in word changes what may be sent to its sender's address."""
    point = inbound.sender.points[0]
    set_opt_out(
        tx, point.kind, point.value, stopped=inbound.command == "stop", source=f"message on {opened.account.name}"
    )
    tx.emit(OptOutChanged(sender.contact_id, opened.account.kind, inbound.command == "stop"))


def set_opt_out(tx: Tx, kind: str, value: str, *, stopped: bool, source: str, reason: str = "stop") -> None:
    """Stop or allow everything to one address."""
    if stopped:
        tx.sql(STOP, kind, value, reason, source, tx.now)
        tx.sql("UPDATE identity SET opted_out_at = ? WHERE kind = ? AND value = ?", tx.now, kind, value)
    else:
        tx.sql("DELETE FROM suppression WHERE kind = ? AND value = ? AND reason = 'stop'", kind, value)
        tx.sql("UPDATE identity SET opted_out_at = NULL WHERE kind = ? AND value = ?", kind, value)


def refusal(tx: Tx, kind: str, value: str) -> str:
    """The one gate before any send: why nothing may go to this address, or an empty string."""
    row = tx.sql("SELECT reason FROM suppression WHERE kind = ? AND value = ?", kind, value).fetchone()
    if row is None:
        return ""
    told = {
        "stop": "This person sent STOP: no further messages may go to this address. Try another channel.",
        "bounce": "This address bounced for good. Ask the customer for another one.",
        "complaint": "This person reported an earlier message as spam; nothing may be sent there.",
    }
    return told.get(row[0], "This address is blocked by hand.")
