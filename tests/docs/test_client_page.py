"""The page of the Python client: its examples run as they stand, and it names every method."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mail_proxy.client import MailProxyClient
from mail_proxy.client.calls import Call, Lines, Pages, Resource
from tests.support.cli import REPOSITORY
from tests.support.server import Server

PAGE = (REPOSITORY / "docs" / "client.md").read_text("utf-8")
SHOWN_URL = "http://127.0.0.1:8000"
MARK = "=== block {} ==="
TIME_LIMIT = 110

_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\| `(client(?:\.\w+)?)` \| (.*) \|$", re.MULTILINE)


def blocks() -> list[tuple[str, str]]:
    """Each block of Python with the output shown below it, empty if there is none."""
    found: list[tuple[str, str]] = []
    for kind, content in _BLOCK.findall(PAGE):
        if kind == "python":
            found.append((content, ""))
        else:
            found[-1] = (found[-1][0], content)
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The server that the page speaks of."""
    with Server(tmp_path / ".mail-proxy", "myserver") as started:
        yield started


def test_the_examples_do_what_they_show(server: Server, tmp_path: Path) -> None:
    """One after the other, in one program; … stands for whatever varies."""
    parts = [f"print({MARK.format(number)!r})\n{code}" for number, (code, _) in enumerate(blocks())]
    program = "\n".join(parts).replace(SHOWN_URL, server.url)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=REPOSITORY,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )

    assert run.returncode == 0, run.stdout
    for number, (code, shown) in enumerate(blocks()):
        printed = run.stdout.split(MARK.format(number))[1].split(MARK.format(number + 1))[0]
        pattern = re.escape(shown.strip()).replace("…", ".*")
        assert re.fullmatch(pattern, printed.strip()), f"{code}\nprinted{printed}\nand not\n{shown}"


def test_every_method_is_named() -> None:
    """And none that is not there."""
    named = {part: set(re.findall(r"`(\w+)`", text)) for part, text in _ROW.findall(PAGE)}
    with MailProxyClient(SHOWN_URL) as client:
        resources = {name: each for name, each in vars(client).items() if isinstance(each, Resource)}
        there = {f"client.{name}": methods(type(each)) for name, each in resources.items()}
        assert named == there | {"client": methods(type(client)) | {"close"}}


def methods(kind: type[object]) -> set[str]:
    return {
        name
        for each in kind.__mro__
        for name, found in vars(each).items()
        if isinstance(found, Call | Pages | Lines)
    }
