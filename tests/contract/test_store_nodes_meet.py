"""Two nodes at the same message: who comes second goes by what the first has done, in all that it reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import asyncpg
import pytest

from mail_proxy.daemon.reporter import AGAIN_ELSEWHERE
from mail_proxy.model.messages import EventType, Status
from mail_proxy.model.removal import Kept
from mail_proxy.store.removal import Sweep
from mail_proxy.store.reports import Kinds
from tests.support.reporting import reporting
from tests.support.stores import NOW, OWNER, Bench, open_bench, open_store
from tests.support.telling import acknowledge, due_of

T = TypeVar("T")

WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted"
OVERTAKEN = 60.0
"""Seconds in which the second has to come to where it waits for the first, or to its end."""

SETTLE = f"""
UPDATE messages SET status = 'sent', sent_ts = {NOW}, lease_owner = NULL, lease_until = NULL;
INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due)
    SELECT seq, tenant_id, 'sent', {NOW}, '250 ok', 1 FROM messages"""
REPLAY = """
UPDATE events SET is_due = 1, reported_ts = NULL WHERE reported_ts IS NOT NULL;
UPDATE messages SET reported_ts = NULL"""
BOUNCE = f"""
UPDATE messages SET reported_ts = NULL;
INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due)
    SELECT seq, tenant_id, 'bounce', {NOW}, '', 1 FROM messages"""
REFUSE_LATE = f"""
UPDATE events SET is_due = 2, again_ts = {NOW + 20} WHERE seq = 2 AND is_due = 1;
UPDATE sync_state SET again_ts = again_ts"""
HURRY = "UPDATE sync_state SET next_try_ts = NULL"
REPLAY_FAILED = f"""
UPDATE events SET is_due = 1, refusals = 0, again_ts = NULL WHERE is_due = 2;
UPDATE messages SET reported_ts = NULL, updated_at = {NOW + 100}"""
REPLACE = "UPDATE messages SET batch_code = 'other', is_held = 0"


@pytest.fixture
async def bench(postgres_url: str) -> AsyncIterator[Bench]:
    """SQLite has one writer: there nobody meets."""
    async with open_bench(postgres_url) as opened:
        yield opened


async def meet(bench: Bench, first: str, second: Callable[[], Awaitable[T]]) -> T:
    """Do the second while the first, of another node, is done but not yet committed."""
    other = await asyncpg.connect(bench.url)
    try:
        async with asyncio.timeout(OVERTAKEN):
            async with other.transaction():
                await other.execute(first)
                task = asyncio.ensure_future(second())
                while not task.done() and not await other.fetch(WAITING):
                    await asyncio.wait([task], timeout=0.005)
            return await task
    finally:
        await other.close()


async def test_what_is_sent_while_somebody_deletes_it_stays_until_it_is_reported(bench: Bench) -> None:
    await bench.add("m1")
    await bench.claim()

    async def delete() -> dict[str, Kept]:
        return (await bench.store.removals.delete(["m1"], "acme", force=False, tells_all=True)).kept

    assert await meet(bench, SETTLE, delete) == {"m1": Kept.NOT_REPORTED}
    assert (await bench.get("m1")).status is Status.SENT


async def test_what_is_to_be_told_again_while_its_time_ends_stays(bench: Bench) -> None:
    await bench.sent("m1")
    due = await due_of(bench.store)
    await acknowledge(bench.store, [each.event_id for each in due], NOW)
    begun = Sweep(tenant_id="acme", before=NOW + 1, untold_before=NOW - 1, is_untold=False)

    async def sweep() -> int:
        return (await bench.store.removals.sweep(begun)).removed

    assert await meet(bench, REPLAY, sweep) == 0
    assert [each.id for each in await due_of(bench.store)] == ["m1"]


async def test_what_is_submitted_anew_in_another_batch_is_not_held_for_its_old_one(bench: Bench) -> None:
    await bench.add("m1", batch_code="campaign")
    await bench.store.suspensions.suspend("acme", "campaign", NOW)
    (marking,) = await bench.store.suspensions.markings()

    async def mark() -> None:
        left = marking
        while left.status is not None:
            left = await bench.store.suspensions.mark(left, NOW)

    await meet(bench, REPLACE, mark)
    assert [message.id for message in await bench.claim()] == ["m1"]


async def test_a_message_is_not_told_of_when_something_happens_to_it_meanwhile(bench: Bench) -> None:
    await bench.sent("m1")
    told = [each.event_id for each in await due_of(bench.store)]

    await meet(bench, BOUNCE, lambda: acknowledge(bench.store, told, NOW))

    assert [each.event_type for each in await due_of(bench.store)] == [EventType.BOUNCE]
    assert (await bench.get("m1")).reported_ts is None


async def test_a_tenant_that_is_busy_for_a_moment_is_looked_for_again_soon(postgres_url: str) -> None:
    """Somebody else is about to change its row: that may be no node that tells it anything."""
    async with reporting(postgres_url) as desk, open_store(postgres_url) as other:
        await desk.work()
        await desk.happen("m1", "sent")
        pause = await meet(Bench(other, postgres_url, 1), HURRY, desk.reporter.step)
        assert desk.app.posts == []
        assert pause <= AGAIN_ELSEWHERE
        await desk.work()
        assert desk.told == [("m1", "sent")]


async def test_what_is_refused_to_a_node_that_lost_its_lease_is_not_forgotten(bench: Bench) -> None:
    """While who has the tenant now looks when the first of what was refused is due."""
    await bench.sent("m1", "m2")
    first, second = await due_of(bench.store)
    assert second.event_id > first.event_id
    await acknowledge(bench.store, [], NOW, refused=[first.event_id])
    [contact] = await bench.store.contacts.take(["acme"], [], OWNER, NOW + 10, NOW + 40)

    again_ts = await meet(bench, REFUSE_LATE, lambda: bench.store.contacts.regroup(contact, NOW + 10))

    assert again_ts == NOW + 20


async def test_what_somebody_wants_told_again_is_not_given_up(bench: Bench) -> None:
    await bench.sent("m1")
    [event] = await due_of(bench.store)
    await acknowledge(bench.store, [], NOW, refused=[event.event_id])

    async def give_up() -> int:
        return await bench.store.reports.give_up("acme", Kinds(due=True, refused=True), NOW + 50)

    assert await meet(bench, REPLAY_FAILED, give_up) == 0
    assert [each.id for each in await due_of(bench.store)] == ["m1"]
