"""Intake: putting messages into the queue, durably.

While one commit is under way, the messages of other requests gather, and the next commit takes them all, by
the same few statements: what a request costs falls as more of them come at once (docs/adr/0017).
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from mail_proxy.errors import DatabaseError
from mail_proxy.model.commands import Command
from mail_proxy.model.messages import EventType, NewMessage, RecipientStatus, Status
from mail_proxy.model.queue import NewEvent
from mail_proxy.store import rows as shape
from mail_proxy.store.commands import command_params
from mail_proxy.store.database import Call, Database, Many, Params, Row, Work
from mail_proxy.store.queries import load
from mail_proxy.store.suspensions import SUSPENDED_TEXT

SQL = load("intake")
MESSAGES = load("messages")
TENANTS = load("tenants")
COMMANDS = load("commands")

GROUP = 500
"""Messages in one commit, from which on no further request joins it."""

GROUP_BYTES = 8 * 1024 * 1024

WRITERS = {"sqlite": 1, "postgres": 3}
"""Commits under way at a time: SQLite has one writer, PostgreSQL lets several wait for its disk together."""

Key = tuple[str, str]
"""A tenant's id and that of its message."""


class Taken(StrEnum):
    """What became of a message handed in."""

    QUEUED = "queued"
    REPLACED = "replaced"
    ALREADY_SENT = "already sent"
    BEING_SENT = "being sent"
    TENANT_GONE = "the tenant was deleted"


class Outdated(Exception):
    """A tenant is not any more as it was when the messages were judged: they have to be judged again."""


