"""Suspensions: the table is the truth at once, and the flags of messages follow it, whatever else happens."""

from __future__ import annotations

import asyncio

import pytest

from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.messages import RecipientStatus, Status
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.store import Store
from mail_proxy.store.suspensions import CHUNK, Marking
from tests.support.stores import (
    NOW,
    OTHER,
    OWNER,
    Bench,
    as_deferred,
    as_sent,
    begin_final,
    open_store,
    record_outcome,
)

B = "campaign"


async def mark(store: Store, now: float = NOW) -> int:
    """Go over all that is to be gone over; how many flags were changed."""
    changed = 0
    for marking in await store.suspensions.markings():
        left = marking
        while left.status is not None:
            left = await store.suspensions.mark(left, now)
            changed += left.changed
    return changed


async def held(bench: Bench) -> list[str]:
    """The ids of the messages that are flagged."""
    return [row["id"] for row in await bench.rows("SELECT id FROM messages WHERE is_held = 1 ORDER BY seq")]


async def suspended(bench: Bench) -> tuple[str, ...]:
    return (await bench.store.suspensions.of("acme", None)).batches


async def claimed(bench: Bench) -> list[str]:
    return [message.id for message in await bench.claim()]


async def test_what_is_suspended_is_not_claimed_even_before_a_flag_is_set(bench: Bench) -> None:
    """The claims of every node ask the table of suspensions itself."""
    await bench.add("held", batch_code=B)
    await bench.add("free", batch_code="other")
    await bench.store.suspensions.suspend("acme", B, NOW)

    assert await held(bench) == []
    assert await claimed(bench) == ["free"]


async def test_what_is_activated_is_claimed_once_its_flag_is_cleared(bench: Bench) -> None:
    await bench.add("m1", batch_code=B)
    await bench.store.suspensions.suspend("acme", B, NOW)
    assert await mark(bench.store) == 1
    await bench.store.suspensions.activate("acme", B)
    assert await mark(bench.store) == 1

    assert (await held(bench), await claimed(bench)) == ([], ["m1"])
    assert await bench.told("m1") == ["queued", "suspended", "activated"]


async def test_everything_stands_for_every_batch_and_for_what_has_none(bench: Bench) -> None:
    await bench.add("a", batch_code=B)
    await bench.add("b")
    await bench.store.suspensions.suspend("acme", EVERYTHING, NOW)
    await mark(bench.store)

    assert (await held(bench), await claimed(bench), await suspended(bench)) == (["a", "b"], [], ("*",))


async def test_another_tenants_batch_of_the_same_name_goes_on(bench: Bench) -> None:
    lane = await bench.account("main", "beta")
    await bench.add("mine", batch_code=B)
    await bench.add("theirs", batch_code=B, tenant_id="beta", lane=lane)
    await bench.store.suspensions.suspend("acme", B, NOW)
    await mark(bench.store)

    found = (await bench.store.queue.claim(lane, 10, OWNER, NOW, NOW + 30)).messages
    assert ([message.id for message in found], await held(bench)) == (["theirs"], ["mine"])


async def test_suspending_twice_is_suspending_once(bench: Bench) -> None:
    """There is nothing to go over again, and no second event."""
    await bench.add("m1", batch_code=B)
    for _ in range(2):
        await bench.store.suspensions.suspend("acme", B, NOW)
        await mark(bench.store)

    assert (await suspended(bench), await bench.told("m1")) == ((B,), ["queued", "suspended"])
    await bench.store.suspensions.suspend("acme", B, NOW)
    assert await bench.store.suspensions.markings() == []


async def test_activating_what_is_not_suspended_changes_nothing(bench: Bench) -> None:
    await bench.store.suspensions.suspend("acme", B, NOW)
    await bench.store.suspensions.activate("acme", "other")
    assert await suspended(bench) == (B,)


async def test_suspending_everything_takes_the_place_of_single_batches(bench: Bench) -> None:
    await bench.store.suspensions.suspend("acme", B, NOW)
    await bench.store.suspensions.suspend("acme", EVERYTHING, NOW)
    await bench.store.suspensions.suspend("acme", "other", NOW)
    assert await suspended(bench) == ("*",)


