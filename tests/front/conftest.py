"""The program and the API under test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.api import Api, open_api
from tests.support.cli import Cli, QuickCli
from tests.support.postgres import PostgresServer
from tests.support.world import World


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """The program in a home of its own; servers it started are ended."""
    program = Cli(tmp_path)
    yield program
    program.end_servers()


@pytest.fixture
def quick(tmp_path: Path) -> QuickCli:
    """The program called within the test's process, in a home of its own; it starts no servers."""
    return QuickCli(tmp_path)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """The API over a fresh database, on either engine."""
    async with open_api(database_url) as opened:
        yield opened


@pytest.fixture
async def sqlite_api(sqlite_url: str) -> AsyncIterator[Api]:
    """For what the database has no part in."""
    async with open_api(sqlite_url) as opened:
        yield opened


@pytest.fixture
async def key(api: Api) -> str:
    """The API key of tenant acme, which has an account."""
    return await api.add_tenant("acme", "main")


@pytest.fixture(scope="module", params=["stopped", "running", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of the examples with its server stopped, running, and on PostgreSQL; one for a module."""
    root, is_running = tmp_path_factory.mktemp(request.param), request.param != "stopped"
    if request.param != "postgres":
        with World(root, is_running=is_running) as made:
            yield made
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with ThreadPoolExecutor(1) as thread:  # the tests' own event loop lives in this one
        url = thread.submit(asyncio.run, server.create_database()).result()
        with World(root, is_running=is_running, database_url=url) as made:
            yield made
        thread.submit(asyncio.run, server.drop_database(url)).result()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of the examples with its server stopped; `World.restore` makes it anew."""
    with World(tmp_path_factory.mktemp("stopped"), is_running=False) as made:
        made.keep()
        yield made
