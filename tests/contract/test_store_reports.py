"""What applications are still to be told: in order, tenant by tenant, until they have it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import NewEvent
from mail_proxy.store import Store
from tests.support.stores import NOW, OWNER, Bench, as_sent, open_bench, open_store, record_outcome


async def told_of(store: Store, tenant_id: str = "acme", limit: int = 100, after: int = 0) -> list[str]:
    batch = await store.reports.batch(tenant_id, limit, after)
    return [f"{entry.id} {entry.event_type.value}" for entry in batch]


async def test_only_outcomes_are_told(bench: Bench) -> None:
    """`queued` and `sending` are the message's history, no news for the application."""
    await bench.sent("m")

    assert await bench.told("m") == ["queued", "sending", "sent"]
    assert await told_of(bench.store) == ["m sent"]


async def test_an_entry_says_whose_event_it_is(bench: Bench) -> None:
    """All that a report says of the message comes along, metadata included."""
    await bench.add("m", priority=1, metadata='{"order":7}')
    [claimed] = await bench.claim()
    event = NewEvent(
        event_type=EventType.DEFERRED, event_ts=NOW + 1, description="later", event_data={"reason": "452"}
    )
    await record_outcome(bench.store, replace(as_sent(claimed), events=(event,)), OWNER, NOW + 1)

    [entry] = await bench.store.reports.batch("acme", 10)

    assert (entry.id, entry.tenant_id, entry.pk, entry.account_id, entry.priority, entry.metadata) == (
        "m", "acme", claimed.pk, "main", 1, '{"order":7}',
    )  # fmt: skip
    assert (entry.event_type, entry.event_ts, entry.event_data) == ("deferred", NOW + 1, {"reason": "452"})
    assert entry.event_id == (await bench.events("m"))[-1].event_id


async def test_a_batch_is_in_order_and_limited(bench: Bench) -> None:
    """The oldest first; `after` goes on behind an entry without acknowledging it."""
    await bench.sent("a", "b", "c")

    assert await told_of(bench.store, limit=2) == ["a sent", "b sent"]
    [first, *_] = await bench.store.reports.batch("acme", 10)
    assert await told_of(bench.store, after=first.event_id) == ["b sent", "c sent"]


async def test_each_tenant_is_told_of_its_own(bench: Bench) -> None:
    """And only tenants with news are due."""
    lane = await bench.account("theirs", "beta")
    await bench.account("silent", "gamma")
    await bench.sent("mine")
    await bench.add("theirs", tenant_id="beta", account_id="theirs", lane=lane)
    [claimed] = (await bench.store.queue.claim(lane, 1, OWNER, NOW, NOW + 30)).messages
    await record_outcome(bench.store, as_sent(claimed), OWNER, NOW)

    assert await bench.store.reports.tenants_due() == ["acme", "beta"]
    assert await told_of(bench.store, "acme") == ["mine sent"]
    assert await told_of(bench.store, "beta") == ["theirs sent"]
    assert await told_of(bench.store, "gamma") == []


async def test_what_is_acknowledged_is_not_told_again(bench: Bench) -> None:
    """Entry by entry: those that were not acknowledged stay."""
    await bench.sent("a", "b", "c")
    first, second, third = await bench.store.reports.batch("acme", 10)

    await bench.store.reports.acknowledge("acme", [first.event_id, third.event_id], NOW + 5)

    assert await told_of(bench.store) == ["b sent"]
    assert await bench.store.reports.pending("acme") == 1
    await bench.store.reports.acknowledge("acme", [second.event_id], NOW + 6)
    assert await bench.store.reports.tenants_due() == []


async def test_a_message_is_reported_when_all_its_events_are(bench: Bench) -> None:
    """`reported_ts` is the moment of the last acknowledgement."""
    await bench.add("m")
    [claimed] = await bench.claim()
    events = tuple(
        NewEvent(event_type=kind, event_ts=NOW, description="") for kind in (EventType.SENT, EventType.ERROR)
    )
    await record_outcome(bench.store, replace(as_sent(claimed), events=events), OWNER, NOW)
    sent, error = await bench.store.reports.batch("acme", 10)

    await bench.store.reports.acknowledge("acme", [sent.event_id], NOW + 1)
    assert (await bench.get("m")).reported_ts is None
    await bench.store.reports.acknowledge("acme", [error.event_id], NOW + 2)
    assert (await bench.get("m")).reported_ts == NOW + 2


async def test_acknowledging_nothing_and_the_unknown(bench: Bench) -> None:
    """An application that names no event, or one long gone, changes nothing."""
    await bench.sent("m")

    await bench.store.reports.acknowledge("acme", [], NOW)
    await bench.store.reports.acknowledge("acme", [10**9], NOW)

    assert await told_of(bench.store) == ["m sent"]


async def test_two_nodes_may_acknowledge_the_same_events(postgres_url: str) -> None:
    """In opposite order and at once: both succeed, and nothing is due any more."""
    async with open_bench(postgres_url) as one, open_store(postgres_url) as other:
        await one.sent(*(f"m{i}" for i in range(50)))
        ids = [entry.event_id for entry in await one.store.reports.batch("acme", 100)]
        await asyncio.gather(
            *(
                store.reports.acknowledge("acme", order, NOW)
                for store, order in [(one.store, ids), (other, ids[::-1])] * 2
            )
        )

        assert await other.reports.pending("acme") == 0
