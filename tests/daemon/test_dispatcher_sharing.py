"""No account's trouble is another's: limits, slow servers, damaged accounts, memory."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest

from mail_proxy.encryption import Vault
from mail_proxy.model.messages import EventType
from mail_proxy.smtp.transport import Timeouts
from mail_proxy.store import Store
from tests.support.clock import ManualClock
from tests.support.dispatching import Dispatching, dispatching
from tests.support.scripted_server import Fault
from tests.support.smtp_server import SmtpServer, Stage


async def test_a_server_that_hangs_delays_no_other_account(rig: Dispatching, server: SmtpServer) -> None:
    """However much waits for it, before or after the other's messages came."""
    async with SmtpServer(at={Stage.CONNECT: asyncio.Event()}).running() as tarpit:
        await rig.add_account(tarpit, "slow")
        await rig.queue(*(f"s{number}" for number in range(80)), account_id="slow")
        await rig.dispatcher.step()
        await tarpit.wait_at(Stage.CONNECT)
        await rig.queue("m1", "m2", "m3")
        await rig.dispatcher.step()
        await server.wait_for(3)
        await rig.database.until_done("settle", 3)
        await _let_go(rig, tarpit)


@pytest.mark.parametrize("is_together", [True, False], ids=["together", "one after another"])
async def test_dozens_of_servers_that_hang_delay_no_other_account(
    rig: Dispatching, server: SmtpServer, is_together: bool
) -> None:
    """Each account may have ten conversations, and the node has a hundred."""
    async with SmtpServer(at={Stage.CONNECT: asyncio.Event()}).running() as tarpit:
        for number in range(40):
            await rig.add_account(tarpit, f"slow{number}")
            await rig.queue(*(f"s{number}-{i}" for i in range(12)), account_id=f"slow{number}")
            if not is_together:
                await rig.dispatcher.step()
        await rig.dispatcher.step()
        await tarpit.until(lambda: tarpit.connections >= 40)
        await rig.queue("m1")
        await rig.dispatcher.step()
        await server.wait_for(1)
        await _let_go(rig, tarpit)


async def test_an_account_without_bounds_leaves_room_for_others(
    database_url: str, server: SmtpServer
) -> None:
    """It may ask for a hundred conversations to a server that hangs: not all of the node's are its."""
    settings = {"GMP_MAX_CONCURRENT_SENDS": "10"}
    async with (
        SmtpServer(at={Stage.CONNECT: asyncio.Event()}).running() as tarpit,
        dispatching(database_url, settings) as rig,
    ):
        await rig.add_account(server)
        await rig.add_account(tarpit, "slow", max_concurrent=100, batch_size=1000)
        await rig.queue(*(f"s{number}" for number in range(100)), account_id="slow")
        await rig.dispatcher.step()
        await rig.queue("m1")
        await rig.dispatcher.step()
        await server.wait_for(1)
        await _let_go(rig, tarpit)


async def test_the_conversations_of_an_account_are_bounded(rig: Dispatching, server: SmtpServer) -> None:
    """By its own limit, whatever the instance allows."""
    await rig.execute("UPDATE accounts SET max_concurrent = 2")
    held = asyncio.Event()
    server.at = {Stage.DOT: held}
    await rig.queue(*(f"m{number}" for number in range(9)))
    await rig.dispatcher.step()
    await server.until(lambda: server.reached.count(Stage.DOT) == 2)
    held.set()
    await rig.dispatcher.idle()
    assert (server.most_open, len(server.received)) == (2, 9)


async def test_the_conversations_of_a_node_are_bounded(database_url: str) -> None:
    """Over all accounts; and they are shared, not used up by the first."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(dispatching(database_url, {"GMP_MAX_CONCURRENT_SENDS": "3"}))
        servers = [await stack.enter_async_context(SmtpServer().running()) for _ in range(3)]
        held = asyncio.Event()
        for number, each in enumerate(servers):
            each.at = {Stage.DOT: held}
            await rig.add_account(each, f"a{number}")
            await rig.queue(*(f"m{number}-{i}" for i in range(5)), account_id=f"a{number}")
        await rig.dispatcher.step()
        for each in servers:
            await each.wait_at(Stage.DOT)
        held.set()
        while any(len(each.received) < 5 for each in servers):
            await rig.work()
        assert rig.agent.most_at_once == 3


async def test_an_account_whose_password_is_damaged_rests_until_it_is_given_again(
    rig: Dispatching, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is its own trouble, told once; nothing is sent without the login, and others go on."""
    server.users = {"shop": "secret"}
    await rig.add_account(server, "damaged", user="shop", password="secret")
    await rig.add_account(server, "other", user="shop", password="secret")
    await rig.queue("d1", "d2", account_id="damaged")
    await rig.queue("m1", account_id="other")
    await rig.execute("UPDATE accounts SET enc_password = 'ENC:AAAA' WHERE id = 'damaged'")
    await rig.work(3)
    assert [await rig.status(each) for each in ("d1", "d2", "m1")] == ["deferred", "deferred", "sent"]
    why = "the account cannot be used as it is: its password cannot be decrypted: give it again"
    assert (await rig.message("d1")).last_error == why
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    logged = [each.getMessage() for each in warnings if each.name.startswith("mail_proxy.")]
    assert logged == [f"account acme/damaged rests for 30 s: {why}"]
    assert server.connections == 1

    await rig.runtime.services.accounts.update("acme", "damaged", {"password": "secret"})
    await rig.work(2)
    assert [await rig.status(each) for each in ("d1", "d2")] == ["sent", "sent"]


