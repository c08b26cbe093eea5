"""The server that each test here has to itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A process of ours, on SQLite, started."""
    made = Server(tmp_path / "home").start()
    yield made
    made.kill()
