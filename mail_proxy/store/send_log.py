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
"""Rows merged in one transaction."""

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


class SendLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def tidy(self, now: float) -> None:
        """Merge and drop what is old, and set right what a clock or a deletion has left behind."""
        await self._database.write(_set_right, now)
        for merging in MERGINGS:
            while await self._database.write(_merge, merging, now):
                pass
        await self._database.write(_forget, now)


def _set_right(now: float) -> Work[None]:
    yield Call(SQL["abandon"], {"now": now, "in_flight": IN_FLIGHT})
    yield Call(SQL["rewind"], {"now": now, "later": now + AHEAD, "in_flight": IN_FLIGHT})


def _merge(merging: Merging, now: float) -> Work[bool]:
    """Merge up to about `CHUNK` rows; return whether there may be more."""
    until = now - merging.age
    further = yield Call(SQL["last_of_some"], {"span": merging.of, "until": until, "most": CHUNK})
    until = further[0]["sent_at"] if further else until
    merged: dict[tuple[str, int, int], list[Row]] = defaultdict(list)
    for row in (yield Call(SQL["take_out"], {"span": merging.of, "until": until})):
        merged[row["tenant_id"], row["lane"], int(row["sent_at"] // merging.into)].append(row)
    yield Many(SQL["put_back"], [_as_one(rows, merging.into) for rows in merged.values()])
    return bool(further)


def _as_one(rows: Sequence[Row], span: int) -> Params:
    return {
        "tenant_id": rows[0]["tenant_id"],
        "lane": rows[0]["lane"],
        "sent_at": max(row["sent_at"] for row in rows),
        "amount": sum(row["amount"] for row in rows),
        "span": span,
    }


def _forget(now: float) -> Work[None]:
    yield Call(SQL["forget"], {"span": MERGINGS[-1].into, "before": now - DAY - MARGIN})
