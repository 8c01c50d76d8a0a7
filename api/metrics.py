"""Figures for Prometheus: what came and went, what waits, what is wrong, how long requests take.

Totals are counted from the facts, so every process answers the same; durations are those of the process that answers.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address

from flask import Blueprint, Response, current_app, g, request
from flask.sansio.app import App
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from sqlalchemy import Integer, func
from sqlmodel import col, select

from api.errors import answer
from hub.apitokens import token_actor
from hub.hub import Hub
from hub.mailhealth import folder_health, secret_ages
from hub.pump import latest_fact
from hub.web import hub_here
from routing.agents import load_drift
from storage import Tx
from storage.checks import last_check
from storage.columns import moment
from storage.conversations import Message
from storage.facts import FactRow
from storage.receipts import stuck

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Figures(Collector):
    """What the database knows, counted at each scrape; facts only from where the last scrape ended."""

    def __init__(self, hub: Hub):
        self._hub = hub
        self._received: Counter[tuple[str, str]] = Counter()
        self._sent: Counter[tuple[str, str]] = Counter()
        self._counted_to = 0
        self._lock = threading.Lock()

    def describe(self) -> list[Metric]:
        """Nothing is known before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        with self._lock, self._hub.store.read() as tx:
            self._count(tx)
            yield self._family(
                "received", "Messages of customers by channel.", ("channel", "automatic"), self._received
            )
            yield self._family("sent", "Changes of outgoing messages.", ("channel", "state"), self._sent)
            yield from _outbox(tx)
            yield from _automatic(tx)
            yield from _troubles(tx)
            yield from _mailboxes(self._hub, tx)
        yield from _writer(self._hub)
        streams = GaugeMetricFamily("switchyard_streams", "Open live streams of this process.")
        streams.add_metric([], self._hub.pump.open_streams)
        yield streams

    def _count(self, tx: Tx) -> None:
        newest = latest_fact(tx)
        span = (col(FactRow.id) > self._counted_to, col(FactRow.id) <= newest)
        channel, automatic = FactRow.data["channel"].as_string(), FactRow.data["automatic"].as_string()
        received = (
            select(channel, automatic, func.count())
            .where(FactRow.name == "MessageReceived", *span)
            .group_by(channel, automatic)
        )
        for kind, why, count in tx.exec(received):
            self._received[kind, why or "no"] += count
        state = FactRow.data["state"].as_string()
        message_id = FactRow.data["message_id"].as_string().cast(Integer)
        sent = (
            select(Message.channel, state, func.count())
            .join(Message, col(Message.id) == message_id)
            .where(FactRow.name == "DeliveryChanged", *span)
            .group_by(col(Message.channel), state)
        )
        for kind, reached, count in tx.exec(sent):
            self._sent[kind, reached] += count
        self._counted_to = newest

    def _family(
        self, name: str, about: str, labels: tuple[str, str], counted: Counter[tuple[str, str]]
    ) -> CounterMetricFamily:
        family = CounterMetricFamily(f"switchyard_messages_{name}", about, labels=labels)
        for values, count in sorted(counted.items()):
            family.add_metric(values, count)
        return family


def create_blueprint() -> Blueprint:
    """`/metrics`, and the clock that every request of the application passes."""
    figures = Blueprint("metrics", __name__)
    figures.add_url_rule("/metrics", "metrics", metrics)
    figures.record_once(lambda state: _measure(state.app))
    return figures


