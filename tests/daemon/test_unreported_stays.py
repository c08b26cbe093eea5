"""Nothing leaves a real server's database before its application has been told of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.api import message
from tests.support.application import Answer, Application
from tests.support.python_client import until
from tests.support.server import Client, Server

FAILING = Answer(status=500, body={"ok": False})
AT_ONCE = {"GMP_DELIVERY_REPORT_RETENTION_SECONDS": "0.01"}
LATER = 2_000_000_000


async def test_what_is_not_reported_stays_whoever_cleans_up(database_url: str, tmp_path: Path) -> None:
    """The cleaner of each life of the server, and whoever asks for it: only what was reported goes."""
    dsn = database_url if "://" in database_url else None
    server = Server(tmp_path / "home", database_url=dsn, settings=AT_ONCE)
    async with Application(FAILING) as application:
        try:
            client = await asyncio.to_thread(begin, server, application.url)
            await application.wait_for(lambda posts: len(posts) > 0)
            for _ in range(2):
                assert await asyncio.to_thread(ask_to_clean_up, client) == (0, ["held", "later", "m1"])
                await asyncio.to_thread(server.stop)
                client = (await asyncio.to_thread(server.start)).client()

            application.answer = Answer()
            await asyncio.to_thread(client.post, "/commands/run-now")
            await until(
                lambda: asyncio.to_thread(ask_to_clean_up, client),
                lambda found: found[1] == ["held", "later"],
            )
            assert {entry["id"] for entry in application.entries} == {"m1"}
        finally:
            await asyncio.to_thread(server.stop)


def begin(server: Server, application_url: str) -> Client:
    """Send a message, and queue one for later and one that is held."""
    client = server.start().client()
    client.call("PUT", "/tenant/default", {"client_base_url": application_url})
    client.post("/account", {"id": "main", "host": "sandbox"})
    client.post("/commands/suspend?tenant_id=default&batch_code=held")
    messages = [message("m1"), message("later", deferred_ts=LATER), message("held", batch_code="held")]
    client.post("/commands/add-messages", {"messages": messages})
    return client


def ask_to_clean_up(client: Client) -> tuple[int, list[str]]:
    """How many messages that removed, and which there are then."""
    removed = client.post("/commands/cleanup-messages", {"older_than_seconds": 0})["removed"]
    return removed, sorted(each["id"] for each in client.get("/messages")["messages"])
