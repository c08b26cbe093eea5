"""What this node counts, for Prometheus (contract: operations.md, Metrics)."""

from __future__ import annotations

from dataclasses import dataclass

LABELS = ("tenant_id", "account_id")


@dataclass(frozen=True, slots=True)
class Exposition:
    """Prometheus' text format, and the media type that names its version."""

    content: bytes
    media_type: str


class Metrics:
    """Counters of this process, in a registry of their own: two servers in one process do not mix.

    The counters begin at 0 with the process, as Prometheus expects; the gauge is set when it is read.
    """

    def __init__(self) -> None:
        # Late: whoever opens the services without serving metrics does not pay for the library.
        from prometheus_client import CollectorRegistry, Counter, Gauge

        self._registry = registry = CollectorRegistry()
        self._sent = Counter("gmp_sent", "Messages a server has taken.", LABELS, registry=registry)
        self._errors = Counter("gmp_errors", "Messages that failed for good.", LABELS, registry=registry)
        self._deferred = Counter(
            "gmp_deferred", "Attempts put off to be repeated later.", LABELS, registry=registry
        )
        self._rate_limited = Counter(
            "gmp_rate_limited", "Messages held back or refused by a rate limit.", LABELS, registry=registry
        )
        self._pending = Gauge(
            "gmp_pending_messages", "Messages that have still to leave, on all nodes.", registry=registry
        )

    def sent(self, tenant_id: str, account_id: str, count: int = 1) -> None:
        self._sent.labels(tenant_id, account_id).inc(count)

    def error(self, tenant_id: str, account_id: str, count: int = 1) -> None:
        self._errors.labels(tenant_id, account_id).inc(count)

    def deferred(self, tenant_id: str, account_id: str, count: int = 1) -> None:
        self._deferred.labels(tenant_id, account_id).inc(count)

    def rate_limited(self, tenant_id: str, account_id: str, count: int = 1) -> None:
        self._rate_limited.labels(tenant_id, account_id).inc(count)

    def set_pending(self, count: float) -> None:
        """Set the gauge; NaN says that the number is not known."""
        self._pending.set(count)

    def exposition(self) -> Exposition:
        """Render every metric as it stands."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Exposition(generate_latest(self._registry), CONTENT_TYPE_LATEST)
