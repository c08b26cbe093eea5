"""Real server processes, spoken to from the loop of a test in which their mail server runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import TypeVar

from tests.support.server import Client, Json, Server
from tests.support.smtp_server import SmtpServer

T = TypeVar("T")

PATIENCE = 60.0
POLL = 0.02


def is_sent(message: Json) -> bool:
    return bool(message["status"] == "sent")


async def settle_in(server: Server, mail: SmtpServer, url: str | None = None, **account: object) -> Client:
    """Give the server a tenant with an account; a client of the API."""
    client = server.client()

    def make() -> None:
        client.post("/tenant", {"id": "acme", "client_base_url": url})
        fields = {"id": "main", "tenant_id": "acme", "host": "127.0.0.1", "port": mail.port, "tls": "none"}
        client.post("/account", {**fields, **account})

    await asyncio.to_thread(make)
    return client


def entries(*ids: str, **fields: object) -> Json:
    return {
        "messages": [
            {
                "id": each,
                "tenant_id": "acme",
                "from": "shop@example.org",
                "to": ["ann@example.net"],
                "subject": each,
                "body": "Hello",
                **fields,
            }
            for each in ids
        ]
    }


async def submit(client: Client, *ids: str, **fields: object) -> None:
    answer = await asyncio.to_thread(client.post, "/commands/add-messages", entries(*ids, **fields))
    assert answer["queued"] == len(ids), answer


async def call(client: Client, path: str) -> Json:
    return await asyncio.to_thread(client.get, path)


async def until(look: Callable[[], T], condition: Callable[[T], bool], patience: float = PATIENCE) -> T:
    """Look again and again, until what is found fulfils the condition; TimeoutError after `patience` s."""
    async with asyncio.timeout(patience):
        while not condition(found := await asyncio.to_thread(look)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL)
    return found


async def ended(server: Server) -> int:
    """Wait for the end that the process comes to by itself; its exit code."""
    return await asyncio.to_thread(server.end, signal.SIGCONT)  # a signal that does nothing
