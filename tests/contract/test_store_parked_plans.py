"""Lists find what is parked by its own index, however long the line is that it stands in."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import asyncpg
import pytest

from mail_proxy.model.messages import END_OF_TIME
from mail_proxy.store.queries import Query, load
from tests.contract.test_store_plans import SERIES
from tests.support.stores import NOW, Bench

LINE = """
INSERT INTO messages (pk, tenant_id, id, account_id, lane, status, priority, batch_code, recipients,
    message_id, is_pec, size, created_at, updated_at, parked_for)
SELECT 'pk-' || i, 'acme', 'm' || i, 'main', {lane}, 'pending', 2, 'campaign', '[]',
    '<x>', 0, 1, {now} + i, {now}, CASE WHEN i <= 50 THEN 'limit' END FROM {series}"""


def given(within: str) -> dict[str, object]:
    branches = json.dumps([["acme", "parked", within]])
    page = {"since": 0.0, "before": END_OF_TIME, "below": 0, "each": 100, "limit": 100, "account_id": None}
    return {"branches": branches, **page}


@pytest.mark.parametrize(
    ("name", "within", "index"),
    [
        ("newest_of_accounts", "main", "messages_parked"),
        ("newest_of_batches", "campaign", "messages_parked_of_batch"),
    ],
)
async def test_what_is_parked_is_found_by_its_own_index(
    bench: Bench, name: str, within: str, index: str
) -> None:
    """The heads of a long line are its oldest: a list begins at its other end."""
    series = SERIES[bench.store.database.dialect]
    await bench.execute(LINE.format(lane=bench.lane, now=NOW, series=series))
    await bench.execute("ANALYZE")

    plan = await explain(bench.url, load("messages")[name], given(within))

    assert f"{index} " in plan
    assert "Seq Scan on messages" not in plan


async def explain(url: str, query: Query, parameters: dict[str, object]) -> str:
    if "://" not in url:
        return await asyncio.to_thread(explained_by_sqlite, url, query, parameters)
    connection = await asyncpg.connect(url, timeout=10)
    try:
        rows = await connection.fetch(f"EXPLAIN {query.postgres}", *query.arguments(parameters))
    finally:
        await connection.close()
    return "\n".join(row[0] for row in rows)


def explained_by_sqlite(path: str, query: Query, parameters: dict[str, object]) -> str:
    with closing(sqlite3.connect(path)) as raw:
        rows = raw.execute(f"EXPLAIN QUERY PLAN {query.sqlite}", parameters).fetchall()
    return "\n".join(row[3] for row in rows)
