"""What an application is told: one entry of a delivery report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mail_proxy.model.messages import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Reportable:
    """An event with what a report says of its message. `metadata` is JSON; times are Unix seconds.

    `event_data` by type: `sent` has `recipients` when some were refused; `error` has `error`, and
    `recipients` likewise; `deferred` has `deferred_ts`, `reason`, `retry_count` and, when the outcome of
    the attempt is unknown, `possible_duplicate`.
    """

    event_id: int
    event_type: EventType
    event_ts: float
    event_data: Mapping[str, object]
    id: str
    tenant_id: str
    pk: str
    account_id: str
    priority: int
    metadata: str | None
