"""Reaching a server: by which of its addresses, and whether that is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from mail_proxy.addresses import AddressPolicy
from mail_proxy.clock import SystemClock
from mail_proxy.model.verdicts import Deferred, Delivered, Scope
from mail_proxy.smtp.agent import DeliveryAgent
from mail_proxy.smtp.transport import Dialer, Timeouts, open_connection
from mail_proxy.smtp.verdict import Broken, Failure, Phase, Trouble
from tests.support.delivery import CONTENT, Gate, envelope
from tests.support.smtp_server import SmtpServer, account_for

HOST = "mx.test"


class Names:
    """A resolver that knows what it is told, or fails as it is told."""

    def __init__(self, answer: Sequence[str] | Exception) -> None:
        self.answer = answer

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Silence:
    """A resolver that never answers."""

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []


def dialer(names: Names | Silence, policy: AddressPolicy | None = None, connect: float = 5.0) -> Dialer:
    return Dialer(timeouts=Timeouts(connect=connect), resolve=names, policy=policy or AddressPolicy())


async def test_the_second_address_serves_when_the_first_does_not() -> None:
    async with SmtpServer().running() as server:
        account = replace(account_for(server), host=HOST)
        connection = await open_connection(account, dialer(Names(["127.0.0.2", "127.0.0.1"])))
        await connection.quit()
    assert server.connections == 1


@pytest.mark.parametrize(
    ("names", "failure"),
    [
        (
            Names(OSError(-2, "Name or service not known")),
            Failure(Trouble.UNREACHABLE, f"{HOST}: Name or service not known"),
        ),
        (Names([]), Failure(Trouble.UNREACHABLE, f"{HOST} has no address")),
        (Names(UnicodeError("label too long")), Failure(Trouble.SETTINGS, f"{HOST}: label too long")),
        (Silence(), Failure(Trouble.TIMEOUT, HOST)),
    ],
)
async def test_a_name_without_address_is_told(names: Names | Silence, failure: Failure) -> None:
    async with SmtpServer().running() as server:
        account = replace(account_for(server), host=HOST)
        with pytest.raises(Broken) as caught:
            await open_connection(account, dialer(names, connect=0.2))
    assert (caught.value.phase, caught.value.cause) == (Phase.CONNECT, failure)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "0.0.0.0"])
async def test_a_tenants_host_must_be_public(address: str) -> None:
    async with SmtpServer().running() as server:
        account = replace(account_for(server), host=HOST, by_tenant=True)
        with pytest.raises(Broken) as caught:
            await open_connection(account, dialer(Names([address])))
    assert caught.value.cause == Failure(
        Trouble.SETTINGS,
        f"{HOST} is not a public address; GMP_ALLOWED_NETWORKS can permit private networks",
    )
    assert server.connections == 0


async def test_only_the_permitted_addresses_of_a_tenants_host_are_connected_to() -> None:
    async with SmtpServer().running() as forbidden, SmtpServer(host="127.0.0.2").running() as allowed:
        account = replace(account_for(allowed), host=HOST, by_tenant=True)
        policy = AddressPolicy.of(["127.0.0.2/32"])
        connection = await open_connection(account, dialer(Names(["127.0.0.1", "127.0.0.2"]), policy))
        await connection.quit()
    assert (forbidden.connections, allowed.connections) == (0, 1)


@pytest.mark.parametrize(("allowed", "verdict"), [([], Deferred), (["127.0.0.0/8"], Delivered)])
async def test_the_agent_applies_its_policy_to_tenants_accounts(
    allowed: list[str], verdict: type[Deferred | Delivered]
) -> None:
    agent = DeliveryAgent(
        timeouts=Timeouts(),
        max_concurrent_per_account=1,
        sandbox_dir=None,
        clock=SystemClock(),
        policy=AddressPolicy.of(allowed),
    )
    async with SmtpServer().running() as server:
        account = replace(account_for(server), by_tenant=True)
        outcome = await agent.deliver(account, envelope("ann"), CONTENT, final=Gate())
        await agent.close()
    (told,) = outcome.verdicts.values()
    assert isinstance(told, verdict)
    if isinstance(told, Deferred):
        assert told.scope is Scope.ACCOUNT


async def test_a_machine_without_a_full_name_greets_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "laptop")
    async with SmtpServer().running() as server:
        connection = await open_connection(account_for(server), Dialer(timeouts=Timeouts()))
        await connection.quit()
    assert server.commands[0] == "EHLO [127.0.0.1]"
