"""To look at some of what was not told costs as much however much was told, or not told either."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from mail_proxy.store.queries import Query, load
from tests.contract.test_store_held_cost import steps_of_sqlite
from tests.contract.test_store_plans import SERIES
from tests.support.stores import NOW, Bench, open_bench

LOOKS = tuple(load("reports")[name] for name in ("tenants_untold", "untold", "entries"))

TELLING = tuple(
    load("contacts")[name]
    for name in (
        "with_news", "with_refused", "with_beat", "moments", "take", "join_refused", "due_again", "again",
        "news", "newest", "submitted", "lock_told", "told", "told_messages", "refusals", "refuse", "accepted",
    )
)  # fmt: skip
"""What is asked for each post."""

KINDS, TENANTS, PAGE = 3, 4, 10
MOST = 20_000 // 2 // KINDS // TENANTS

MESSAGES = """
INSERT INTO messages (seq, pk, tenant_id, id, account_id, lane, status, priority, recipients, message_id,
    is_pec, size, created_at, updated_at)
SELECT 100 + i, 'pk-' || i, {tenant}, 'm' || i, 'main', 1, 'sent', 2, '[]', '<' || i || '@x>',
    0, 1, {now}, {now} FROM {series}"""
EVENTS = """
INSERT INTO events (event_id, seq, tenant_id, event_type, event_ts, description, is_due)
SELECT seq, seq, tenant_id, 'sent', {now}, '',
    CASE WHEN seq < {untold_from} THEN 0 WHEN seq % 3 = 0 THEN 1 WHEN seq % 3 = 1 THEN 2 ELSE -1 END
FROM messages WHERE seq > 100"""
TENANT_OF = f"CASE i % {TENANTS} WHEN 0 THEN 'acme' WHEN 1 THEN 'beta' WHEN 2 THEN 'gamma' ELSE 'omega' END"

PARAMETERS = {
    "due": 1, "refused": 1, "given_up": 1, "tenant_id": "beta", "after": 0, "limit": PAGE,
    "event_ids": str([*range(150, 150 + PAGE)]), "seqs": str([*range(150, 150 + PAGE)]),
    "tenant_ids": '["beta"]', "owner": "node", "now": NOW, "lease_until": NOW + 30, "again_ts": NOW + 10,
    "beat_at": NOW + 300, "seen_beat": -1, "seen_seq": 0, "rounds": 0, "dnd_until": NOW,
    "until": NOW, "seen_again": NOW,
}  # fmt: skip


async def add_tenants(bench: Bench) -> None:
    for tenant_id in ("beta", "gamma", "omega"):
        await bench.account("main", tenant_id)


async def leave_untold(bench: Bench, count: int) -> None:
    """So many events of four tenants: half of them told, the others due, refused or given up."""
    series = SERIES[bench.store.database.dialect].replace("20000", str(count))
    await bench.execute(MESSAGES.format(tenant=TENANT_OF, now=NOW, series=series))
    await bench.execute(EVENTS.format(now=NOW, untold_from=100 + count // 2))
    await bench.execute("ANALYZE")


async def test_sqlite_looks_at_a_page_only(sqlite_url: str) -> None:
    """Counted in steps of its virtual machine: as many with 20,000 as with 400."""
    async with open_bench(sqlite_url) as bench:
        await add_tenants(bench)
        await leave_untold(bench, 400)
        with_few = await asyncio.to_thread(steps_of_sqlite, sqlite_url, (*LOOKS, *TELLING), PARAMETERS)
        await bench.execute("DELETE FROM messages")
        await leave_untold(bench, 20_000)
    with_many = await asyncio.to_thread(steps_of_sqlite, sqlite_url, (*LOOKS, *TELLING), PARAMETERS)

    assert {
        name: (with_few[name], count) for name, count in with_many.items() if count > 1.1 * with_few[name]
    } == {}
    assert with_few["untold"] > PAGE


@pytest.mark.parametrize("kind", ["custom", "generic"])
async def test_postgres_does_not_look_at_what_was_told(postgres_url: str, kind: str) -> None:
    """No node of its plans has seen more rows than one tenant has of a kind, whatever it assumes."""
    async with open_bench(postgres_url) as bench:
        await add_tenants(bench)
        await leave_untold(bench, 20_000)
    connection = await asyncpg.connect(postgres_url, timeout=10)
    try:
        await connection.execute(f"SET plan_cache_mode = force_{kind}_plan")
        await connection.execute("BEGIN")
        seen = {query.name: await rows_seen(connection, query) for query in (*LOOKS, *TELLING)}
    finally:
        await connection.close()
    assert {name: rows for name, rows in seen.items() if rows > MOST} == {}


async def rows_seen(connection: asyncpg.Connection[asyncpg.Record], query: Query) -> int:
    """The most rows that any node of the plan returned or filtered out."""
    given = ", ".join(f"'{PARAMETERS[name]}'" for name in query.order)
    await connection.execute(f"PREPARE {query.name} AS {query.postgres}")
    called = f"{query.name}({given})" if given else query.name
    lines = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE {called}")
    text = "\n".join(line[0] for line in lines)
    found = re.findall(r"actual rows=(\d+)|Rows Removed by \w+(?: \w+)*: (\d+)", text)
    return max(int(returned or removed) for returned, removed in found)