def metrics() -> Response:
    """For this machine, and for holders of a token."""
    hub = hub_here()
    if not _may_read(hub):
        return answer(401, "no_token", "Ask from this machine or send `Authorization: Bearer <token>`.")
    registry: CollectorRegistry = current_app.extensions["metrics"]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(hub: Hub) -> bool:
    """A request that a proxy passed on is not from this machine, whatever address it comes from."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        with hub.store.read() as tx:
            return token_actor(tx, token.strip()) is not None
    proxied = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"))
    try:
        return not proxied and ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _measure(app: App) -> None:
    registry = CollectorRegistry(auto_describe=False)
    hub: Hub = app.extensions["hub"]
    registry.register(Figures(hub))
    durations = Histogram(
        "switchyard_http_seconds",
        "Time to answer by address rule.",
        ("rule", "status"),
        buckets=BUCKETS,
        registry=registry,
    )
    app.extensions["metrics"] = registry
    known: dict[tuple[str, int], Histogram] = {}  # looking a child up by labels takes a lock and longer

    def took(rule: str, status: int, seconds: float) -> None:
        child = known.get((rule, status))
        if child is None:
            child = known[rule, status] = durations.labels(rule, status)
        child.observe(seconds)

    def begin() -> None:
        g.begun = time.perf_counter()

    def end(response: Response) -> Response:
        if "begun" in g:
            matched = request.url_rule
            took(matched.rule if matched else "none", response.status_code, time.perf_counter() - g.begun)
        return response

    app.extensions["durations"] = took  # for what answers before the application does
    app.before_request_funcs.setdefault(None, []).insert(0, begin)
    app.after_request_funcs.setdefault(None, []).append(end)


def _outbox(tx: Tx) -> Iterator[Metric]:
    depth = GaugeMetricFamily("switchyard_outbox", "Deliveries that wait or are under way.", labels=["sender", "state"])
    age = GaugeMetricFamily(
        "switchyard_outbox_seconds", "How long the most overdue delivery has been due.", labels=["sender"]
    )
    oldest: dict[str, float] = {}
    for sender, state, count, due_at in tx.sql(
        "SELECT sender, state, count(*), min(due_at) FROM delivery WHERE state IN ('queued','sending') "
        "GROUP BY sender, state ORDER BY sender, state"
    ).fetchall():
        depth.add_metric([sender, state], count)
        late = (tx.now - (moment(due_at) or tx.now)).total_seconds()
        oldest[sender] = max(oldest.get(sender, 0.0), late)
    for sender, late in oldest.items():
        age.add_metric([sender], late)
    yield depth
    yield age


def _writer(hub: Hub) -> Iterator[Metric]:
    depth = GaugeMetricFamily("switchyard_writer_queue", "Calls of this process that wait to be stored.")
    depth.add_metric([], hub.store.writer.waiting)
    behind = GaugeMetricFamily("switchyard_writer_seconds", "How long such calls have waited for a writer.")
    behind.add_metric([], hub.store.writer.behind)
    yield from (depth, behind)


def _mailboxes(hub: Hub, tx: Tx) -> Iterator[Metric]:
    labels = ["channel", "folder"]
    up = GaugeMetricFamily("switchyard_mailbox_up", "1 for a folder that is read without a problem.", labels=labels)
    age = GaugeMetricFamily("switchyard_mailbox_seconds", "Since the server last told what is new.", labels=labels)
    behind = GaugeMetricFamily("switchyard_mailbox_behind", "Mails known to be new and not fetched.", labels=labels)
    withheld = GaugeMetricFamily("switchyard_mailbox_withheld", "Mails the server does not hand over.", labels=labels)
    for each in folder_health(hub, tx):
        values = [each.channel, each.folder]
        up.add_metric(values, int(each.well))
        behind.add_metric(values, each.behind)
        withheld.add_metric(values, each.withheld)
        if each.silent is not None:
            age.add_metric(values, each.silent.total_seconds())
    days = GaugeMetricFamily("switchyard_secret_days", "Days until a channel's secret runs out.", labels=["channel"])
    for secret in secret_ages(hub):
        days.add_metric([secret.channel], secret.days)
    yield from (up, age, behind, withheld, days)


def _automatic(tx: Tx) -> Iterator[Metric]:
    made = GaugeMetricFamily("switchyard_automatic_messages", "What left by itself, or was held, in the last day.",
                             labels=["kind", "outcome"])  # fmt: skip
    for kind, held, count in tx.sql(
        "SELECT kind, held <> '', count(*) FROM automatic_send WHERE at > ? GROUP BY kind, held <> '' ORDER BY kind, 2",
        tx.now - timedelta(days=1),
    ).fetchall():
        made.add_metric([kind, "held" if held else "made"], count)
    yield made


def _troubles(tx: Tx) -> Iterator[Metric]:
    unread = GaugeMetricFamily("switchyard_receipts", "Raw things that are no message yet.", labels=["state"])
    for state, count in tx.sql(
        "SELECT state, count(*) FROM receipt WHERE state IN ('received','quarantined') GROUP BY state ORDER BY state"
    ).fetchall():
        unread.add_metric([state], count)
    yield unread
    late = GaugeMetricFamily("switchyard_receipts_stuck", "Must be 0: what is not read for too long, "
                             "and what can't be read and nobody has looked at.", labels=["why"])  # fmt: skip
    for why, count in zip(("unread", "unreadable"), stuck(tx), strict=True):
        late.add_metric([why], count)
    yield late
    drift = GaugeMetricFamily("switchyard_load_drift", "Agents whose load is not the weight of their work.")
    drift.add_metric([], len(load_drift(tx)))
    yield drift
    if (check := last_check(tx)) is not None:
        wrong = GaugeMetricFamily("switchyard_routing_drift", "Must be 0: agents and pieces of work that the router "
                                  "took for something else, when it last compared.")  # fmt: skip
        wrong.add_metric([], check.differing)
        ever = CounterMetricFamily("switchyard_routing_drifts", "Must be 0: all that it ever took for something else.")
        ever.add_metric([], check.ever)
        age = GaugeMetricFamily("switchyard_routing_check_age_seconds", "Since the router last compared.")
        age.add_metric([], (tx.now - check.at).total_seconds())
        took = GaugeMetricFamily("switchyard_routing_check_seconds", "How long comparing took.")
        took.add_metric([], check.took_ms / 1000)
        yield from (wrong, ever, age, took)
