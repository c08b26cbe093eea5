"""Connections are kept, counted, checked and given up as an account's server and settings ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mail_proxy.model.accounts import Account
from mail_proxy.model.verdicts import Deferred, Delivered, Scope, Verdict
from mail_proxy.smtp.agent import DeliveryAgent
from mail_proxy.smtp.pool import Pool
from mail_proxy.smtp.transport import Connection, Dialer, open_connection
from tests.support.delivery import CONTENT, HASTY, PATIENT, Gate, envelope
from tests.support.scripted_server import DROP, HANG
from tests.support.smtp_server import Action, SmtpServer, Stage, account_for


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class Sender:
    """An agent with a clock in hand, sending one small message at a time."""

    def __init__(self, *, limit: int = 10, hasty: bool = False) -> None:
        self.clock = HandClock()
        self.agent = DeliveryAgent(
            timeouts=HASTY if hasty else PATIENT,
            max_concurrent_per_account=limit,
            sandbox_dir=None,
            clock=self.clock,
            hostname="client.test",
        )

    async def send(self, account: Account, gate: Gate | None = None) -> Verdict:
        outcome = await self.agent.deliver(account, envelope("ann"), CONTENT, final=gate or Gate())
        return outcome.verdicts["ann@there.test"]


@asynccontextmanager
async def sending(*, limit: int = 10, hasty: bool = False) -> AsyncIterator[Sender]:
    sender = Sender(limit=limit, hasty=hasty)
    try:
        yield sender
    finally:
        await sender.agent.close()


def connections_used(server: SmtpServer) -> list[int]:
    return [mail.connection for mail in server.received]


async def test_a_connection_is_used_again_at_once_without_more_words() -> None:
    async with SmtpServer().running() as server, sending() as sender:
        for _ in range(3):
            assert isinstance(await sender.send(account_for(server)), Delivered)
        assert sender.agent.open_connections == 1
    assert connections_used(server) == [1, 1, 1]
    assert [command.split()[0] for command in server.commands] == ["EHLO", *["MAIL", "RCPT"] * 3, "QUIT"]


async def test_a_connection_that_idled_is_asked_for_a_sign_of_life() -> None:
    async with SmtpServer().running() as server, sending() as sender:
        await sender.send(account_for(server))
        sender.clock.time += 30
        await sender.send(account_for(server))
    assert connections_used(server) == [1, 1]
    assert "NOOP" in server.commands


@pytest.mark.parametrize("answer", [DROP, HANG, "421 4.4.2 idle too long", "500 what?"])
async def test_a_connection_without_a_sign_of_life_is_replaced(answer: Action) -> None:
    hasty = answer is HANG
    async with SmtpServer(at={Stage.NOOP: answer}).running() as server, sending(hasty=hasty) as sender:
        await sender.send(account_for(server))
        sender.clock.time += 30
        assert isinstance(await sender.send(account_for(server)), Delivered)
    assert connections_used(server) == [1, 2]


@pytest.mark.parametrize(("age", "connection"), [(59.0, 1), (60.0, 2), (-10.0, 2)])
async def test_a_connection_is_kept_for_the_ttl(age: float, connection: int) -> None:
    async with SmtpServer().running() as server, sending() as sender:
        account = replace(account_for(server), ttl=60)
        await sender.send(account)
        sender.clock.time += age
        await sender.send(account)
    assert connections_used(server) == [1, connection]


async def test_a_ttl_of_zero_keeps_nothing() -> None:
    async with SmtpServer().running() as server, sending() as sender:
        await sender.send(replace(account_for(server), ttl=0))
        assert sender.agent.open_connections == 0
        await server.wait_closed()
    assert "QUIT" in server.commands


async def test_cleanup_closes_what_has_had_its_time_and_nothing_else() -> None:
    async with SmtpServer().running() as server, sending() as sender:
        await sender.send(replace(account_for(server), id="short", ttl=60))
        await sender.send(replace(account_for(server), id="long", ttl=600))
        sender.clock.time += 61
        await sender.agent.cleanup()
        assert sender.agent.open_connections == 1
        await server.until(lambda: server.open_connections == 1)
        assert server.commands[-1] == "QUIT"


async def test_cleanup_drops_what_the_server_has_closed() -> None:
    async with SmtpServer().running() as server, sending() as sender:
        await sender.send(account_for(server))
        server.drop_all()
        async with asyncio.timeout(60):
            while sender.agent.open_connections:
                await asyncio.sleep(0)  # the news of the end must come in first
                await sender.agent.cleanup()
    assert "NOOP" not in server.commands


@pytest.mark.parametrize("action", [DROP, "421 4.7.0 enough for today", "421"])
async def test_a_kept_connection_that_is_dead_costs_the_message_nothing(action: Action) -> None:
    gate = Gate()
    async with SmtpServer().running() as server, sending() as sender:
        await sender.send(account_for(server))
        server.at[Stage.MAIL] = [action]
        verdict = await sender.send(account_for(server), gate)
    assert verdict == Delivered(code="2.0.0", reply="250 2.0.0 queued as 2")
    assert connections_used(server) == [1, 2]
    assert gate.passed == 1


async def test_a_farewell_said_together_with_the_last_reply_ends_the_connection() -> None:
    farewell = ["250 2.0.0 queued\r\n421 4.7.0 enough for today"]
    async with SmtpServer(at={Stage.ACCEPTED: [*farewell]}).running() as server, sending() as sender:
        assert await sender.send(account_for(server)) == Delivered(code="2.0.0", reply="250 2.0.0 queued")
        assert sender.agent.open_connections == 0
        await sender.send(account_for(server))
    assert connections_used(server) == [1, 2]


async def test_a_server_that_takes_one_mail_a_connection_gets_them_all() -> None:
    async with SmtpServer(mails_per_connection=1).running() as server, sending() as sender:
        verdicts = [await sender.send(account_for(server)) for _ in range(4)]
    assert all(isinstance(verdict, Delivered) for verdict in verdicts)
    assert connections_used(server) == [1, 2, 3, 4]


async def test_a_fresh_connection_that_dies_is_not_tried_again() -> None:
    async with SmtpServer(at={Stage.MAIL: DROP}).running() as server, sending() as sender:
        assert isinstance(await sender.send(account_for(server)), Deferred)
    assert server.connections == 1


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
async def test_before_the_content_a_message_goes_on_over_a_new_connection(stage: Stage) -> None:
    gate = Gate()
    async with SmtpServer().running() as server, sending() as sender:
        await sender.send(account_for(server))
        server.at[stage] = [DROP]
        assert isinstance(await sender.send(account_for(server), gate), Delivered)
    assert connections_used(server) == [1, 2]
    assert gate.passed == 1


async def test_once_the_content_was_begun_nothing_is_repeated() -> None:
    gate = Gate()
    async with SmtpServer().running() as server, sending() as sender:
        await sender.send(account_for(server))
        server.at[Stage.DOT] = DROP
        verdict = await sender.send(account_for(server), gate)
    assert isinstance(verdict, Deferred)
    assert verdict.unknown
    assert (server.connections, gate.passed) == (1, 1)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT])
async def test_a_refused_message_leaves_the_connection_fit_for_the_next(stage: Stage) -> None:
    async with SmtpServer(at={stage: ["554 5.7.1 not this one"]}).running() as server, sending() as sender:
        await sender.send(account_for(server))
        assert isinstance(await sender.send(account_for(server)), Delivered)
    assert connections_used(server) == [1]


async def test_an_account_has_no_more_connections_than_its_limit() -> None:
    gate = asyncio.Event()
    async with SmtpServer(at={Stage.DOT: gate}).running() as server, sending(limit=2) as sender:
        tasks = [asyncio.create_task(sender.send(account_for(server))) for _ in range(6)]
        await server.until(lambda: server.reached.count(Stage.DOT) == 2)
        gate.set()
        verdicts = await asyncio.gather(*tasks)
    assert all(isinstance(verdict, Delivered) for verdict in verdicts)
    assert (len(server.received), server.most_open) == (6, 2)


async def test_the_accounts_own_limit_goes_before_the_general_one() -> None:
    async with SmtpServer().running() as server, sending(limit=10) as sender:
        account = replace(account_for(server), max_concurrent=1)
        await asyncio.gather(*(sender.send(account) for _ in range(4)))
    assert (len(server.received), server.most_open) == (4, 1)


async def test_the_limit_of_one_account_does_not_hold_up_another() -> None:
    gate = asyncio.Event()
    async with (
        SmtpServer(at={Stage.DOT: gate}).running() as slow,
        SmtpServer().running() as server,
        sending(limit=1) as sender,
    ):
        held = asyncio.create_task(sender.send(account_for(slow)))
        await slow.wait_at(Stage.DOT)
        other = replace(account_for(server), tenant_id="other")
        assert isinstance(await sender.send(other), Delivered)
        gate.set()
        assert isinstance(await held, Delivered)


class Alone:
    """A message that begins when another has ended."""

    is_called_off = False

    def introduction(self, connection: Connection) -> Sequence[str]:
        return ()


async def test_a_turn_given_to_one_who_is_cancelled_goes_to_the_next() -> None:
    async with SmtpServer().running() as server:
        dialer = Dialer(timeouts=PATIENT)
        pool = Pool(lambda account: open_connection(account, dialer), default_limit=1, clock=HandClock())

        async def borrow() -> None:
            pool.take_back(await pool.lend(account_for(server), Alone()))

        first = await pool.lend(account_for(server), Alone())
        second, third = asyncio.create_task(borrow()), asyncio.create_task(borrow())
        await asyncio.sleep(0)  # both wait now
        pool.take_back(first)
        second.cancel()  # it was given the turn by the line above, and has not run yet
        await asyncio.wait_for(third, 60)
        assert second.cancelled()
        await pool.close()
    assert server.connections == 1


@pytest.mark.parametrize(
    "changed",
    [
        lambda account: replace(account, user="bob"),
        lambda account: replace(account, tls=None),
        lambda account: replace(account, tls_verify=False),
        lambda account: replace(account, host="localhost"),
    ],
)
async def test_a_changed_account_gets_a_connection_of_its_own(changed: Callable[[Account], Account]) -> None:
    async with SmtpServer(users={"ann": "old", "bob": "old"}).running() as server, sending() as sender:
        account = replace(account_for(server), user="ann", password="old")
        await sender.send(account)
        assert isinstance(await sender.send(changed(account)), Delivered)
        await server.until(lambda: server.open_connections == 1)
    assert connections_used(server) == [1, 2]


async def test_a_connection_does_not_outlive_the_password_it_was_opened_with() -> None:
    async with SmtpServer(users={"ann": "old"}).running() as server, sending() as sender:
        account = replace(account_for(server), user="ann", password="old")
        await sender.send(account)
        verdict = await sender.send(replace(account, password="new"))
    assert isinstance(verdict, Deferred)
    assert verdict.scope is Scope.ACCOUNT


async def test_other_changes_keep_the_connection() -> None:
    async with SmtpServer().running() as server, sending() as sender:
        account = account_for(server)
        await sender.send(account)
        await sender.send(replace(account, from_address="x@here.test", limit_per_day=5, updated_at=7.0))
    assert connections_used(server) == [1, 1]


async def test_closing_an_account_closes_what_idles_now_and_what_is_in_use_later() -> None:
    gate = asyncio.Event()
    async with SmtpServer().running() as server, sending() as sender:
        account = account_for(server)
        await sender.send(account)
        await sender.agent.close_account(account.tenant_id, account.id)
        await server.wait_closed()
        server.at[Stage.DOT] = gate
        busy = asyncio.create_task(sender.send(account))
        await server.wait_at(Stage.DOT)
        await sender.agent.close_account(account.tenant_id, account.id)
        gate.set()
        assert isinstance(await busy, Delivered)
        await server.wait_closed()
        assert sender.agent.open_connections == 0


async def test_closing_an_account_that_never_sent_is_nothing() -> None:
    async with sending() as sender:
        await sender.agent.close_account("acme", "nobody")


async def test_the_end_is_polite_and_does_not_wait_for_a_silent_server() -> None:
    async with SmtpServer().running() as polite, SmtpServer().running() as silent:
        async with sending(hasty=True) as sender:
            await sender.send(replace(account_for(polite), id="polite"))
            await sender.send(replace(account_for(silent), id="silent"))
            silent.at[Stage.QUIT] = HANG
        assert sender.agent.open_connections == 0
        assert polite.commands[-1] == "QUIT"
        await polite.wait_closed()
        await silent.wait_closed()


async def test_a_message_that_has_begun_on_a_connection_that_hangs_goes_on_over_one_that_is_free() -> None:
    """It waits some seconds for the one before it to end, and not for as long as the server takes."""
    held = asyncio.Event()
    async with (
        SmtpServer(pipelining=True, at={Stage.DOT: [held]}).running() as server,
        sending(limit=2) as sender,
    ):
        account = account_for(server)
        sends = [asyncio.create_task(sender.send(account)) for _ in range(3)]
        await server.wait_at(Stage.DOT)
        await asyncio.wait(sends, return_when=asyncio.FIRST_COMPLETED)
        assert len(server.received) == 1  # its connection is free, and the third message waits at the other
        sender.clock.time += 60
        await sender.agent.cleanup()
        await server.wait_for(2)
        held.set()
        assert [type(await each) for each in sends] == [Delivered] * 3
    assert sorted(connections_used(server)) == [1, 2, 2]
