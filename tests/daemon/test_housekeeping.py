"""Signs of life, what other nodes ring, and the socket that is listened on."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mail_proxy.daemon.housekeeping import BEAT, RECONNECT, Housekeeping
from mail_proxy.daemon.http import listening
from mail_proxy.errors import InstanceError
from mail_proxy.store.database import Database
from tests.support.dispatching import Dispatching, dispatching
from tests.support.smtp_server import SmtpServer

IMMEDIATELY = 60.0


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Dispatching]:
    async with dispatching(database_url) as made:
        yield made


def keeper(
    rig: Dispatching, heard: list[bool] | None = None, database: Database | None = None
) -> Housekeeping:
    """Housekeeping over the rig's flaky database."""
    store = replace(rig.store, database=database) if database else rig.store
    return Housekeeping(
        replace(rig.runtime, store=store), rig.agent, (heard if heard is not None else []).append
    )


async def test_a_node_says_that_it_lives_and_takes_leave(rig: Dispatching) -> None:
    """With who it is and when it was seen."""
    house = keeper(rig)
    await house.step()
    rig.time.advance(BEAT)
    await house.step()
    (node,) = await rig.store.nodes.alive(0)
    assert (node.node_id, node.seen_at) == (rig.runtime.node_id, rig.clock.now())
    assert node.started_at == rig.clock.now() - BEAT
    assert node.name.endswith(f"@{socket.gethostname()}")

    await house.leave()
    assert await rig.store.nodes.alive(0) == []


async def test_nodes_not_heard_of_for_a_day_are_forgotten(rig: Dispatching) -> None:
    await keeper(rig).step()
    other = replace(rig.runtime, node_id="other")
    rig.time.advance(86_401)
    await Housekeeping(other, rig.agent, lambda asked: None).step()
    assert [node.node_id for node in await rig.store.nodes.alive(0)] == ["other"]


async def test_idle_connections_are_closed_when_their_time_is_over(rig: Dispatching) -> None:
    """Also while the database is away."""
    async with SmtpServer().running() as server:
        await rig.add_account(server, ttl=60)
        await rig.queue("m1")
        await rig.work()
        assert rig.agent.open_connections == 1
        rig.time.advance(61)
        rig.database.away = {"seen": 1}
        task = asyncio.create_task(keeper(rig).beat())
        await server.wait_closed()
        assert rig.agent.open_connections == 0
        await _cancel(task)


async def test_a_deletion_that_was_cut_off_is_brought_to_its_end(rig: Dispatching) -> None:
    """By whatever server; not even what is held or scheduled waits on, and what fails is counted."""
    await rig.add_account()
    await rig.queue("m1")
    await rig.queue("later", deferred_ts=rig.clock.now() + 3600)
    await rig.queue("held", batch_code="june")
    await rig.runtime.services.suspensions.suspend("acme", "june")
    await rig.store.accounts.delete("acme", "main", force=True)  # and then that server died

    await keeper(rig).step()

    for each in ("m1", "later", "held"):
        message = await rig.message(each)
        assert (message.status, message.error) == ("error", "account deleted")
    assert rig.counted("gmp_errors_total") == 3
    await keeper(rig).step()
    assert rig.counted("gmp_errors_total") == 3


async def test_signs_of_life_go_on_through_an_outage_that_is_told_once(
    rig: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mail_proxy.daemon.outage")
    rig.database.away = {"seen": 2}
    task = asyncio.create_task(keeper(rig).beat())
    for _ in range(2):
        await rig.time.until_asleep(BEAT)
        rig.time.advance(BEAT)
    await rig.database.until_done("seen")
    await rig.time.until_asleep(BEAT)
    await _cancel(task)
    assert [record.getMessage() for record in caplog.records] == [
        "the sign of life pauses: the test's database is away for seen",
        "the sign of life goes on",
    ]


async def test_a_leave_that_cannot_be_taken_is_only_logged(
    rig: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    rig.database.away = {"gone": 1}
    await keeper(rig).leave()
    assert "cannot take leave" in caplog.text


async def test_what_another_node_rings_is_heard(postgres_url: str) -> None:
    """And what this process rings itself is not heard a second time."""
    heard: list[bool] = []
    async with dispatching(postgres_url) as rig:
        task = asyncio.create_task(keeper(rig, heard).listen())
        async with asyncio.timeout(IMMEDIATELY):
            while True not in heard:  # until it listens
                await rig.runtime.neighbours.ring()
                await rig.store.database.notify("other run-now")
        await _cancel(task)
    assert False not in heard


async def test_a_line_that_breaks_is_taken_up_again(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restart of the database, or a proxy's idle time-out."""
    caplog.set_level(logging.INFO, "mail_proxy.daemon")
    heard: list[bool] = []
    async with dispatching(postgres_url) as rig:
        task = asyncio.create_task(keeper(rig, heard).listen())
        async with asyncio.timeout(IMMEDIATELY):
            while not heard:
                await rig.store.database.notify("other work")
            await rig.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            await rig.time.until_asleep(RECONNECT)
            heard.clear()
            rig.time.advance(RECONNECT)
            while not heard:
                await rig.store.database.notify("other work")
        await _cancel(task)
    assert [record.getMessage() for record in caplog.records] == ["the line to the other nodes broke"]


def test_a_taken_port_is_one_line_that_says_what_to_do() -> None:
    with (
        listening("127.0.0.1", 0) as taken,
        pytest.raises(InstanceError, match=r"port \d+: Address already in use; .*--port"),
        listening("127.0.0.1", taken.getsockname()[1]),
    ):
        pass


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "203.0.113.1", "x" * 64])
def test_an_address_that_is_not_this_machines_is_refused(host: str) -> None:
    """Whatever was written there: one line, no traceback."""
    with pytest.raises(InstanceError, match="cannot listen on"), listening(host, 0):
        pass


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
