"""The circuit: opened once for all nodes, passed by one probe at a time, closed by success or by a change."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mail_proxy.model.accounts import Account, Circuit, Rest
from mail_proxy.model.messages import EventType, Status
from mail_proxy.model.queue import Claim, Parking
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.store import Store
from mail_proxy.store.circuit import FIRST_REST, Tripped
from tests.support.stores import (
    NOW,
    OTHER,
    OWNER,
    Bench,
    as_error,
    as_sent,
    open_bench,
    open_store,
    record_outcome,
)

WORDS = "535 not you"
DAY = 86_400.0


async def account_of(bench: Bench) -> Account:
    return await bench.store.accounts.get("acme", "main")


async def trip(bench: Bench, now: float = NOW) -> Tripped:
    return await bench.store.circuits.trip(await account_of(bench), WORDS, now)


async def take(bench: Bench, now: float, *, store: Store | None = None, owner: str = OWNER) -> Claim:
    """Claim ten, if the circuit lets them pass."""
    return await (store or bench.store).queue.claim(bench.lane, 10, owner, now, now + 30)


def ids(claim: Claim) -> list[str]:
    return [message.id for message in claim.messages]


async def test_an_account_that_fails_rests_and_says_why(bench: Bench) -> None:
    """For 30 s at first; nothing of it can be claimed meanwhile."""
    await bench.add("m1")
    assert await trip(bench) == Tripped(Rest(30, NOW + 30), is_news=True)
    account = await account_of(bench)
    assert (account.circuit, account.last_error, account.rest, account.ill_since) == (
        Circuit.OPEN, WORDS, Rest(30, NOW + 30), NOW,
    )  # fmt: skip
    claim = await take(bench, NOW + 29)
    assert (claim.messages, claim.held_by, claim.opens_at) == ((), Parking.ACCOUNT, NOW + 30)
    [lane] = (await bench.store.queue.look()).lanes
    assert lane.rest == account.rest


async def test_each_rest_is_twice_as_long_up_to_a_quarter_of_an_hour(bench: Bench) -> None:
    now, rests = NOW, []
    for _ in range(7):
        tripped = await trip(bench, now)
        assert tripped.rest is not None
        rests.append(tripped.rest.seconds)
        now = tripped.rest.until
    assert rests == [30, 60, 120, 240, 480, 900, 900]
    assert (await account_of(bench)).ill_since == NOW


async def test_what_ends_during_a_rest_changes_nothing(bench: Bench) -> None:
    """Conversations begun before neither lengthen it nor cut it short, and are no news."""
    await trip(bench)
    assert await trip(bench, NOW + 1) == Tripped(Rest(30, NOW + 30), is_news=False)
    assert not await bench.store.circuits.mend(await account_of(bench), NOW + 2)
    assert (await account_of(bench)).rest == Rest(30, NOW + 30)


async def test_who_looked_at_the_clock_before_a_rest_began_finds_it_all_the_same(bench: Bench) -> None:
    """Failures that come at once are one; a node whose clock is a little behind lets nothing pass."""
    await bench.add("m1")
    await trip(bench)
    before = NOW - 0.002
    assert await trip(bench, before) == Tripped(Rest(30, NOW + 30), is_news=False)
    assert not await bench.store.circuits.mend(await account_of(bench), before)
    assert (await account_of(bench)).rest == Rest(30, NOW + 30)
    assert ids(await take(bench, before)) == []


async def test_success_after_a_rest_closes_the_circuit_once(bench: Bench) -> None:
    """And the next rest begins at 30 s again."""
    await trip(bench)
    await trip(bench, NOW + 30)
    account = await account_of(bench)
    assert await bench.store.circuits.mend(account, NOW + 90)
    assert not await bench.store.circuits.mend(account, NOW + 90)
    mended = await account_of(bench)
    assert (mended.circuit, mended.last_error, mended.ill_since) == (Circuit.CLOSED, None, None)
    assert (await trip(bench, NOW + 91)).rest == Rest(30, NOW + 121)


async def test_two_nodes_that_fail_together_open_one_circuit(database_url: str) -> None:
    """One of them has news; and the rest is not doubled."""
    async with open_bench(database_url) as bench, open_store(database_url) as other:
        account = await account_of(bench)
        tripped = await asyncio.gather(
            *(store.circuits.trip(account, WORDS, NOW) for store in [bench.store, other] * 4)
        )
        assert {each.rest for each in tripped} == {Rest(30, NOW + 30)}
        assert [each.is_news for each in tripped].count(True) == 1


async def test_one_message_probes_whoever_asks(database_url: str) -> None:
    """Two nodes that claim at the same moment, over and over: while one probes nobody else does."""
    async with open_bench(database_url) as bench, open_store(database_url) as other:
        await bench.add(*(f"m{number}" for number in range(8)))
        now = NOW
        for _ in range(5):
            tripped = await trip(bench, now)
            assert tripped.rest is not None
            now = tripped.rest.until
            claims = await asyncio.gather(
                *(
                    take(bench, now, store=store, owner=owner)
                    for store, owner in [(bench.store, OWNER), (other, OTHER)] * 3
                )
            )
            [(message, owner)] = [
                (message, [OWNER, OTHER][number % 2])
                for number, claim in enumerate(claims)
                for message in claim.messages
            ]
            assert {claim.opens_at for claim in claims if not claim.messages} == {now + 5}
            await bench.store.queue.release([message.seq], owner, now)


async def test_a_probe_that_was_given_back_makes_room_for_the_next(bench: Bench) -> None:
    """It was suspended, or its node stopped: that says nothing of the account."""
    await bench.add("m1")
    await trip(bench)
    [probe] = (await take(bench, NOW + 30)).messages
    assert not (await take(bench, NOW + 31)).messages
    await bench.store.queue.release([probe.seq], OWNER, NOW + 31)
    assert ids(await take(bench, NOW + 31)) == ["m1"]


async def test_the_probe_of_a_node_that_died_is_followed_by_another(bench: Bench) -> None:
    """When its lease has run out and it was taken over."""
    await bench.add("m1")
    await trip(bench)
    assert ids(await take(bench, NOW + 30)) == ["m1"]
    await bench.store.queue.take_over(NOW + 60, owner=OTHER)
    assert ids(await take(bench, NOW + 60, owner=OTHER)) == ["m1"]


async def test_another_message_probes_each_time(bench: Bench) -> None:
    """One on which the server breaks off must not stand before all others; alone it has its turn again."""
    await bench.add("m1", "m2")
    now, probes = NOW, []
    for _ in range(4):
        tripped = await trip(bench, now)
        assert tripped.rest is not None
        now = tripped.rest.until
        [probe] = (await take(bench, now)).messages
        probes.append(probe.id)
        await bench.store.queue.release([probe.seq], OWNER, now)
    assert probes == ["m1", "m2", "m1", "m2"]

    await trip(bench, now)
    [only] = (await take(bench, now + 900)).messages
    assert await record_outcome(bench.store, as_error(only, now), OWNER, now)
    [last] = (await take(bench, now + 900)).messages
    await bench.store.queue.release([last.seq], OWNER, now)
    assert ids(await take(bench, now + 900)) == [last.id]


async def test_when_the_probe_has_worked_all_may_pass(bench: Bench) -> None:
    await bench.add("m1", "m2", "m3")
    await trip(bench)
    [probe] = (await take(bench, NOW + 30)).messages
    assert await record_outcome(bench.store, as_sent(probe, NOW + 30), OWNER, NOW + 30)
    await bench.store.circuits.mend(await account_of(bench), NOW + 30)
    assert ids(await take(bench, NOW + 30)) == ["m2", "m3"]


async def test_a_clock_that_is_set_back_ends_a_rest_rather_than_lengthen_it(bench: Bench) -> None:
    await bench.add("m1")
    await trip(bench)
    assert ids(await take(bench, NOW - 61)) == ["m1"]


async def test_a_rest_survives_a_restart(database_url: str) -> None:
    async with open_bench(database_url) as bench:
        await bench.add("m1")
        await trip(bench)
        lane = bench.lane
    async with open_store(database_url) as store:
        assert not (await store.queue.claim(lane, 10, OWNER, NOW + 29, NOW + 60)).messages
        assert len((await store.queue.claim(lane, 10, OWNER, NOW + 30, NOW + 60)).messages) == 1


async def test_a_change_closes_the_circuit(bench: Bench) -> None:
    """Whatever was changed, what waits may try at once; and what failed before says nothing of it."""
    await bench.add("m1", "m2")
    before = await account_of(bench)
    await trip(bench)
    changed = await bench.store.accounts.change("acme", "main", lambda old: replace(old, ttl=5), NOW + 1)
    assert (changed.circuit, changed.last_error, changed.rest) == (Circuit.CLOSED, None, None)
    assert await bench.store.circuits.trip(before, WORDS, NOW + 2) == Tripped(None, is_news=False)
    assert ids(await take(bench, NOW + 2)) == ["m1", "m2"]


async def test_a_deleted_account_has_no_circuit(bench: Bench) -> None:
    account = await account_of(bench)
    await bench.delete_account()
    assert await bench.store.circuits.trip(account, WORDS, NOW) == Tripped(None, is_news=False)
    assert not await bench.store.circuits.mend(account, NOW)
    assert await bench.store.circuits.park(bench.lane, NOW) == 0


async def test_a_probe_takes_a_slot_of_the_rate_limit(bench: Bench) -> None:
    """Neither lets more pass than the other."""
    await bench.execute("UPDATE accounts SET limit_per_minute = 1")
    await bench.add("m1", "m2")
    await trip(bench)
    [probe] = (await take(bench, NOW + 30)).messages
    assert probe.is_limited
    assert await record_outcome(bench.store, as_sent(probe, NOW + 30), OWNER, NOW + 30)
    held = await take(bench, NOW + 31)
    assert (held.messages, held.held_by) == ((), Parking.LIMIT)


async def test_heads_say_once_that_they_wait(bench: Bench) -> None:
    """Not those behind them; and only while the account rests."""
    await bench.add(*(f"m{number}" for number in range(51)))
    assert await bench.store.circuits.park(bench.lane, NOW) == 0
    await trip(bench)
    assert await bench.store.circuits.park(bench.lane, NOW + 1) == 50
    assert await bench.store.circuits.park(bench.lane, NOW + 2) == 0
    message = await bench.get("m0")
    assert (message.status, message.deferred_ts) == (Status.DEFERRED, NOW + 30)
    assert await bench.told("m0") == ["queued", "deferred"]
    assert await bench.told("m50") == ["queued"]


async def test_the_accounts_with_heads_that_do_not_say_that_they_wait_are_found(bench: Bench) -> None:
    """Only those that rest: a probe's failure tells the others."""
    quiet = await bench.account("quiet")
    await bench.add("m1")
    await trip(bench)
    ailing = await bench.store.circuits.ailing()
    assert [(each.lane, each.last_error, each.ill_since) for each in ailing] == [(bench.lane, WORDS, NOW)]
    assert quiet not in [each.lane for each in ailing]
    assert await bench.store.circuits.unparked(NOW + 1) == ailing
    assert await bench.store.circuits.unparked(NOW + 30) == []
    await bench.store.circuits.park(bench.lane, NOW + 1)
    assert await bench.store.circuits.unparked(NOW + 1) == []
    await bench.add("m2")
    assert await bench.store.circuits.unparked(NOW + 1) == ailing


