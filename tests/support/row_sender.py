"""Sending messages in a row to a `RowServer`.

With one connection to have, `a` gets it, and what is sent at the same time waits for it: `b` rides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.model.verdicts import Delivered, Outcome, Verdict
from mail_proxy.smtp.agent import DeliveryAgent, Envelope
from mail_proxy.smtp.transport import Timeouts
from tests.support.certificates import Authority
from tests.support.clock import ManualClock
from tests.support.delivery import CONTENT, PATIENT, Gate
from tests.support.row_server import HOST, RowServer

AUTHORITY = Authority()

plain_or_tls = pytest.mark.parametrize("tls", [None, AUTHORITY.server_context(HOST)], ids=["plain", "TLS"])


class Row:
    """An agent, and an account on the server; what is sent has its name for a sender."""

    def __init__(self, server: RowServer, limit: int, timeouts: Timeouts) -> None:
        self.clock = ManualClock()
        self.account = Account(tenant_id="acme", id="main", host=HOST, port=server.port, tls=TlsMode.NONE)
        if server.tls is not None:
            self.account = replace(self.account, tls=TlsMode.SSL, tls_ca=AUTHORITY.pem)
        self.agent = DeliveryAgent(
            timeouts=timeouts,
            max_concurrent_per_account=limit,
            sandbox_dir=None,
            clock=self.clock,
            hostname="client.test",
        )

    async def deliver(
        self,
        name: str,
        *to: str,
        content: bytes = CONTENT,
        gate: Gate | None = None,
        account: Account | None = None,
        needs_smtputf8: bool = False,
    ) -> Outcome:
        envelope = Envelope(
            sender=f"{name}@here.test",
            recipients=tuple(f"{each}@there.test" for each in to or ["ann"]),
            needs_smtputf8=needs_smtputf8,
        )
        return await self.agent.deliver(account or self.account, envelope, content, final=gate or Gate())

    def begin(self, *names: str) -> list[asyncio.Task[Outcome]]:
        """Send them at the same time, the first before the second."""
        return [asyncio.create_task(self.deliver(name), name=name) for name in names]

    async def send(self, *names: str) -> list[Verdict]:
        return [verdict_of(await each) for each in self.begin(*names)]


def verdict_of(outcome: Outcome) -> Verdict:
    (verdict,) = outcome.verdicts.values()
    return verdict


def taken(name: str) -> Delivered:
    return Delivered(code="2.0.0", reply=f"250 2.0.0 {name} is taken")


@asynccontextmanager
async def row(server: RowServer, *, limit: int = 1, timeouts: Timeouts = PATIENT) -> AsyncIterator[Row]:
    """At the end nothing is left: all connections are given back, and can be closed."""
    async with server.running():
        made = Row(server, limit, timeouts)
        try:
            async with asyncio.timeout(60):
                yield made
            assert made.agent.open_connections <= limit
        finally:
            await made.agent.close()
        assert made.agent.open_connections == 0
        await server.until(lambda: server.open_connections == 0)
