"""What an instance is doing: its queue, what became of messages lately, and how its accounts fare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mail_proxy.model.messages import Status
from mail_proxy.model.queue import NodeInfo

SPAN = 900
"""Seconds that are looked back on."""


class Outcome(StrEnum):
    """What became of a message in an attempt, or without one."""

    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"


class Order(StrEnum):
    """What accounts are ordered by."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """Of at most `limit` messages in any `seconds`, so many were sent or are being sent."""

    seconds: int
    limit: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """How an account rests, how its limits are used, and since when its oldest message waits (Unix seconds).

    `resting_until` is None while the circuit is closed, and may have passed while one message probes.
    """

    resting_until: float | None
    last_error: str | None
    limits: tuple[LimitUse, ...]
    waits_since: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountActivity:
    """What waits for an account, and what became of its messages lately; `state` is None of a deleted one."""

    tenant_id: str
    account_id: str
    waiting: Mapping[Status, int]
    done: Mapping[Outcome, int]
    state: AccountState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A message that has failed or bounced; `text` says why."""

    event_id: int
    ts: float
    tenant_id: str
    account_id: str
    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The whole, at the moment `ts` (Unix seconds).

    `seconds` counts outcomes for each of the last `SPAN` seconds, the oldest first; before `since` they are
    not known. `accounts` are some of `accounts_total`, in the order asked for. `failures` are the newest.
    """

    ts: float
    is_active: bool
    nodes: tuple[NodeInfo, ...]
    queue: Mapping[Status, int]
    since: float
    seconds: Mapping[Outcome, tuple[int, ...]]
    accounts_total: int
    accounts: tuple[AccountActivity, ...]
    failures: tuple[Failure, ...]