@pytest.mark.parametrize("is_parked", [True, False])
async def test_what_has_waited_too_long_is_given_up(bench: Bench, is_parked: bool) -> None:
    """From the moment it came or was due, or the account fell ill if that was later."""
    await bench.add("before", now=NOW - DAY)
    await bench.add("later", now=NOW, deferred_ts=NOW + 100)
    await trip(bench)
    await bench.add("after", now=NOW + 50)
    await bench.store.queue.promote(NOW + 100)
    if is_parked:
        await trip(bench, NOW + 100)
        assert await bench.store.circuits.park(bench.lane, NOW + 101) == 3
    resting = NOW + 101 if is_parked else NOW + 1

    async def given_up(waited: float) -> list[str]:
        """Which have failed when all that waits since `waited` after the trip is given up."""
        if waited >= 0:
            await bench.store.circuits.give_up(bench.lane, NOW + waited, "too long", NOW + DAY)
        every = ("before", "later", "after")
        return [each for each in every if (await bench.get(each)).status is Status.ERROR]

    assert await bench.store.circuits.overdue(NOW - 1, resting) == []
    assert await given_up(-1) == []
    assert await bench.store.circuits.overdue(NOW, resting) == await bench.store.circuits.ailing()
    assert await given_up(0) == ["before"]
    assert await given_up(49) == ["before"]
    assert await given_up(50) == ["before", "after"]
    assert await bench.store.circuits.overdue(NOW + 99, resting) == []
    assert await given_up(100) == ["before", "later", "after"]
    last = (await bench.events("later"))[-1]
    assert (last.event_type, last.event_data) == (EventType.ERROR, {"error": "too long"})


