"""The database's time as a node knows it: measured, counted on, and moved by nothing but the database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import pytest

from mail_proxy.daemon.timekeeping import Timekeeper
from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.store.database import Database, Work
from mail_proxy.store.shared_clock import DRIFT, ROUNDS, SharedClock

P = ParamSpec("P")
T = TypeVar("T")

HOUR = 3600.0
NOON = 1_700_000_000.0


class World:
    """Time as nobody sees it, a database whose clock is `NOON` ahead of it, and the way there and back.

    `trips` are the seconds the next questions are under way, `usual` those of the rest; `way_there` is how
    much of that is the question's.
    """

    def __init__(self) -> None:
        self.true = 1000.0
        self.database_ahead = NOON
        self.own_ahead = NOON
        self.usual = 0.002
        self.trips: list[float] = []
        self.way_there = 0.5
        self.is_away = False

    def steady(self) -> float:
        return self.true

    def own(self) -> float:
        return self.true + self.own_ahead

    def database(self) -> float:
        return self.true + self.database_ahead

    async def clock(self) -> SharedClock:
        return await SharedClock.measured(cast("Database", self), steady=self.steady)

    async def keeper(self) -> tuple[SharedClock, Timekeeper]:
        clock = await self.clock()
        return clock, Timekeeper(clock, own=self.own, steady=self.steady)

    async def read(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As a database does it."""
        if self.is_away:
            raise DatabaseUnavailable("the database is away")
        running = work(*args, **kwargs)
        next(running)
        try:
            while True:
                trip = self.trips.pop(0) if self.trips else self.usual
                self.true += trip * self.way_there
                said = {"seconds": self.database()}
                self.true += trip * (1 - self.way_there)
                running.send([said])
        except StopIteration as stop:
            return cast("T", stop.value)


@pytest.fixture
def world() -> World:
    return World()


async def test_it_shows_the_databases_time_however_wrong_the_nodes_own_clock_is(world: World) -> None:
    world.own_ahead += HOUR

    clock = await world.clock()
    world.true += 100

    assert clock.now() == pytest.approx(world.database(), abs=1e-6)


async def test_half_the_round_trip_is_taken_for_the_way_there(world: World) -> None:
    """And however it is parted, the error is at most half of it."""
    world.usual, world.way_there = 0.2, 0.9

    clock = await world.clock()

    assert 0.07 < abs(clock.now() - world.database()) <= 0.1


async def test_of_a_few_answers_the_one_that_came_soonest_counts(world: World) -> None:
    world.way_there = 1.0
    world.trips = [3.0, 0.001, 5.0]

    clock = await world.clock()

    assert clock.now() == pytest.approx(world.database(), abs=0.001)


async def test_a_worse_measurement_does_not_replace_a_better_one(world: World) -> None:
    clock = await world.clock()
    world.trips, world.way_there = [0.5] * ROUNDS, 1.0

    await clock.measure()

    assert clock.now() == pytest.approx(world.database(), abs=0.001)


async def test_an_old_measurement_gives_way_to_a_fresh_one_of_the_same_exactness(world: World) -> None:
    """Clocks part slowly; what was measured long ago knows less."""
    clock = await world.clock()
    world.true += 1000
    world.database_ahead += 1000 * DRIFT / 2

    await clock.measure()

    assert clock.now() == pytest.approx(world.database(), abs=0.002)


@pytest.mark.parametrize("step", [HOUR, -HOUR, 2.0])
async def test_a_step_of_the_databases_clock_is_followed_with_the_next_measurement(
    world: World, step: float
) -> None:
    clock = await world.clock()
    world.database_ahead += step

    await clock.measure()

    assert clock.now() == pytest.approx(world.database(), abs=0.002)


async def test_a_measurement_during_which_the_process_was_stopped_is_not_believed(world: World) -> None:
    """It would be wrong by half of the time for which it stood."""
    clock = await world.clock()
    world.trips, world.way_there = [40.0] * ROUNDS, 0.0

    await clock.measure()

    assert clock.now() == pytest.approx(world.database(), abs=0.002)


async def test_a_database_that_is_away_leaves_the_clock_as_it_was(world: World) -> None:
    clock, keeper = await world.keeper()
    world.is_away = True
    world.true += 600

    await keeper.step()

    assert clock.now() == pytest.approx(world.database(), abs=0.001)
    with pytest.raises(DatabaseUnavailable):
        await world.clock()


async def test_a_wrong_clock_of_the_machine_is_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """And again when it is wrong in another way, or right."""
    caplog.set_level(logging.INFO, "mail_proxy.daemon.timekeeping")
    _, keeper = await world.keeper()
    for ahead in (3.0, 100.0, 101.0, -HOUR, 0.0):
        world.own_ahead = NOON + ahead
        await keeper.step()
        await keeper.step()

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "this machine's clock is 100 s ahead of the database's",
        "this machine's clock is 3600 s behind the database's",
        "this machine's clock agrees with the database's again",
    ]


async def test_a_step_of_the_databases_clock_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Forwards and back, each once; what is smaller than anybody would mind is not."""
    _, keeper = await world.keeper()
    for step in (HOUR, 0.0, -HOUR, 2.0):
        world.database_ahead += step
        world.own_ahead += step
        await keeper.step()

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the clock was set forwards by 3600 s",
        "the clock was set back by 3600 s",
    ]
