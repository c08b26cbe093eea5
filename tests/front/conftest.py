"""The program and the API under test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.api import Api, open_api
from tests.support.cli import Cli, QuickCli


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
