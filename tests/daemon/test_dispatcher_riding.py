"""What has its turn and waits for a connection to come free: how much that may be, and when it comes back.

The account may have two connections. Once its server has answered, two more messages wait for these.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mail_proxy.model.accounts import TlsMode
from tests.support.dispatching import Dispatching, running
from tests.support.row_server import HOST, At, RowServer
from tests.support.smtp_server import SmtpServer

NAMES = [f"m{number}" for number in range(1, 13)]


class Post:
    """A server with an account `row`, which at last is waited for by all who may.

    One message is held at its end, `aboard` has begun behind it, one is held at its beginning, and `waiting`
    waits for the connection of either.
    """

    def __init__(self, rig: Dispatching, server: RowServer) -> None:
        self.rig = rig
        self.server = server
        self.held = asyncio.Event()
        self.aboard = ""
        self._connections: list[int] = []
        server.does = self._does

    def _does(self, step: At) -> asyncio.Event | None:
        is_first = not self._connections and step.verb == "dot" and self.server.rode
        is_second = len(self._connections) == 1 and step.verb == "MAIL"
        if not is_first and not is_second:
            return None
        self._connections.append(step.connection)
        self.aboard = self.aboard or self.server.rode[-1]
        return self.held

    async def fill(self) -> None:
        """Queue messages, whose senders have their names."""
        for name in NAMES:
            await self.rig.queue(name, account_id="row", **{"from": f"{name}@example.org"})

    async def until_held(self) -> None:
        await self.server.until(lambda: len(self._connections) == 2)
        await self.rig.database.until_done("settle", len(self.server.accepted))
        await self.rig.agent.until_at_once(4)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the dispatcher run by itself; at the end nothing is held, and it stops."""
        async with running(self.rig.dispatcher):
            try:
                yield
            finally:
                self.held.set()

    @property
    def waiting(self) -> str:
        begun = [self.aboard, *(step.who for step in self.server.steps if step.verb == "MAIL")]
        return next(name for name in NAMES if name not in begun)

    async def among(self, status: str) -> set[str]:
        return {name for name in NAMES if await self.rig.status(name) == status}


@pytest.fixture
async def post(rig: Dispatching) -> AsyncIterator[Post]:
    async with RowServer().running() as server:
        await rig.add_account(
            None, "row", host=HOST, port=server.port, tls=TlsMode.NONE, max_concurrent=2, batch_size=20
        )
        yield Post(rig, server)


async def test_a_server_that_is_known_and_stalls_holds_twice_its_connections_and_no_more(
    post: Post, rig: Dispatching, server: SmtpServer
) -> None:
    await post.fill()
    await rig.dispatcher.step()
    await post.until_held()
    await rig.dispatcher.step()
    await rig.queue("other")
    await rig.dispatcher.step()
    await server.wait_for(1)
    await rig.database.until_done("settle", len(post.server.accepted) + 1)

    post.held.set()
    await rig.work()
    assert await post.among("sent") == set(NAMES)
    assert sorted(post.server.accepted) == sorted(NAMES)
    assert rig.agent.most_at_once == 5  # the other account's is one


async def test_what_waits_at_an_account_that_begins_to_fail_does_not_try_it_too(
    post: Post, rig: Dispatching
) -> None:
    """Two had connections and try to log in anew; what waited for these comes back untried."""
    await post.fill()
    await rig.dispatcher.step()
    await post.until_held()
    post.server.greeting = "535 5.7.8 not you"
    post.server.does = lambda step: "421 4.3.2 closing" if step.verb in ("MAIL", "RCPT") else None
    post.held.set()
    await rig.work(2)

    assert await post.among("sent") == set(post.server.accepted)
    assert {(await rig.message(name)).retry_count for name in NAMES} == {0}
    assert post.server.connections == 4


@pytest.mark.parametrize("how", ["inactive", "stopped"])
async def test_what_waits_for_a_connection_comes_back_when_sending_ends(
    post: Post, rig: Dispatching, how: str
) -> None:
    """What has begun is finished; what has not waits in its place."""
    await post.fill()
    async with post.running():
        await post.until_held()
        waiting, count = post.waiting, len(post.server.accepted) + 3
        if how == "stopped":
            rig.dispatcher.stop()
        else:
            await rig.runtime.services.instance.set_active(False)
            rig.dispatcher.wake.set()
        await rig.database.until_done("release")
        post.held.set()
        await rig.dispatcher.idle()
        assert await post.among("sent") == set(post.server.accepted)
        assert len(post.server.accepted) == count
        assert len(await post.among("pending")) == len(NAMES) - count
        assert post.server.heard("MAIL", waiting) == 0


async def test_what_waits_for_a_connection_comes_back_though_the_server_stalls(
    post: Post, rig: Dispatching
) -> None:
    """The agent looks after those who wait, now and then: another node may have them meanwhile."""
    await post.fill()
    async with post.running():
        await post.until_held()
        waiting, count = post.waiting, len(post.server.accepted) + 2
        rig.dispatcher.stop()
        await rig.database.until_done("release")
        await rig.agent.cleanup()
        await rig.database.until_done("release", 2)
        assert (await rig.status(waiting), rig.agent.at_once) == ("pending", 3)
        rig.time.advance(20)
        await rig.agent.cleanup()
        await rig.database.until_done("release", 3)
        assert (await rig.status(post.aboard), rig.agent.at_once) == ("pending", 2)
    assert len(post.server.accepted) == count
    assert len(await post.among("pending")) == len(NAMES) - count
