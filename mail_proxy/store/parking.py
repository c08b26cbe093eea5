"""Parking: a message that cannot go now keeps its place in line, and says what it waits for.

It stays pending, so that a claim takes it in its turn and nothing has to be released; it is shown as
deferred. Only the heads of a line are parked: what a backlog costs does not grow with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import NewEvent, Parking
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Many, Row, Work
from mail_proxy.store.queries import load

SQL = load("parking")
MESSAGES = load("messages")

HEADS = 50
"""Messages of a lane that are parked at a time; those behind them are simply pending."""


def park(
    lane: int,
    why: Parking,
    reason: str,
    until: Sequence[float] | float,
    now: float,
    *,
    since: float | None = None,
) -> Work[int]:
    """Park the heads of a lane that are not parked for this yet; return how many those were.

    `until` is about when they will go: each in its turn, or one moment for all (Unix seconds). The moments of
    those parked before are set anew, without a word, once they have passed. With `since`, when what they wait
    for began, they have waited since then, or since they came, were due, or were let go again by a person.
    """
    heads = yield Call(SQL["heads"], {"lane": lane, "limit": HEADS})
    moments = [*until, *[until[-1]] * HEADS] if isinstance(until, Sequence) else [until] * HEADS
    line = list(zip(heads, moments, strict=False))
    new = [(head, moment) for head, moment in line if head["parked_for"] != why]
    stale = [(head, moment) for head, moment in line if head["parked_for"] == why and _has_passed(head, now)]
    yield Many(
        SQL["park"],
        [_parked(head, why, _since(head, since, now), moment, now, is_news=True) for head, moment in new]
        + [_parked(head, why, head["parked_since"], moment, now, is_news=False) for head, moment in stale],
    )
    yield Many(
        MESSAGES["insert_event"],
        [
            shape.event_params(head["seq"], head["tenant_id"], _event(head, reason, moment, now))
            for head, moment in new
        ],
    )
    return len(new)


def _since(head: Row, since: float | None, now: float) -> float:
    if since is None:
        return now
    in_line_since: float = head["updated_at"]
    return min(now, max(since, in_line_since))


def _has_passed(head: Row, now: float) -> bool:
    return head["deferred_ts"] is None or bool(head["deferred_ts"] <= now)


def _parked(
    head: Row, why: Parking, since: float, until: float, now: float, *, is_news: bool
) -> dict[str, object]:
    return {
        "seq": head["seq"],
        "parked_for": why,
        "parked_since": since,
        "until": until,
        "now": now,
        "is_news": int(is_news),
    }


def _event(head: Row, reason: str, until: float, now: float) -> NewEvent:
    return NewEvent(
        event_type=EventType.DEFERRED,
        event_ts=now,
        description=reason,
        event_data={"reason": reason, "deferred_ts": until, "retry_count": head["retry_count"]},
    )
