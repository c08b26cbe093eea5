"""What passes between the dispatcher and the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mail_proxy.model.accounts import OnUnknown, Rest
from mail_proxy.model.messages import EventType, Payload, Recipient, Status


class Parking(StrEnum):
    """What a message waits for that keeps its place in line: its account's rest, or a rate limit."""

    ACCOUNT = "account"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyLane:
    """An account with messages ready; `priority` is the best of them, `is_gone`: the account was deleted.

    `rest` is there while its circuit is open.
    """

    lane: int
    priority: int
    is_gone: bool = False
    rest: Rest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the queue holds for a dispatcher: lanes with work, and when more comes (Unix seconds).

    `active` is what the last activate or suspend of the instance decided; None before there was one.
    `changes` tells of the lanes that were asked for when their accounts were changed last; not of those gone.
    """

    lanes: tuple[ReadyLane, ...]
    next_due: float | None
    next_expiry: float | None
    active: bool | None
    changes: Mapping[int, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)  # not frozen: see NewMessage
class Claimed:
    """A message under this node's lease. `payload` is None when it is too large to have been read along.

    `is_limited`: it holds a slot of a rate limit. `parked_for` and `parked_since` tell what it waited for
    last, and since when.
    """

    seq: int
    pk: str
    tenant_id: str
    id: str
    account_id: str
    lane: int
    priority: int
    recipients: tuple[Recipient, ...]
    envelope_from: str | None
    message_id: str
    retry_count: int
    size: int
    created_at: float
    is_unknown: bool
    is_limited: bool = False
    parked_for: Parking | None = None
    parked_since: float | None = None
    payload: Payload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a claim brought, and what holds the rest of the lane back, if anything does.

    `opens_at` is when to claim again (Unix seconds); `parked` and `rejected` count messages that are now told
    to wait, or have failed.
    """

    messages: tuple[Claimed, ...] = ()
    held_by: Parking | None = None
    opens_at: float | None = None
    parked: int = 0
    rejected: int = 0


@dataclass(slots=True, kw_only=True)  # not frozen: see NewMessage
class NewEvent:
    """One thing that happened, to be recorded together with the change it tells of."""

    event_type: EventType
    event_ts: float
    description: str
    event_data: Mapping[str, object] | None = None


@dataclass(slots=True)  # not frozen: see NewMessage
class Begin:
    """A message whose content is about to be transmitted; `description` tells where to."""

    seq: int
    tenant_id: str
    description: str


@dataclass(slots=True, kw_only=True)  # not frozen: see NewMessage
class Settlement:
    """What an attempt came to: the message's new state and the events that tell it.

    `parked_for` is what a message waits for that keeps its place in line, `parked_since` since when.
    `may_be_sent`: in this attempt somebody took the content, or may have; it counts for rate limits.
    """

    seq: int
    tenant_id: str
    status: Status
    recipients: tuple[Recipient, ...]
    retry_count: int
    events: tuple[NewEvent, ...]
    deferred_ts: float | None = None
    sent_ts: float | None = None
    error_ts: float | None = None
    error: str | None = None
    last_error: str | None = None
    is_unknown: bool = False
    is_limited: bool = False
    may_be_sent: bool = False
    parked_for: Parking | None = None
    parked_since: float | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Which messages (by `seq`) may be transmitted, and which outcomes were stored."""

    begun: frozenset[int]
    settled: frozenset[int]


@dataclass(frozen=True, slots=True)
class Departure:
    """The lane of an account that was deleted, and how many messages waited there."""

    lane: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """How many messages of an account have failed at once, because it is gone."""

    tenant_id: str
    account_id: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A message whose node died. `was_final`: its content may have been transmitted."""

    seq: int
    tenant_id: str
    account_id: str
    was_final: bool
    on_unknown: OnUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many messages of an account have still to leave."""

    tenant_id: str
    account_id: str
    status: Status
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """A server process that shares this database. Timestamps are Unix seconds."""

    node_id: str
    name: str
    pid: int
    version: str
    started_at: float
    seen_at: float
