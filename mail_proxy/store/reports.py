"""What applications are still to be told, and that they have been told."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mail_proxy.model.messages import EventType
from mail_proxy.model.reports import Reportable
from mail_proxy.store.database import Call, Database, Many, Row, Work
from mail_proxy.store.queries import load

SQL = load("reports")


class Reports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def tenants_due(self) -> list[str]:
        """The tenants with events to be told of."""
        return await self._database.read(self._tenants_due)

    async def batch(self, tenant_id: str, limit: int, after: int = 0) -> list[Reportable]:
        """What one tenant is to be told next, in order of events."""
        return await self._database.read(self._batch, tenant_id, limit, after)

    async def acknowledge(self, event_ids: Sequence[int], now: float) -> None:
        """The application has these."""
        await self._database.write(self._acknowledge, event_ids, now)

    async def pending(self, tenant_id: str) -> int:
        return await self._database.read(self._pending, tenant_id)

    def _tenants_due(self) -> Work[list[str]]:
        rows = yield Call(SQL["tenants_due"], {})
        return [row["tenant_id"] for row in rows]

    def _batch(self, tenant_id: str, limit: int, after: int) -> Work[list[Reportable]]:
        rows = yield Call(SQL["batch"], {"tenant_id": tenant_id, "limit": limit, "after": after})
        return [_reportable(row) for row in rows]

    def _acknowledge(self, event_ids: Sequence[int], now: float) -> Work[None]:
        params = [{"event_id": event_id, "now": now} for event_id in event_ids]
        yield Many(SQL["acknowledge"], params)
        yield Many(SQL["acknowledge_message"], params)

    def _pending(self, tenant_id: str) -> Work[int]:
        rows = yield Call(SQL["pending"], {"tenant_id": tenant_id})
        count: int = rows[0]["n"]
        return count


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
