"""Parking: the heads of a line say once what they wait for, and keep their places."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import asyncpg

from mail_proxy.model.messages import Priority
from mail_proxy.model.queue import Parking
from mail_proxy.store.limits import MARGIN
from mail_proxy.store.parking import HEADS, park
from mail_proxy.store.queries import load
from tests.support.stores import NOW, OTHER, OWNER, Bench, as_sent, open_store, record_outcome

MINUTE = 60 + MARGIN


async def limited(bench: Bench, queued: int, **limits: int) -> int:
    """An account with limits and messages m0, m1, … in line; its lane."""
    lane = await bench.account("limited", "acme", **limits)
    await bench.add(*(f"m{number}" for number in range(queued)), account_id="limited", lane=lane)
    return lane


async def parked(bench: Bench) -> dict[str, float]:
    """What is parked for a limit, and until about when."""
    rows = await bench.rows("SELECT id, deferred_ts FROM messages WHERE parked_for = 'limit' ORDER BY seq")
    return {row["id"]: row["deferred_ts"] for row in rows}


async def send(bench: Bench, lane: int, now: float) -> list[str]:
    """Claim what may be claimed, and let it be sent at once."""
    claim = await bench.store.queue.claim(lane, 50, OWNER, now, now + 30)
    for claimed in claim.messages:
        assert await record_outcome(bench.store, as_sent(claimed, now), OWNER, now)
    return [claimed.id for claimed in claim.messages]


async def test_who_waits_for_a_limit_says_so_once_and_until_when(bench: Bench) -> None:
    """One event, with the limit and about the moment; the next claims have nothing to add."""
    lane = await limited(bench, 3, limit_per_minute=1)
    assert await send(bench, lane, NOW) == ["m0"]
    for after in (1, 10, 20):
        assert await send(bench, lane, NOW + after) == []

    [_, deferred] = await bench.events("m1")
    reason = "rate limit of account limited: 1 a minute"
    assert (deferred.event_type, deferred.description) == ("deferred", reason)
    assert deferred.event_data == {"reason": reason, "deferred_ts": NOW + MINUTE, "retry_count": 0}
    assert await bench.told("m2") == ["queued", "deferred"]


async def test_each_has_the_moment_of_its_turn(bench: Bench) -> None:
    """Slots are free when what took them leaves the window; more than fit into one wait for the next."""
    lane = await limited(bench, 7, limit_per_minute=2)
    for after in (0, 20):
        [claimed] = (await bench.store.queue.claim(lane, 1, OWNER, NOW + after, NOW + 60)).messages
        assert await record_outcome(bench.store, as_sent(claimed, NOW + after), OWNER, NOW + after)
    await send(bench, lane, NOW + 30)

    first, second = NOW + MINUTE, NOW + 20 + MINUTE
    expected = [first, second, first + MINUTE, second + MINUTE, first + 2 * MINUTE]
    assert list((await parked(bench)).values()) == expected


async def test_who_is_parked_goes_in_its_turn(bench: Bench) -> None:
    """Nothing has to be released: priority first, then first come, first served."""
    lane = await limited(bench, 4, limit_per_minute=1)
    await send(bench, lane, NOW)
    await bench.add("urgent", account_id="limited", lane=lane, priority=Priority.IMMEDIATE)
    order = [await send(bench, lane, NOW + turn * (MINUTE + 1)) for turn in range(1, 5)]
    assert order == [["urgent"], ["m1"], ["m2"], ["m3"]]
    assert await parked(bench) == {}


async def test_only_the_heads_of_a_line_are_parked(bench: Bench) -> None:
    """A backlog is not written through; one that goes lets the next one come up."""
    lane = await limited(bench, HEADS + 20, limit_per_minute=1)
    await send(bench, lane, NOW)
    assert list(await parked(bench)) == [f"m{number}" for number in range(1, HEADS + 1)]
    await send(bench, lane, NOW + MINUTE + 1)
    assert list(await parked(bench)) == [f"m{number}" for number in range(2, HEADS + 2)]


async def test_a_moment_that_has_passed_is_set_anew_without_a_word(bench: Bench) -> None:
    """Others had priority: about when is later now, and that is no event."""
    lane = await limited(bench, 2, limit_per_minute=1)
    await send(bench, lane, NOW)
    await bench.add("urgent", account_id="limited", lane=lane, priority=Priority.IMMEDIATE)
    await send(bench, lane, NOW + MINUTE + 1)
    assert await parked(bench) == {"m1": NOW + 2 * MINUTE + 1}
    assert await bench.told("m1") == ["queued", "deferred"]


async def test_what_is_suspended_is_not_parked(bench: Bench) -> None:
    """It waits for a person, whether its flag says so already or not."""
    lane = await limited(bench, 2, limit_per_minute=1)
    await bench.add("held", account_id="limited", lane=lane, batch_code="spring")
    await bench.store.suspensions.suspend("acme", "spring", NOW)
    await send(bench, lane, NOW)
    assert list(await parked(bench)) == ["m1"]


async def test_another_thing_to_wait_for_is_told_of(bench: Bench) -> None:
    """First for the limit, then for the account; the same again is no news."""
    lane = await limited(bench, 2, limit_per_minute=1)
    await send(bench, lane, NOW)
    database = bench.store.database
    for _ in range(2):
        await database.write(park, lane, Parking.ACCOUNT, "the account rests", NOW + 90, NOW + 5)
    assert await bench.told("m1") == ["queued", "deferred", "deferred"]
    [row] = await bench.rows("SELECT parked_for, parked_since, deferred_ts FROM messages WHERE id = 'm1'")
    assert (row["parked_for"], row["parked_since"], row["deferred_ts"]) == ("account", NOW + 5, NOW + 90)


async def test_two_nodes_at_the_limit_tell_of_each_message_once(bench: Bench) -> None:
    """Whoever comes second finds it parked."""
    lane = await limited(bench, 4, limit_per_minute=1)
    await send(bench, lane, NOW)
    async with open_store(bench.url) as other:
        claim = await other.queue.claim(lane, 5, OTHER, NOW + 1, NOW + 31)
    assert (claim.held_by, claim.parked) == (Parking.LIMIT, 0)


async def test_the_heads_are_found_without_sorting_the_line(sqlite_url: str, postgres_url: str) -> None:
    """The index has the order: what a look costs does not grow with the backlog."""
    heads = load("parking")["heads"]
    with closing(sqlite3.connect(sqlite_url)) as raw:
        plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {heads.sqlite}", {"lane": 1, "limit": 5})]
    assert any("USING INDEX messages_ready" in line for line in plan)
    assert not any("TEMP B-TREE" in line for line in plan)

    connection = await asyncpg.connect(postgres_url, timeout=10)
    try:
        await connection.execute("SET enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN {heads.postgres}", *heads.arguments({"lane": 1, "limit": 5}))
    finally:
        await connection.close()
    text = "\n".join(row[0] for row in rows)
    assert "messages_ready" in text
    assert "Sort" not in text
