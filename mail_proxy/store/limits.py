"""Rate limits: sliding windows over what was really sent and what is being sent, in the database.

A claim takes its slots in the same transaction that takes the messages, so the count is exact whatever else
runs, on this node or another; a slot whose message was not sent is given back when that is settled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mail_proxy.model.accounts import LimitBehavior
from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import NewEvent
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Many, Row, Work
from mail_proxy.store.queries import load

SQL = load("limits")
MESSAGES = load("messages")

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` messages in any `seconds`, of a lane or of a whole tenant."""

    seconds: float
    limit: int
    whose: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What binds one lane."""

    lane: int
    tenant_id: str
    behavior: LimitBehavior
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many may be sent now; when there are none, the moment a slot is free (Unix seconds)."""

    free: int
    opens_at: float | None


def limits_of(lane: int) -> Work[Limits | None]:
    """Read what binds a lane; None when nothing does."""
    rows = yield Call(SQL["of_lane"], {"lane": lane})
    if not rows:
        return None
    windows = tuple(_windows(rows[0]))
    if not windows:
        return None
    return Limits(lane, rows[0]["tenant_id"], LimitBehavior(rows[0]["limit_behavior"]), windows)


def allowance(limits: Limits, now: float) -> Work[Allowance]:
    """Count, with everybody else kept from counting until this transaction ends."""
    yield Call(SQL["lock"], {"tenant_id": limits.tenant_id})
    free: int | None = None
    opens_at: float | None = None
    for window in limits.windows:
        key = {"since": now - window.seconds} | _key(limits, window)
        used: int = (yield Call(SQL[f"used_of_{window.whose}"], key))[0]["n"]
        left = max(0, window.limit - used)
        free = left if free is None else min(free, left)
        if not left:
            leaver = yield Call(SQL[f"leaver_of_{window.whose}"], key | {"skip": used - window.limit})
            moment = leaver[0]["sent_at"] + window.seconds
            opens_at = moment if opens_at is None else max(opens_at, moment)
    return Allowance(free or 0, opens_at)


def reserve(limits: Limits, seqs: Sequence[int], now: float) -> Work[None]:
    """Take a slot for each of these messages."""
    rows = [{"seq": seq, "tenant_id": limits.tenant_id, "lane": limits.lane, "now": now} for seq in seqs]
    yield Many(SQL["reserve"], rows)


def confirm(seqs: Sequence[int], now: float) -> Work[None]:
    """These were sent, or may have been: from now on their slots count."""
    yield Many(SQL["confirm"], [{"seq": seq, "now": now} for seq in seqs])


def cancel(seqs: Sequence[int]) -> Work[None]:
    """These were not sent: their slots are free."""
    yield Many(SQL["cancel"], [{"seq": seq} for seq in seqs])


def forget(now: float) -> Work[None]:
    """Drop what no window reaches any more."""
    yield Call(SQL["forget"], {"before": now - DAY})


def reject(limits: Limits, now: float, most: int) -> Work[int]:
    """Make errors of what is over the limit and is not to wait; return how many."""
    rows = yield Call(
        SQL["reject"], {"lane": limits.lane, "error": RATE_LIMIT_EXCEEDED, "now": now, "limit": most}
    )
    event = NewEvent(
        event_type=EventType.ERROR,
        event_ts=now,
        description=RATE_LIMIT_EXCEEDED,
        event_data={"error": RATE_LIMIT_EXCEEDED},
    )
    yield Many(
        MESSAGES["insert_event"],
        [
            shape.event_params(row["seq"], row["tenant_id"], event)
            for row in sorted(rows, key=lambda row: int(row["seq"]))
        ],
    )
    return len(rows)


def _windows(row: Row) -> Iterator[Window]:
    for column, seconds, whose in (
        ("limit_per_minute", MINUTE, "lane"),
        ("limit_per_hour", HOUR, "lane"),
        ("limit_per_day", DAY, "lane"),
        ("rate_hourly", HOUR, "tenant"),
        ("rate_daily", DAY, "tenant"),
    ):
        if row[column]:
            yield Window(seconds, row[column], whose)


def _key(limits: Limits, window: Window) -> dict[str, object]:
    if window.whose == "lane":
        return {"lane": limits.lane}
    return {"tenant_id": limits.tenant_id}
