"""What this node counts, for Prometheus (contract: operations.md, Metrics)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

LABELS = ("tenant_id", "account_id")

DELIVERY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
"""Seconds: from what an idle instance takes to what a message waits for its account at most."""


@dataclass(frozen=True, slots=True)
class Exposition:
    """Prometheus' text format, and the media type that names its version."""

    content: bytes
    media_type: str


class Metrics:
    """Counters of this process, in a registry of their own: two servers in one process do not mix.

    The counters begin at 0 with the process, as Prometheus expects; the gauges are set when they are read.
    """

    def __init__(self) -> None:
        # Late: whoever opens the services without serving metrics does not pay for the library.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        # When each series began is a line for each, and nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it says nothing of its result
        self._registry = registry = CollectorRegistry()
        self._seen_open: set[tuple[str, str]] = set()
        self._sent = Counter("gmp_sent", "Messages a server has taken.", LABELS, registry=registry)
        self._errors = Counter("gmp_errors", "Messages that failed for good.", LABELS, registry=registry)
        self._deferred = Counter(
            "gmp_deferred", "Attempts put off to be repeated later.", LABELS, registry=registry
        )
        self._rate_limited = Counter(
            "gmp_rate_limited", "Messages held back or refused by a rate limit.", LABELS, registry=registry
        )
        self._report_failures = Counter(
            "gmp_report_failures",
            "Posts of reports that an application did not take.",
            ["tenant_id"],
            registry=registry,
        )
        self._pending = Gauge(
            "gmp_pending_messages", "Messages that have still to leave, on all nodes.", registry=registry
        )

        self._age = Gauge(
            "gmp_queue_age_seconds",
            "How long the message has waited that has waited longest, of those that nothing holds back.",
            registry=registry,
        )
        self._circuits = Gauge(
            "gmp_circuit_open",
            "1 while the account rests or is probed after failures.",
            LABELS,
            registry=registry,
        )
        self._connections = Gauge(
            "gmp_smtp_connections", "Connections to servers, idle ones included.", registry=registry
        )
        self._delivery = Histogram(
            "gmp_delivery_seconds",
            "Time from the taking in of a message to its being sent, all waits included.",
            buckets=DELIVERY_BUCKETS,
            registry=registry,
        )

    def sent(self, tenant_id: str, account_id: str, count: int = 1) -> None:
        self._sent.labels(tenant_id, account_id).inc(count)

    def error(self, tenant_id: str, account_id: str, count: int = 1) -> None:
        self._errors.labels(tenant_id, account_id).inc(count)

    def deferred(self, tenant_id: str, account_id: str, count: int = 1) -> None:
        self._deferred.labels(tenant_id, account_id).inc(count)

    def rate_limited(self, tenant_id: str, account_id: str, count: int = 1) -> None:
        self._rate_limited.labels(tenant_id, account_id).inc(count)

    def report_failed(self, tenant_id: str) -> None:
        self._report_failures.labels(tenant_id).inc()

    def delivered(self, seconds: float) -> None:
        """Note how long a message was on its way that was sent now."""
        self._delivery.observe(max(0.0, seconds))

    def set_queue(self, *, pending: float, age: float) -> None:
        """Set the gauges of the queue; NaN says that a number is not known."""
        self._pending.set(pending)
        self._age.set(age)

    def set_circuits(self, are_open: Iterable[tuple[str, str]]) -> None:
        """Say of which tenants' accounts the circuits are open: of all that are not named they are closed."""
        self._seen_open |= (now_open := set(are_open))
        for labels in self._seen_open:
            self._circuits.labels(*labels).set(labels in now_open)

    def count_connections(self, count: Callable[[], float]) -> None:
        """Ask `count` for the number of connections whenever it is read."""
        self._connections.set_function(count)

    def exposition(self) -> Exposition:
        """Render every metric as it stands."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Exposition(generate_latest(self._registry), CONTENT_TYPE_LATEST)
