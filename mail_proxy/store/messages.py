"""Reading messages, and what became of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from mail_proxy.errors import NotFound
from mail_proxy.model.messages import (
    Event,
    Message,
    MessageFilter,
    Payload,
    PayloadKind,
    Place,
    Status,
)
from mail_proxy.model.queue import Waiting
from mail_proxy.store import listing
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
        return await self._database.read(self._by_id, message_id)

    async def places(self, which: MessageFilter) -> list[Place]:
        """Where the messages of a page stand, newest first; fewer than its limit when the list ends."""
        return await self._database.snapshot(listing.places, which)

    async def some(self, seqs: Sequence[int]) -> list[Message]:
        """These messages, in this order; those that are gone are left out."""
        return await self._database.read(self._some, seqs)

    async def tenant_names(self, tenant_ids: Collection[str]) -> Mapping[str, str | None]:
        """What these tenants are called; those that are gone are left out."""
        return await self._database.read(self._tenant_names, tenant_ids)

    async def payload(self, seq: int) -> Payload:
        return await self._database.read(self._payload, seq)

    async def payloads(self, seqs: Iterable[int]) -> dict[int, Payload]:
        return await self._database.read(read_payloads, list(seqs))

    async def events(self, seq: int) -> list[Event]:
        return await self._database.read(self._events, seq)

    async def histories(self, seqs: Iterable[int]) -> dict[int, list[Event]]:
        """The events of several messages, each in order."""
        return await self._database.read(self._histories, list(seqs))

    async def waiting(self, tenant_id: str | None = None) -> list[Waiting]:
        """Count what has still to leave, of one tenant or of all; the cost follows that, not the history."""
        return await self._database.read(self._waiting, tenant_id)

    async def ready_since(self) -> float | None:
        """Since when a message waits that nothing holds back; None if there is none (Unix seconds)."""
        return await self._database.read(self._ready_since)

    async def totals(self, tenant_id: str | None = None) -> dict[Status, int]:
        """Count messages by status; reads the whole history, so for people, not for loops."""
        return await self._database.read(self._totals, tenant_id)

    def _get(self, tenant_id: str, message_id: str) -> Work[Message]:
        rows = yield Call(SQL["get"], {"tenant_id": tenant_id, "id": message_id})
        if not rows:
            raise NotFound("message", message_id)
        return shape.message_of(rows[0])

    def _by_id(self, message_id: str) -> Work[list[Message]]:
        rows = yield Call(SQL["by_id"], {"id": message_id})
        return [shape.message_of(row) for row in rows]

    def _some(self, seqs: Sequence[int]) -> Work[list[Message]]:
        rows = yield Call(SQL["some"], {"seqs": json.dumps(seqs)})
        found = {row["seq"]: row for row in rows}
        return [shape.message_of(found[seq]) for seq in seqs if seq in found]

    def _tenant_names(self, tenant_ids: Collection[str]) -> Work[Mapping[str, str | None]]:
        rows = yield Call(SQL["tenant_names"], {"ids": json.dumps(sorted(tenant_ids))})
        return {row["id"]: row["name"] for row in rows}

    def _payload(self, seq: int) -> Work[Payload]:
        rows = yield Call(SQL["payload"], {"seq": seq})
        if not rows:
            raise NotFound("message content", str(seq))
        return _payload_of(rows[0])

    def _events(self, seq: int) -> Work[list[Event]]:
        rows = yield Call(SQL["events"], {"seq": seq})
        return [shape.event_of(row) for row in rows]

    def _histories(self, seqs: Sequence[int]) -> Work[dict[int, list[Event]]]:
        rows = yield Call(SQL["histories"], {"seqs": json.dumps(seqs)})
        histories: dict[int, list[Event]] = {seq: [] for seq in seqs}
        for row in rows:
            histories[row["seq"]].append(shape.event_of(row))
        return histories

    def _waiting(self, tenant_id: str | None) -> Work[list[Waiting]]:
        if tenant_id is None:
            rows = yield Call(SQL["waiting"], {})
        else:
            rows = yield Call(SQL["waiting_of_tenant"], {"tenant_id": tenant_id})
        counted: Counter[tuple[str, str, Status]] = Counter()
        for row in rows:
            for status, count in _shown(row):
                counted[row["tenant_id"], row["account_id"], status] += count
        return [
            Waiting(tenant_id=tenant_id, account_id=account_id, status=status, count=count)
            for (tenant_id, account_id, status), count in counted.items()
            if count
        ]

    def _ready_since(self) -> Work[float | None]:
        since: float | None = (yield Call(SQL["ready_since"], {}))[0]["since"]
        return since

    def _totals(self, tenant_id: str | None) -> Work[dict[Status, int]]:
        rows = yield Call(SQL["totals"], {"tenant_id": tenant_id})
        totals = dict.fromkeys(Status, 0)
        for row in rows:
            for status, count in _shown(row):
                totals[status] += count
        return totals


def _shown(row: Row) -> Iterator[tuple[Status, int]]:
    """Part what was counted of a stored status by the statuses that are shown."""
    status = Status(row["status"])
    parked = row["parked"] if status is Status.PENDING else 0
    yield status, row["n"] - parked
    yield Status.DEFERRED, parked


def read_payloads(seqs: Sequence[int]) -> Work[dict[int, Payload]]:
    """Read the contents of several messages at once."""
    rows = yield Call(SQL["payloads"], {"seqs": json.dumps(seqs)})
    return {row["seq"]: _payload_of(row) for row in rows}


def _payload_of(row: Row) -> Payload:
    return Payload(kind=PayloadKind(row["kind"]), content=bytes(row["content"]))
