"""Both Python clients behind one face, so that a scenario is written once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

import pytest

from mail_proxy.client import ApiError, AsyncMailProxyClient, MailProxyClient

PATIENCE = 60.0
POLL = 0.02

P = ParamSpec("P")

Kind = type[MailProxyClient | AsyncMailProxyClient]

KINDS: tuple[Kind, ...] = (MailProxyClient, AsyncMailProxyClient)


_numbers = itertools.count(1)


def new_tenant_id() -> str:
    """A name that no other test has."""
    return f"tenant-{next(_numbers)}"


class Driver:
    """Calls a client's methods: those of the synchronous one in a thread, for the test's loop has to go on.

    ``await driver(client.messages.get, "id")``; ``await driver.all(client.messages.list)`` for what iterates.
    """

    def __init__(self, client: MailProxyClient | AsyncMailProxyClient) -> None:
        self.client: Any = client  # which methods it has is for the type checker's own tests
        self.is_async = isinstance(client, AsyncMailProxyClient)

    async def __call__(self, method: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        if self.is_async:
            return await method(*args, **kwargs)
        return await asyncio.to_thread(method, *args, **kwargs)

    async def all(self, method: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> list[Any]:
        if self.is_async:
            return [each async for each in method(*args, **kwargs)]
        return await asyncio.to_thread(lambda: list(method(*args, **kwargs)))


@asynccontextmanager
async def driven(kind: Kind, url: str, **options: Any) -> AsyncIterator[Driver]:
    """Open a client of a kind, and close it at the end."""
    client = kind(url, **options)
    driver = Driver(client)
    try:
        yield driver
    finally:
        await driver(client.close)


def letter(message_id: str, **more: Any) -> dict[str, Any]:
    fields = {"from": "shop@acme.test", "to": "ann@example.test", "subject": "Hello", "body": "On its way."}
    return {"id": message_id, **fields, **more}


async def until(look: Callable[[], Awaitable[Any]], condition: Callable[[Any], bool]) -> Any:
    """Look again and again, until what is found fulfils the condition."""
    async with asyncio.timeout(PATIENCE):
        while not condition(found := await look()):  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL)
    return found


async def settled(own: Driver, message_id: str) -> Any:
    """The message, once it has left."""
    return await until(
        lambda: own(own.client.messages.get, message_id), lambda message: message.status == "sent"
    )


async def refused(call: Awaitable[object]) -> ApiError:
    """What the server said to a call that it must refuse."""
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value
