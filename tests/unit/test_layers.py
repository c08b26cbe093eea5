"""The layer rule of docs/architecture.md, as pyproject.toml writes it down for import-linter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
SETTINGS = tomllib.loads(PYPROJECT.read_text("utf-8"))
PROJECT = SETTINGS["project"]
SOURCE_ROOTS = [
    str(PYPROJECT.parent / root) for root in SETTINGS["tool"]["pytest"]["ini_options"]["pythonpath"]
]
OPTIONAL = [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
LIBRARIES = [re.split("[<>=]", text)[0] for text in (*PROJECT["dependencies"], *OPTIONAL)]
CONTRACTS = SETTINGS["tool"]["importlinter"]["contracts"]


def test_every_module_imports_only_from_the_layers_below_it() -> None:
    """In a process of its own: import-linter switches off the loggers that later tests listen to."""
    program = (
        "from importlinter.cli import lint_imports\n"
        f"raise SystemExit(lint_imports({str(PYPROJECT)!r}, no_cache=True))"
    )
    linted = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PYPROJECT.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(SOURCE_ROOTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_library_we_depend_on_is_kept_to_one_layer(library: str) -> None:
    """A new dependency has to be given its place among the contracts."""
    forbidden = {name for contract in CONTRACTS for name in contract.get("forbidden_modules", ())}
    assert library.replace("-", "_") in forbidden
