"""The log of what was sent: short however much that was, never counting less, set right after surprises."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from mail_proxy.model.queue import Claim
from mail_proxy.store.limits import IN_FLIGHT, MARGIN
from tests.support.stores import NOW, OWNER, Bench, as_sent, record_outcome

DAY = 86_400.0
MOST_ROWS = 60 + 3600 + 1440 + 30
"""Of one account that sends once a second: singles, seconds, minutes, and what lies between."""


@pytest.fixture
async def lane(bench: Bench) -> int:
    """An account of one message a minute, with some that wait."""
    lane = await bench.account("limited", limit_per_minute=1)
    await bench.add(*(f"m{number}" for number in range(5)), account_id="limited", lane=lane)
    return lane


async def claim(bench: Bench, lane: int, now: float) -> Claim:
    return await bench.store.queue.claim(lane, 10, OWNER, now, now + 30)


async def sent(bench: Bench, lane: int, moments: list[float]) -> None:
    """Put on record that a message was sent at each of these moments."""
    for start in range(0, len(moments), 500):
        rows = ", ".join(
            f"({n}, 'acme', {lane}, {at!r})" for n, at in enumerate(moments[start : start + 500])
        )
        await bench.execute(f"INSERT INTO send_log (seq, tenant_id, lane, sent_at) VALUES {rows}")


async def counted(bench: Bench, lane: int, since: float) -> int:
    rows = await bench.rows(
        f"SELECT COALESCE(SUM(amount), 0) AS n FROM send_log WHERE lane = {lane} AND sent_at > {since!r}"
    )
    return int(rows[0]["n"])


async def test_a_window_never_counts_less_after_rows_were_merged(bench: Bench, lane: int) -> None:
    """Nor more than what was sent some seconds before it began; in the minute not even that."""
    rng = Random(4)
    now = NOW + DAY
    moments = sorted(now - DAY * rng.random() ** 6 for _ in range(10_000))
    await sent(bench, lane, moments)
    for step in range(0, 4000, 400):
        await bench.store.send_log.tidy(now + step)
    now += 3600

    for window, late in ((60.0, 0.0), (3600.0, 1.0), (DAY, 60.0)):
        for later in (0.0, 13.3, 61.7, 1000.9):
            since = now + later - window
            number = await counted(bench, lane, since)
            assert sum(at > since for at in moments) <= number <= sum(at > since - late for at in moments)


async def test_the_log_stays_short_however_much_is_sent(bench: Bench, lane: int) -> None:
    """Sixteen a second for some hours are no more rows than one a second; without a loss."""
    now = NOW + DAY
    moments = [now - number / 16 for number in range(16 * 7200)]
    await sent(bench, lane, moments)
    await bench.store.send_log.tidy(now)
    rows = await bench.rows(
        f"SELECT COUNT(*) AS n FROM send_log WHERE lane = {lane} AND sent_at < {now - 70}"
    )
    assert rows[0]["n"] <= MOST_ROWS
    assert await counted(bench, lane, 0.0) == len(moments)


async def test_nodes_that_tidy_at_the_same_time_lose_nothing(bench: Bench, lane: int) -> None:
    """Each merges what the others have not."""
    await sent(bench, lane, [NOW + number / 10 for number in range(5000)])
    await asyncio.gather(*(bench.store.send_log.tidy(NOW + 1000) for _ in range(4)))
    assert await counted(bench, lane, 0.0) == 5000


@pytest.mark.parametrize("looks", [(), (400,), (400, 4000)], ids=["single", "seconds", "minutes"])
async def test_what_is_older_than_a_day_is_dropped(bench: Bench, lane: int, looks: tuple[float, ...]) -> None:
    """To the last row, merged or not: no server may have run meanwhile."""
    await sent(bench, lane, [NOW + number / 10 for number in range(3000)])
    for moment in looks:
        await bench.store.send_log.tidy(NOW + moment)
    assert await counted(bench, lane, 0.0) == 3000
    await bench.store.send_log.tidy(NOW + DAY + 400)
    assert await bench.rows("SELECT * FROM send_log") == []


async def test_in_flight_stays_in_flight(bench: Bench, lane: int) -> None:
    """A conversation of a whole day is neither merged nor forgotten."""
    [claimed] = (await claim(bench, lane, NOW)).messages
    await bench.store.queue.renew([claimed.seq], OWNER, NOW + 2 * DAY)
    await bench.store.send_log.tidy(NOW + DAY + 100)
    assert [row["sent_at"] for row in await bench.rows("SELECT sent_at FROM send_log")] == [IN_FLIGHT]


async def test_a_slot_of_a_message_that_is_gone_is_free_again_after_its_window(
    bench: Bench, lane: int
) -> None:
    """It may have been sent: it counts as of when it was missed."""
    [claimed] = (await claim(bench, lane, NOW)).messages
    await bench.execute(f"DELETE FROM messages WHERE seq = {claimed.seq}")
    await bench.store.send_log.tidy(NOW + 10)
    assert (await claim(bench, lane, NOW + 69)).messages == ()
    assert len((await claim(bench, lane, NOW + 70 + 2 * MARGIN)).messages) == 1


async def test_a_clock_that_is_put_back_does_not_hold_a_lane_for_hours(bench: Bench, lane: int) -> None:
    """What was sent in what is now the future counts as sent now."""
    [claimed] = (await claim(bench, lane, NOW + 7200)).messages
    await record_outcome(bench.store, as_sent(claimed, NOW + 7200), OWNER, NOW + 7200)

    held = await claim(bench, lane, NOW)
    assert held.messages == ()
    await bench.store.send_log.tidy(NOW)
    assert (await claim(bench, lane, NOW + 60)).messages == ()
    assert len((await claim(bench, lane, NOW + 60 + 2 * MARGIN)).messages) == 1


async def test_a_node_whose_clock_is_a_little_behind_changes_nothing(bench: Bench, lane: int) -> None:
    """Clocks of nodes differ by less than a second, and what one has sent does not move for the other."""
    [claimed] = (await claim(bench, lane, NOW)).messages
    await record_outcome(bench.store, as_sent(claimed, NOW), OWNER, NOW)
    await bench.store.send_log.tidy(NOW - 0.9)
    assert await counted(bench, lane, NOW - 0.1) == 1
