"""Rate limits hold in any window, whoever counts, and slots that were not used come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mail_proxy.encryption import Vault
from mail_proxy.model.accounts import Account, LimitBehavior
from mail_proxy.model.messages import EventType, NewMessage, PayloadKind, Status
from mail_proxy.model.queue import Claimed, NewEvent, Settlement
from mail_proxy.model.tenants import RateLimits, Tenant
from mail_proxy.services.identifiers import new_pk
from mail_proxy.store import Store, open_database
from mail_proxy.store.limits import MARGIN
from tests.support.stores import begin_final, record_outcome

START = 1_700_000_000.0
LEASE = 30.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        target = database_url if "://" in database_url else Path(database_url)
        database = await stack.enter_async_context(open_database(target, "test"))
        await database.migrate()
        yield Store.over(database, Vault(b"k" * 32))


async def lane_with(store: Store, *, queued: int = 20, hourly: int = 0, **limits: object) -> int:
    """A tenant with one account of these limits and messages waiting; returns its lane."""
    await store.tenants.add(Tenant(id="acme", rate_limits=RateLimits(hourly=hourly)), None, START)
    account = await store.accounts.add(
        Account(tenant_id="acme", id="main", host="h", **limits),  # type: ignore[arg-type]  # limits are ints
        START,
    )
    await store.intake.add([message(number, account) for number in range(queued)], START)
    return account.lane


def message(number: int, account: Account) -> NewMessage:
    return NewMessage(
        pk=new_pk(),
        tenant_id=account.tenant_id,
        id=f"m{number}",
        account_id=account.id,
        lane=account.lane,
        kind=PayloadKind.FIELDS,
        payload=b"{}",
        recipients=("a@b.test",),
        envelope_from="c@d.test",
        message_id="<x@y>",
    )


async def claim(store: Store, lane: int, now: float, *, limit: int = 50) -> list[Claimed]:
    return list((await store.queue.claim(lane, limit, "node", now, now + LEASE)).messages)


async def settle(store: Store, claimed: Claimed, status: Status, now: float) -> None:
    settlement = Settlement(
        seq=claimed.seq,
        tenant_id=claimed.tenant_id,
        status=status,
        recipients=claimed.recipients,
        retry_count=0,
        events=(NewEvent(event_type=EventType.SENT, event_ts=now, description="ok"),),
        deferred_ts=now + 600 if status is Status.DEFERRED else None,
        sent_ts=now if status is Status.SENT else None,
        is_limited=claimed.is_limited,
        may_be_sent=status is Status.SENT,
    )
    assert await record_outcome(store, settlement, "node", now)


async def test_no_more_than_the_limit_is_claimed(store: Store) -> None:
    """Ten a minute are ten, and the next slot opens when the first of them leaves the window."""
    lane = await lane_with(store, limit_per_minute=10)
    first = await claim(store, lane, START)
    for each in first:
        await settle(store, each, Status.SENT, START + 5)
    assert len(first) == 10
    assert await claim(store, lane, START + 30) == []
    at_limit = await store.queue.claim(lane, 10, "node", START + 30, START + 30 + LEASE)
    assert (at_limit.messages, at_limit.opens_at) == ((), START + 65 + MARGIN)
    assert await claim(store, lane, START + 65) == []
    assert len(await claim(store, lane, START + 65 + 2 * MARGIN)) == 10


async def test_what_was_not_sent_gives_its_slot_back(store: Store) -> None:
    """A message that was put off frees its slot for another at once."""
    lane = await lane_with(store, limit_per_hour=2)
    first, second = await claim(store, lane, START)
    await settle(store, first, Status.DEFERRED, START + 1)
    assert len(await claim(store, lane, START + 2)) == 1
    await store.queue.release([second.seq], "node", START + 3)
    assert [each.seq for each in await claim(store, lane, START + 4)] == [second.seq]


async def test_a_dead_node_gives_slots_back_unless_the_content_was_handed_over(store: Store) -> None:
    """What may have been sent counts."""
    lane = await lane_with(store, limit_per_hour=2)
    handed_over, _ = await claim(store, lane, START)
    assert await begin_final(store, handed_over, "node", START + 1, "handing over")
    await store.queue.take_over(START + LEASE, START + LEASE, owner="other")
    assert len(await claim(store, lane, START + LEASE + 1)) == 1


async def test_the_tenants_limit_binds_all_its_accounts(store: Store) -> None:
    """Three an hour of a tenant are three, over both of its accounts."""
    lane = await lane_with(store, hourly=3)
    other = await store.accounts.add(Account(tenant_id="acme", id="other", host="h"), START)
    await store.intake.add([message(100 + number, other) for number in range(5)], START)
    assert len(await claim(store, lane, START, limit=2)) == 2
    assert len(await claim(store, other.lane, START)) == 1
    assert await claim(store, lane, START + 1) == []


async def test_claims_at_the_same_time_do_not_exceed_it_together(store: Store) -> None:
    """Counting and taking are one step, whoever else counts."""
    lane = await lane_with(store, limit_per_minute=7)
    taken = await asyncio.gather(*(claim(store, lane, START, limit=3) for _ in range(10)))
    assert sum(len(each) for each in taken) == 7


async def test_over_a_limit_that_rejects_messages_become_errors(store: Store) -> None:
    """`limit_behavior` reject: the rest fails as rate_limit_exceeded, with an event that is reported."""
    lane = await lane_with(store, queued=5, limit_per_day=3, limit_behavior=LimitBehavior.REJECT)
    assert len(await claim(store, lane, START)) == 3
    assert await claim(store, lane, START + 1) == []
    rejected = await store.messages.get("acme", "m4")
    assert (rejected.status, rejected.error) == (Status.ERROR, "rate_limit_exceeded")
    assert [each.id for each in await store.reports.batch("acme", 10)] == ["m3", "m4"]


async def test_what_no_window_reaches_is_forgotten(store: Store) -> None:
    """The log of what was sent does not grow with history."""
    lane = await lane_with(store, limit_per_day=3)
    for each in await claim(store, lane, START):
        await settle(store, each, Status.SENT, START)
    await store.send_log.tidy(START + 86_401)
    assert len(await claim(store, lane, START + 1)) == 3
