"""The cleaner: what has had its time goes, by itself, and whatever the database does meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mail_proxy.daemon.cleaner import AGAIN, EVERY, Cleaner
from mail_proxy.model.commands import Command, CommandFilter
from mail_proxy.model.tenants import Tenant
from mail_proxy.services.removal import RemovalService
from tests.support.dispatching import TENANT, Dispatching, dispatching

WEEK = 604_800
MONTH = 2_592_000


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Dispatching]:
    async with dispatching(database_url) as made:
        await made.add_account()
        yield made


def cleaner(rig: Dispatching) -> Cleaner:
    """A cleaner over the rig's flaky database."""
    return Cleaner(RemovalService(rig.store, rig.clock, rig.runtime.config), rig.clock)


async def send(rig: Dispatching, message_id: str) -> None:
    """Let a message have been sent, of which nobody is to be told."""
    await rig.queue(message_id)
    await rig.execute(f"UPDATE messages SET status = 'sent' WHERE id = '{message_id}'")


async def test_it_cleans_at_once_and_then_every_hour(rig: Dispatching) -> None:
    await send(rig, "old")
    rig.time.advance(WEEK - EVERY)
    task = asyncio.create_task(cleaner(rig).run())
    await rig.time.until_asleep(EVERY)
    assert await count(rig) == 1

    rig.time.advance(EVERY)
    await rig.database.until_done("forget", 2)
    await rig.time.until_asleep(EVERY)
    assert await count(rig) == 0
    await cancel(task)


async def test_it_goes_on_after_an_outage_which_it_tells_once(
    rig: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mail_proxy.daemon.outage")
    await send(rig, "old")
    rig.time.advance(WEEK)
    rig.database.away = {"owners": 2}
    task = asyncio.create_task(cleaner(rig).run())
    for _ in range(2):
        await rig.time.until_asleep(AGAIN)
        rig.time.advance(AGAIN)
    await rig.time.until_asleep(EVERY)
    await cancel(task)

    assert await count(rig) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "cleaning pauses: the test's database is away for owners",
        "cleaning goes on",
    ]


async def test_an_outage_in_the_middle_leaves_the_rest_for_the_next_time(rig: Dispatching) -> None:
    """What is gone is gone, in transactions of their own; nothing is half gone."""
    await send(rig, "old")
    rig.time.advance(WEEK)
    rig.database.away = {"sweep": 1}
    task = asyncio.create_task(cleaner(rig).run())
    await rig.time.until_asleep(AGAIN)
    assert await count(rig) == 1
    rig.time.advance(AGAIN)
    await rig.time.until_asleep(EVERY)
    assert await count(rig) == 0
    await cancel(task)


async def test_old_commands_are_forgotten_and_young_ones_are_not(rig: Dispatching) -> None:
    for ts in (rig.clock.now(), rig.clock.now() + 10):
        await rig.store.commands.add(Command(ts=ts, endpoint="POST /account", path="/account"))
    rig.time.advance(MONTH + 5)
    await cleaner(rig).step()
    assert await rig.store.commands.count(CommandFilter()) == 1


async def test_what_no_application_takes_is_given_up_after_a_month(
    rig: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    """If there is one: who has none may still get one."""
    told = Tenant(id="told", client_base_url="https://app.example.org")
    await rig.store.tenants.add(told, None, rig.clock.now())
    for tenant_id in (TENANT, "told"):
        await rig.add_account(account_id="lost", tenant_id=tenant_id)
        await rig.queue("m1", tenant_id=tenant_id, account_id="lost")
        await rig.runtime.services.accounts.delete(tenant_id, "lost", force=True)
    await rig.execute("UPDATE sync_state SET failures = 1")
    config = replace(rig.runtime.config, delivery_report_retention_seconds=2.0 * MONTH)
    patient = Cleaner(RemovalService(rig.store, rig.clock, config), rig.clock)

    async def states() -> dict[str, str]:
        found = (await rig.runtime.services.reports.untold()).events
        return {each.event.tenant_id: each.state.value for each in found}

    rig.time.advance(MONTH - 1)
    await patient.step()
    assert await states() == {TENANT: "failing", "told": "failing"}
    rig.time.advance(1)
    await patient.step()
    assert await states() == {TENANT: "failing", "told": "given_up"}
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "gave up telling told of 1 events"
    ]


async def count(rig: Dispatching) -> int:
    """How many messages the tenant has."""
    return sum((await rig.store.messages.totals(TENANT)).values())


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
