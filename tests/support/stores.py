"""A store of one's own, and messages to put into it."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mail_proxy.encryption import Vault
from mail_proxy.model.accounts import Account
from mail_proxy.model.messages import (
    Event,
    EventType,
    Message,
    NewMessage,
    PayloadKind,
    Recipient,
    RecipientStatus,
    Status,
)
from mail_proxy.model.queue import Begin, Claimed, NewEvent, Settlement
from mail_proxy.model.tenants import Tenant
from mail_proxy.store import Store
from mail_proxy.store.database import Call, Row, Work
from mail_proxy.store.queries import Query
from mail_proxy.store.store import open_database

KEY = bytes(range(32))
NOW = 1_000_000.0
OWNER = "node-a"
OTHER = "node-b"

_pks = itertools.count(1)


def target_of(database_url: str) -> str | Path:
    """What `open_database` takes for the `database_url` fixture's value."""
    return database_url if "://" in database_url else Path(database_url)


@asynccontextmanager
async def open_store(database_url: str, vault: Vault | None = None) -> AsyncIterator[Store]:
    """Open a migrated database; one more node on it, if it is open already."""
    async with open_database(target_of(database_url), database_url) as database:
        yield Store.over(database, vault or Vault(KEY))


@dataclass(slots=True)
class Bench:
    """A store with tenant `acme` and its account `main`."""

    store: Store
    url: str
    lane: int

    async def account(self, account_id: str, tenant_id: str = "acme", **fields: object) -> int:
        """Add an account, and its tenant if need be; its lane."""
        if tenant_id not in [tenant.id for tenant in await self.store.tenants.all()]:
            await self.store.tenants.add(Tenant(id=tenant_id), None, NOW)
        blank = Account(tenant_id=tenant_id, id=account_id, host="sandbox")
        account = replace(blank, **fields)  # type: ignore[arg-type]  # the caller names fields of Account
        return (await self.store.accounts.add(account, NOW)).lane

    def new(self, name: str, /, **fields: object) -> NewMessage:
        """A message of acme's account."""
        blank = NewMessage(
            pk=str(uuid.UUID(int=next(_pks))),
            tenant_id="acme",
            id=name,
            account_id="main",
            lane=self.lane,
            kind=PayloadKind.FIELDS,
            payload=json.dumps({"subject": name}).encode(),
            recipients=("ann@example.net",),
            envelope_from="shop@example.org",
            message_id=f"<{name}@example.org>",
        )
        return replace(blank, **fields)  # type: ignore[arg-type]  # the caller names fields of NewMessage

    async def add(self, *ids: str, now: float = NOW, **fields: object) -> None:
        await self.store.intake.add([self.new(each, **fields) for each in ids], now)

    async def claim(self, limit: int = 10, *, owner: str = OWNER, now: float = NOW) -> list[Claimed]:
        """Claim from the account's lane for 30 seconds."""
        return list((await self.store.queue.claim(self.lane, limit, owner, now, now + 30)).messages)

    async def get(self, message_id: str, tenant_id: str = "acme") -> Message:
        return await self.store.messages.get(tenant_id, message_id)

    async def events(self, message_id: str) -> list[Event]:
        return await self.store.messages.events((await self.get(message_id)).seq)

    async def told(self, message_id: str) -> list[str]:
        """The types of what happened to a message, in order."""
        return [event.event_type.value for event in await self.events(message_id)]

    async def sent(self, *ids: str, now: float = NOW) -> None:
        """Queue messages and let them be sent at once."""
        await self.add(*ids, now=now)
        for claimed in await self.claim(len(ids), now=now):
            assert await begin_final(self.store, claimed, OWNER, now, "handing over")
            assert await record_outcome(self.store, as_sent(claimed, now), OWNER, now)

    async def delete_account(self, account_id: str = "main", now: float = NOW) -> int:
        """Delete an account of acme with what waits for it; how many messages have failed."""
        departure = await self.store.accounts.delete("acme", account_id, force=True)
        return await self.fail_left(departure.lane, now)

    async def fail_left(self, lane: int, now: float = NOW) -> int:
        """Let fail all that waits for an account that is gone; how many messages that were."""
        count = 0
        while failures := await self.store.accounts.fail_left(lane, now):
            count += failures.count
        return count

    async def rows(self, sql: str) -> Sequence[Row]:
        """Look into the tables."""
        return await self.store.database.read(_statement, sql)

    async def execute(self, sql: str) -> Sequence[Row]:
        """Change the tables behind the store's back."""
        return await self.store.database.write(_statement, sql)


