"""The tutorial is run as a reader would: its blocks of shell in one shell, in order."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import REPOSITORY, Cli

TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
MARK = "=== block {} ==="
TIME_LIMIT = 110

_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks() -> list[tuple[str, str]]:
    """Each block of shell with the output shown below it, empty if there is none."""
    found: list[tuple[str, str]] = []
    for kind, content in _BLOCK.findall(TUTORIAL.read_text("utf-8")):
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


def test_the_tutorial_does_what_it_shows(environment: dict[str, str], tmp_path: Path) -> None:
    """Every command succeeds, and prints what the page shows, where … stands for whatever varies."""
    marked = "".join(f"echo '{MARK.format(number)}'\n{shell}" for number, (shell, _) in enumerate(blocks()))
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
    for number, (shell, shown) in enumerate(blocks()):
        printed = run.stdout.split(MARK.format(number))[1].split(MARK.format(number + 1))[0]
        assert _like(shown).search(printed), f"{shell}\nprinted{printed}\nand not\n{shown}"


def _like(shown: str) -> re.Pattern[str]:
    """A pattern for an output in which … stands for anything, and runs of blanks are alike."""
    words = re.split(r"(…|\s+)", shown.strip())
    parts = (".*" if word == "…" else r"\s+" if word.isspace() else re.escape(word) for word in words)
    return re.compile("".join(parts), re.DOTALL)