@pytest.mark.parametrize("is_parked", [True, False])
async def test_what_a_person_lets_go_again_has_not_waited_yet(bench: Bench, is_parked: bool) -> None:
    """An old message that is tried again, or is held no longer, has all the time that a new one has."""
    await bench.add("failed", "held")
    [claimed, _] = await bench.claim()
    await record_outcome(bench.store, as_error(claimed), OWNER, NOW)
    await bench.store.suspensions.suspend("acme", EVERYTHING, NOW)
    await bench.store.queue.release([claimed.seq + 1], OWNER, NOW)
    await trip(bench)

    await bench.store.suspensions.activate("acme", EVERYTHING)
    [marking] = await bench.store.suspensions.markings()
    while marking.status is not None:
        marking = await bench.store.suspensions.mark(marking, NOW + DAY)
    await bench.store.rescheduling.retry("acme", "failed", None, NOW + DAY)
    if is_parked:
        await trip(bench, NOW + DAY)
        assert await bench.store.circuits.park(bench.lane, NOW + DAY + 1) == 2

    assert await bench.store.circuits.overdue(NOW + DAY - 1, NOW + DAY + 1 if is_parked else NOW + 1) == []
    assert await bench.store.circuits.give_up(bench.lane, NOW + DAY - 1, "too long", NOW + DAY + 2) == 0
    assert await bench.store.circuits.give_up(bench.lane, NOW + DAY, "too long", NOW + 2 * DAY) == 2