async def test_a_node_without_a_key_leaves_what_needs_it_to_others(
    rig: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    """The account is well, and does not rest for it; what needs no secret is sent."""
    locking = SmtpServer(users={"shop": "secret"})
    async with locking.running():
        await rig.add_account(locking, "locked", user="shop", password="secret")
        await rig.queue("l1", account_id="locked")
        await rig.queue("m1")
        other, rig.store = rig.dispatcher, Store.over(rig.database, Vault.without_key())
        rig.dispatcher = rig.node("node-b")
        await rig.work(3)
        assert [await rig.status(each) for each in ("l1", "m1")] == ["pending", "sent"]
        assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1

        rig.dispatcher = other
        await rig.work()
        assert await rig.status("l1") == "sent"


async def test_a_rate_limit_holds_messages_until_a_slot_is_free(rig: Dispatching, server: SmtpServer) -> None:
    """The lane is left alone until then, and the step tells when that is."""
    await rig.execute("UPDATE accounts SET limit_per_minute = 2")
    await rig.queue("m1", "m2", "m3")
    await rig.work()
    assert len(server.received) == 2
    rig.time.advance(57)
    assert await rig.dispatcher.step() == pytest.approx(3, abs=0.1)
    assert await rig.dispatcher.step() == pytest.approx(3, abs=0.1)
    assert rig.counted("gmp_rate_limited_total") == 1
    rig.time.advance(3.1)
    await rig.work()
    assert len(server.received) == 3


async def test_what_a_rate_limit_refuses_counts_as_limited_and_as_failed(
    rig: Dispatching, server: SmtpServer
) -> None:
    await rig.execute("UPDATE accounts SET limit_per_minute = 1, limit_behavior = 'reject'")
    await rig.queue("m1", "m2", "m3")
    await rig.work(2)
    assert [await rig.status(each) for each in ("m1", "m2", "m3")] == ["sent", "error", "error"]
    assert len(server.received) == 1
    assert [rig.counted(f"gmp_{each}_total") for each in ("sent", "rate_limited", "errors")] == [1, 2, 2]


@pytest.mark.parametrize("sizes", [(400, 400, 400), (1500, 1500, 100)], ids=["fitting", "too large"])
async def test_contents_in_memory_are_bounded_and_the_largest_still_goes(
    database_url: str, server: SmtpServer, sizes: tuple[int, ...]
) -> None:
    """Of 1 MB: two of 400 KB at a time, or one that is too large for it and what fits beside."""
    async with dispatching(database_url, {"GMP_MAX_INFLIGHT_MB": "1"}) as rig:
        await rig.add_account(server)
        held = asyncio.Event()
        server.at = {Stage.DOT: held}
        for number, size in enumerate(sizes):
            await rig.queue(f"m{number}", body="x" * 70 + "\n" + ("y" * 70 + "\n") * (size * 1024 // 71))
        await rig.dispatcher.step()
        await server.until(lambda: server.reached.count(Stage.DOT) >= 1)
        held.set()
        await rig.dispatcher.idle()
        assert len(server.received) == 3
        assert rig.agent.most_at_once <= 2


async def test_a_slow_server_does_not_hold_the_memory_of_small_messages(
    database_url: str, server: SmtpServer
) -> None:
    """What does not fit waits without a conversation; what fits passes it."""
    async with (
        SmtpServer(at={Stage.DOT: asyncio.Event()}).running() as slow,
        dispatching(database_url, {"GMP_MAX_INFLIGHT_MB": "1"}) as rig,
    ):
        await rig.add_account(server)
        await rig.add_account(slow, "slow")
        large = ("y" * 70 + "\n") * (700 * 1024 // 71)
        await rig.queue("s1", "s2", account_id="slow", body=large)
        await rig.dispatcher.step()
        await slow.wait_at(Stage.DOT)
        await rig.queue("m1")
        await rig.dispatcher.step()
        await server.wait_for(1)
        await _let_go(rig, slow)
        assert len(slow.received) == 2


async def test_a_slow_final_reply_is_waited_for_by_its_own_time_out(
    database_url: str, server: SmtpServer
) -> None:
    """After which the outcome is unknown, and only that message's."""
    hasty = Timeouts(final=1.0)
    async with dispatching(database_url, timeouts=hasty, clock=ManualClock()) as rig:
        await rig.add_account(server)
        server.at = {Stage.ACCEPTED: [Fault.HANG]}
        await rig.queue("m1", "m2")
        await rig.work()
        statuses = sorted([await rig.status("m1"), await rig.status("m2")])
        assert statuses == ["deferred", "sent"]
        deferred = "m1" if await rig.status("m1") == "deferred" else "m2"
        assert (await rig.last(deferred, EventType.DEFERRED))["possible_duplicate"] is True


async def _let_go(rig: Dispatching, server: SmtpServer) -> None:
    """End what hangs."""
    for action in server.at.values():
        if isinstance(action, asyncio.Event):
            action.set()
    await rig.dispatcher.idle()
