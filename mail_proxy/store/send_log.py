"""Upkeep of the log of what was sent, so that counting a window costs about the same however much that was.

Rows are merged once they are out of the windows in which their very moments matter. A merged row counts as
sent when the last of its messages was: a slot may come some seconds late, never early.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mail_proxy.store.database import Call, Database, Many, Params, Row, Work
from mail_proxy.store.limits import DAY, HOUR, IN_FLIGHT, MARGIN, MINUTE
from mail_proxy.store.queries import load

SQL = load("limits")

CHUNK = 1000
"""Rows merged or forgotten in one transaction."""

AHEAD = 1.0
"""Seconds that a time in the log may be ahead; what is further ahead is of a clock that was put back."""

GRACE = 5.0
"""Seconds for which rows stay single beyond a window: clocks differ, and so do windows of one claim."""


@dataclass(frozen=True, slots=True)
class Merging:
    """Rows that span `of` seconds become rows that span `into`, `age` seconds after they were sent."""

    of: int
    into: int
    age: float


MERGINGS = (Merging(0, 1, MINUTE + GRACE), Merging(1, 60, HOUR + GRACE))
"""Windows of a minute see single messages; of an hour, seconds; of a day, minutes."""

SPANS = (*(merging.of for merging in MERGINGS), MERGINGS[-1].into)


class SendLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def tidy(self, now: float) -> None:
        """Drop and merge what is old, and set right what a clock or a deletion has left behind."""
        await self._database.write(_set_right, now)
        for span in SPANS:
            while await self._database.write(_forget, span, now):
                pass
        for merging in MERGINGS:
            while await self._database.write(_merge, merging, now):
                pass


def _set_right(now: float) -> Work[None]:
    yield Call(SQL["abandon"], {"now": now, "in_flight": IN_FLIGHT})
    yield Call(SQL["rewind"], {"now": now, "later": now + AHEAD, "in_flight": IN_FLIGHT})


def _merge(merging: Merging, now: float) -> Work[bool]:
    """Merge up to about `CHUNK` rows; return whether there may be more."""
    until, has_more = yield from _next_step(merging.of, now - merging.age)
    merged: dict[tuple[str, int, int], list[Row]] = defaultdict(list)
    for row in (yield Call(SQL["take_out"], {"span": merging.of, "until": until})):
        merged[row["tenant_id"], row["lane"], int(row["sent_at"] // merging.into)].append(row)
    yield Many(SQL["put_back"], [_as_one(rows, merging.into) for rows in merged.values()])
    return has_more


def _forget(span: int, now: float) -> Work[bool]:
    """Drop up to about `CHUNK` rows that no window reaches any more; return whether there may be more.

    Also single ones: no server may have run for long.
    """
    until, has_more = yield from _next_step(span, now - DAY - MARGIN)
    yield Call(SQL["forget"], {"span": span, "until": until})
    return has_more


def _next_step(span: int, until: float) -> Work[tuple[float, bool]]:
    """Tell how far to go in one transaction, and whether that leaves some."""
    further = yield Call(SQL["last_of_some"], {"span": span, "until": until, "most": CHUNK})
    return (further[0]["sent_at"], True) if further else (until, False)


def _as_one(rows: Sequence[Row], span: int) -> Params:
    return {
        "tenant_id": rows[0]["tenant_id"],
        "lane": rows[0]["lane"],
        "sent_at": max(row["sent_at"] for row in rows),
        "amount": sum(row["amount"] for row in rows),
        "span": span,
    }
