"""Delivering one message with an agent of one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mail_proxy.clock import SystemClock
from mail_proxy.model.verdicts import Outcome
from mail_proxy.smtp.agent import DeliveryAgent, Envelope
from mail_proxy.smtp.transport import Timeouts
from tests.support.scripted_server import ScriptedServer
from tests.support.smtp_server import SmtpServer, account_for

CONTENT = b"Subject: hello\r\n\r\nGood day.\r\n"
PATIENT = Timeouts()
HASTY = Timeouts(connect=1.0, command=0.4, data=0.4, final=0.4)
"""For servers that are silent: where one is only slow to run, patience costs nothing."""


class Gate:
    """The final step of a delivery: counted, failing if told so, and held for as long as it `holds`.

    `is_off` is what it says when asked whether the message was called off.
    `pieces` is the number of times that was asked for; the lease is lost at the one numbered `lost_at`.
    """

    def __init__(self, error: Exception | None = None, *, lost_at: int = 0) -> None:
        self.passed = 0
        self.pieces = 0
        self.is_off = False
        self.error = error
        self.lost_at = lost_at

    async def begin(self) -> None:
        self.passed += 1
        if self.error is not None:
            raise self.error

    def holds(self) -> bool:
        self.pieces += 1
        return self.pieces != self.lost_at

    def is_called_off(self) -> bool:
        return self.is_off


@asynccontextmanager
async def running_agent(timeouts: Timeouts = PATIENT) -> AsyncIterator[DeliveryAgent]:
    """Give an agent, closed at the end of the block."""
    agent = DeliveryAgent(
        timeouts=timeouts,
        max_concurrent_per_account=10,
        sandbox_dir=None,
        clock=SystemClock(),
        hostname="client.test",
    )
    try:
        yield agent
    finally:
        await agent.close()


def envelope(*local_parts: str, sender: str = "me@here.test") -> Envelope:
    """Address a message to these people at there.test."""
    return Envelope(sender=sender, recipients=tuple(f"{local}@there.test" for local in local_parts))


async def deliver(
    server: SmtpServer | ScriptedServer,
    to: Envelope,
    content: bytes = CONTENT,
    *,
    timeouts: Timeouts = PATIENT,
    gate: Gate | None = None,
) -> Outcome:
    """Deliver once, over a connection that is closed afterwards."""
    async with running_agent(timeouts) as agent:
        return await agent.deliver(account_for(server), to, content, final=gate or Gate())
