"""What a running agent takes up without a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mail_proxy.addresses import AddressPolicy
from mail_proxy.model.verdicts import Deferred, Delivered, Outcome
from tests.support.delivery import CONTENT, HASTY, PATIENT, Gate, envelope, running_agent
from tests.support.scripted_server import HANG
from tests.support.smtp_server import SmtpServer, Stage, account_for

NOBODY = AddressPolicy()


def verdict_of(outcome: Outcome) -> type:
    return type(outcome.verdicts["ann@there.test"])


async def test_another_network_is_allowed() -> None:
    """Where a tenant's server stands that was out of bounds."""
    async with SmtpServer().running() as server, running_agent() as agent:
        account = replace(account_for(server), by_tenant=True)
        before = await agent.deliver(account, envelope("ann"), CONTENT, final=Gate())
        policy = AddressPolicy.of(["127.0.0.0/8"])
        agent.reconfigure(timeouts=PATIENT, max_concurrent_per_account=10, policy=policy)
        after = await agent.deliver(account, envelope("ann"), CONTENT, final=Gate())
    assert (verdict_of(before), verdict_of(after)) == (Deferred, Delivered)


async def test_timeouts_hold_for_the_next_connection() -> None:
    async with SmtpServer(at={Stage.MAIL: HANG}).running() as server, running_agent() as agent:
        agent.reconfigure(timeouts=HASTY, max_concurrent_per_account=10, policy=NOBODY)
        outcome = await agent.deliver(account_for(server), envelope("ann"), CONTENT, final=Gate())
    assert verdict_of(outcome) is Deferred


async def test_more_connections_are_opened_at_once() -> None:
    """The second message does not wait for the first."""
    held = asyncio.Event()
    async with SmtpServer(at={Stage.DOT: [held]}).running() as server, running_agent() as agent:
        account = account_for(server)
        agent.reconfigure(timeouts=PATIENT, max_concurrent_per_account=1, policy=NOBODY)
        first = asyncio.create_task(
            agent.deliver(account, envelope("ann"), CONTENT, final=Gate()), name="first"
        )
        await server.wait_at(Stage.DOT)
        agent.reconfigure(timeouts=PATIENT, max_concurrent_per_account=2, policy=NOBODY)
        second = await agent.deliver(account, envelope("ann"), CONTENT, final=Gate())
        assert (verdict_of(second), first.done()) == (Delivered, False)
        held.set()
        assert verdict_of(await first) is Delivered
