"""A large suspended batch costs the claims nothing, however far in front of the others it stands."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

import asyncpg

from mail_proxy.store.queries import Query, load
from tests.contract.test_store_plans import SERIES
from tests.support.stores import NOW, Bench, open_bench

PICK, LOOK, OVER = (load("queue")["pick"], load("queue")["look"], load("limits")["over"])

HELD = """
INSERT INTO messages (seq, pk, tenant_id, id, account_id, lane, status, priority, batch_code, recipients,
    message_id, is_pec, is_held, size, created_at, updated_at)
SELECT 100 + i, 'pk-' || i, 'acme', 'held-' || i, 'main', {lane}, 'pending', 0, 'campaign', '[]',
    '<' || i || '@x>', 0, 1, 1, {now}, {now} FROM {series}"""
SUSPENSION = "INSERT INTO suspensions (tenant_id, batch_code, created_at) VALUES ('acme', 'campaign', 0)"

LIMIT = 10
PARAMETERS = {
    "lane": 1, "limit": LIMIT, "priority": -1, "seq": 0, "active": "active", "in_hand": "[1]",
    "read_along": 1000,
}  # fmt: skip
STEPS = 10


async def hold_20000(bench: Bench) -> None:
    """20,000 urgent messages that are held, and after them three that may go."""
    series = SERIES[bench.store.database.dialect]
    await bench.execute(SUSPENSION)
    await bench.execute(HELD.format(lane=bench.lane, now=NOW, series=series))
    await bench.add("a", "b", "c")
    await bench.execute("ANALYZE")


async def test_sqlite_does_not_look_at_what_is_held(sqlite_url: str) -> None:
    """Counted in steps of its virtual machine: as many as without the 20,000."""
    async with open_bench(sqlite_url) as bench:
        await bench.add("x", "y", "z")
        without = await asyncio.to_thread(steps_of_sqlite, sqlite_url)
        await bench.execute("DELETE FROM messages")
        await hold_20000(bench)
    with_them = await asyncio.to_thread(steps_of_sqlite, sqlite_url)

    assert [count for name, count in with_them.items() if count > 2 * without[name]] == []
    assert with_them["pick"] > 0


def steps_of_sqlite(
    path: str, queries: Sequence[Query] = (PICK, LOOK, OVER), parameters: Mapping[str, object] = PARAMETERS
) -> dict[str, int]:
    """How many steps of its virtual machine, about, each statement takes."""
    counted = {}
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for query in queries:
            steps: list[int] = []
            raw.execute("BEGIN")
            raw.set_progress_handler(lambda: steps.append(STEPS), STEPS)  # noqa: B023 - of this round
            raw.execute(query.sqlite, {name: parameters[name] for name in query.order}).fetchall()
            raw.set_progress_handler(None, 0)
            raw.execute("ROLLBACK")
            counted[query.name] = sum(steps)
    return counted


async def test_postgres_does_not_look_at_what_is_held(postgres_url: str) -> None:
    """No node of the plans, as they ran, has seen more rows than there are to go."""
    async with open_bench(postgres_url) as bench:
        await hold_20000(bench)
    connection = await asyncpg.connect(postgres_url, timeout=10)
    try:
        for query in (PICK, LOOK, OVER):
            assert await rows_seen(connection, query) <= LIMIT, query.name
    finally:
        await connection.close()


async def rows_seen(connection: asyncpg.Connection[asyncpg.Record], query: Query) -> int:
    """The most rows that any node of the plan returned or filtered out."""
    async with connection.transaction():
        lines = await connection.fetch(
            f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {query.postgres}", *query.arguments(PARAMETERS)
        )
    text = "\n".join(line[0] for line in lines)
    assert "messages_ready" in text
    seen = re.findall(r"actual rows=(\d+)|Rows Removed by \w+(?: \w+)*: (\d+)", text)
    return max(int(returned or removed) for returned, removed in seen)
