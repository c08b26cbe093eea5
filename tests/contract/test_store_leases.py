"""Leases: what a node holds, what it may still do with it, and what becomes of a dead node's messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from mail_proxy.model.accounts import OnUnknown
from mail_proxy.model.messages import Status
from mail_proxy.store.queue import UNKNOWN_TEXT
from tests.support.stores import (
    NOW,
    OTHER,
    OWNER,
    Bench,
    as_deferred,
    as_error,
    as_sent,
    begin_final,
    open_bench,
    open_store,
    record_outcome,
)


async def ids(bench: Bench, limit: int = 100) -> list[str]:
    return [claimed.id for claimed in await bench.claim(limit)]


async def test_begin_final_marks_the_attempt(bench: Bench) -> None:
    """The event says where the content goes, before it goes there."""
    await bench.add("m")
    [claimed] = await bench.claim()

    assert await begin_final(bench.store, claimed, OWNER, NOW + 1, "handing over to mx:25")
    assert (await bench.get("m")).status is Status.SENDING
    event = (await bench.events("m"))[-1]
    assert (event.event_type, event.event_ts, event.description) == (
        "sending",
        NOW + 1,
        "handing over to mx:25",
    )


async def test_begin_final_is_refused_when_the_lease_has_run_out(bench: Bench) -> None:
    """Another node may be about to take the message over: nothing may be transmitted."""
    await bench.add("m")
    [claimed] = await bench.claim()

    assert not await begin_final(bench.store, claimed, OWNER, NOW + 30, "late")
    assert await bench.told("m") == ["queued"]


async def test_begin_final_is_refused_to_another_owner(bench: Bench) -> None:
    """A lease is its owner's alone."""
    await bench.add("m")
    [claimed] = await bench.claim()

    assert not await begin_final(bench.store, claimed, OTHER, NOW, "stolen")


async def test_renewed_leases_hold(bench: Bench) -> None:
    """Renewal prolongs from where it is asked, and only what the owner holds."""
    await bench.add("mine", "theirs")
    [mine] = await bench.claim(1)
    [theirs] = await bench.claim(1, owner=OTHER)

    await bench.store.queue.renew([mine.seq, theirs.seq], OWNER, NOW + 100)

    assert await begin_final(bench.store, mine, OWNER, NOW + 99, "in time")
    assert not await begin_final(bench.store, theirs, OTHER, NOW + 99, "late")
    assert (await bench.store.queue.look()).next_expiry == NOW + 30


async def test_settle_records_outcome_and_events_at_once(bench: Bench) -> None:
    """After the settlement the message has its state, and the lease is gone."""
    await bench.add("m")
    [claimed] = await bench.claim()

    assert await record_outcome(bench.store, as_sent(claimed, NOW + 2), OWNER, NOW + 2)

    message = await bench.get("m")
    assert (message.status, message.sent_ts, message.recipients[0].status) == ("sent", NOW + 2, "sent")
    assert await bench.told("m") == ["queued", "sent"]
    assert (await bench.store.queue.look()).next_expiry is None


async def test_settle_is_refused_after_the_message_was_taken_over(bench: Bench) -> None:
    """The outcome of whoever lost the lease changes nothing, not even events."""
    await bench.add("m")
    [claimed] = await bench.claim()
    await bench.store.queue.take_over(NOW + 31, owner=OTHER)
    [again] = await bench.claim(owner=OTHER, now=NOW + 31)

    assert not await record_outcome(bench.store, as_sent(claimed), OWNER, NOW + 32)
    assert await bench.told("m") == ["queued"]
    assert await record_outcome(bench.store, as_error(again), OTHER, NOW + 32)
    assert (await bench.get("m")).status is Status.ERROR


async def test_a_second_settlement_of_one_attempt_is_refused(bench: Bench) -> None:
    """A message is settled once; who repeats the very same, not having heard of it, is told that it holds."""
    await bench.add("m")
    [claimed] = await bench.claim()

    assert await record_outcome(bench.store, as_sent(claimed), OWNER, NOW)
    for another in (as_sent(claimed, NOW + 1), as_error(claimed), as_deferred(claimed, NOW + 60)):
        assert not await record_outcome(bench.store, another, OWNER, NOW + 1)
    assert await record_outcome(bench.store, as_sent(claimed), OWNER, NOW + 1)
    assert await bench.told("m") == ["queued", "sent"]
    assert (await bench.get("m")).updated_at == NOW


async def test_partial_success_keeps_the_moment_of_sending(bench: Bench) -> None:
    """`sent_ts` of those taken first is not lost when the rest is tried again."""
    await bench.add("m")
    [claimed] = await bench.claim()
    partly = replace(as_deferred(claimed, NOW + 60), sent_ts=NOW + 1)
    await record_outcome(bench.store, partly, OWNER, NOW + 1)
    await bench.store.queue.promote(NOW + 60)
    [again] = await bench.claim(now=NOW + 60)
    await record_outcome(bench.store, as_error(again), OWNER, NOW + 61)

    assert (await bench.get("m")).sent_ts == NOW + 1


