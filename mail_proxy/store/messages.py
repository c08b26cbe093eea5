"""Messages: intake, and reading what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum

from mail_proxy.errors import NotFound
from mail_proxy.model.messages import (
    Event,
    EventType,
    Message,
    MessageFilter,
    NewMessage,
    Payload,
    PayloadKind,
    RecipientStatus,
    Status,
)
from mail_proxy.model.queue import NewEvent, Waiting
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Many, Row, Work
from mail_proxy.store.queries import load

SQL = load("messages")
TENANTS = load("tenants")


class Intake(StrEnum):
    """What became of a message handed in."""

    QUEUED = "queued"
    REPLACED = "replaced"
    ALREADY_SENT = "already sent"
    BEING_SENT = "being sent"
    TENANT_GONE = "the tenant was deleted"


class Messages:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: Sequence[NewMessage], now: float) -> list[Intake]:
        """Queue messages, all in one commit; tell for each what became of it, in the same order.

        Ids must differ within a tenant. A used id is replaced or refused (contract: messages.md).
        """
        return await self._database.write(self._add, new, now)

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

    def _add(self, new: Sequence[NewMessage], now: float) -> Work[list[Intake]]:
        known: dict[tuple[str, str], Row] = {}
        gone: set[str] = set()
        for tenant_id in sorted(
            {message.tenant_id for message in new}
        ):  # in one order: two locks, no deadlock
            if not (yield Call(TENANTS["hold"], {"id": tenant_id})):
                gone.add(tenant_id)
                continue
            ids = [message.id for message in new if message.tenant_id == tenant_id]
            rows = yield Call(SQL["existing"], {"tenant_id": tenant_id, "ids": json.dumps(ids)})
            known |= {(tenant_id, row["id"]): row for row in rows}
        states = [
            Intake.TENANT_GONE
            if message.tenant_id in gone
            else _state(known.get((message.tenant_id, message.id)))
            for message in new
        ]
        judged = list(zip(new, states, strict=True))
        fresh = [message for message, state in judged if state is Intake.QUEUED]
        if fresh:
            yield from self._insert(fresh, now)
        for message, state in judged:
            if state is Intake.REPLACED:
                yield from self._replace(message, known[message.tenant_id, message.id]["seq"], now)
        return states

    def _insert(self, fresh: Sequence[NewMessage], now: float) -> Work[None]:
        places = yield Call(SQL["allocate"], {"count": len(fresh)})
        params = [
            shape.message_params(message, place["seq"], now)
            for message, place in zip(fresh, places, strict=True)
        ]
        event = NewEvent(event_type=EventType.QUEUED, event_ts=now, description="queued")
        # Always in the same order, so that nodes that take the same ids at once wait for, not on, each other.
        yield Many(SQL["insert"], sorted(params, key=lambda row: (str(row["id"]), str(row["tenant_id"]))))
        yield Many(SQL["insert_payload"], params)
        yield Many(
            SQL["insert_event"],
            [
                shape.event_params(place["seq"], message.tenant_id, event)
                for message, place in zip(fresh, places, strict=True)
            ],
        )

    def _replace(self, message: NewMessage, seq: int, now: float) -> Work[None]:
        params = shape.message_params(message, seq, now)
        event = NewEvent(event_type=EventType.REPLACED, event_ts=now, description="submitted anew")
        yield Call(SQL["replace"], params)
        yield Call(SQL["replace_payload"], params)
        yield Call(SQL["insert_event"], shape.event_params(seq, message.tenant_id, event))

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


def _state(old: Row | None) -> Intake:
    """Tell whether an id is free, or may be submitted anew (contract: messages.md, Validation)."""
    if old is None:
        return Intake.QUEUED
    if old["status"] == Status.SENDING:
        return Intake.BEING_SENT
    taken = any(
        recipient.status in (RecipientStatus.SENT, RecipientStatus.BOUNCED)
        for recipient in shape.recipients_of(old["recipients"])
    )
    if taken or old["is_unknown"] or old["status"] not in (Status.PENDING, Status.DEFERRED, Status.ERROR):
        return Intake.ALREADY_SENT
    return Intake.REPLACED
