"""Intake: putting messages into the queue, durably."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum

from mail_proxy.model.messages import EventType, NewMessage, RecipientStatus, Status
from mail_proxy.model.queue import NewEvent
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Many, Row, Work
from mail_proxy.store.queries import load

SQL = load("intake")
MESSAGES = load("messages")
TENANTS = load("tenants")


class Taken(StrEnum):
    """What became of a message handed in."""

    QUEUED = "queued"
    REPLACED = "replaced"
    ALREADY_SENT = "already sent"
    BEING_SENT = "being sent"
    TENANT_GONE = "the tenant was deleted"


class Intake:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: Sequence[NewMessage], now: float) -> list[Taken]:
        """Queue messages, all in one commit; tell for each what became of it, in the same order.

        Ids must differ within a tenant. A used id is replaced or refused (contract: messages.md).
        """
        return await self._database.write(self._add, new, now)

    def _add(self, new: Sequence[NewMessage], now: float) -> Work[list[Taken]]:
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
            Taken.TENANT_GONE
            if message.tenant_id in gone
            else _state(known.get((message.tenant_id, message.id)))
            for message in new
        ]
        judged = list(zip(new, states, strict=True))
        fresh = [message for message, state in judged if state is Taken.QUEUED]
        if fresh:
            yield from self._insert(fresh, now)
        for message, state in judged:
            if state is Taken.REPLACED:
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
            MESSAGES["insert_event"],
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
        yield Call(MESSAGES["insert_event"], shape.event_params(seq, message.tenant_id, event))


def _state(old: Row | None) -> Taken:
    """Tell whether an id is free, or may be submitted anew (contract: messages.md, Validation)."""
    if old is None:
        return Taken.QUEUED
    if old["status"] == Status.SENDING:
        return Taken.BEING_SENT
    taken = any(
        recipient.status in (RecipientStatus.SENT, RecipientStatus.BOUNCED)
        for recipient in shape.recipients_of(old["recipients"])
    )
    if taken or old["is_unknown"] or old["status"] not in (Status.PENDING, Status.DEFERRED, Status.ERROR):
        return Taken.ALREADY_SENT
    return Taken.REPLACED
