"""How channels do: what is wrong with them, what came last by them, what left last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, func, select

from config.language import _
from config.retold import retold
from hub.hub import Hub
from hub.mailhealth import folder_health, secret_ages, token_problems
from storage import Tx
from storage.access import SETTINGS, Actor
from storage.deliveries import Delivery
from storage.desk import ChannelAccount
from storage.receipts import Receipt

LOOKED_BACK = 50_000  # receipts in which the newest of a channel is looked for


@dataclass(frozen=True, slots=True)
class Health:
    """One account. `problems` are sentences that say what to mend; `remarks` want to be known."""

    account: ChannelAccount
    problems: list[str]
    remarks: list[str]
    heard_at: datetime | None
    said_at: datetime | None

    @property
    def id(self) -> int:
        return self.account.id or 0

    @property
    def state(self) -> str:
        """off, bad, well, or new while nothing has come by it and no test has passed."""
        if not self.account.active:
            return "off"
        if self.problems:
            return "bad"
        return "well" if self.heard_at or self.account.checked_at else "new"


def channels_health(hub: Hub, tx: Tx, actor: Actor) -> list[Health]:
    """Every account, those in use first. Raises Forbidden."""
    actor.must(SETTINGS)
    opened = {each.id: each for each in hub.channels()}
    folders, tokens = folder_health(hub, tx), token_problems(tx)
    ages = {each.channel: each for each in secret_ages(hub)}
    newest = tx.exec(select(func.max(Receipt.id))).one() or 0
    found = []
    for row in tx.exec(select(ChannelAccount).order_by(col(ChannelAccount.active).desc(), col(ChannelAccount.id))):
        problems, remarks = [], []
        if row.active:
            own = opened[row.id].problem if row.id in opened else ""
            problems += [retold(each) for each in (own or row.problem, tokens.get(row.name, "")) if each]
            if stuck := _stuck(tx, row):
                problems.append(_("The newest message has not left yet. {why}", why=retold(stuck)))
            for each in folders:
                if each.channel == row.name and (each.silent is not None or each.problem):
                    if each.well:
                        remarks.append(f"{each.folder}: {each}")
                    elif retold(each.problem) not in problems:
                        problems.append(f"{each.folder}: {each}")
            if row.name in ages:
                (problems if ages[row.name].days < 0 else remarks).append(f"{ages[row.name]}.".capitalize())
        found.append(Health(row, problems, remarks, _came(tx, row, newest - LOOKED_BACK), _left(tx, row)))
    return found


def _came(tx: Tx, row: ChannelAccount, after: int) -> datetime | None:
    query = select(Receipt.received_at).where(Receipt.channel_id == row.id, col(Receipt.id) > after)
    return tx.exec(query.where(Receipt.origin == "message").order_by(col(Receipt.id).desc()).limit(1)).first()


def _stuck(tx: Tx, row: ChannelAccount) -> str:
    """Why the newest message has to be tried again: a matter of the account, not of the customer's address."""
    query = select(Delivery.state, Delivery.error).where(Delivery.sender == "channel")
    newest = tx.exec(
        query.where(Delivery.target == f"channel:{row.id}").order_by(col(Delivery.id).desc()).limit(1)
    ).first()
    return newest[1] if newest is not None and newest[0] in ("queued", "sending") else ""


def _left(tx: Tx, row: ChannelAccount) -> datetime | None:
    query = select(Delivery.ended_at).where(Delivery.sender == "channel", Delivery.target == f"channel:{row.id}")
    return tx.exec(query.where(Delivery.state == "sent").order_by(col(Delivery.id).desc()).limit(1)).first()