@asynccontextmanager
async def open_bench(database_url: str) -> AsyncIterator[Bench]:
    async with open_store(database_url) as store:
        bench = Bench(store, database_url, 0)
        bench.lane = await bench.account("main")
        yield bench


def statement(sql: str) -> Query:
    """A statement of the test's own; a type cast or a colon is for one engine only."""
    return Query("test", "a test's own", sql, sql, ())


def _statement(sql: str) -> Work[Sequence[Row]]:
    return (yield Call(statement(sql), {}))


@dataclass(frozen=True, slots=True)
class Written:
    """A batch that is complete."""

    begins: Sequence[Begin]
    settlements: Sequence[Settlement]
    at: float

    def take(self) -> tuple[Sequence[Begin], Sequence[Settlement], float]:
        return self.begins, self.settlements, self.at


async def begin_final(store: Store, claimed: Claimed, owner: str, now: float, description: str) -> bool:
    """Put on record that one content is about to be transmitted; whether it may be."""
    begin = Begin(claimed.seq, claimed.tenant_id, description)
    return claimed.seq in (await store.outcomes.record(Written([begin], [], now), owner)).begun


async def record_outcome(store: Store, settlement: Settlement, owner: str, now: float) -> bool:
    """Record one outcome; whether the lease was still the owner's."""
    return settlement.seq in (await store.outcomes.record(Written([], [settlement], now), owner)).settled


def recipients(*statuses: RecipientStatus) -> tuple[Recipient, ...]:
    """Ann, or Ann and Bob, … with these outcomes."""
    names = ("ann@example.net", "bob@example.net", "cyd@example.net")
    return tuple(
        Recipient(address=name, status=status) for name, status in zip(names, statuses, strict=False)
    )


def as_sent(claimed: Claimed, now: float = NOW) -> Settlement:
    return Settlement(
        seq=claimed.seq,
        tenant_id=claimed.tenant_id,
        status=Status.SENT,
        recipients=tuple(replace(each, status=RecipientStatus.SENT) for each in claimed.recipients),
        retry_count=claimed.retry_count,
        events=(NewEvent(event_type=EventType.SENT, event_ts=now, description="250 ok"),),
        sent_ts=now,
        is_limited=claimed.is_limited,
        may_be_sent=True,
    )


def as_deferred(claimed: Claimed, until: float, now: float = NOW, *, is_unknown: bool = False) -> Settlement:
    return Settlement(
        seq=claimed.seq,
        tenant_id=claimed.tenant_id,
        status=Status.DEFERRED,
        recipients=tuple(replace(each, status=RecipientStatus.DEFERRED) for each in claimed.recipients),
        retry_count=claimed.retry_count + 1,
        events=(NewEvent(event_type=EventType.DEFERRED, event_ts=now, description="450 later"),),
        deferred_ts=until,
        last_error="450 later",
        is_unknown=is_unknown,
        is_limited=claimed.is_limited,
        may_be_sent=is_unknown,
    )


def as_error(claimed: Claimed, now: float = NOW) -> Settlement:
    return Settlement(
        seq=claimed.seq,
        tenant_id=claimed.tenant_id,
        status=Status.ERROR,
        recipients=tuple(replace(each, status=RecipientStatus.ERROR) for each in claimed.recipients),
        retry_count=claimed.retry_count,
        events=(NewEvent(event_type=EventType.ERROR, event_ts=now, description="550 no"),),
        error_ts=now,
        error="550 no",
        is_limited=claimed.is_limited,
    )
