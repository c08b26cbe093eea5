"""Rate limits hold in any window, whoever counts, and slots that were not used come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from mail_proxy.encryption import Vault
from mail_proxy.model.accounts import Account, LimitBehavior
from mail_proxy.model.messages import EventType, NewMessage, PayloadKind, Status
from mail_proxy.model.queue import Claimed, NewEvent, Parking, Settlement
from mail_proxy.model.tenants import RateLimits, Tenant
from mail_proxy.services.identifiers import new_pk
from mail_proxy.store import Store, open_database
from mail_proxy.store.limits import MARGIN
from tests.support.stores import as_deferred, begin_final, record_outcome
from tests.support.telling import due_of

START = 1_700_000_000.0
LEASE = 30.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        target = database_url if "://" in database_url else Path(database_url)
        database = await stack.enter_async_context(open_database(target, "test"))
        await database.migrate()
        yield Store.over(database, Vault(b"k" * 32))


async def lane_with(
    store: Store, *, queued: int = 20, hourly: int = 0, daily: int = 0, **limits: object
) -> int:
    """A tenant with one account of these limits and messages waiting; returns its lane."""
    await store.tenants.add(
        Tenant(id="acme", rate_limits=RateLimits(hourly=hourly, daily=daily)), None, START
    )
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
    await store.queue.take_over(START + LEASE, owner="other")
    assert len(await claim(store, lane, START + LEASE + 1)) == 1


async def test_what_is_in_flight_counts_however_long_it_takes(store: Store) -> None:
    """A server that answers after ten minutes has had its message now, not ten minutes ago."""
    lane = await lane_with(store, limit_per_minute=2)
    slow, slower = await claim(store, lane, START)
    held = await store.queue.claim(lane, 9, "node", START + 600, START + 630)
    assert (held.messages, held.held_by, held.opens_at) == ((), Parking.LIMIT, START + 602)

    await settle(store, slow, Status.SENT, START + 601)
    assert await claim(store, lane, START + 661) == []
    assert len(await claim(store, lane, START + 661 + 2 * MARGIN)) == 1
    await settle(store, slower, Status.DEFERRED, START + 662)
    assert len(await claim(store, lane, START + 662)) == 1


async def test_a_slot_that_may_come_back_is_asked_for_soon(store: Store) -> None:
    """What is in flight may turn out not to be sent: nobody waits a minute for its slot."""
    lane = await lane_with(store, limit_per_minute=2)
    sent, _ = await claim(store, lane, START)
    await settle(store, sent, Status.SENT, START)
    held = await store.queue.claim(lane, 9, "node", START + 1, START + 31)
    assert held.opens_at == START + 3


async def test_only_an_attempt_that_may_have_sent_it_counts(store: Store) -> None:
    """A message of unknown outcome counts once for that attempt; refused the next time, not once more."""
    lane = await lane_with(store, queued=1, limit_per_hour=3)
    [first] = await claim(store, lane, START)
    assert await record_outcome(store, as_deferred(first, START + 1, START, is_unknown=True), "node", START)
    await store.queue.promote(START + 1)
    [again] = await claim(store, lane, START + 1)
    refused = replace(as_deferred(again, START + 600, START + 2, is_unknown=True), may_be_sent=False)
    assert await record_outcome(store, refused, "node", START + 2)
    await store.queue.promote(START + 600)
    main = await store.accounts.get("acme", "main")
    await store.intake.add([message(number, main) for number in range(10, 20)], START)
    assert len(await claim(store, lane, START + 600)) == 2


async def test_what_a_dead_node_may_have_sent_counts_from_when_it_was_found(store: Store) -> None:
    """Nobody knows when it was sent: at the latest then."""
    lane = await lane_with(store, limit_per_minute=1)
    [handed_over] = await claim(store, lane, START)
    assert await begin_final(store, handed_over, "node", START + 1, "handing over")
    await store.queue.take_over(START + LEASE, owner="other")
    assert await claim(store, lane, START + LEASE + 60) == []
    assert len(await claim(store, lane, START + LEASE + 60 + 2 * MARGIN)) == 1


async def test_each_limit_is_kept_by_itself(store: Store) -> None:
    """Three a minute, five an hour, six a day, and seven a day of the tenant's."""
    lane = await lane_with(store, limit_per_minute=3, limit_per_hour=5, limit_per_day=6, daily=7)
    sent = []
    for after in (0, 30, 61, 122, 3601, 3700, 86_401 + 60, 86_401 + 122):
        claimed = await claim(store, lane, START + after)
        for each in claimed:
            await settle(store, each, Status.SENT, START + after)
        sent.append(len(claimed))
    assert sent == [3, 0, 2, 0, 1, 0, 3, 2]


async def test_the_claim_says_what_holds_a_lane_and_until_when(store: Store) -> None:
    """The window that opens last is the one that is told of."""
    lane = await lane_with(store, limit_per_minute=2, hourly=2)
    for each in await claim(store, lane, START):
        await settle(store, each, Status.SENT, START)
    held = await store.queue.claim(lane, 9, "node", START + 10, START + 40)
    assert held.opens_at == START + 3600 + MARGIN
    events = await store.messages.events((await store.messages.get("acme", "m2")).seq)
    assert events[-1].description == "rate limit of tenant acme: 2 an hour"


async def test_a_claim_that_gets_fewer_tells_about_the_rest(store: Store) -> None:
    """No second look is needed to learn when to come again; a lane that has no more is at no limit."""
    lane = await lane_with(store, queued=7, limit_per_minute=5)
    first = await store.queue.claim(lane, 3, "node", START, START + LEASE)
    second = await store.queue.claim(lane, 3, "node", START, START + LEASE)
    assert (len(first.messages), first.held_by, first.opens_at, first.parked) == (3, None, None, 0)
    assert (len(second.messages), second.held_by, second.parked) == (2, Parking.LIMIT, 2)


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
    assert [each.id for each in await due_of(store)] == ["m3", "m4"]


async def test_what_waited_and_is_rejected_after_all_waits_no_more(store: Store) -> None:
    """A limit that is changed from waiting to rejecting takes what was parked."""
    lane = await lane_with(store, queued=2, limit_per_day=1)
    [sent] = await claim(store, lane, START)
    await settle(store, sent, Status.SENT, START)
    await store.accounts.change(
        "acme", "main", lambda old: replace(old, limit_behavior=LimitBehavior.REJECT), START
    )
    assert (await store.queue.claim(lane, 5, "node", START, START + LEASE)).rejected == 1
    rejected = await store.messages.get("acme", "m1")
    assert (rejected.status, rejected.deferred_ts) == (Status.ERROR, None)


async def test_what_no_window_reaches_is_forgotten(store: Store) -> None:
    """The log of what was sent does not grow with history."""
    lane = await lane_with(store, limit_per_day=3)
    for each in await claim(store, lane, START):
        await settle(store, each, Status.SENT, START)
    await store.send_log.tidy(START + 86_401)
    assert len(await claim(store, lane, START + 1)) == 3
