"""What was not told: given up after a long time, told again on request, and never counted as told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from mail_proxy.model.queue import Parking
from mail_proxy.model.reports import ReportState, UntoldPlace
from mail_proxy.store import reports as store_reports
from mail_proxy.store.database import Work
from mail_proxy.store.parking import park
from mail_proxy.store.reports import DISORDER
from tests.support.stores import NOW, OTHER, OWNER, Bench, as_deferred, as_sent, begin_final
from tests.support.stores import record_outcome as record
from tests.support.telling import acknowledge, due_of, pending_of

DAY = 86_400.0
LATER = NOW + 40 * DAY


async def fail(bench: Bench, tenant_id: str = "acme") -> None:
    """Let a tenant's application not have taken the last post."""
    await bench.execute(
        f"UPDATE sync_state SET failures = 1, last_error = 'away' WHERE tenant_id = '{tenant_id}'"
    )


async def refuse(bench: Bench, *ids: str, now: float = NOW) -> None:
    """Let the application refuse these messages, and take nothing else."""
    events = [each.event_id for each in await due_of(bench.store) if each.id in ids]
    await acknowledge(bench.store, [], now, refused=events)


async def give_up(bench: Bench, before: float) -> dict[str, int]:
    """Give up wherever something is stuck; how many events of whom."""
    stuck = await bench.store.reports.stuck()
    return {
        tenant_id: await bench.store.reports.give_up(tenant_id, kinds, before)
        for tenant_id, kinds in sorted(stuck.items())
    }


async def states(bench: Bench, tenant_id: str | None = None) -> list[tuple[str, str]]:
    found = await bench.store.reports.untold(tenant_id, None, None, 100)
    return [(each.event.id, each.state.value) for each in found]


async def test_what_is_not_taken_for_too_long_is_given_up(bench: Bench) -> None:
    """It is not told any more, does not count as pending, and does not count as told either."""
    await bench.sent("old", now=NOW)
    await bench.sent("young", now=NOW + DAY)
    await fail(bench)
    assert await give_up(bench, NOW - 1) == {"acme": 0}
    assert await give_up(bench, NOW) == {"acme": 1}

    assert await states(bench) == [("old", "given_up"), ("young", "failing")]
    assert [each.id for each in await due_of(bench.store)] == ["young"]
    assert await pending_of(bench.store) == 1
    assert (await bench.get("old")).reported_ts is None
    assert await give_up(bench, NOW) == {"acme": 0}


async def test_only_what_was_tried_is_given_up(bench: Bench) -> None:
    """Where nothing failed, it is about to be told: the server was off, or has much to tell."""
    await bench.sent("waits", "refused")
    assert await give_up(bench, NOW) == {}
    await refuse(bench, "refused")
    assert await give_up(bench, NOW) == {"acme": 1}
    assert await states(bench) == [("waits", "unreported"), ("refused", "given_up")]


async def test_what_goes_on_is_not_given_up(bench: Bench) -> None:
    """An old event of a message that had a younger one is told together with it."""
    await bench.add("m")
    [claimed] = await bench.claim()
    await record(bench.store, as_deferred(claimed, NOW + DAY), OWNER, NOW)
    await bench.store.queue.promote(NOW + DAY)
    [claimed] = await bench.claim(now=NOW + DAY)
    await record(bench.store, as_sent(claimed, NOW + DAY), OWNER, NOW + DAY)
    await fail(bench)

    assert await give_up(bench, NOW + DAY - 1) == {"acme": 0}
    assert await give_up(bench, NOW + DAY) == {"acme": 2}


