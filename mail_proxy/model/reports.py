"""What an application is told, and how telling it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mail_proxy.model.messages import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Reportable:
    """An event with what a report says of its message. `metadata` is JSON; times are Unix seconds.

    `event_data` by type: `sent` has `recipients` when some were refused; `error` has `error`, and
    `recipients` likewise; `deferred` has `deferred_ts`, `reason` and `retry_count`; both have
    `possible_duplicate` when the outcome of the attempt is unknown. `bounce` has `type` (hard or soft),
    `code`, `reason` and `recipient`; ``pec_*`` have `pec_ts` (of the receipt's data; none: there is no
    receipt), `details` (one line for a person), `recipient` (none: all of them), and `acceptance_ts` and
    `delivery_ts` as far as they are known, this receipt included.
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


class ReportState(StrEnum):
    """Why an application was not told: it is to be; it does not take this, or any post; or never will be."""

    UNREPORTED = "unreported"
    FAILING = "failing"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """An event that the application was not told of, and why not.

    `refusals` is how often it refused to be told. Nobody tries before `again_ts` (Unix seconds); None: as
    soon as possible, or never again.
    """

    event: Reportable
    state: ReportState
    refusals: int
    again_ts: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class UntoldPlace:
    """Where a list of untold events goes on: after this one; they are in order of tenants, then of events."""

    tenant_id: str
    event_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How the reporting to one tenant goes. Times are Unix seconds.

    `failures` are those since the last success; until `next_try_ts` nothing is posted. `beat_at` is when a
    post is due even if there is nothing to tell, None for a tenant that gets none; until `dnd_until` its
    application wants no such post. `pending` counts the events that are still to be told of; of these,
    `refused` wait until `again_ts` or longer, since the application did not take them.
    """

    tenant_id: str
    name: str | None
    active: bool
    client_base_url: str | None
    last_sync_ts: float | None
    next_try_ts: float | None
    failures: int
    last_error: str | None
    beat_at: float | None
    dnd_until: float | None
    again_ts: float | None
    pending: int
    refused: int
