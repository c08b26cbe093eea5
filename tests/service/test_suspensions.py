"""Marking what was suspended takes its time, which nobody waits for too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from mail_proxy.errors import Conflict
from mail_proxy.services.suspensions import PATIENCE, SuspensionsService
from mail_proxy.store.suspensions import Marking
from tests.support.clock import ManualClock
from tests.support.services import Desk, message, open_desk
from tests.support.works import ask

WRONG = """
SELECT m.id FROM messages m WHERE m.is_held <> CASE WHEN EXISTS
    (SELECT 1 FROM suspensions s WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
    THEN 1 ELSE 0 END"""
"""Messages whose flag does not say what is suspended."""


class HastyClock(ManualClock):
    """Each look at it takes more than all patience."""

    def now(self) -> float:
        self.advance(PATIENCE + 1)
        return super().now()


class QuickClock(ManualClock):
    """Time for one step in each look."""

    def now(self) -> float:
        self.advance(PATIENCE * 0.4)
        return super().now()


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    async with open_desk(database_url) as opened:
        yield opened


async def told(desk: Desk) -> list[str]:
    seen = await desk.services.messages.get("acme", "m")
    return [event.event_type.value for event in await desk.services.messages.events(seen)]


async def test_the_answer_does_not_wait_for_all_that_is_to_be_marked(desk: Desk) -> None:
    """What it says holds already; the rest is done with the next look."""
    await desk.submit(message())
    hasty = SuspensionsService(desk.runtime.store, HastyClock(desk.clock.now()), desk.bell)
    seen = await hasty.suspend("acme")
    assert (seen.suspended_batches, seen.pending_messages, await told(desk)) == (("*",), 1, ["queued"])

    await desk.services.suspensions.catch_up()
    assert await told(desk) == ["queued", "suspended"]
    assert await desk.runtime.store.suspensions.markings() == []


async def test_many_changes_at_once_are_not_each_marked_by_everybody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That would be a hundred times a hundred steps of the one writer that all tenants have."""
    steps = 0
    mark = desk.runtime.store.suspensions.mark

    async def counted(marking: Marking, now: float) -> Marking:
        nonlocal steps
        steps += 1
        return await mark(marking, now)

    monkeypatch.setattr(desk.runtime.store.suspensions, "mark", counted)
    await asyncio.gather(*(desk.services.suspensions.suspend("acme", f"b{n}") for n in range(30)))
    assert steps <= 30 * 3
    assert await desk.runtime.store.suspensions.markings() == []


async def test_a_look_that_finds_nothing_to_do_rings_no_bell(desk: Desk) -> None:
    await desk.submit(message())
    desk.bell.rings.clear()
    await desk.services.suspensions.catch_up()
    assert desk.bell.rings == []


async def test_a_look_that_lets_something_go_on_rings(desk: Desk) -> None:
    """For whoever had activated it has died before."""
    await desk.submit(message())
    await desk.services.suspensions.suspend("acme")
    await desk.runtime.store.suspensions.activate("acme", "*")
    desk.bell.rings.clear()
    await desk.services.suspensions.catch_up()
    assert desk.bell.rings == [False]


async def test_a_tenants_request_does_not_wait_for_what_another_has_to_mark(desk: Desk) -> None:
    await desk.services.tenants.create({"id": "beta"})
    await desk.runtime.store.suspensions.suspend("acme", "*", desk.clock.now())
    await desk.services.suspensions.suspend("beta")
    assert [each.tenant_id for each in await desk.runtime.store.suspensions.markings()] == ["acme"]


async def test_a_look_goes_on_where_the_last_one_ended(desk: Desk) -> None:
    """Or it would never come to an end with more than it can go over at once."""
    await desk.submit(message())
    service = SuspensionsService(desk.runtime.store, QuickClock(desk.clock.now()), desk.bell)
    await service.suspend("acme")
    assert await told(desk) == ["queued"]
    await service.catch_up()
    assert await told(desk) == ["queued", "suspended"]
    assert await desk.runtime.store.suspensions.markings() == []


async def test_what_is_handed_in_while_minds_change_is_held_as_was_decided_last(desk: Desk) -> None:
    """Whichever came first in the database: no message slips through, and none stays behind."""

    async def hand_in(number: int) -> None:
        batch_code = ("one", "two")[number % 2]
        done = await desk.submit(message(f"m{number % 20}", batch_code=batch_code))
        assert done.queued == 1

    async def change_mind(number: int) -> None:
        service = desk.services.suspensions
        with suppress(Conflict):  # all is suspended
            await (service.suspend, service.activate)[number % 2]("acme", (None, "one", "two")[number % 3])

    for _ in range(5):
        work = [hand_in(number) for number in range(40)]
        work[3:3] = [change_mind(number) for number in range(6)]
        work[25:25] = [change_mind(number) for number in range(6)]
        await asyncio.gather(*work)
        await desk.services.suspensions.catch_up()
        assert await desk.runtime.store.database.read(ask, WRONG) == []
