"""A snapshot: all statements of one unit of work see the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from threading import Thread

from mail_proxy.store.database import Call, Row, Work
from tests.support.stores import Bench, open_store, statement

COUNT = statement("SELECT COUNT(*) AS n FROM messages")


async def delete_all(database_url: str) -> None:
    """As another node does."""
    async with open_store(database_url) as store:
        await store.database.write(_run, "DELETE FROM messages")


def _run(sql: str) -> Work[Sequence[Row]]:
    return (yield Call(statement(sql), {}))


def count_twice(database_url: str) -> Work[tuple[int, int]]:
    """Count, let another node delete what was counted, count again."""
    before = yield Call(COUNT, {})
    other = Thread(target=lambda: asyncio.run(delete_all(database_url)))
    other.start()
    other.join()
    after = yield Call(COUNT, {})
    return before[0]["n"], after[0]["n"]


async def test_what_others_change_between_its_statements_is_not_seen(bench: Bench) -> None:
    """A list that is found in several steps misses no message that goes on to another state meanwhile."""
    await bench.add("a", "b")

    assert await bench.store.database.snapshot(count_twice, bench.url) == (2, 2)
    assert [row["n"] for row in await bench.rows("SELECT COUNT(*) AS n FROM messages")] == [0]
