"""What waits for an account that goes: all of it fails, and nothing of an account that comes after it."""

from __future__ import annotations

import asyncio

import pytest

from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.messages import Status
from mail_proxy.model.queue import Departure, Failures
from mail_proxy.store.accounts import CHUNK
from tests.support.stores import NOW, OWNER, Bench, as_deferred, as_sent, record_outcome


async def waiting(bench: Bench) -> None:
    """One message ready, one held, one deferred, one sent."""
    await bench.sent("sent")
    await bench.add("ready")
    await bench.add("held", batch_code="june")
    await bench.execute("UPDATE messages SET is_held = 1 WHERE id = 'held'")
    await bench.add("later", deferred_ts=NOW + 1000)


async def statuses(bench: Bench) -> dict[str, Status]:
    rows = await bench.rows("SELECT id, status FROM messages")
    return {row["id"]: Status(row["status"]) for row in rows}


async def test_all_that_waits_fails_with_its_account(bench: Bench) -> None:
    """Ready, held or deferred; what was sent stays sent, what another account has stays pending."""
    await waiting(bench)
    lane = await bench.account("other")
    await bench.add("others", account_id="other", lane=lane)
    with pytest.raises(Conflict, match="3 queued"):
        await bench.store.accounts.delete("acme", "main", force=False)

    assert await bench.delete_account() == 3
    assert await statuses(bench) == {
        "sent": Status.SENT,
        "ready": Status.ERROR,
        "held": Status.ERROR,
        "later": Status.ERROR,
        "others": Status.PENDING,
    }


async def test_all_that_waits_in_a_lane_fails_when_its_account_is_gone_already(bench: Bench) -> None:
    """One that is ready leads to the others; a new account of the same name keeps its own."""
    await waiting(bench)
    await bench.execute("DELETE FROM accounts")
    lane = await bench.account("main")
    await bench.add("new", lane=lane)

    assert await bench.fail_left(bench.lane) == 3
    assert await bench.fail_left(bench.lane) == 0
    found = await statuses(bench)
    assert {name for name, status in found.items() if status is Status.ERROR} == {"ready", "held", "later"}
    assert found["new"] is Status.PENDING


async def test_it_goes_in_steps_and_from_the_first_on_nothing_is_sent(bench: Bench) -> None:
    """However much waits, no transaction lasts long; until all has failed it is known what is left."""
    ids = [f"m{number}" for number in range(CHUNK + 1)]
    await bench.add(*ids)
    lane = bench.lane
    assert await bench.store.accounts.delete("acme", "main", force=True) == Departure(lane, CHUNK + 1)
    assert await bench.store.accounts.departures() == [lane]
    assert await bench.claim() == []

    def step(count: int) -> Failures:
        return Failures(tenant_id="acme", account_id="main", count=count)

    assert await bench.store.accounts.fail_left(lane, NOW) == step(CHUNK)
    assert await bench.claim() == []
    assert await bench.store.accounts.departures() == [lane]
    assert await bench.store.accounts.fail_left(lane, NOW) == step(1)
    assert await bench.store.accounts.fail_left(lane, NOW) is None
    assert await bench.store.accounts.departures() == []
    assert set((await statuses(bench)).values()) == {Status.ERROR}
    assert len(await bench.rows("SELECT seq FROM events WHERE event_type = 'error'")) == CHUNK + 1


async def test_it_is_not_over_while_something_is_being_sent(bench: Bench) -> None:
    """What comes back fails, even if it would have to wait, or is held back by then."""
    await bench.add("again", "held", "sent", batch_code="june")
    again, held, sent = await bench.claim()
    lane = bench.lane
    assert await bench.store.accounts.delete("acme", "main", force=True) == Departure(lane, 0)
    assert await bench.store.accounts.fail_left(lane, NOW) is None
    assert await bench.store.accounts.departures() == [lane]

    assert await record_outcome(bench.store, as_deferred(again, NOW + 9), OWNER, NOW)
    assert await record_outcome(bench.store, as_sent(sent), OWNER, NOW)
    await bench.store.suspensions.suspend("acme", "june", NOW)
    await bench.store.queue.release([held.seq], OWNER, NOW)
    assert await bench.fail_left(lane) == 2
    assert await statuses(bench) == {"again": Status.ERROR, "held": Status.ERROR, "sent": Status.SENT}
    assert await bench.store.accounts.departures() == []


async def test_a_new_account_of_the_same_name_keeps_what_is_its_own(bench: Bench) -> None:
    """It may be there before all that waited for the old one has failed."""
    await bench.add("old")
    await bench.store.accounts.delete("acme", "main", force=True)
    lane = await bench.account("main")
    await bench.add("new", lane=lane)

    assert await bench.fail_left(bench.lane) == 1
    assert await statuses(bench) == {"old": Status.ERROR, "new": Status.PENDING}
    assert await bench.store.accounts.departures() == []


async def test_several_may_take_the_steps_at_once(bench: Bench) -> None:
    """Whoever deletes it, and each node that finds it left: every message fails once."""
    await bench.add(*(f"m{number}" for number in range(20)))
    await bench.store.accounts.delete("acme", "main", force=True)

    counts = await asyncio.gather(*(bench.fail_left(bench.lane) for _ in range(4)))

    assert sum(counts) == 20
    assert len(await bench.rows("SELECT seq FROM events WHERE event_type = 'error'")) == 20
    assert await bench.store.accounts.departures() == []


async def test_of_two_who_delete_it_at_once_one_is_told_that_it_is_gone(bench: Bench) -> None:
    done = await asyncio.gather(
        *(bench.store.accounts.delete("acme", "main", force=True) for _ in range(2)), return_exceptions=True
    )
    assert [type(each) for each in done if not isinstance(each, Departure)] == [NotFound]
    assert await bench.store.accounts.departures() == [bench.lane]
