"""Suspensions: what of a tenant is not to be sent, and the flags of messages that follow from it.

The table of suspensions is the truth: no claim takes what it names. A message's flag `is_held` only keeps
what is held out of the dispatcher's way, so that a large batch costs nothing while it waits. After a change
the flags are gone over in small steps; a row of `marking` stands until that is done, by this node or another.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.messages import EventType, Status
from mail_proxy.model.queue import NewEvent
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Many, Row, Work
from mail_proxy.store.queries import load

SQL = load("suspensions")
TENANTS = load("tenants")
MESSAGES = load("messages")

CHUNK = 500
"""Messages gone over in one transaction."""

SUSPENDED_TEXT = "held back: its batch or tenant is suspended"
ACTIVATED_TEXT = "no longer held back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """What is suspended of a tenant, and how many messages of what was asked about have still to leave."""

    batches: tuple[str, ...]
    waiting: int


MarkingKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """Messages whose flags are to be gone over, and how far that has come: all before this place are right.

    `status` is None when there is nothing left. What is deferred comes first: it may become pending
    meanwhile, and nothing goes the other way without its flag being set. `changed` counts the last step.
    """

    tenant_id: str
    batch_code: str
    version: int
    status: Status | None = Status.DEFERRED
    account_id: str = ""
    created_at: float = 0.0
    seq: int = 0
    changed: int = 0

    @property
    def key(self) -> MarkingKey:
        """What tells one change of a tenant's suspensions from all others."""
        return self.tenant_id, self.batch_code, self.version


