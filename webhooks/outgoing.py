"""Our own webhooks: facts go to subscribers as Standard Webhooks 1.0.0, signed anew for each try.

Source: https://www.standardwebhooks.com (headers, signature, 410 Gone, no redirects).
"""

from __future__ import annotations

import binascii
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from sqlmodel import col, select
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from channels.base import SendFailed
from config.language import N_
from config.retold import stored
from config.settings import SettingsError, resolve_secret
from hub.delivery import SendResult, deliver
from hub.feed import TYPES, type_of
from hub.followers import Follower
from hub.hub import Hub
from hub.outside import Answer, NotAllowed, Unanswered, post
from hub.pump import Happened
from storage import Tx
from storage.deliveries import Delivery, WebhookEndpoint
from storage.facts import DeskChanged
from storage.failpoints import step

logger = logging.getLogger(__name__)

PATIENCE = timedelta(days=5)
LONGEST_PAUSE = timedelta(days=1)
AWAY = (429, 502, 503, 504)  # said by what stands before a subscriber that is away or has too much to do


class Refused(SendFailed):
    """The subscriber did not take it; `response` goes to the delivery log."""

    def __init__(self, why: str, response: Mapping[str, Any], **options: Any):
        super().__init__(why, **options)
        self.response = dict(response)


def wanted(hub: Hub, tx: Tx) -> Collection[str]:
    """What anybody subscribes to."""
    kinds = {kind for subscriber in _subscribers(tx) for kind in subscriber.events or TYPES}
    return [TYPES[kind] for kind in kinds if kind in TYPES]


def follow(hub: Hub, tx: Tx, facts: Sequence[Happened]) -> None:
    """One delivery for each subscriber of each fact, in the unit that moves the cursor."""
    subscribers = _subscribers(tx)
    for fact in facts:
        kind = type_of(fact.name)
        payload = {"type": kind, "timestamp": fact.at.isoformat(), "sequence": fact.id, "data": fact.data}
        for subscriber in subscribers:
            if not subscriber.events or kind in subscriber.events:
                deliver(tx, "webhook", f"endpoint:{subscriber.id}", f"{subscriber.id}:{fact.id}", payload)


FOLLOWER = Follower(wanted, follow)


def _subscribers(tx: Tx) -> Sequence[WebhookEndpoint]:
    active = select(WebhookEndpoint).where(col(WebhookEndpoint.active)).order_by(col(WebhookEndpoint.id))
    return tx.exec(active).all()


def send(hub: Hub, delivery: Delivery) -> SendResult:
    """Hand one event over. Raises SendFailed; the id stays the same over tries, so a second one is harmless."""
    subscriber = _subscriber(hub, delivery)
    now = hub.store.clock()
    body = json.dumps(delivery.payload, separators=(",", ":"), ensure_ascii=False)
    headers = _signed(subscriber, f"msg_{delivery.id}", body, now)
    try:
        answer = post(subscriber.url, body.encode(), headers, private=hub.settings.webhook_allow_private)
    except NotAllowed as refused:
        _note_failure(hub, subscriber, str(refused), now)
        raise Refused(str(refused), {}, permanent=True) from refused
    except Unanswered as silent:
        _note_failure(hub, subscriber, str(silent), now)
        raise Refused(str(silent), {}, away=True) from silent
    step("webhook.answered")
    response = {"status": answer.status, "body": answer.text, "milliseconds": answer.milliseconds}
    if 200 <= answer.status < 300:
        _note_success(hub, subscriber)
        return SendResult(response=response)
    why = _why(answer.status)
    _note_failure(hub, subscriber, why, now, gone=answer.status == 410)
    pause, away = _pause(answer, now), answer.status in AWAY
    raise Refused(why, response, permanent=answer.status == 410, retry_after=pause, away=away)


def _subscriber(hub: Hub, delivery: Delivery) -> WebhookEndpoint:
    with hub.store.read() as tx:
        subscriber = tx.get(WebhookEndpoint, int(delivery.target.partition(":")[2]))
    if subscriber is None:
        raise SendFailed(N_("The endpoint was removed."), permanent=True)
    if not subscriber.active:
        raise SendFailed(
            N_("The endpoint is switched off; replay this delivery to switch it on again."), permanent=True
        )
    return subscriber


def _signed(subscriber: WebhookEndpoint, number: str, body: str, now: datetime) -> dict[str, str]:
    moment = now.astimezone(UTC).replace(microsecond=0)  # the library takes the clock's face for UTC
    try:
        signature = Webhook(resolve_secret(subscriber.secret)).sign(number, moment, body)
    except (SettingsError, EmptyWebhookSecretError, binascii.Error, ValueError) as error:
        raise SendFailed(
            N_("The endpoint's secret can't be used: it has to be whsec_ and base64."), permanent=True
        ) from error
    return {
        "Content-Type": "application/json",
        "User-Agent": "Switchyard-Webhooks/1",
        "webhook-id": number,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": signature,
    }


def _why(status: int) -> str:
    if status == 410:
        return N_("The endpoint says that it is gone (410), so it was switched off.")
    if 300 <= status < 400:
        return stored(
            "The endpoint answered {status}: redirects are not followed; enter the final address.", status=status
        )
    return stored("The endpoint answered {status}; it has to answer 2xx.", status=status)


def _pause(answer: Answer, now: datetime) -> timedelta | None:
    """Retry-After (RFC 9110 10.2.3) in seconds or as a date, at most a day."""
    wanted = answer.headers.get("Retry-After", "").strip()
    if wanted.isdecimal():
        pause = timedelta(seconds=min(int(wanted), LONGEST_PAUSE.total_seconds()))
    else:
        try:
            then = parsedate_to_datetime(wanted)
        except ValueError:
            return None
        pause = (then if then.tzinfo else then.replace(tzinfo=UTC)) - now
    return min(pause, LONGEST_PAUSE) if pause > timedelta() else None


def _note_success(hub: Hub, subscriber: WebhookEndpoint) -> None:
    if subscriber.failing_since is None and not subscriber.problem:
        return
    sql = "UPDATE webhook_endpoint SET failing_since = NULL, problem = '' WHERE id = ?"
    hub.store.submit(lambda tx: tx.sql(sql, subscriber.id) and None)


def _note_failure(hub: Hub, subscriber: WebhookEndpoint, why: str, now: datetime, *, gone: bool = False) -> None:
    """Remember since when it fails; after five days, or when it says so itself, it gets nothing more."""
    since = subscriber.failing_since or now
    ends = gone or now - since >= PATIENCE
    problem = f"{N_('Switched off after five days of failure.')} {why}" if ends and not gone else why

    def unit(tx: Tx) -> None:
        changed = tx.sql(
            "UPDATE webhook_endpoint SET failing_since = COALESCE(failing_since, ?), problem = ?, active = ? "
            "WHERE id = ? AND active = ?",
            since, problem, not ends, subscriber.id, True,
        )  # fmt: skip
        if ends and changed.rowcount:
            tx.emit(DeskChanged(f"webhook {subscriber.name} switched off", by="system"))

    hub.store.submit(unit)
    if ends:
        logger.warning("webhook endpoint %s was switched off", subscriber.id)
