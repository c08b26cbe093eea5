"""Reading messages, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from mail_proxy.errors import NotFound
from mail_proxy.model.messages import (
    Event,
    Message,
    MessageFilter,
    Payload,
    PayloadKind,
    Status,
)
from mail_proxy.model.queue import Waiting
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.queries import load

SQL = load("messages")


class Messages:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant_id: str, message_id: str) -> Message:
        """Raise `NotFound` when the tenant has no message of this id."""
        return await self._database.read(self._get, tenant_id, message_id)

    async def by_id(self, message_id: str) -> list[Message]:
        """Messages of this id, of whatever tenant: at most two, enough to see an ambiguity."""
        return await self._database.read(self._list, "by_id", {"id": message_id})

    async def page(self, which: MessageFilter) -> list[Message]:
        return await self._database.read(self._page, which)

    async def payload(self, seq: int) -> Payload:
        return await self._database.read(self._payload, seq)

    async def payloads(self, seqs: Iterable[int]) -> dict[int, Payload]:
        return await self._database.read(read_payloads, list(seqs))

    async def events(self, seq: int) -> list[Event]:
        return await self._database.read(self._events, seq)

    async def waiting(self) -> list[Waiting]:
        """Count what has still to leave; the cost follows the queue, not its history."""
        return await self._database.read(self._waiting)

    async def totals(self, tenant_id: str | None = None) -> dict[Status, int]:
        """Count messages by status; reads the whole history, so for people, not for loops."""
        return await self._database.read(self._totals, tenant_id)

    def _get(self, tenant_id: str, message_id: str) -> Work[Message]:
        rows = yield Call(SQL["get"], {"tenant_id": tenant_id, "id": message_id})
        if not rows:
            raise NotFound("message", message_id)
        return shape.message_of(rows[0])

    def _list(self, query: str, params: dict[str, object]) -> Work[list[Message]]:
        rows = yield Call(SQL[query], params)
        return [shape.message_of(row) for row in rows]

    def _page(self, which: MessageFilter) -> Work[list[Message]]:
        params: dict[str, object] = {
            "status": which.status,
            "account_id": which.account_id,
            "batch_code": which.batch_code,
            "since": which.since,
            "until": which.until,
            "below": which.below,
            "limit": which.limit,
        }
        if which.active_only or (which.status is not None and which.status.is_waiting):
            return (yield from self._list("page_waiting", params | {"tenant_id": which.tenant_id}))
        if which.tenant_id is None:
            return (yield from self._list("page", params))
        return (yield from self._list("page_of_tenant", params | {"tenant_id": which.tenant_id}))

    def _payload(self, seq: int) -> Work[Payload]:
        rows = yield Call(SQL["payload"], {"seq": seq})
        if not rows:
            raise NotFound("message content", str(seq))
        return _payload_of(rows[0])

    def _events(self, seq: int) -> Work[list[Event]]:
        rows = yield Call(SQL["events"], {"seq": seq})
        return [shape.event_of(row) for row in rows]

    def _waiting(self) -> Work[list[Waiting]]:
        rows = yield Call(SQL["waiting"], {})
        return [
            Waiting(
                tenant_id=row["tenant_id"],
                account_id=row["account_id"],
                status=Status(row["status"]),
                count=row["n"],
            )
            for row in rows
        ]

    def _totals(self, tenant_id: str | None) -> Work[dict[Status, int]]:
        rows = yield Call(SQL["totals"], {"tenant_id": tenant_id})
        counted = {row["status"]: row["n"] for row in rows}
        return {status: counted.get(status, 0) for status in Status}


def read_payloads(seqs: Sequence[int]) -> Work[dict[int, Payload]]:
    """Read the contents of several messages at once."""
    rows = yield Call(SQL["payloads"], {"seqs": json.dumps(seqs)})
    return {row["seq"]: _payload_of(row) for row in rows}


def _payload_of(row: Row) -> Payload:
    return Payload(kind=PayloadKind(row["kind"]), content=bytes(row["content"]))
