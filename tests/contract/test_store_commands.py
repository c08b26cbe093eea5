"""The command log in the store: what was written comes back by every filter, in order, and goes by age."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import asyncpg
import pytest

from mail_proxy.model.commands import Command, CommandFilter
from mail_proxy.store.commands import command_params
from mail_proxy.store.database import Many, Work
from mail_proxy.store.queries import load
from tests.support.stores import NOW, Bench, open_bench, open_store

WHOLE = Command(
    ts=NOW,
    endpoint="PUT /account/{id}",
    path="/account/main?tenant_id=acme",
    tenant_id="acme",
    payload='{"port":25}',
    status=200,
    client="192.0.2.1",
)
ADD, PUT, DROP = "POST /commands/add-messages", "PUT /account/{id}", "DELETE /account/{id}"

HISTORY = 20_000
SERIES = {
    "postgres": f"generate_series(1, {HISTORY}) AS s(i)",
    "sqlite": "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s"
    f" WHERE i < {HISTORY}) SELECT i FROM s)",
}
MANY = """
INSERT INTO commands (ts, endpoint, path, tenant_id, payload, status, client)
SELECT i, CASE WHEN i % 100 = 0 THEN 'PUT /account/{{id}}' ELSE 'POST /commands/add-messages' END, '/x',
    CASE WHEN i % 50 = 0 THEN 'beta' ELSE 'acme' END, '{{}}', 200, NULL FROM {series}"""

FILTERS = {
    "all": CommandFilter(since=100.0, until=HISTORY - 100.0),
    "tenant": CommandFilter(tenant_id="beta", since=100.0, until=HISTORY - 100.0),
    "tenant and endpoint": CommandFilter(tenant_id="beta", endpoints=(PUT,), since=100.0),
    "endpoint": CommandFilter(endpoints=(PUT,), since=100.0),
    "path": CommandFilter(endpoints=("POST /account/{id}", PUT, DROP), since=100.0),
}
PAGES = ("newest", "oldest")
OF = ("", "_of_tenant", "_of_endpoints")
PLANNED = (*(f"{way}{of}" for way in (*PAGES, "count") for of in OF), "complete", "forget", "strip")
PARAMETERS: dict[str, object] = {
    "tenant_id": "beta", "first": PUT, "second": DROP, "third": "POST /x", "since": 100.0, "until": 19_000.0,
    "ts": 10_000.0, "command_id": 10_000, "limit": 50, "offset": 0, "status": 200, "before": 10.0,
}  # fmt: skip


async def ids_of(bench: Bench, which: CommandFilter, *, size: int = 100) -> list[float]:
    """The times of commands read oldest first, some at a time."""
    found: list[Command] = []
    while some := await bench.store.commands.oldest(which, size, found[-1] if found else None):
        found += some
    return [each.ts for each in found]


async def test_a_command_comes_back_as_it_was_written(bench: Bench) -> None:
    command_id = await bench.store.commands.add(WHOLE)

    assert await bench.store.commands.newest(CommandFilter(), 10) == [replace(WHOLE, command_id=command_id)]
    assert await bench.store.commands.oldest(CommandFilter(), 10) == [replace(WHOLE, command_id=command_id)]


async def test_a_command_may_be_written_with_other_work(bench: Bench) -> None:
    """One statement of a unit of work can be for many commands at once."""

    def work(commands: Sequence[Command]) -> Work[None]:
        yield Many(load("commands")["record"], [command_params(each) for each in commands])

    await bench.store.database.write(work, [WHOLE, replace(WHOLE, ts=NOW + 1)])

    assert await ids_of(bench, CommandFilter()) == [NOW, NOW + 1]


async def test_the_answer_is_added_later(bench: Bench) -> None:
    """Until then the status is unknown; the tenant may turn out, and is not forgotten."""
    asked = replace(WHOLE, status=None, tenant_id=None)
    first, second = [await bench.store.commands.add(asked) for _ in range(2)]
    third = await bench.store.commands.add(replace(asked, tenant_id="acme"))

    await bench.store.commands.complete(first, 404, None)
    await bench.store.commands.complete(third, 200, None)
    assert [
        (each.status, each.tenant_id) for each in await bench.store.commands.oldest(CommandFilter(), 9)
    ] == [
        (404, None),
        (None, None),
        (200, "acme"),
    ]

    await bench.store.commands.complete(second, 200, "beta")
    [found] = await bench.store.commands.newest(CommandFilter(tenant_id="beta"), 9)
    assert found == replace(asked, command_id=second, status=200, tenant_id="beta")


async def test_times_bound_from_the_first_on_and_before_the_last(bench: Bench) -> None:
    for ts in (1.0, 2.0, 3.0):
        await bench.store.commands.add(replace(WHOLE, ts=ts))
    which = CommandFilter(since=2.0, until=3.0)

    assert await ids_of(bench, which) == [2.0]
    assert [each.ts for each in await bench.store.commands.newest(which, 10)] == [2.0]
    assert await bench.store.commands.count(which) == 1


async def test_what_came_in_the_same_moment_is_neither_repeated_nor_left_out(bench: Bench) -> None:
    """However it is cut into pieces, and in both directions."""
    for _ in range(5):
        await bench.store.commands.add(WHOLE)
    whole = await bench.store.commands.oldest(CommandFilter(), 10)

    for size in (1, 2, 5):
        read: list[Command] = []
        while some := await bench.store.commands.newest(
            CommandFilter(), size, before=read[-1] if read else None
        ):
            read += some
        assert read == whole[::-1]
        assert len(await ids_of(bench, CommandFilter(), size=size)) == 5
    assert await bench.store.commands.newest(CommandFilter(), 2, offset=3) == whole[1::-1]


@pytest.mark.parametrize("name", FILTERS)
async def test_every_filter_finds_the_same_as_looking_at_each(bench: Bench, name: str) -> None:
    """Listed, exported and counted."""
    which = FILTERS[name]
    await bench.execute(MANY.format(series=SERIES[bench.store.database.dialect]))
    expected = [
        float(i)
        for i in range(1, HISTORY + 1)
        if which.since <= i < which.until
        and (which.tenant_id is None or i % 50 == 0)
        and (not which.endpoints or i % 100 == 0)
    ]

    assert await ids_of(bench, which, size=7000) == expected
    assert await bench.store.commands.count(which) == len(expected)
    newest = await bench.store.commands.newest(which, 20, offset=5)
    assert [each.ts for each in newest] == expected[::-1][5:25]


async def test_a_path_stands_for_all_its_methods(bench: Bench) -> None:
    for ts, endpoint in enumerate((DROP, PUT, ADD, PUT)):
        await bench.store.commands.add(replace(WHOLE, ts=float(ts), endpoint=endpoint))
    which = CommandFilter(endpoints=("POST /account/{id}", PUT, DROP))

    assert await ids_of(bench, which) == [0.0, 1.0, 3.0]
    assert [each.ts for each in await bench.store.commands.newest(which, 2)] == [3.0, 1.0]


async def test_old_commands_are_forgotten_some_at_a_time(bench: Bench) -> None:
    """The oldest first, answered or not; those from the time on stay."""
    for ts in (3.0, 1.0, 2.0, 4.0):
        await bench.store.commands.add(replace(WHOLE, ts=ts, status=None))

    assert await bench.store.commands.forget(4.0, 2) == 2
    assert await ids_of(bench, CommandFilter()) == [3.0, 4.0]
    assert await bench.store.commands.forget(4.0, 2) == 1
    assert await bench.store.commands.forget(4.0, 2) == 0
    assert await ids_of(bench, CommandFilter()) == [4.0]


async def test_two_nodes_may_forget_at_once(postgres_url: str) -> None:
    """Nothing is counted twice, and both end."""
    async with open_bench(postgres_url) as one, open_store(postgres_url) as other:
        await one.execute(MANY.format(series=SERIES["postgres"]))
        counts = await asyncio.gather(
            *(store.commands.forget(HISTORY / 2, 1000) for store in [one.store, other] * 4)
        )
        assert await one.store.commands.count(CommandFilter()) == HISTORY - sum(counts)


def given(name: str) -> dict[str, object]:
    """Pages are asked for of what there is most of; what reads all that it finds, of what there is little."""
    if name.startswith(PAGES):
        return PARAMETERS | {"tenant_id": "acme", "first": ADD}
    return PARAMETERS | {"since": 18_000.0}


async def test_postgres_finds_commands_by_an_index(postgres_url: str) -> None:
    """Whatever they are filtered by; for a page no more is read than is in it, as the cost shows."""
    async with open_bench(postgres_url) as bench:
        await bench.execute(MANY.format(series=SERIES["postgres"]))
        await bench.execute("ANALYZE")
    plans = {}
    connection = await asyncpg.connect(postgres_url, timeout=10)
    try:
        for name in PLANNED:
            query = load("commands")[name]
            rows = await connection.fetch(f"EXPLAIN {query.postgres}", *query.arguments(given(name)))
            plans[name] = "\n".join(row[0] for row in rows)
    finally:
        await connection.close()

    assert {name: plan for name, plan in plans.items() if "Seq Scan" in plan} == {}
    costs = {name: float(re.findall(r"cost=[\d.]+\.\.([\d.]+)", plan)[0]) for name, plan in plans.items()}
    assert {name: cost for name, cost in costs.items() if name.startswith(PAGES) and cost > 100} == {}


def test_sqlite_finds_commands_by_an_index(sqlite_url: str) -> None:
    """As above; what is sorted is at most a page of each method."""
    plans = {}
    with closing(sqlite3.connect(sqlite_url)) as raw:
        for name in PLANNED:
            rows = raw.execute(f"EXPLAIN QUERY PLAN {load('commands')[name].sqlite}", PARAMETERS).fetchall()
            plans[name] = "\n".join(row[3] for row in rows)

    assert {name: plan for name, plan in plans.items() if "SCAN commands" in plan} == {}
    sorts = {name: plan.count("TEMP B-TREE") for name, plan in plans.items() if "TEMP B-TREE" in plan}
    assert sorts == {"newest_of_endpoints": 3, "oldest_of_endpoints": 3}
