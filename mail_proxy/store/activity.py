"""What happened lately, read by the newest events, and how accounts fare: for whoever watches.

Nothing here reads more for a longer history. What is asked for again and again is asked only for what is new.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mail_proxy.model.activity import AccountState, Failure, LimitUse, Outcome
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.limits import DAY, HOUR, MARGIN, MINUTE
from mail_proxy.store.queries import load

SQL = load("activity")

Account = tuple[str, str]
"""A tenant's id, and the account's."""

OUTCOMES = {
    "sent": Outcome.SENT,
    "deferred": Outcome.DEFERRED,
    "error": Outcome.FAILED,
    "bounce": Outcome.FAILED,
}
"""By the types of events that tell them."""

WINDOWS = (("minute", MINUTE), ("hour", HOUR), ("day", DAY))


class Count(NamedTuple):
    """So many messages of an account came to this within a second (Unix time)."""

    account: Account
    outcome: Outcome
    second: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What followed the event `after` that was asked for.

    `settled` are counts up to the event `last_settled`; `recent` are those after it, where events may still
    appear between others. `is_cut`: of the events in between only those from `begins_at` on were read.
    """

    last_settled: int
    settled: Sequence[Count]
    recent: Sequence[Count]
    failures: Sequence[Failure]
    is_cut: bool
    begins_at: float


class Activities:
    """Times are Unix seconds; `tenant_id` None is all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def news(
        self, tenant_id: str | None, *, after: int, since: float, settled: float, most: int, failures: int
    ) -> News:
        """Read at most `most` events that follow one, the newest, and count those of `since` or later.

        All nodes have committed what happened until `settled`. So many failures are given, of whatever age.
        """
        bounds = {"after": after, "since": since, "settled": settled, "most": most}
        return await self._database.snapshot(self._news, tenant_id, bounds, failures)

    async def accounts(self, tenant_id: str | None, most: int) -> tuple[int, list[Account]]:
        """Count the accounts, and name the first of them."""
        return await self._database.read(self._accounts, tenant_id, most)

    async def states(self, accounts: Sequence[Account], now: float) -> dict[Account, AccountState]:
        """How these accounts fare; those that are deleted are left out."""
        return await self._database.read(self._states, accounts, now)

    def _news(self, tenant_id: str | None, bounds: dict[str, float], failures: int) -> Work[News]:
        [row] = yield Call(SQL["bounds"], bounds)
        after = int(bounds["after"])
        first = after + 1 if row["first"] is None else row["first"]
        last_settled = after if row["settled"] is None else row["settled"]
        settled = yield from _counts(tenant_id, first, last_settled)
        recent = yield from _counts(tenant_id, max(first, last_settled + 1), row["last"])
        given = {"tenant_id": tenant_id, "after": after, "most": bounds["most"], "limit": failures}
        failed = yield Call(SQL["failures"], given)
        return News(
            last_settled=last_settled,
            settled=settled,
            recent=recent,
            failures=[_failure_of(row) for row in failed],
            is_cut=row["n"] >= bounds["most"],
            begins_at=row["begins_at"] or 0.0,
        )

    def _accounts(self, tenant_id: str | None, most: int) -> Work[tuple[int, list[Account]]]:
        [row] = yield Call(SQL["accounts"], {"tenant_id": tenant_id})
        names = yield Call(SQL["names"], {"tenant_id": tenant_id, "most": most})
        return row["n"], [(name["tenant_id"], name["id"]) for name in names]

    def _states(self, accounts: Sequence[Account], now: float) -> Work[dict[Account, AccountState]]:
        given: dict[str, object] = {name: now - seconds - MARGIN for name, seconds in WINDOWS}
        rows = yield Call(SQL["states"], given | {"accounts": json.dumps(accounts)})
        return {(row["tenant_id"], row["id"]): _state_of(row) for row in rows}


def _counts(tenant_id: str | None, first: int, last: int | None) -> Work[list[Count]]:
    if last is None or last < first:
        return []
    rows = yield Call(SQL["tallies"], {"tenant_id": tenant_id, "first": first, "last": last})
    return [
        Count((row["tenant_id"], row["account_id"]), OUTCOMES[row["event_type"]], row["second"], row["n"])
        for row in rows
    ]


def _failure_of(row: Row) -> Failure:
    return Failure(
        event_id=row["event_id"],
        ts=row["event_ts"],
        tenant_id=row["tenant_id"],
        account_id=row["account_id"],
        id=row["id"],
        text=row["description"],
    )


def _state_of(row: Row) -> AccountState:
    waiting = [row[f"{status}_since"] for status in ("pending", "deferred", "sending")]
    return AccountState(
        resting_until=row["resting_until"] if row["rest"] else None,
        last_error=row["last_error"],
        limits=tuple(
            LimitUse(seconds=int(seconds), limit=row[f"limit_per_{name}"], used=int(row[f"used_in_{name}"]))
            for name, seconds in WINDOWS
            if row[f"limit_per_{name}"]
        ),
        waits_since=min((since for since in waiting if since is not None), default=None),
    )
