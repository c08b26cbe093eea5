"""The journal: many messages in one transaction, and each of them as if it were alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

import pytest

from mail_proxy.daemon.journal import GROUP, TRY_AGAIN, Journal
from mail_proxy.encryption import Vault
from mail_proxy.errors import DatabaseUnavailable, InvalidInput
from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import Begin, Claimed, NewEvent
from mail_proxy.store import Store
from mail_proxy.store.database import Database, Work
from tests.support.clock import ManualClock
from tests.support.flaky_database import FlakyDatabase
from tests.support.stores import KEY, NOW, OTHER, OWNER, Bench, as_deferred, as_sent, open_bench

P = ParamSpec("P")
T = TypeVar("T")

MANY = 60


class Stumbling(FlakyDatabase):
    """Has a bug that shows before a transaction begins, or keeps it waiting, for as long as the test says."""

    stumbles = False

    def __init__(self, inner: Database) -> None:
        super().__init__(inner)
        self.is_free = asyncio.Event()
        self.is_free.set()

    async def write(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if self.stumbles:
            raise LookupError("a bug")
        await self.is_free.wait()
        return await super().write(work, *args, **kwargs)


class Rig:
    """A store whose database may be away, and a journal over it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.database = Stumbling(bench.store.database)
        self.clock = ManualClock(NOW)
        self.journal = Journal(Store.over(self.database, Vault(KEY)).outcomes, self.clock, OWNER)

    async def claimed(self, count: int) -> list[Claimed]:
        await self.bench.add(*(f"m{number}" for number in range(count)))
        return await self.bench.claim(count)

    async def begin(self, claimed: Claimed) -> bool:
        return await self.journal.begin(Begin(claimed.seq, claimed.tenant_id, "handing over"))


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with open_bench(database_url) as bench:
        yield Rig(bench)


async def test_what_comes_together_is_written_together(rig: Rig) -> None:
    """However many wait, it is one commit; what comes meanwhile is the next."""
    messages = await rig.claimed(MANY)

    assert all(await asyncio.gather(*(rig.begin(each) for each in messages)))
    assert all(await asyncio.gather(*(rig.journal.settle(as_sent(each)) for each in messages)))

    assert rig.database.done == {"begin_final": MANY, "settle": MANY}
    assert rig.database.transactions == 2
    assert await rig.bench.told("m7") == ["queued", "sending", "sent"]


async def test_each_is_told_of_its_own_lease(rig: Rig) -> None:
    """One message that another node has does not stop the others."""
    messages = await rig.claimed(3)
    await rig.bench.execute(f"UPDATE messages SET lease_owner = '{OTHER}' WHERE id = 'm1'")

    begun = list(await asyncio.gather(*(rig.begin(each) for each in messages)))
    assert begun == [True, False, True]
    settled = list(await asyncio.gather(*(rig.journal.settle(as_sent(each)) for each in messages)))
    assert settled == [True, False, True]
    assert await rig.bench.told("m1") == ["queued"]


async def test_begins_and_outcomes_share_a_transaction(rig: Rig) -> None:
    ended, begun, put_off = await rig.claimed(3)

    kept = await asyncio.gather(
        rig.journal.settle(as_sent(ended)),
        rig.begin(begun),
        rig.journal.settle(as_deferred(put_off, NOW + 60)),
    )

    assert all(kept)
    assert rig.database.transactions == 1
    states = [(await rig.bench.get(name)).status.value for name in ("m0", "m1", "m2")]
    assert states == ["sent", "sending", "deferred"]


async def test_a_slot_of_a_rate_limit_is_taken_from_the_reply_on_however_long_a_transaction_waits(
    rig: Rig,
) -> None:
    """What joins a transaction that has still to begin came later than that was asked for."""
    await rig.bench.execute("UPDATE accounts SET limit_per_minute = 2")
    first, second = await rig.claimed(2)
    await rig.bench.add("m2")
    rig.database.is_free.clear()
    outcomes = [asyncio.ensure_future(rig.journal.settle(as_sent(first)))]
    await asyncio.sleep(0)
    rig.clock.advance(5)
    outcomes.append(asyncio.ensure_future(rig.journal.settle(as_sent(second, NOW + 5))))
    await asyncio.sleep(0)
    rig.database.is_free.set()
    await asyncio.gather(*outcomes)

    assert rig.database.transactions == 1
    assert not await rig.bench.claim(now=NOW + 64)
    assert [each.id for each in await rig.bench.claim(now=NOW + 66)] == ["m2"]


