"""Why a message waits, for what, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mail_proxy.model.accounts import Circuit, Rest
from mail_proxy.model.messages import Message


class Reason(StrEnum):
    """What keeps a message, or where it is. The first ones end when somebody does something."""

    UNKNOWN_OUTCOME_HELD = "unknown_outcome_held"
    SUSPENDED = "suspended"
    TENANT_INACTIVE = "tenant_inactive"
    INSTANCE_SUSPENDED = "instance_suspended"
    NO_RUNNING_SERVER = "no_running_server"
    ACCOUNT_GONE = "account_gone"
    SENDER_LOST = "sender_lost"
    SCHEDULED = "scheduled"
    RETRY = "retry"
    ACCOUNT = "account"
    LIMIT = "limit"
    IN_LINE = "in_line"
    BEING_SENT = "being_sent"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason. `until` is about when it ends: None if nobody knows. Both are Unix seconds.

    `detail` says which batch, which limit, or what the server said.
    """

    reason: Reason
    since: float | None = None
    until: float | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a message's account fares. `rest` and `ill_since` are there while its circuit is open."""

    account_id: str
    rest: Rest | None
    ill_since: float | None
    last_error: str | None

    @property
    def circuit(self) -> Circuit:
        return Circuit.CLOSED if self.rest is None else Circuit.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class FullWindow:
    """A rate limit of which no slot is free before `frees_at`, and none for a message before `turn_at`, since
    others go before it (both about, Unix seconds); `limit` is in words.
    """

    limit: str
    taken: int
    frees_at: float
    turn_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The server that has a message in hand, under a lease; `name` is None for one that took its leave.

    `begun_at`: the content was about to be transmitted.
    """

    node_id: str
    name: str | None
    is_alive: bool
    lease_until: float
    begun_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The message, and its causes, the decisive one first.

    `ahead` is how many messages of its account go before it; `is_more_ahead` says that these were only
    counted so far. It is None where the message is not in line. `attempts_left` is None once it has left.
    """

    message: Message
    causes: tuple[Cause, ...]
    ahead: int | None
    is_more_ahead: bool
    attempts_left: int | None
    condition: Condition | None
    windows: tuple[FullWindow, ...]
    sender: Sender | None
