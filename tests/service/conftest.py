"""The services, for the tests that ask them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.services import Desk, open_desk


@pytest.fixture
async def desk(sqlite_url: str) -> AsyncIterator[Desk]:
    """Services with tenant `acme` and its account `main`, on a fresh database."""
    async with open_desk(sqlite_url) as opened:
        yield opened