async def test_what_cannot_be_stored_fails_alone(rig: Rig) -> None:
    """A text that no database takes is its message's misfortune."""
    messages = await rig.claimed(3)
    broken = NewEvent(event_type=EventType.SENT, event_ts=NOW, description="\ud800")
    outcomes = [as_sent(each) for each in messages]
    outcomes[1] = replace(outcomes[1], events=(broken,))

    results = await asyncio.gather(*map(rig.journal.settle, outcomes), return_exceptions=True)

    assert (results[0], results[2]) == (True, True)
    assert isinstance(results[1], InvalidInput)
    assert (await rig.bench.get("m1")).status.value == "sending"


async def test_a_bug_is_told_to_whoever_asked_and_to_nobody_after(rig: Rig) -> None:
    """Even one that shows before it is known what was to be written."""
    first, second = await rig.claimed(2)
    rig.database.stumbles = True
    with pytest.raises(LookupError):
        await rig.begin(first)

    rig.database.stumbles = False
    assert await rig.begin(second)


async def test_at_the_end_all_that_waits_is_written(rig: Rig) -> None:
    """However many groups that takes."""
    messages = await rig.claimed(GROUP + MANY)
    waiting = [asyncio.ensure_future(rig.journal.settle(as_sent(each))) for each in messages]
    await asyncio.sleep(0)

    await rig.journal.end()

    assert {each.result() for each in waiting if each.done()} == {True}
    assert (await rig.bench.get(f"m{GROUP + MANY - 1}")).status.value == "sent"


async def test_a_database_away_stops_begins_and_keeps_outcomes(rig: Rig) -> None:
    """Nothing is transmitted that is not on record; what was transmitted is recorded in the end."""
    first, second = await rig.claimed(2)
    rig.database.away = {"settle": 2}

    outcome = asyncio.ensure_future(rig.journal.settle(as_sent(first)))
    begin = asyncio.ensure_future(rig.begin(second))
    for _ in range(2):
        await rig.clock.until_asleep(TRY_AGAIN)
        rig.clock.advance(TRY_AGAIN)

    with pytest.raises(DatabaseUnavailable):
        await begin
    assert await outcome
    assert (await rig.bench.get("m0")).status.value == "sent"


async def test_an_outcome_whose_commit_was_not_confirmed_is_ours_and_on_record_once(rig: Rig) -> None:
    """The connection broke between the commit and its answer: another server has not taken it over."""
    first, second = await rig.claimed(2)
    rig.database.unheard = {"settle": 1}

    outcomes = [
        asyncio.ensure_future(rig.journal.settle(each))
        for each in (as_sent(first), as_deferred(second, NOW + 60))
    ]
    await rig.clock.until_asleep(TRY_AGAIN)
    assert (await rig.bench.get("m0")).status.value == "sent"
    rig.clock.advance(TRY_AGAIN)

    assert await asyncio.gather(*outcomes) == [True, True]
    assert await rig.bench.told("m0") == ["queued", "sent"]
    assert await rig.bench.told("m1") == ["queued", "deferred"]


async def test_an_outcome_that_another_server_has_recorded_is_not_ours(rig: Rig) -> None:
    """Though it is of the same kind: it took the message over while the database was away."""
    [only] = await rig.claimed(1)
    rig.database.away = {"settle": 1}
    outcome = asyncio.ensure_future(rig.journal.settle(as_sent(only)))
    await rig.clock.until_asleep(TRY_AGAIN)
    theirs = Journal(rig.bench.store.outcomes, rig.clock, OTHER)
    await rig.bench.execute(f"UPDATE messages SET lease_owner = '{OTHER}'")
    assert await theirs.settle(as_sent(only, NOW + 1))
    rig.clock.advance(TRY_AGAIN)

    assert not await outcome
    assert await rig.bench.told("m0") == ["queued", "sent"]


async def test_who_goes_away_does_not_stop_the_recording(rig: Rig) -> None:
    """A conversation that is cancelled has still had its outcome."""
    [only] = await rig.claimed(1)

    waiting = asyncio.ensure_future(rig.journal.settle(as_sent(only)))
    await asyncio.sleep(0)
    waiting.cancel()
    await rig.journal.idle()

    assert (await rig.bench.get("m0")).status.value == "sent"
