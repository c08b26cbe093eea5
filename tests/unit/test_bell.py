"""Bells: a ring is never lost to whoever waits, many are one, and none ever raises."""

from __future__ import annotations

import asyncio

import pytest

from mail_proxy.bell import Chime, DatabaseBell, LocalBell, SilentBell, Wake
from mail_proxy.errors import DatabaseUnavailable


async def test_a_wait_ends_with_a_ring() -> None:
    """However long it might have lasted."""
    wake = Wake()
    waiting = asyncio.create_task(wake.wait(None))
    await asyncio.sleep(0)
    wake.set()

    assert await asyncio.wait_for(waiting, 60) is False


async def test_a_ring_before_the_wait_counts() -> None:
    """Work that came while the loop was busy is seen at once."""
    wake = Wake()
    wake.set()

    assert await asyncio.wait_for(wake.wait(None), 60) is False


async def test_many_rings_are_one() -> None:
    """After the wait that they ended, the next one lasts."""
    wake = Wake()
    for _ in range(5):
        wake.set()
    await wake.wait(None)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wake.wait(None), 0.01)


async def test_a_wait_ends_with_its_time() -> None:
    """The back-up poll."""
    assert await Wake().wait(0.001) is False


@pytest.mark.parametrize("order", [[True, False], [False, True], [True]])
async def test_one_that_asks_for_a_run_is_heard_among_others(order: list[bool]) -> None:
    """In whatever order they ring; and it is told once."""
    wake = Wake()
    for run_now in order:
        wake.set(run_now=run_now)

    assert await wake.wait(None) is True
    wake.set()
    assert await wake.wait(None) is False


async def test_a_local_bell_wakes_everyone() -> None:
    """Dispatcher and reporter alike."""
    bell = LocalBell()
    wakes = [Wake(), Wake()]
    for wake in wakes:
        bell.add(wake)

    await bell.ring(run_now=True)

    assert [await wake.wait(None) for wake in wakes] == [True, True]


async def test_a_silent_bell_leaves_the_others_of_a_chime_alone() -> None:
    """It may be rung all the same."""
    loud, wake = LocalBell(), Wake()
    loud.add(wake)

    await Chime(SilentBell(), loud).ring(run_now=True)

    assert await wake.wait(None) is True


class Line:
    """Notes what is notified; `blocked` holds every notification until it is set free."""

    def __init__(self, error: Exception | None = None) -> None:
        self.texts: list[str] = []
        self.free = asyncio.Event()
        self.error = error

    async def notify(self, text: str) -> None:
        self.texts.append(text)
        await self.free.wait()
        if self.error is not None:
            raise self.error


async def test_rings_during_a_ring_become_one() -> None:
    """A thousand requests notify the other nodes a few times; one that asks for a run is not lost."""
    line = Line()
    bell = DatabaseBell(line.notify, "me")
    first = asyncio.create_task(bell.ring())
    await asyncio.sleep(0)
    others = [asyncio.create_task(bell.ring(run_now=number == 3)) for number in range(50)]
    await asyncio.sleep(0)
    line.free.set()
    await asyncio.gather(first, *others)

    assert line.texts == ["me work", "me run-now"]


async def test_each_ring_that_stands_alone_is_told() -> None:
    """Nothing is held back for the next."""
    line = Line()
    line.free.set()
    bell = DatabaseBell(line.notify, "me")
    for run_now in (False, True, False):
        await bell.ring(run_now=run_now)

    assert line.texts == ["me work", "me run-now", "me work"]


async def test_a_database_that_is_away_does_not_hurt() -> None:
    """Ringing is best effort, and the next ring is tried again."""
    line = Line(DatabaseUnavailable("away"))
    line.free.set()
    bell = DatabaseBell(line.notify, "me")
    await bell.ring()
    await bell.ring(run_now=True)

    assert line.texts == ["me work", "me run-now"]


async def test_a_ring_that_is_cancelled_blocks_nobody() -> None:
    """The next one is told."""
    line = Line()
    bell = DatabaseBell(line.notify, "me")
    cancelled = asyncio.create_task(bell.ring())
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    line.free.set()
    await asyncio.wait_for(bell.ring(), 60)

    assert line.texts == ["me work", "me work"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("other work", False), ("other run-now", True), ("me work", None), ("me run-now", None), ("", False)],
)
def test_what_is_heard(text: str, expected: bool | None) -> None:
    """Its own ring is nothing to a node; what it does not understand is a ring."""
    assert DatabaseBell(Line().notify, "me").heard(text) is expected


async def test_a_chime_rings_each_bell() -> None:
    """In order, handing on what was asked."""
    wakes = [Wake(), Wake()]
    bells = [LocalBell(), LocalBell()]
    for bell, wake in zip(bells, wakes, strict=True):
        bell.add(wake)

    await Chime(*bells, SilentBell()).ring(run_now=True)

    assert [await wake.wait(None) for wake in wakes] == [True, True]
