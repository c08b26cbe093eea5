"""The program under test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
