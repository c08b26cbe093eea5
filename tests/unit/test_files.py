"""Private files: whole or not there, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mail_proxy.errors import InstanceError
from mail_proxy.files import MAX_SMALL, create_private, private_file, read_small, write_private

ROOT = Path(__file__).parents[2]


def test_written_file_is_whole_private_and_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old and longer")
    write_private(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_create_never_replaces(tmp_path: Path) -> None:
    assert create_private(tmp_path / "a", "first") is True
    assert create_private(tmp_path / "a", "second") is False
    assert (tmp_path / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit of the file size stands for the disk; the error says what could not be written."""
    (tmp_path / "a").write_text("old")
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "from mail_proxy.files import write_private;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10));"
        "write_private(Path(sys.argv[1]), 'x' * 100)"
    )
    result = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=ROOT,
    )
    assert f"InstanceError: cannot write {tmp_path}/a: File too large" in result.stderr
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_written_piece_by_piece_is_there_when_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with private_file(tmp_path / "a") as file:
        file.write(b"n")
        assert (tmp_path / "a").read_text() == "old"
        file.write(b"ew")
    assert (tmp_path / "a").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("failure", "told"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "No space left"), InstanceError)],
)
def test_a_file_that_does_not_become_whole_is_not_there(
    tmp_path: Path, failure: BaseException, told: type[BaseException]
) -> None:
    """What was there before stays; nothing lies beside it."""
    (tmp_path / "a").write_text("old")

    def write_half() -> None:
        with private_file(tmp_path / "a") as file:
            file.write(b"half")
            raise failure

    with pytest.raises(told):
        write_half()
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_read_is_a_file_and_small(tmp_path: Path) -> None:
    """A pipe would be waited for, a device and a file with a hole have no end that memory could hold."""
    (tmp_path / "text").write_text("è")
    (tmp_path / "link").symlink_to("text")
    assert read_small(tmp_path / "link") == "è"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "directory").mkdir()
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 2**40)
    for name, said in (
        ("pipe", "Not a file"),
        ("device", "Not a file"),
        ("directory", "Is a directory"),
        ("large", f"More than {MAX_SMALL} bytes"),
        ("missing", "No such file or directory"),
    ):
        with pytest.raises(OSError, match=said):
            read_small(tmp_path / name)
