"""The layer rule of docs/architecture.md, as pyproject.toml writes it down for import-linter."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
SETTINGS = tomllib.loads(PYPROJECT.read_text("utf-8"))
PROJECT = SETTINGS["project"]
OPTIONAL = [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
LIBRARIES = [re.split("[<>=]", text)[0] for text in (*PROJECT["dependencies"], *OPTIONAL)]
CONTRACTS = SETTINGS["tool"]["importlinter"]["contracts"]


def test_every_module_imports_only_from_the_layers_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(PYPROJECT), no_cache=True)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_library_we_depend_on_is_kept_to_one_layer(library: str) -> None:
    """A new dependency has to be given its place among the contracts."""
    forbidden = {name for contract in CONTRACTS for name in contract.get("forbidden_modules", ())}
    assert library.replace("-", "_") in forbidden
