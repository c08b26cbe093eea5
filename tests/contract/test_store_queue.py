"""The queue: order, claims, suspension, several claimers, scheduled messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from mail_proxy.model.messages import Payload, PayloadKind, Status
from mail_proxy.model.queue import ReadyLane
from mail_proxy.store.queue import CHUNK, READ_ALONG
from tests.support.stores import (
    NOW,
    OWNER,
    Bench,
    open_bench,
    open_store,
)


async def ids(bench: Bench, limit: int = 100) -> list[str]:
    return [claimed.id for claimed in await bench.claim(limit)]


# Order


async def test_first_in_is_first_out(bench: Bench) -> None:
    """Within a priority the moment of being queued decides, in one request and over several."""
    await bench.add("c", "a")
    await bench.add("b")

    assert await ids(bench) == ["c", "a", "b"]


async def test_a_better_priority_goes_first(bench: Bench) -> None:
    """Immediate before high before medium before low, whenever they came."""
    for name, priority in (("low", 3), ("medium", 2), ("immediate", 0), ("high", 1)):
        await bench.add(name, priority=priority)

    assert [await ids(bench, 1) for _ in range(4)] == [["immediate"], ["high"], ["medium"], ["low"]]


async def test_a_claim_is_handed_over_in_order(bench: Bench) -> None:
    """Whatever order the database returns what it changed."""
    await bench.add("b", "c")
    await bench.add("a", priority=0)

    assert await ids(bench) == ["a", "b", "c"]


async def test_look_tells_the_best_priority_of_each_lane(bench: Bench) -> None:
    """A dispatcher sees which accounts have immediate messages."""
    other = await bench.account("other")
    await bench.add("m", priority=2)
    await bench.add("i", priority=0, account_id="other", lane=other)
    await bench.add("l", priority=3, account_id="other", lane=other)

    outlook = await bench.store.queue.look()

    assert sorted(outlook.lanes, key=lambda each: each.lane) == [
        ReadyLane(lane=bench.lane, priority=2),
        ReadyLane(lane=other, priority=0),
    ]


async def test_an_empty_queue_shows_nothing_to_do(bench: Bench) -> None:
    """No lanes, no moment to wait for, and nobody has decided yet whether the instance is active."""
    outlook = await bench.store.queue.look()

    assert (outlook.lanes, outlook.next_due, outlook.next_expiry, outlook.active) == ((), None, None, None)


async def test_a_claim_takes_its_lane_alone(bench: Bench) -> None:
    """One account's claim never takes another's messages."""
    other = await bench.account("other")
    await bench.add("mine")
    await bench.add("theirs", account_id="other", lane=other)

    assert await ids(bench) == ["mine"]


@pytest.mark.parametrize("limit", [1, 3, 5])
async def test_a_claim_takes_no_more_than_asked(bench: Bench, limit: int) -> None:
    """The limit is the most, and the first ones are taken."""
    await bench.add("a", "b", "c", "d", "e")

    assert await ids(bench, limit) == ["a", "b", "c", "d", "e"][:limit]


async def test_no_plan_lets_a_claim_exceed_its_limit(postgres_url: str) -> None:
    """A plan that runs the choosing subquery once for each row would claim the whole lane."""
    async with open_bench(postgres_url) as bench:
        await bench.add(*(f"m{i}" for i in range(200)))
        name = postgres_url.rpartition("/")[2]
        for setting in ("hashagg", "hashjoin", "mergejoin", "sort", "material"):
            await bench.execute(f"ALTER DATABASE {name} SET enable_{setting} = off")
        async with open_store(postgres_url) as store:
            claimed = (await store.queue.claim(bench.lane, 5, OWNER, NOW, NOW + 30)).messages

    assert [each.id for each in claimed] == ["m0", "m1", "m2", "m3", "m4"]


async def test_a_claim_brings_the_content_along_unless_it_is_large(bench: Bench) -> None:
    """Small contents come with the claim; a large one is read when it is needed."""
    await bench.add("small", payload=b"abc")
    await bench.add("large", payload=b"x" * (READ_ALONG + 1))

    small, large = await bench.claim()

    assert small.payload is not None
    assert small.payload.content == b"abc"
    assert (large.payload, large.size) == (None, READ_ALONG + 1)
    assert (await bench.store.messages.payload(large.seq)).content == b"x" * (READ_ALONG + 1)


# Suspension and inactive tenants


async def suspend(bench: Bench, batch_code: str) -> None:
    await bench.execute(f"INSERT INTO suspensions VALUES ('acme', '{batch_code}', 0)")


async def test_a_suspended_batch_is_held_alone(bench: Bench) -> None:
    """Other batches, and messages without one, go on."""
    await bench.add("held", batch_code="news")
    await bench.add("free", batch_code="bills")
    await bench.add("plain")
    await suspend(bench, "news")

    assert await ids(bench) == ["free", "plain"]
    assert (await bench.get("held")).status is Status.PENDING


async def test_a_suspended_tenant_is_held_wholly_and_not_looked_at(bench: Bench) -> None:
    """Its lanes are not among those with work, and claims find nothing."""
    await bench.add("held", batch_code="news")
    await bench.add("plain")
    await suspend(bench, "*")

    assert (await bench.store.queue.look()).lanes == ()
    assert await ids(bench) == []


async def test_an_inactive_tenant_sends_nothing(bench: Bench) -> None:
    """Not even when it was deactivated between the look and the claim."""
    await bench.add("held")
    await bench.store.tenants.change("acme", lambda tenant: replace(tenant, active=False), NOW)

    assert (await bench.store.queue.look()).lanes == ()
    assert await ids(bench) == []
    await bench.store.tenants.change("acme", lambda tenant: replace(tenant, active=True), NOW)
    assert await ids(bench) == ["held"]


async def test_a_lane_whose_account_is_gone_is_shown_as_such(bench: Bench) -> None:
    """So that its messages can become errors rather than wait for ever."""
    await bench.add("m")
    await bench.execute("DELETE FROM accounts")

    assert (await bench.store.queue.look()).lanes == (ReadyLane(lane=bench.lane, priority=2, is_gone=True),)
    assert await bench.fail_left(bench.lane) == 1
    assert (await bench.get("m")).error == "account deleted"
    assert (await bench.store.queue.look()).lanes == ()


# Several claimers


async def drain(bench: Bench, owner: str, got: list[str]) -> None:
    while claimed := await bench.claim(3, owner=owner):
        got += [each.id for each in claimed]
        await asyncio.sleep(0)


async def test_no_two_claimers_get_the_same_message(bench: Bench) -> None:
    """Twelve tasks of one node: everything is claimed, and each message once."""
    await bench.add(*(f"m{i}" for i in range(150)))
    got: list[str] = []

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(drain(bench, f"owner-{number}", got))

    assert Counter(got) == {f"m{i}": 1 for i in range(150)}


async def test_no_two_nodes_get_the_same_message(postgres_url: str) -> None:
    """Two nodes with pools of their own on one PostgreSQL."""
    async with open_bench(postgres_url) as one, open_store(postgres_url) as other:
        two = Bench(other, postgres_url, one.lane)
        await one.add(*(f"m{i}" for i in range(200)))
        got: list[str] = []
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(drain(one, f"a{number}", got))
                group.create_task(drain(two, f"b{number}", got))

    assert Counter(got) == {f"m{i}": 1 for i in range(200)}


# Scheduled messages


async def test_a_scheduled_message_waits_for_its_time(bench: Bench) -> None:
    """It is deferred until then, the outlook tells when, and then it joins."""
    await bench.add("later", deferred_ts=NOW + 60)

    outlook = await bench.store.queue.look()

    assert ((await bench.get("later")).status, outlook.lanes, outlook.next_due) == ("deferred", (), NOW + 60)
    assert await bench.store.queue.promote(NOW + 59) == 0
    assert await bench.store.queue.promote(NOW + 60) == 1
    assert await ids(bench) == ["later"]


async def test_a_time_that_is_past_defers_nothing(bench: Bench) -> None:
    """A message for yesterday is sent now."""
    await bench.add("late", deferred_ts=NOW - 60)

    assert (await bench.get("late")).status is Status.PENDING
    assert (await bench.get("late")).deferred_ts is None


async def test_a_scheduled_message_joins_at_its_place(bench: Bench) -> None:
    """Its place is the moment of being queued, before those that came while it waited."""
    await bench.add("early", deferred_ts=NOW + 60)
    await bench.add("late")
    await bench.store.queue.promote(NOW + 60)

    assert await ids(bench) == ["early", "late"]


async def test_promoting_goes_in_chunks(bench: Bench) -> None:
    """However much is due, one transaction moves at most a chunk of it."""
    await bench.add(*(f"m{i}" for i in range(CHUNK + 1)), deferred_ts=NOW + 1)

    assert [await bench.store.queue.promote(NOW + 1) for _ in range(3)] == [CHUNK, 1, 0]


async def test_look_tells_whether_the_instance_was_suspended(bench: Bench) -> None:
    """The last decision, whoever took it."""
    await bench.store.settings.put("active", value=False)

    assert (await bench.store.queue.look()).active is False


async def test_a_suspended_tenant_holds_up_nobody_else(bench: Bench) -> None:
    """One tenant's suspension does not hold up another's messages."""
    other = await bench.account("theirs", "beta")
    await bench.add("held")
    await bench.add("free", tenant_id="beta", account_id="theirs", lane=other)
    await suspend(bench, "*")

    assert [ready.lane for ready in (await bench.store.queue.look()).lanes] == [other]


async def test_a_damaged_content_does_not_keep_the_others(bench: Bench) -> None:
    """It comes as the bytes that it is, for whoever sends it to find out."""
    await bench.add("good", "damaged")
    damage = "X'FF'" if bench.store.database.dialect == "sqlite" else "decode('FF', 'hex')"
    [row] = await bench.rows("SELECT seq FROM messages WHERE id = 'damaged'")
    await bench.execute(f"UPDATE payloads SET content = {damage} WHERE seq = {row['seq']}")

    claimed = {message.id: message for message in await bench.claim()}

    assert set(claimed) == {"good", "damaged"}
    assert claimed["damaged"].payload == Payload(kind=PayloadKind.FIELDS, content=b"\xff")
