"""A message: one e-mail to be sent, its recipients one by one, and the events that happened to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Status(StrEnum):
    PENDING = "pending"
    DEFERRED = "deferred"
    SENDING = "sending"
    SENT = "sent"
    ERROR = "error"
    BOUNCED = "bounced"

    @property
    def is_waiting(self) -> bool:
        """Whether the message still has to leave."""
        return self in (Status.PENDING, Status.DEFERRED, Status.SENDING)


class Priority(IntEnum):
    IMMEDIATE = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3


class RecipientStatus(StrEnum):
    PENDING = "pending"
    DEFERRED = "deferred"
    SENT = "sent"
    ERROR = "error"
    BOUNCED = "bounced"

    @property
    def is_open(self) -> bool:
        """Whether this recipient still has to be tried."""
        return self is RecipientStatus.PENDING or self is RecipientStatus.DEFERRED


class EventType(StrEnum):
    QUEUED = "queued"
    REPLACED = "replaced"
    DEFERRED = "deferred"
    SENDING = "sending"
    SENT = "sent"
    ERROR = "error"
    BOUNCE = "bounce"
    PEC_ACCEPTANCE = "pec_acceptance"
    PEC_DELIVERY = "pec_delivery"
    PEC_WARNING = "pec_warning"
    PEC_ERROR = "pec_error"
    PEC_RELAY = "pec_relay"
    PEC_TIMEOUT = "pec_timeout"
    SUSPENDED = "suspended"
    ACTIVATED = "activated"
    DELETED = "deleted"

    @property
    def is_reported(self) -> bool:
        """Whether the application is told of events of this type (contract: reports.md)."""
        return self in (self.SENT, self.ERROR, self.DEFERRED, self.BOUNCE) or self.value.startswith("pec_")


@dataclass(slots=True, kw_only=True)  # not frozen: see NewMessage
class Recipient:
    """One address of the envelope; `code` is the enhanced or basic status code of the last `reply`."""

    address: str
    status: RecipientStatus = RecipientStatus.PENDING
    code: str | None = None
    reply: str | None = None

    def told(self) -> Mapping[str, object]:
        """What events, and so reports, say of it."""
        return {
            "address": self.address,
            "status": self.status.value,
            "code": self.code,
            "reply": self.reply,
        }


def status_of(recipients: Iterable[Recipient]) -> Status:
    """What the recipients of a message that was tried, or is not to be tried again, make of it."""
    statuses = {each.status for each in recipients}
    if any(status.is_open for status in statuses):
        return Status.DEFERRED
    return Status.SENT if RecipientStatus.SENT in statuses else Status.ERROR


class PayloadKind(StrEnum):
    FIELDS = "fields"
    RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file of a message. `content` is set for what came along as base64."""

    filename: str
    mime_type: str | None = None
    content: bytes = b""
    content_id: str | None = None
    inline: bool = False


@dataclass(slots=True, kw_only=True)  # not frozen: see NewMessage
class Draft:
    """What a message says, as validated fields: the MIME builder's input.

    Addresses keep the form they were given in (``Name <address>``); `headers` are further header fields.
    """

    sender: str
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    subject: str = ""
    body: str = ""
    content_type: str = "plain"
    body_html: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, str] | None = None
    attachments: tuple[Attachment, ...] = ()


@dataclass(slots=True, kw_only=True)  # one is made for each message, and a frozen one takes thrice as long
class NewMessage:
    """A validated message on its way into the store.

    `payload` is JSON (UTF-8) of the fields, or the RFC 5322 bytes; `envelope_from` is the return path
    (None: decided at sending); `metadata` is JSON; `lane` is the account's; `is_held`: a suspension holds it.
    """

    pk: str
    tenant_id: str
    id: str
    account_id: str
    lane: int
    kind: PayloadKind
    payload: bytes
    recipients: tuple[str, ...]
    envelope_from: str | None
    message_id: str
    priority: int = Priority.MEDIUM
    batch_code: str | None = None
    deferred_ts: float | None = None
    is_pec: bool = False
    is_held: bool = False
    metadata: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as the store knows it (contract: messages.md, Lifecycle).

    Timestamps are Unix seconds; `size` is that of its payload in bytes.
    """

    seq: int
    pk: str
    tenant_id: str
    id: str
    account_id: str
    status: Status
    priority: int
    batch_code: str | None
    recipients: tuple[Recipient, ...]
    envelope_from: str | None
    message_id: str
    is_pec: bool
    metadata: str | None
    size: int
    created_at: float
    updated_at: float
    deferred_ts: float | None
    sent_ts: float | None
    error_ts: float | None
    error: str | None
    last_error: str | None
    retry_count: int
    reported_ts: float | None
    bounce_type: str | None
    bounce_code: str | None
    bounce_reason: str | None
    bounce_ts: float | None


@dataclass(slots=True, kw_only=True)  # not frozen: see NewMessage
class Payload:
    """What a message carries; see `NewMessage.payload`."""

    kind: PayloadKind
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a message, never edited."""

    event_id: int
    event_type: EventType
    event_ts: float
    description: str
    event_data: Mapping[str, object] | None


END_OF_TIME = 1e12


class Place(NamedTuple):
    """Where a message stands in lists, which go down from the newest; it never changes."""

    created_at: float
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages to list: newest first, at most `limit`, those that follow the place `after`.

    They were queued from `since` on and before `until` (Unix seconds).
    """

    tenant_id: str | None = None
    status: Status | None = None
    account_id: str | None = None
    batch_code: str | None = None
    since: float = 0.0
    until: float = END_OF_TIME
    active_only: bool = False
    after: Place | None = None
    limit: int = 1000

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The states that the messages may be in."""
        asked = tuple(Status) if self.status is None else (self.status,)
        return tuple(status for status in asked if status.is_waiting or not self.active_only)
