"""The README: its commands exist, its links lead somewhere, and what it says of the project is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mail_proxy import __version__
from mail_proxy_cli import registry
from tests.support.cli import REPOSITORY

README = (REPOSITORY / "README.md").read_text("utf-8")
DOCUMENTS = sorted(
    path
    for path in (
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *REPOSITORY.glob("examples/*/*.md"),
    )
    if "_build" not in path.parts
)
GLOBAL = registry.by_name(registry.GLOBAL)
INSTANCE = registry.by_name(registry.INSTANCE)
TENANT = registry.by_name(registry.TENANT)


def shell_blocks() -> list[str]:
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]


def test_there_are_two_commands_the_demo_and_the_tests() -> None:
    """`.ci/run` takes them from here and runs them in a fresh clone."""
    demo, tests = shell_blocks()
    assert demo.endswith(".venv/bin/mail-proxy demo")
    assert tests == "scripts/test"


@pytest.mark.parametrize(
    "script", ["scripts/setup", "scripts/test", "scripts/check", "scripts/docs", ".ci/run"]
)
def test_scripts_can_be_run_and_stop_at_the_first_failure(script: str) -> None:
    path = REPOSITORY / script
    assert path.stat().st_mode & 0o111
    assert path.read_text("utf-8").startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in path.read_text("utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_commands_that_are_shown_exist(path: Path) -> None:
    """In blocks of shell and between backticks, each is one of the tree; <words> stand for any."""
    shown = [line for line in commands_in(path.read_text("utf-8")) if "<" not in line]
    assert [line for line in shown if not is_command(line.split()[1:])] == []


def commands_in(text: str) -> list[str]:
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    in_blocks = re.findall(r"(?:^|\$ |\$\()(mail-proxy [^|)\n]+)", "\n".join(blocks), re.MULTILINE)
    return in_blocks + re.findall(r"`(mail-proxy [^`]+)`", re.sub(r"\s+", " ", text))


def is_command(words: list[str]) -> bool:
    """Tell whether the words lead to a command; with a context, instance and tenant may be missing."""
    levels = ({*GLOBAL, *INSTANCE, *TENANT}, {*INSTANCE, *TENANT}, {*TENANT})
    return any(word in known or word.startswith("--") for word, known in zip(words, levels, strict=False))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_links_lead_to_a_file(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)[0] in (__version__, "Unreleased")
