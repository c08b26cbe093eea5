"""The page for newcomers shows what they would see: it is walked again, in a real terminal."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.newcomer import INSTALL, PAGE, page
from tests.support.cli import Cli
from tests.support.newcomer import PASSWORD, USER, Walk
from tests.support.smtp_server import SmtpServer


@pytest.fixture
def newcomer() -> Iterator[Cli]:
    """Somebody with the command on the path, and an empty home whose path is short enough for the screen."""
    root = Path(tempfile.mkdtemp(prefix="me-"))
    program = Cli(root)
    command = root / "bin" / "mail-proxy"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mail_proxy_cli "$@"\n')
    command.chmod(0o755)
    program.environ["PATH"] = f"{command.parent}:{program.environ['PATH']}"
    yield program
    program.end_servers()
    shutil.rmtree(root)


async def test_from_the_first_command_to_a_delivered_message(newcomer: Cli) -> None:
    """With the dialogues alone, which say what comes next; the page shows each screen as it is."""
    async with SmtpServer(tls="starttls", users={USER: PASSWORD}).running() as server:
        (newcomer.root / "ca.pem").write_text(server.ca_pem)
        screens = await asyncio.to_thread(Walk(newcomer, server.port).go)
    [delivered] = server.received
    assert (delivered.tls, delivered.user) == (True, USER)
    assert delivered.rcpt_tos == ("ann@example.org",)
    assert delivered.content.endswith(b"\r\nIt works.\r\n")
    assert PAGE.read_text("utf-8") == page(screens | {"install": INSTALL})