async def test_release_gives_back_only_what_has_not_begun(bench: Bench) -> None:
    """A conversation in its final step stays under its lease; so does what another node holds."""
    await bench.add("idle", "begun", "theirs")
    idle, begun = await bench.claim(2)
    [theirs] = await bench.claim(1, owner=OTHER)
    await begin_final(bench.store, begun, OWNER, NOW, "on its way")

    await bench.store.queue.release([idle.seq, begun.seq, theirs.seq], OWNER, NOW)

    states = [(await bench.get(name)).status.value for name in ("idle", "begun", "theirs")]
    assert states == ["pending", "sending", "sending"]


async def test_what_is_released_keeps_its_place(bench: Bench) -> None:
    """It is first again, before those that came later."""
    await bench.add("first", "second")
    [claimed] = await bench.claim(1)
    await bench.store.queue.release([claimed.seq], OWNER, NOW)

    assert await ids(bench) == ["first", "second"]


# Taking over


async def test_a_lease_that_holds_is_not_taken_over(bench: Bench) -> None:
    """Nobody touches the messages of a node that lives."""
    await bench.add("m")
    await bench.claim()

    assert await bench.store.queue.take_over(NOW + 29, owner=OTHER) == []
    assert (await bench.get("m")).status is Status.SENDING


async def test_what_a_dead_node_had_only_claimed_returns_to_the_queue(bench: Bench) -> None:
    """Nothing was transmitted, so it costs no retry and no event."""
    await bench.add("m")
    await bench.claim()

    [orphan] = await bench.store.queue.take_over(NOW + 30, owner=OTHER)

    message = await bench.get("m")
    assert (orphan.was_final, message.status, message.retry_count, message.last_error) == (
        False,
        "pending",
        0,
        None,
    )
    assert await bench.told("m") == ["queued"]


async def die_in_the_final_step(bench: Bench, on_unknown: OnUnknown) -> None:
    await bench.store.accounts.change(
        "acme", "main", lambda account: replace(account, on_unknown=on_unknown), NOW
    )
    await bench.add("m")
    [claimed] = await bench.claim()
    await begin_final(bench.store, claimed, OWNER, NOW, "handing over")


async def test_an_unknown_outcome_is_tried_again_and_said_to_be_possibly_doubled(bench: Bench) -> None:
    """The attempt counts, the reason stands in the message, and the event names the retry."""
    await die_in_the_final_step(bench, OnUnknown.RETRY)

    [orphan] = await bench.store.queue.take_over(NOW + 31, owner=OTHER)

    message = await bench.get("m")
    assert orphan.was_final
    assert (message.status, message.deferred_ts, message.retry_count, message.last_error) == (
        "deferred",
        NOW + 31,
        1,
        UNKNOWN_TEXT,
    )
    assert (await bench.events("m"))[-1].event_data == {
        "reason": UNKNOWN_TEXT,
        "deferred_ts": NOW + 31,
        "retry_count": 1,
        "possible_duplicate": True,
    }
    assert await bench.store.queue.promote(NOW + 31) == 1


async def test_an_unknown_outcome_is_held_when_the_account_says_so(bench: Bench) -> None:
    """No time makes it due: a person decides."""
    await die_in_the_final_step(bench, OnUnknown.HOLD)

    await bench.store.queue.take_over(NOW + 31, owner=OTHER)

    message = await bench.get("m")
    assert (message.status, message.deferred_ts) == ("deferred", None)
    assert await bench.store.queue.promote(NOW * 10) == 0
    assert (await bench.store.queue.look()).next_due is None


async def test_an_earlier_unknown_outcome_is_not_forgotten(bench: Bench) -> None:
    """A second node that dies before transmitting leaves the first doubt as it was."""
    await die_in_the_final_step(bench, OnUnknown.RETRY)
    await bench.store.queue.take_over(NOW + 31, owner=OTHER)
    await bench.store.queue.promote(NOW + 31)
    await bench.claim(owner=OTHER, now=NOW + 31)
    await bench.store.queue.take_over(NOW + 99, owner=OWNER)

    [claimed] = await bench.claim(now=NOW + 99)

    assert claimed.is_unknown
    assert (await bench.get("m")).last_error == UNKNOWN_TEXT


async def test_a_node_that_starts_takes_back_its_own_at_once(bench: Bench) -> None:
    """Its leases still run, but it knows that nobody works on them; others' stay theirs."""
    await bench.add("mine", "theirs")
    await bench.claim(1)
    await bench.claim(1, owner=OTHER)

    assert await bench.store.queue.take_over(NOW, owner=OWNER) == []
    taken = await bench.store.queue.take_over(NOW, owner=OWNER, is_start=True)

    assert len(taken) == 1
    assert (await bench.get("mine")).status is Status.PENDING
    assert (await bench.get("theirs")).status is Status.SENDING


async def test_two_nodes_take_each_orphan_over_once(postgres_url: str) -> None:
    """Together they find each orphan, and record each doubt once."""
    async with open_bench(postgres_url) as one, open_store(postgres_url) as other:
        await one.add(*(f"m{i}" for i in range(40)))
        for claimed in await one.claim(40):
            await begin_final(one.store, claimed, OWNER, NOW, "handing over")
        found = await asyncio.gather(
            *(
                store.queue.take_over(NOW + 31, owner=f"n{number}")
                for number, store in enumerate([one.store, other] * 3)
            )
        )
        seqs = Counter(orphan.seq for orphans in found for orphan in orphans)
        told = [await one.told(f"m{i}") for i in range(40)]

    assert len(seqs) == 40
    assert set(seqs.values()) == {1}
    assert told == [["queued", "sending", "deferred"]] * 40
