"""A store on either engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.stores import Bench, open_bench


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    """A store with tenant `acme` and its account `main`, on a fresh database of each engine."""
    async with open_bench(database_url) as opened:
        yield opened
