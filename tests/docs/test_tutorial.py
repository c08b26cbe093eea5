"""Pages to follow are run as a reader would: their blocks of shell in one shell, in order."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import REPOSITORY, Cli

PAGES = ("docs/tutorial.md", "docs/command-line.md", "docs/databases.md", "examples/shop/README.md")
SHOWN_PORT = "8080"
"""Of the application that a page starts; another may have it here."""

SHOWN_DATABASE = "postgresql://mail@db.example/mail"
"""An empty one, where a page moves an instance to; here a database of the test's own."""

MARK = "=== block {} ==="
TIME_LIMIT = 110

_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    """Each block of shell with the output shown below it, empty if there is none."""
    found: list[tuple[str, str]] = []
    for kind, content in _BLOCK.findall((REPOSITORY / page).read_text("utf-8")):
        if kind == "sh":
            found.append((content, ""))
        else:
            found[-1] = (found[-1][0], content)
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A reader's shell: the command on the path, an empty home."""
    if shutil.which("curl") is None:
        pytest.skip("curl is missing: the tutorial uses it (Debian: apt-get install curl)")
    program = Cli(tmp_path)
    command = tmp_path / "bin" / "mail-proxy"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mail_proxy_cli "$@"\n')
    command.chmod(0o755)
    path = (command.parent, Path(sys.executable).parent, program.environ["PATH"])
    yield program.environ | {"PATH": ":".join(map(str, path))}
    program.end_servers()


@pytest.mark.parametrize("page", PAGES)
def test_the_page_does_what_it_shows(
    page: str, environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every command succeeds, and prints what the page shows, where … stands for whatever varies."""
    pairs = blocks(page)
    marked = "".join(f"echo '{MARK.format(number)}'\n{shell}" for number, (shell, _) in enumerate(pairs))
    marked = marked.replace(SHOWN_PORT, str(free_port()))
    if SHOWN_DATABASE in marked:
        marked = marked.replace(SHOWN_DATABASE, request.getfixturevalue("postgres_url"))
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    script = f"exec 2>&1\ntrap 'jobs -p | xargs -r kill || true' EXIT\n{marked}"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )

    assert run.returncode == 0, run.stdout
    for number, (shell, shown) in enumerate(pairs):
        printed = run.stdout.split(MARK.format(number))[1].split(MARK.format(number + 1))[0]
        assert _like(shown).search(printed), f"{shell}\nprinted{printed}\nand not\n{shown}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _like(shown: str) -> re.Pattern[str]:
    """A pattern for an output in which … stands for anything, and runs of blanks are alike."""
    words = re.split(r"(…|\s+)", shown.strip())
    parts = (".*" if word == "…" else r"\s+" if word.isspace() else re.escape(word) for word in words)
    return re.compile("".join(parts), re.DOTALL)