async def test_giving_up_goes_in_stretches(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as there may be old events: clocks differ by so much and no more."""
    monkeypatch.setattr(store_reports, "STRETCH", 2)
    await bench.sent(*(f"m{number}" for number in range(9)))
    for number, late in enumerate([0, DISORDER, 0, DISORDER, 0, DISORDER + 1, 0, 0, 0]):
        await bench.execute(
            f"UPDATE events SET event_ts = {NOW + late} "
            f"WHERE is_due = 1 AND seq = {(await bench.get(f'm{number}')).seq}"
        )
    await refuse(bench, "m2")
    await fail(bench)
    assert await give_up(bench, NOW) == {"acme": 3}
    given_up = [name for name, state in await states(bench) if state == "given_up"]
    assert given_up == ["m0", "m2", "m4"]


@pytest.mark.parametrize("is_since", [False, True])
async def test_what_is_told_again_has_all_its_time_again(bench: Bench, is_since: bool) -> None:
    """From the moment of the replay, however old it is."""
    await bench.sent("m")
    await fail(bench)
    assert await give_up(bench, NOW) == {"acme": 1}
    reports = bench.store.reports
    replayed = reports.replay_since("acme", NOW, LATER) if is_since else reports.replay_failed("acme", LATER)
    assert await replayed == 1
    assert await states(bench) == [("m", "failing")]
    assert await give_up(bench, LATER - 1) == {"acme": 0}
    assert await give_up(bench, LATER) == {"acme": 1}


async def test_a_replay_forgets_refusals(bench: Bench) -> None:
    """The next pause is the first again, and only of what is refused anew."""
    await bench.sent("m1", "m2")
    for number in range(3):
        await refuse(bench, "m1", now=NOW + number)
        await bench.execute("UPDATE events SET is_due = 1 WHERE is_due = 2")
    await refuse(bench, "m1", "m2")
    found = await bench.store.reports.untold("acme", None, None, 10)
    assert [each.refusals for each in found] == [4, 1]
    assert await bench.store.reports.replay_failed("acme", NOW) == 2
    found = await bench.store.reports.untold("acme", None, None, 10)
    assert [(each.refusals, each.again_ts) for each in found] == [(0, None), (0, None)]
    assert [each.id for each in await due_of(bench.store)] == ["m1", "m2"]


async def test_events_of_a_kind_are_listed_in_order_from_any_place(bench: Bench) -> None:
    """Whatever kinds are mixed, no event is passed over and none comes twice."""
    await bench.sent(*(f"m{number}" for number in range(9)))
    await refuse(bench, "m1", "m4", "m7")
    await bench.execute("UPDATE events SET is_due = -1 WHERE is_due = 1 AND event_id % 4 = 1")
    every = await states(bench)
    assert [name for name, _ in every] == [f"m{number}" for number in range(9)]
    assert {state for _, state in every} == set(ReportState)
    failing, given_up = ReportState.FAILING, ReportState.GIVEN_UP
    for wanted in (None, frozenset({failing}), frozenset({failing, given_up})):
        expected = [name for name, state in every if wanted is None or state in wanted]
        seen: list[str] = []
        place = None
        while some := await bench.store.reports.untold(None, wanted, place, 2):
            seen += [each.event.id for each in some]
            place = UntoldPlace("acme", some[-1].event.event_id)
        assert seen == expected


async def again(bench: Bench) -> None:
    """It waits again, and is then sent."""
    await bench.store.queue.promote(LATER)
    [claimed] = await bench.claim(now=LATER)
    await record(bench.store, as_sent(claimed, LATER), OWNER, LATER)


async def lose_account(bench: Bench) -> None:
    await bench.delete_account(now=LATER)


async def wait_for_account(bench: Bench) -> None:
    def work() -> Work[None]:
        yield from park(bench.lane, Parking.ACCOUNT, "it rests", LATER + DAY, LATER)

    await bench.store.queue.promote(LATER)
    await bench.store.database.write(work)


async def be_rescheduled(bench: Bench) -> None:
    await bench.store.rescheduling.retry("acme", "m", LATER + DAY, LATER)


async def lose_node(bench: Bench) -> None:
    """Its node dies in the final step."""
    await bench.store.queue.promote(LATER)
    [claimed] = await bench.claim(now=LATER)
    assert await begin_final(bench.store, claimed, OWNER, LATER, "handing over")
    await bench.store.queue.take_over(LATER + DAY, owner=OTHER)


async def be_asked_for(bench: Bench) -> None:
    await bench.store.rescheduling.retry("acme", "m", None, LATER)


async def lose_node_before(bench: Bench) -> None:
    """Its node dies before the final step."""
    await bench.store.queue.promote(LATER)
    assert await bench.claim(now=LATER)
    await bench.store.queue.take_over(LATER + DAY, owner=OTHER)


@pytest.mark.parametrize(
    "happen",
    [again, lose_account, wait_for_account, be_rescheduled, lose_node],
    ids=lambda each: each.__name__,
)
async def test_a_message_counts_as_told_until_there_is_news(
    bench: Bench, happen: Callable[[Bench], Awaitable[None]]
) -> None:
    await put_off_and_told(bench)
    await happen(bench)
    assert (await bench.get("m")).reported_ts is None
    [event] = await due_of(bench.store)
    await acknowledge(bench.store, [event.event_id], LATER + 5)
    assert (await bench.get("m")).reported_ts == LATER + 5


@pytest.mark.parametrize("happen", [be_asked_for, lose_node_before], ids=lambda each: each.__name__)
async def test_what_nobody_is_told_of_is_no_news(
    bench: Bench, happen: Callable[[Bench], Awaitable[None]]
) -> None:
    await put_off_and_told(bench)
    await happen(bench)
    assert (await bench.get("m")).reported_ts == NOW + 5


async def test_a_new_moment_of_what_is_parked_is_no_news(bench: Bench) -> None:
    """Its application knows that it waits."""
    await put_off_and_told(bench)
    await wait_for_account(bench)
    await acknowledge(bench.store, [each.event_id for each in await due_of(bench.store)], LATER + 5)

    def work() -> Work[None]:
        yield from park(bench.lane, Parking.ACCOUNT, "it rests", LATER + 3 * DAY, LATER + 2 * DAY)

    await bench.store.database.write(work)
    message = await bench.get("m")
    assert (message.deferred_ts, message.reported_ts) == (LATER + 3 * DAY, LATER + 5)


async def put_off_and_told(bench: Bench) -> None:
    """Let message m be put off, and its application know it."""
    await bench.add("m")
    [claimed] = await bench.claim()
    await record(bench.store, as_deferred(claimed, LATER), OWNER, NOW)
    [event] = await due_of(bench.store)
    await acknowledge(bench.store, [event.event_id], NOW + 5)
    assert (await bench.get("m")).reported_ts == NOW + 5