async def test_a_batch_cannot_be_activated_while_everything_is_suspended(bench: Bench) -> None:
    await bench.store.suspensions.suspend("acme", EVERYTHING, NOW)
    with pytest.raises(Conflict, match="all of tenant 'acme' is suspended"):
        await bench.store.suspensions.activate("acme", B)
    assert await suspended(bench) == ("*",)


async def test_activating_everything_lifts_every_single_batch(bench: Bench) -> None:
    await bench.add("a", batch_code="one")
    await bench.add("b", batch_code="two")
    await bench.store.suspensions.suspend("acme", "one", NOW)
    await bench.store.suspensions.suspend("acme", "two", NOW)
    await mark(bench.store)
    await bench.store.suspensions.activate("acme", EVERYTHING)
    await mark(bench.store)

    assert (await suspended(bench), await held(bench), await claimed(bench)) == ((), [], ["a", "b"])


@pytest.mark.parametrize("batch_code", [B, EVERYTHING])
async def test_a_tenant_that_is_not_there_is_told_so(bench: Bench, batch_code: str) -> None:
    with pytest.raises(NotFound):
        await bench.store.suspensions.suspend("nobody", batch_code, NOW)
    with pytest.raises(NotFound):
        await bench.store.suspensions.activate("nobody", batch_code)


async def test_each_change_raises_the_version_of_the_tenant(bench: Bench) -> None:
    """Whoever judged a message before it, on whatever node, has to judge it again."""
    versions = [await version(bench)]
    await bench.store.suspensions.suspend("acme", B, NOW)
    versions.append(await version(bench))
    await bench.store.suspensions.activate("acme", B)
    versions.append(await version(bench))
    assert versions == sorted(set(versions))


async def version(bench: Bench) -> int:
    (row,) = await bench.rows("SELECT version FROM tenants WHERE id = 'acme'")
    number: int = row["version"]
    return number


async def test_what_waits_for_its_time_is_held_and_stays_so_when_that_comes(bench: Bench) -> None:
    await bench.add("later", batch_code=B, deferred_ts=NOW + 60)
    await bench.store.suspensions.suspend("acme", B, NOW)
    await mark(bench.store)
    assert await bench.store.queue.promote(NOW + 61) == 1

    assert (await held(bench), await claimed(bench)) == (["later"], [])
    assert (await bench.get("later")).status is Status.PENDING


async def test_only_what_waits_is_flagged(bench: Bench) -> None:
    """Not what was sent, and not what is being sent."""
    await bench.sent("sent")
    await bench.add("sending")
    assert await claimed(bench) == ["sending"]
    await bench.add("waits")
    await bench.store.suspensions.suspend("acme", EVERYTHING, NOW)
    await mark(bench.store)

    assert await held(bench) == ["waits"]
    assert (await bench.store.suspensions.of("acme", None)).waiting == 2


async def test_what_is_being_sent_when_the_suspension_comes_is_not_begun_any_more(bench: Bench) -> None:
    """It was claimed; given back it is held, like all the rest."""
    await bench.add("m1", batch_code=B)
    (message,) = await bench.claim()
    await bench.store.suspensions.suspend("acme", B, NOW)
    await mark(bench.store)

    assert not await begin_final(bench.store, message, OWNER, NOW, "handing over")
    await bench.store.queue.release([message.seq], OWNER, NOW)
    assert (await held(bench), await bench.told("m1")) == (["m1"], ["queued", "suspended"])


async def test_what_was_begun_before_the_suspension_is_finished(bench: Bench) -> None:
    await bench.add("m1", batch_code=B)
    (message,) = await bench.claim()
    assert await begin_final(bench.store, message, OWNER, NOW, "handing over")
    await bench.store.suspensions.suspend("acme", B, NOW)
    await mark(bench.store)

    assert await record_outcome(bench.store, as_sent(message), OWNER, NOW)
    assert ((await bench.get("m1")).status, await held(bench)) == (Status.SENT, [])


async def test_what_is_put_off_during_a_suspension_is_held(bench: Bench) -> None:
    await bench.add("m1", batch_code=B)
    (message,) = await bench.claim()
    await bench.store.suspensions.suspend("acme", B, NOW)
    await mark(bench.store)
    await record_outcome(bench.store, as_deferred(message, NOW + 60), OWNER, NOW)

    assert await held(bench) == ["m1"]
    await bench.store.suspensions.activate("acme", B)
    await mark(bench.store)
    assert await held(bench) == []


