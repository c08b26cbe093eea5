"""What applications are still to be told, and that they have been told."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mail_proxy.errors import NotFound
from mail_proxy.model.messages import EventType
from mail_proxy.model.reports import Reportable, ReportState, SyncState, Untold, UntoldPlace
from mail_proxy.store.database import Call, Database, Many, Row, Work
from mail_proxy.store.queries import load

SQL = load("reports")
TENANTS = load("tenants")

STRETCH = 2000
"""Events looked at in one transaction of a replay: others must not wait long for it."""

DISORDER = 3600.0
"""Seconds by which events may be out of order: clocks of nodes differ, and are set back."""


class Reports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def tenants_due(self) -> list[str]:
        """The tenants with events to be told of."""
        return await self._database.read(self._tenants_due)

    async def batch(self, tenant_id: str, limit: int, after: int = 0) -> list[Reportable]:
        """What one tenant is to be told next, in order of events."""
        return await self._database.read(self._batch, tenant_id, limit, after)

    async def acknowledge(self, tenant_id: str, event_ids: Sequence[int], now: float) -> None:
        """The tenant's application took a post, and has these of it."""
        await self._database.write(self._acknowledge, tenant_id, event_ids, now)

    async def failed(self, tenant_id: str, error: str | None, next_try: float) -> None:
        """The tenant's application did not take a post; it is asked again at `next_try`."""
        await self._database.write(self._failed, tenant_id, error, next_try)

    async def pending(self, tenant_id: str) -> int:
        return await self._database.read(self._pending, tenant_id)

    async def untold(
        self, tenant_id: str | None, state: ReportState | None, after: UntoldPlace | None, limit: int
    ) -> list[Untold]:
        """What one tenant's application, or everybody's, was not told of yet."""
        return await self._database.read(self._untold, tenant_id, state, after, limit)

    async def sync_states(self) -> list[SyncState]:
        """How the reporting to each tenant goes."""
        return await self._database.read(self._sync_states)

    async def replay(self, tenant_id: str, since: float, now: float) -> int:
        """Make what a tenant was told of, of events since then, due again; return how many.

        Done in stretches: dying between two of them leaves the rest as it was. Raises `NotFound`.
        """
        after, last = await self._database.read(self._span_since, tenant_id, since)
        count = 0
        while after < last:
            after, replayed = await self._database.write(self._replay, tenant_id, since, after, last, now)
            count += replayed
        return count

    def _tenants_due(self) -> Work[list[str]]:
        rows = yield Call(SQL["tenants_due"], {})
        return [row["tenant_id"] for row in rows]

    def _batch(self, tenant_id: str, limit: int, after: int) -> Work[list[Reportable]]:
        rows = yield Call(SQL["batch"], {"tenant_id": tenant_id, "limit": limit, "after": after})
        return [_reportable(row) for row in rows]

    def _acknowledge(self, tenant_id: str, event_ids: Sequence[int], now: float) -> Work[None]:
        params = [{"event_id": event_id, "now": now} for event_id in event_ids]
        yield Many(SQL["acknowledge"], params)
        yield Many(SQL["acknowledge_message"], params)
        yield Call(SQL["synced"], {"tenant_id": tenant_id, "now": now})

    def _failed(self, tenant_id: str, error: str | None, next_try: float) -> Work[None]:
        params = {"tenant_id": tenant_id, "last_error": error, "next_try_ts": next_try}
        yield Call(SQL["sync_failed"], params)

    def _pending(self, tenant_id: str) -> Work[int]:
        rows = yield Call(SQL["pending"], {"tenant_id": tenant_id})
        count: int = rows[0]["n"]
        return count

    def _untold(
        self, tenant_id: str | None, state: ReportState | None, after: UntoldPlace | None, limit: int
    ) -> Work[list[Untold]]:
        """Go from tenant to tenant, so that neither other tenants nor other states are read through."""
        rows = yield Call(SQL["failing"], {})
        failing = {row["tenant_id"] for row in rows}
        tenants = [tenant_id] if tenant_id is not None else (yield from self._tenants_due())
        found: list[Untold] = []
        for each in sorted(tenants):  # not as PostgreSQL sorts, which depends on its locale
            its_state = ReportState.FAILING if each in failing else ReportState.UNREPORTED
            if state not in (None, its_state) or (after is not None and each < after.tenant_id):
                continue
            passed = after.event_id if after is not None and after.tenant_id == each else 0
            events = yield from self._batch(each, limit - len(found), passed)
            found += [Untold(event, its_state) for event in events]
            if len(found) == limit:
                break
        return found

    def _sync_states(self) -> Work[list[SyncState]]:
        rows = yield Call(SQL["pending_of_each"], {})
        pending = {row["tenant_id"]: row["n"] for row in rows}
        rows = yield Call(SQL["sync_states"], {})
        return [
            SyncState(
                tenant_id=row["id"],
                name=row["name"],
                active=bool(row["active"]),
                client_base_url=row["client_base_url"],
                last_sync_ts=row["last_sync_ts"],
                next_try_ts=row["next_try_ts"],
                failures=row["failures"] or 0,
                last_error=row["last_error"],
                beat_at=row["beat_at"],
                dnd_until=row["dnd_until"],
                again_ts=row["again_ts"],
                pending=pending.get(row["id"], 0),
                refused=0,
            )
            for row in rows
        ]

    def _span_since(self, tenant_id: str, since: float) -> Work[tuple[int, int]]:
        """Find before which event, and up to which, to look for those since a time.

        Events are numbered as they are stored, so their times rise but for `DISORDER`: no index of times is
        needed, for which each event would pay.
        """
        if not (yield Call(TENANTS["get"], {"id": tenant_id})):
            raise NotFound("tenant", tenant_id)
        [ends] = yield Call(SQL["span"], {})
        low, high = ends["first"] or 0, ends["last"] or 0
        last: int = high
        while low < high:
            middle = (low + high) // 2
            rows = yield Call(SQL["event_from"], {"event_id": middle})
            if rows and rows[0]["event_ts"] < since - DISORDER:
                low = rows[0]["event_id"] + 1
            else:
                high = middle
        return low - 1, last

    def _replay(
        self, tenant_id: str, since: float, after: int, last: int, now: float
    ) -> Work[tuple[int, int]]:
        """Replay one stretch; return where it ends, and how many there were in it."""
        [stretch] = yield Call(SQL["stretch"], {"after": after, "last": last, "limit": STRETCH})
        if stretch["last"] is None:
            return last, 0
        where = {"tenant_id": tenant_id, "after": after, "last": stretch["last"]}
        replayed = yield Call(SQL["replay"], {**where, "since": since})
        yield Call(SQL["replay_messages"], {**where, "now": now})
        return stretch["last"], len(replayed)


def _reportable(row: Row) -> Reportable:
    return Reportable(
        event_id=row["event_id"],
        event_type=EventType(row["event_type"]),
        event_ts=row["event_ts"],
        event_data={} if row["event_data"] is None else json.loads(row["event_data"]),
        id=row["id"],
        tenant_id=row["tenant_id"],
        pk=row["pk"],
        account_id=row["account_id"],
        priority=row["priority"],
        metadata=row["metadata"],
    )
