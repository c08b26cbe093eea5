"""What is shipped: the wheel that ``pip install`` makes, and the source archive."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from mail_proxy import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"mail_proxy": ROOT, "mail_proxy_cli": ROOT / "cli", "mail_proxy_repl": ROOT / "repl"}
SOURCES = ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "mail_proxy", "cli", "repl")
SHIPPED = (".py", ".sql", ".typed", ".html", ".css", ".js")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both from a copy of the sources; the directory they lie in."""
    tree, target = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(target)]
    built = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="module")
def wheel(archives: Path) -> Iterator[ZipFile]:
    [path] = archives.glob("*.whl")
    with ZipFile(path) as archive:
        yield archive


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_every_module_statement_and_type_marker(wheel: ZipFile, package: str) -> None:
    root = PACKAGES[package]
    files = (path for path in (root / package).rglob("*") if path.suffix in SHIPPED)
    expected = {path.relative_to(root).as_posix() for path in files}
    assert f"{package}/py.typed" in expected
    assert expected == {name for name in wheel.namelist() if name.startswith(f"{package}/")}


def test_the_wheel_puts_nothing_else_among_other_peoples_packages(wheel: ZipFile) -> None:
    assert {name.split("/")[0] for name in wheel.namelist()} == {
        *PACKAGES,
        f"mail_proxy-{__version__}.dist-info",
    }


def test_the_wheel_carries_its_licence_and_its_command(wheel: ZipFile) -> None:
    info = f"mail_proxy-{__version__}.dist-info"
    metadata = message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "mail-proxy = mail_proxy_cli.__main__:main" in wheel.read(f"{info}/entry_points.txt").decode()


def test_the_source_archive_builds_the_same_packages(archives: Path, wheel: ZipFile) -> None:
    with tarfile.open(next(archives.glob("*.tar.gz"))) as archive:
        names = archive.getnames()
    for path in (name for name in wheel.namelist() if name.split("/")[0] in PACKAGES):
        assert any(name.endswith("/" + path) for name in names), path