async def test_what_a_dead_node_held_is_held_by_the_suspension_after_it(bench: Bench) -> None:
    await bench.add("m1", batch_code=B)
    assert await claimed(bench) == ["m1"]
    await bench.store.suspensions.suspend("acme", B, NOW)
    await mark(bench.store)
    await bench.store.queue.take_over(NOW + 31, owner=OTHER)

    assert (await held(bench), await bench.claim(now=NOW + 31)) == (["m1"], [])


async def test_what_fails_with_its_account_is_no_longer_held(bench: Bench) -> None:
    await bench.add("m1", batch_code=B)
    await bench.store.suspensions.suspend("acme", B, NOW)
    await mark(bench.store)
    await bench.delete_account()

    assert ((await bench.get("m1")).status, await held(bench)) == (Status.ERROR, [])


async def test_a_large_batch_is_gone_over_in_steps(bench: Bench) -> None:
    """Each step is a transaction of its own, and none is left out or told twice."""
    ids = [f"m{number}" for number in range(CHUNK + 1)]
    await bench.add(*ids, batch_code=B)
    await bench.store.suspensions.suspend("acme", B, NOW)
    (first,) = await bench.store.suspensions.markings()
    steps: list[Marking] = [first]
    while steps[-1].status is not None:
        steps.append(await bench.store.suspensions.mark(steps[-1], NOW))

    assert [step.changed for step in steps] == [0, 0, CHUNK, 1]
    assert len(await held(bench)) == CHUNK + 1
    (told,) = await bench.rows("SELECT COUNT(*) AS n FROM events WHERE event_type = 'suspended'")
    assert told["n"] == CHUNK + 1


async def test_what_a_process_that_died_left_undone_another_does(bench: Bench) -> None:
    """The marking stands until it is done, and may be begun again from its beginning."""
    await bench.add(*(f"m{number}" for number in range(CHUNK + 1)), batch_code=B)
    await bench.store.suspensions.suspend("acme", B, NOW)
    (marking,) = await bench.store.suspensions.markings()
    for _ in range(2):
        marking = await bench.store.suspensions.mark(marking, NOW)
    assert len(await held(bench)) == CHUNK

    async with open_store(bench.url) as other:
        assert await mark(other) == 1
        assert await other.suspensions.markings() == []
    assert len(await held(bench)) == CHUNK + 1


async def test_flags_follow_what_is_suspended_when_they_are_set(bench: Bench) -> None:
    """Not what was suspended when the marking began: two nodes may be at it, one late."""
    await bench.add("m1", batch_code=B)
    await bench.store.suspensions.suspend("acme", B, NOW)
    (late,) = await bench.store.suspensions.markings()
    await bench.store.suspensions.activate("acme", B)
    while late.status is not None:
        late = await bench.store.suspensions.mark(late, NOW)

    assert await held(bench) == []
    assert len(await bench.store.suspensions.markings()) == 1, "the later change is still to be gone over"
    assert await mark(bench.store) == 0


async def test_a_message_of_unknown_outcome_is_held_with_the_rest(bench: Bench) -> None:
    await bench.add("m1", batch_code=B)
    (message,) = await bench.claim()
    await record_outcome(bench.store, as_deferred(message, NOW + 60, is_unknown=True), OWNER, NOW)
    await bench.store.suspensions.suspend("acme", B, NOW)
    await mark(bench.store)

    assert await held(bench) == ["m1"]
    assert (await bench.get("m1")).recipients[0].status is RecipientStatus.DEFERRED


async def test_two_nodes_agree_at_once(bench: Bench) -> None:
    """What one has suspended the other neither claims nor begins, without a word between them."""
    async with open_store(bench.url) as other:
        await bench.add("begun", "waits", batch_code=B)
        (begun,) = await bench.claim(1)
        await other.suspensions.suspend("acme", B, NOW)

        assert not await begin_final(bench.store, begun, OWNER, NOW, "handing over")
        assert await bench.claim() == []
        await bench.store.queue.release([begun.seq], OWNER, NOW)
        await bench.store.suspensions.activate("acme", B)
        await asyncio.gather(mark(bench.store), mark(other))
        found = (await other.queue.claim(bench.lane, 10, OTHER, NOW, NOW + 30)).messages
        assert [message.id for message in found] == ["begun", "waits"]