class Suspensions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def suspend(self, tenant_id: str, batch_code: str, now: float) -> None:
        """Hold a batch, or `EVERYTHING`; from the next claim on, on every node. Raises `NotFound`."""
        await self._database.write(self._suspend, tenant_id, batch_code, now)

    async def activate(self, tenant_id: str, batch_code: str) -> None:
        """Lift one suspension, or with `EVERYTHING` all of the tenant.

        Raises `NotFound`, and `Conflict` for a single batch while everything is suspended.
        """
        await self._database.write(self._activate, tenant_id, batch_code)

    async def of(self, tenant_id: str, batch_code: str | None) -> Suspended:
        """See what is suspended, and count what waits of the tenant or of one batch."""
        return await self._database.read(self._of, tenant_id, batch_code)

    async def markings(self) -> list[Marking]:
        """What is still to be gone over, each from its beginning."""
        return await self._database.read(self._markings)

    async def mark(self, marking: Marking, now: float) -> Marking:
        """Set the flags of the next `CHUNK` messages to what is suspended now; return how far it has come."""
        return await self._database.write(self._mark, marking, now)

    def _suspend(self, tenant_id: str, batch_code: str, now: float) -> Work[None]:
        known = yield from self._locked(tenant_id)
        if batch_code in known or EVERYTHING in known:
            return
        if batch_code == EVERYTHING:
            yield Call(SQL["delete_all"], {"tenant_id": tenant_id})
        yield Call(SQL["insert"], {"tenant_id": tenant_id, "batch_code": batch_code, "now": now})
        yield from self._changed(tenant_id, batch_code)

    def _activate(self, tenant_id: str, batch_code: str) -> Work[None]:
        known = yield from self._locked(tenant_id)
        if batch_code == EVERYTHING:
            if not known:
                return
            yield Call(SQL["delete_all"], {"tenant_id": tenant_id})
        elif EVERYTHING in known:
            raise Conflict(f"all of tenant '{tenant_id}' is suspended: a single batch cannot be activated")
        elif batch_code not in known:
            return
        else:
            yield Call(SQL["delete"], {"tenant_id": tenant_id, "batch_code": batch_code})
        yield from self._changed(tenant_id, batch_code)

    def _locked(self, tenant_id: str) -> Work[list[str]]:
        """Keep everybody else from changing the tenant's suspensions, and read them."""
        if not (yield Call(SQL["lock"], {"id": tenant_id})):
            raise NotFound("tenant", tenant_id)
        rows = yield Call(SQL["of_tenant"], {"tenant_id": tenant_id})
        return [row["batch_code"] for row in rows]

    def _changed(self, tenant_id: str, batch_code: str) -> Work[None]:
        version = (yield Call(SQL["advance"], {"id": tenant_id}))[0]["version"]
        yield Call(
            SQL["begin_marking"], {"tenant_id": tenant_id, "batch_code": batch_code, "version": version}
        )

    def _of(self, tenant_id: str, batch_code: str | None) -> Work[Suspended]:
        rows = yield Call(SQL["of_tenant"], {"tenant_id": tenant_id})
        if batch_code is None:
            counted = yield Call(SQL["waiting_of_tenant"], {"tenant_id": tenant_id})
        else:
            given = {"tenant_id": tenant_id, "batch_code": batch_code}
            counted = yield Call(SQL["waiting_of_batch"], given)
        return Suspended(batches=tuple(row["batch_code"] for row in rows), waiting=counted[0]["n"])

    def _markings(self) -> Work[list[Marking]]:
        rows = yield Call(SQL["markings"], {})
        return [
            Marking(tenant_id=row["tenant_id"], batch_code=row["batch_code"], version=row["version"])
            for row in rows
        ]

    def _mark(self, marking: Marking, now: float) -> Work[Marking]:
        # Locked against a change of the suspensions: what is read here holds until the flags are set.
        yield Call(TENANTS["lock"], {"id": marking.tenant_id})
        rows = yield from self._next(marking)
        changed = yield from _follow([row["seq"] for row in rows], now)
        marking = replace(marking, changed=changed)
        if len(rows) == CHUNK:
            last = rows[-1]
            return replace(
                marking, account_id=last["account_id"], created_at=last["created_at"], seq=last["seq"]
            )
        if marking.status is Status.DEFERRED:
            return replace(marking, status=Status.PENDING, account_id="", created_at=0.0, seq=0)
        yield Call(
            SQL["end_marking"],
            {
                "tenant_id": marking.tenant_id,
                "batch_code": marking.batch_code,
                "version": marking.version,
            },
        )
        return replace(marking, status=None)

    def _next(self, marking: Marking) -> Work[Sequence[Row]]:
        place = {
            "tenant_id": marking.tenant_id,
            "status": marking.status,
            "account_id": marking.account_id,
            "created_at": marking.created_at,
            "seq": marking.seq,
            "limit": CHUNK,
        }
        if marking.batch_code == EVERYTHING:
            return (yield Call(SQL["next_of_tenant"], place))
        return (yield Call(SQL["next_of_batch"], place | {"batch_code": marking.batch_code}))


def hold_back(seqs: Collection[int], tenants: Collection[str], now: float) -> Work[None]:
    """Hold those of these messages that are suspended, and none other.

    They wait again, or elsewhere than before, where whoever goes over the flags may have passed already.
    `tenants` are theirs.
    """
    for tenant_id in sorted(set(tenants)):
        # A suspension that is lifted now waits for this transaction, and finds what it has held.
        yield Call(TENANTS["hold"], {"id": tenant_id})
    yield from _follow(seqs, now)


def _follow(seqs: Collection[int], now: float) -> Work[int]:
    """Let the flags say what is suspended, and tell how many did not.

    The tenants are to be locked. What is suspended is asked with the change itself, for a message may come
    into another batch at any moment before.
    """
    rows = yield Call(SQL["follow"], {"seqs": json.dumps(sorted(seqs)), "now": now})
    yield Many(
        MESSAGES["insert_event"],
        [
            shape.event_params(row["seq"], row["tenant_id"], _event(is_held=bool(row["is_held"]), now=now))
            for row in sorted(rows, key=lambda row: int(row["seq"]))
        ],
    )
    return len(rows)


def _event(*, is_held: bool, now: float) -> NewEvent:
    if is_held:
        return NewEvent(event_type=EventType.SUSPENDED, event_ts=now, description=SUSPENDED_TEXT)
    return NewEvent(event_type=EventType.ACTIVATED, event_ts=now, description=ACTIVATED_TEXT)
