"""A hundred tenants, the applications of half of which are in trouble: the others hear at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.application import Answer, Application, Post, full_house
from tests.support.nodes import entries, until
from tests.support.server import Client, Server

HALF = 50
ROUNDS = 3
SOON = 2.0
"""Seconds from when messages are handed in until the healthy have heard what became of them."""

SILENCE = {
    "says nothing": Answer(hang=True),
    "hangs amid the head": Answer(hang=True, cut=20),
    "hangs amid the body": Answer(hang=True, cut=75),
}


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A process of ours, started, on either engine."""
    dsn = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    made = Server(tmp_path / "home", database_url=dsn).start()
    yield made
    made.kill()


@asynccontextmanager
async def silent() -> AsyncIterator[list[str]]:
    """Applications that are silent, each in its own way: one gives no connection, one reads nothing of it."""
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(Application(answer)) for answer in SILENCE.values()]
        deaf = await stack.enter_async_context(Application())
        deaf.is_deaf = True
        closed = await stack.enter_async_context(Application())
        await closed.close()
        stack.enter_context(full_house(closed.port))
        yield [app.url for app in (*apps, deaf, closed)]


@asynccontextmanager
async def refusing() -> AsyncIterator[list[str]]:
    """One that is not there, one that breaks every connection, one that answers what it should not."""
    async with Application() as closed, Application(Answer(drop=True)) as breaking, Application() as wrong:
        await closed.close()
        wrong.answer = Answer(status=500)
        yield [app.url for app in (closed, breaking, wrong)]


@asynccontextmanager
async def dripping() -> AsyncIterator[list[str]]:
    """One that answers a byte a second: each read of it succeeds."""
    async with Application(Answer(drip=1.0)) as app:
        yield [app.url]


@pytest.mark.parametrize("trouble", [silent, refusing, dripping])
async def test_fifty_in_trouble_delay_none_of_fifty_others(
    server: Server, trouble: Callable[[], AbstractAsyncContextManager[list[str]]]
) -> None:
    """Neither when the trouble begins nor while it lasts; who is in it has everything still to be told."""
    async with Application() as healthy, trouble() as urls:
        client = server.client()
        well = [f"well{number}" for number in range(HALF)]
        ill = {f"ill{number}": urls[number % len(urls)] for number in range(HALF)}
        await asyncio.to_thread(settle, client, dict.fromkeys(well, healthy.url) | ill)
        for done in range(ROUNDS):
            begin = time.time()
            await asyncio.to_thread(submit, client, [*ill, *well], f"m{done}")
            posts = await healthy.wait_for(partial(have_told, HALF * (done + 1)))
            assert max(post.at for post in posts) - begin < SOON
        expected = dict.fromkeys(ill, ROUNDS) | dict.fromkeys([*well, "default"], 0)
        await until(partial(pending, client), lambda found: found == expected)
    told = sorted((str(entry["tenant_id"]), str(entry["id"])) for entry in healthy.entries)
    assert told == sorted((name, f"m{number}") for name in well for number in range(ROUNDS))


def have_told(count: int, posts: Sequence[Post]) -> bool:
    return sum(len(post.entries) for post in posts) >= count


def pending(client: Client) -> dict[str, int]:
    """How many events each tenant is still to be told of."""
    return {each["id"]: each["pending_reports"] for each in client.get("/tenants/sync-status")["tenants"]}


def settle(client: Client, urls: Mapping[str, str]) -> None:
    """Give each of the tenants an account of the sandbox, and its application."""
    for name, url in urls.items():
        client.post("/tenant", {"id": name, "client_base_url": f"{url}/{name}"})
        client.post("/account", {"id": "main", "tenant_id": name, "host": "sandbox"})


def submit(client: Client, tenants: Sequence[str], message_id: str) -> None:
    """Submit a message of each tenant, all in one request."""
    (message,) = entries(message_id)["messages"]
    answer = client.post(
        "/commands/add-messages", {"messages": [{**message, "tenant_id": name} for name in tenants]}
    )
    assert answer["queued"] == len(tenants), answer