class _Order:
    """What one request hands in."""

    __slots__ = ("command", "done", "keys", "new", "now", "versions")

    def __init__(
        self, new: Sequence[NewMessage], now: float, versions: Mapping[str, int], command: Command | None
    ) -> None:
        self.new = new
        self.now = now
        self.versions = versions
        self.command = command
        self.keys = {(each.tenant_id, each.id) for each in new}
        self.done: asyncio.Future[list[Taken]] = asyncio.get_running_loop().create_future()

    @property
    def size(self) -> int:
        return sum(len(each.payload) for each in self.new)

    def is_valid(self, versions: Mapping[str, int | None]) -> bool:
        """Whether the tenants are as they were when the messages were judged."""
        return all(versions.get(tenant_id) == version for tenant_id, version in self.versions.items())

    def settle(self, outcome: list[Taken] | Exception) -> None:
        """Tell who asked, unless it went away meanwhile."""
        if self.done.done():
            return
        if isinstance(outcome, Exception):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class Intake:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._orders: deque[_Order] = deque()
        self._writers: set[asyncio.Task[None] | None] = set()
        self._under_way: set[Key] = set()

    async def add(
        self,
        new: Sequence[NewMessage],
        now: float,
        *,
        versions: Mapping[str, int] = MappingProxyType({}),
        command: Command | None = None,
    ) -> list[Taken]:
        """Queue messages, all in one commit; tell for each what became of it, in the same order.

        Ids must differ within a tenant. A used id is replaced or refused (contract: messages.md). `versions`
        are those of the tenants as the messages were judged by; raises `Outdated`, and queues nothing, when
        one is another by now. `command` goes into the command log
        with them.
        """
        order = _Order(new, now, versions, command)
        self._orders.append(order)
        if len(self._writers) < WRITERS[self._database.dialect]:
            self._writers.add(asyncio.create_task(self._write(), name="intake"))
        return await order.done

    async def _write(self) -> None:
        """Commit group after group, until none is left."""
        try:
            while group := self._next_group():
                keys = {key for order in group for key in order.keys}
                self._under_way |= keys
                try:
                    await self._commit(group)
                finally:
                    self._under_way -= keys
        finally:  # in the same breath as finding nothing: an order that comes now gets a new writer
            self._writers.discard(asyncio.current_task())

    def _next_group(self) -> list[_Order]:
        """Take orders as they came; an id that is in the group already, or under way, waits for its turn."""
        group: list[_Order] = []
        postponed: list[_Order] = []
        keys = set(self._under_way)
        count = size = 0
        while self._orders and count < GROUP and size < GROUP_BYTES:
            order = self._orders.popleft()
            if keys.isdisjoint(order.keys):
                group.append(order)
                count += len(order.new)
                size += order.size
            else:
                postponed.append(order)
            keys |= order.keys
        self._orders.extendleft(reversed(postponed))
        return group

    async def _commit(self, group: Sequence[_Order]) -> None:
        """Commit a group; if that fails because of one of them, each by itself."""
        outcomes: Sequence[list[Taken] | Exception]
        try:
            outcomes = await self._database.write(self._add, group)
        except DatabaseError as error:
            outcomes = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it; the next group is served
            if len(group) > 1:
                for order in group:
                    await self._commit([order])
                return
            outcomes = [error]
        except asyncio.CancelledError:
            for order in group:
                order.done.cancel()
            raise
        for order, outcome in zip(group, outcomes, strict=True):
            order.settle(outcome)

    def _add(self, group: Sequence[_Order]) -> Work[list[list[Taken] | Exception]]:
        versions: dict[str, int | None] = {}
        # In one order: two nodes that hold several wait for, not on, each other.
        for tenant_id in sorted({tenant_id for order in group for tenant_id, _ in order.keys}):
            rows = yield Call(TENANTS["hold"], {"id": tenant_id})
            versions[tenant_id] = rows[0]["version"] if rows else None
        valid = [order for order in group if order.is_valid(versions)]
        known = yield from self._existing(valid, versions)
        outcomes: list[list[Taken] | Exception] = []
        fresh: list[tuple[NewMessage, float]] = []
        replaced: list[tuple[NewMessage, int, float]] = []
        for order in group:
            if not order.is_valid(versions):
                outcomes.append(Outdated())
                continue
            states = [
                Taken.TENANT_GONE
                if versions[message.tenant_id] is None
                else _state(known.get((message.tenant_id, message.id)))
                for message in order.new
            ]
            outcomes.append(states)
            for message, state in zip(order.new, states, strict=True):
                if state is Taken.QUEUED:
                    fresh.append((message, order.now))
                elif state is Taken.REPLACED:
                    replaced.append((message, known[message.tenant_id, message.id]["seq"], order.now))
        if fresh:
            yield from self._insert(fresh)
        commands = [command_params(order.command) for order in valid if order.command is not None]
        yield Many(COMMANDS["record"], commands)
        for message, seq, now in replaced:
            yield from self._replace(message, seq, now)
        return outcomes

    def _existing(self, orders: Sequence[_Order], versions: Mapping[str, int | None]) -> Work[dict[Key, Row]]:
        """Read what there is of the ids in these orders."""
        ids: dict[str, list[str]] = {}
        for order in orders:
            for tenant_id, message_id in order.keys:
                ids.setdefault(tenant_id, []).append(message_id)
        known: dict[Key, Row] = {}
        for tenant_id in sorted(ids):
            if versions[tenant_id] is not None:
                # In one order, too: what is there is locked as it is read.
                given = {"tenant_id": tenant_id, "ids": json.dumps(sorted(ids[tenant_id]))}
                rows = yield Call(SQL["existing"], given)
                known |= {(tenant_id, row["id"]): row for row in rows}
        return known

    def _insert(self, fresh: Sequence[tuple[NewMessage, float]]) -> Work[None]:
        places = yield Call(SQL["allocate"], {"count": len(fresh)})
        params = [
            shape.message_params(message, place["seq"], now)
            for (message, now), place in zip(fresh, places, strict=True)
        ]
        # Always in the same order, so that nodes that take the same ids at once wait for, not on, each other.
        yield Many(SQL["insert"], sorted(params, key=_id_of))
        yield Many(SQL["insert_payload"], params)
        yield Many(
            MESSAGES["insert_event"],
            [
                event
                for (message, now), place in zip(fresh, places, strict=True)
                for event in _events(message, place["seq"], now, EventType.QUEUED, "queued")
            ],
        )

    def _replace(self, message: NewMessage, seq: int, now: float) -> Work[None]:
        params = shape.message_params(message, seq, now)
        yield Call(SQL["replace"], params)
        yield Call(SQL["replace_payload"], params)
        for event in _events(message, seq, now, EventType.REPLACED, "submitted anew"):
            yield Call(MESSAGES["insert_event"], event)


def _id_of(params: Mapping[str, object]) -> tuple[str, str]:
    return str(params["id"]), str(params["tenant_id"])


def _events(message: NewMessage, seq: int, now: float, kind: EventType, text: str) -> Iterator[Params]:
    """Tell what happened to a message that was taken."""
    yield _event(message.tenant_id, now, kind, text) | {"seq": seq}
    if message.is_held:
        yield _event(message.tenant_id, now, EventType.SUSPENDED, SUSPENDED_TEXT) | {"seq": seq}


@lru_cache(maxsize=16)
def _event(tenant_id: str, now: float, kind: EventType, text: str) -> dict[str, object]:
    """Make the row that all messages of one request have but for their places."""
    event = NewEvent(event_type=kind, event_ts=now, description=text)
    return shape.event_params(0, tenant_id, event)


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
