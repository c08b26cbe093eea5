"""Both Python clients behind one face, so that a scenario is written once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

from mail_proxy.client import AsyncMailProxyClient, MailProxyClient

P = ParamSpec("P")

KINDS = (MailProxyClient, AsyncMailProxyClient)


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
async def driven(
    kind: type[MailProxyClient | AsyncMailProxyClient], url: str, **options: Any
) -> AsyncIterator[Driver]:
    """Open a client of a kind, and close it at the end."""
    client = kind(url, **options)
    driver = Driver(client)
    try:
        yield driver
    finally:
        await driver(client.close)
