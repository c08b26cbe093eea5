"""Rate limits: sliding windows over what was really sent and what is being sent, in the database.

A claim takes its slots in the same transaction that takes the messages, so the count is exact whatever else
runs, on this node or another. What is in flight counts however long it takes; when it is settled its slot
takes that moment, or is free again if it was not sent.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mail_proxy.model.accounts import LimitBehavior
from mail_proxy.store.database import Call, Many, Row, Work
from mail_proxy.store.failures import fail
from mail_proxy.store.parking import HEADS
from mail_proxy.store.queries import load

SQL = load("limits")

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

IN_FLIGHT = 1e15
"""The time of an attempt that has not ended: in every window, after everything else."""

MARGIN = 0.02
"""Seconds for which a slot stays taken beyond its window: the clocks of nodes agree to some milliseconds."""

LOOK_AGAIN = 2.0
"""Seconds after which a full window is counted again while something in flight may give its slot back."""

RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` messages in any `seconds`, of a lane or of a whole tenant; `words` say so to people."""

    seconds: float
    limit: int
    whose: str
    words: str

    @property
    def stay(self) -> float:
        """Seconds for which a slot is taken."""
        return self.seconds + MARGIN


@dataclass(frozen=True, slots=True)
class Limits:
    """What binds one lane; nothing does when there are no `windows`."""

    lane: int
    tenant_id: str
    behavior: LimitBehavior
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """How many slots of a window are taken, and whether some may be given back before their time."""

    window: Window
    taken: int
    is_sending: bool

    @property
    def free(self) -> int:
        return max(0, self.window.limit - self.taken)

    def and_of(self, claimed: int) -> Use:
        """What it is when so many more are in flight."""
        return Use(self.window, self.taken + claimed, self.is_sending or bool(claimed))


@dataclass(frozen=True, slots=True)
class Opening:
    """When a lane at a limit may go on, why it has to wait, and about when its next messages go, in turn."""

    opens_at: float
    reason: str
    moments: tuple[float, ...]


def limits_of(lane: int) -> Work[Limits | None]:
    """Read what binds a lane; None when it has no account, or its tenant is not active: nothing goes."""
    rows = yield Call(SQL["of_lane"], {"lane": lane})
    if not rows:
        return None
    behavior = LimitBehavior(rows[0]["limit_behavior"])
    return Limits(lane, rows[0]["tenant_id"], behavior, tuple(_windows(rows[0])))


def use_of(limits: Limits, now: float) -> Work[list[Use]]:
    """Count each window, with everybody else kept from claiming until this transaction ends."""
    yield Call(SQL["lock"], {"tenant_id": limits.tenant_id})
    uses = []
    for window in limits.windows:
        [row] = yield Call(SQL[f"used_of_{window.whose}"], _key(limits, window, now))
        uses.append(Use(window, int(row["n"]), is_sending=row["last"] == IN_FLIGHT))
    return uses


def opening(limits: Limits, uses: Sequence[Use], now: float) -> Work[Opening]:
    """See when a lane may go on whose `uses` leave no slot free."""
    moments = [now] * HEADS
    opens_at, binding = now, uses[0]
    for use in uses:
        leaving = yield from _moments(limits, use, now)
        soonest = min(leaving[0], now + LOOK_AGAIN) if use.is_sending else leaving[0]
        if not use.free and leaving[0] >= moments[0]:
            binding = use
        opens_at = max(opens_at, soonest)
        moments = [max(pair) for pair in zip(moments, leaving, strict=True)]
    return Opening(opens_at, f"rate limit of {binding.window.words}", tuple(moments))


def reserve(limits: Limits, seqs: Sequence[int]) -> Work[None]:
    """Take a slot for each of these messages."""
    slot = {"tenant_id": limits.tenant_id, "lane": limits.lane, "in_flight": IN_FLIGHT}
    yield Many(SQL["reserve"], [slot | {"seq": seq} for seq in seqs])


def confirm(seqs: Sequence[int], now: float) -> Work[None]:
    """These were sent, or may have been: their slots are taken as of now."""
    if seqs:
        given = {"seqs": json.dumps(sorted(seqs)), "now": now, "in_flight": IN_FLIGHT}
        yield Call(SQL["confirm"], given)


def cancel(seqs: Sequence[int]) -> Work[None]:
    """These were not sent: their slots are free."""
    if seqs:
        yield Call(SQL["cancel"], {"seqs": json.dumps(sorted(seqs)), "in_flight": IN_FLIGHT})


def reject(limits: Limits, now: float, most: int) -> Work[int]:
    """Make errors of what is over the limit and is not to wait; return how many."""
    rows = yield Call(SQL["over"], {"lane": limits.lane, "limit": most})
    yield from fail(rows, RATE_LIMIT_EXCEEDED, now)
    return len(rows)


def _windows(row: Row) -> Iterator[Window]:
    account, tenant = f"account {row['account_id']}", f"tenant {row['tenant_id']}"
    for column, seconds, whose, name, span in (
        ("limit_per_minute", MINUTE, "lane", account, "a minute"),
        ("limit_per_hour", HOUR, "lane", account, "an hour"),
        ("limit_per_day", DAY, "lane", account, "a day"),
        ("rate_hourly", HOUR, "tenant", tenant, "an hour"),
        ("rate_daily", DAY, "tenant", tenant, "a day"),
    ):
        if row[column]:
            yield Window(seconds, row[column], whose, f"{name}: {row[column]} {span}")


def _key(limits: Limits, window: Window, now: float) -> dict[str, object]:
    whose = {"lane": limits.lane} if window.whose == "lane" else {"tenant_id": limits.tenant_id}
    return whose | {"since": now - window.stay}


def _moments(limits: Limits, use: Use, now: float) -> Work[list[float]]:
    """About when the next `HEADS` messages may go, each in its turn, as far as this window lets them."""
    window = use.window
    several = min(window.limit, HEADS)
    moments: list[float] = []
    if use.free < several:
        excess = max(0, use.taken - window.limit)
        rows = yield Call(
            SQL[f"leavers_of_{window.whose}"], _key(limits, window, now) | {"limit": excess + several}
        )
        ends = (
            moment
            for row in rows
            for moment in itertools.repeat(_end(row["sent_at"], window, now), row["amount"])
        )
        moments = list(itertools.islice(ends, excess, excess + several - use.free))
    moments = [now] * (several - len(moments)) + moments
    while len(moments) < HEADS:
        moments.append(moments[-several] + window.stay)
    return moments


def _end(sent_at: float, window: Window, now: float) -> float:
    """When a slot leaves its window; of what is in flight, the soonest if it is sent."""
    return (now if sent_at == IN_FLIGHT else sent_at) + window.stay