async def test_all_priorities_are_given_up(bench: Bench) -> None:
    """Young urgent messages before them do not keep the old ones."""
    await trip(bench)
    for priority in range(4):
        await bench.add(f"old{priority}", priority=priority)
    await bench.add(*(f"young{number}" for number in range(60)), priority=0, now=NOW + DAY)
    assert len(await bench.store.circuits.overdue(NOW + 1, NOW + 2)) == 1
    assert await bench.store.circuits.give_up(bench.lane, NOW + 1, "too long", NOW + DAY) == 4
    assert await bench.store.circuits.overdue(NOW + 1, NOW + 2) == []


async def test_an_account_is_tried_before_what_waits_for_it_is_given_up(bench: Bench) -> None:
    """Perhaps no server ran for a day: its rest was long over."""
    await bench.add("m1")
    await trip(bench)
    assert len(await bench.store.circuits.overdue(NOW, NOW + FIRST_REST - 1)) == 1
    assert await bench.store.circuits.overdue(NOW + DAY - 1, NOW + DAY) == []
    await trip(bench, NOW + DAY)
    assert len(await bench.store.circuits.overdue(NOW + DAY - 1, NOW + DAY)) == 1


async def test_what_is_suspended_is_not_given_up(bench: Bench) -> None:
    """It waits for a person, not for its account."""
    await bench.add("m1", batch_code="b", is_held=True)
    await trip(bench)
    assert await bench.store.circuits.overdue(NOW + DAY, NOW + 1) == []
    assert await bench.store.circuits.give_up(bench.lane, NOW + DAY, "too long", NOW + DAY) == 0
