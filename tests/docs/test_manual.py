"""The manual pages and completion scripts are of today's commands, and can be read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from shutil import which

import pytest

from scripts.manual import COMPLETIONS, MAN, files

PAGES = sorted(MAN.glob("*.1"))


def test_every_file_is_there_and_up_to_date() -> None:
    """``python -m scripts.manual`` would change nothing."""
    written = {path: path.read_text("utf-8") for path in (*MAN.iterdir(), *COMPLETIONS.iterdir())}
    assert written == files()


@pytest.mark.skipif(which("man") is None, reason="man is not installed (Debian: man-db groff)")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_renders_without_a_warning(page: Path) -> None:
    """``man`` has nothing to say against it, and shows its name."""
    shown = subprocess.run(
        ["man", "--warnings", "--local-file", str(page)],
        env=os.environ | {"MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert shown.stderr == ""
    assert page.stem.upper() in shown.stdout


@pytest.mark.skipif(which("mandoc") is None, reason="mandoc is not installed (Debian: mandoc)")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_nothing_that_mandoc_would_write_otherwise(page: Path) -> None:
    """Neither errors nor warnings nor advice on style."""
    checked = subprocess.run(
        ["mandoc", "-Tlint", "-Wstyle", str(page)], capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.stdout + checked.stderr == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_the_sections_that_people_look_for(page: Path) -> None:
    """What it is, how to write it, examples, and what it comes to."""
    headings = [line.removeprefix(".SH ").strip('"') for line in page.read_text().splitlines()]
    wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO"]
    assert [heading for heading in headings if heading in wanted] == wanted
