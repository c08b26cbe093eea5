"""What the tests of the dispatcher share: a server to speak to, and a dispatcher with an account on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.dispatching import Dispatching, dispatching
from tests.support.smtp_server import SmtpServer


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer().running() as running_server:
        yield running_server


@pytest.fixture
async def mail() -> AsyncIterator[SmtpServer]:
    """The same, for tests whose `server` is a process of ours."""
    async with SmtpServer().running() as running_server:
        yield running_server


@pytest.fixture
async def rig(database_url: str, server: SmtpServer) -> AsyncIterator[Dispatching]:
    """A dispatcher, and an account `main` that speaks to the server."""
    async with dispatching(database_url) as made:
        await made.add_account(server)
        yield made
