"""A backlog that waits for a rate limit costs as much as a few that wait, however long it is."""

from __future__ import annotations

import asyncio

import asyncpg

from mail_proxy.store.parking import HEADS
from mail_proxy.store.queries import load
from tests.contract.test_store_held_cost import rows_seen, steps_of_sqlite
from tests.support.stores import NOW, Bench, open_bench

LOOK_AND_PARK = (load("queue")["look"], load("parking")["heads"])

WAITING = """
WITH RECURSIVE more(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM more WHERE i < {count})
INSERT INTO messages (pk, tenant_id, id, account_id, lane, status, priority, recipients, message_id, is_pec,
    size, created_at, updated_at)
SELECT 'pk-' || i, 'acme', 'm' || i, 'main', {lane}, 'pending', 2, '[]', '<' || i || '@x>', 0, 1, {now}, {now}
FROM more"""


async def wait(bench: Bench, count: int) -> None:
    await bench.execute(WAITING.format(lane=bench.lane, now=NOW, count=count))
    await bench.execute("ANALYZE")


async def test_sqlite_looks_at_the_head_of_the_line_only(sqlite_url: str) -> None:
    """Counted in steps of its virtual machine: as many with 100,000 as with 100."""
    async with open_bench(sqlite_url) as bench:
        await wait(bench, 100)
        with_few = await asyncio.to_thread(steps_of_sqlite, sqlite_url, LOOK_AND_PARK)
        await bench.execute("DELETE FROM messages")
        await wait(bench, 100_000)
    with_many = await asyncio.to_thread(steps_of_sqlite, sqlite_url, LOOK_AND_PARK)

    assert all(count <= 1.1 * with_few[name] for name, count in with_many.items()), (with_few, with_many)
    assert with_few["heads"] > HEADS


async def test_postgres_looks_at_the_head_of_the_line_only(postgres_url: str) -> None:
    """No node of the plans, as they ran, has seen more rows than the heads."""
    async with open_bench(postgres_url) as bench:
        await wait(bench, 100_000)
    connection = await asyncpg.connect(postgres_url, timeout=10)
    try:
        for query in LOOK_AND_PARK:
            assert await rows_seen(connection, query) <= HEADS, query.name
    finally:
        await connection.close()
