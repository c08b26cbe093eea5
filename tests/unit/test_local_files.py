"""A storage that is a directory: nothing outside of it is read, written or deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mail_proxy.attachments.failure import StorageFailed
from mail_proxy.attachments.local import LocalFiles

OUTSIDE = b"not yours"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A directory with files, and with ways out of it that somebody has put there."""
    (tmp_path / "secret").write_bytes(OUTSIDE)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_bytes(OUTSIDE)
    made = tmp_path / "files"
    (made / "2026" / "may").mkdir(parents=True)
    (made / "2026" / "may" / "invoice.pdf").write_bytes(b"%PDF")
    (made / "link").symlink_to(tmp_path / "secret")
    (made / "way").symlink_to(tmp_path / "private")
    (made / "2026" / "near").symlink_to("may")
    return made


def untouched(base: Path) -> bool:
    """Whether what is outside is as it was."""
    outside = (base.parent / "secret", base.parent / "private" / "key")
    return all(path.read_bytes() == OUTSIDE for path in outside)


def test_files_in_its_directories_are_read_written_and_deleted(base: Path) -> None:
    files = LocalFiles(str(base))
    assert files.get("2026/may/invoice.pdf", 4) == b"%PDF"
    files.put("2026/may/order.pdf", b"one")
    files.put("2026/may/order.pdf", b"another")
    assert files.get("2026/may/order.pdf", 100) == b"another"
    assert (base / "2026/may/order.pdf").stat().st_mode & 0o777 == 0o600
    files.delete("2026/may/order.pdf")
    assert [path.name for path in (base / "2026/may").iterdir()] == ["invoice.pdf"]


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "..", "../secret", "2026/../../secret", "/etc/passwd", "2026//may/invoice.pdf", "./2026/may",
        "2026/may/", "2026/may\0/invoice.pdf",
    ],
)  # fmt: skip
def test_paths_that_lead_out_of_it_or_nowhere_are_refused(base: Path, path: str) -> None:
    files = LocalFiles(str(base))
    for use in (lambda: files.get(path, 100), lambda: files.put(path, b"x"), lambda: files.delete(path)):
        with pytest.raises(StorageFailed, match="it is not a path inside the storage"):
            use()


@pytest.mark.parametrize("path", ["link", "way/key", "2026/near/invoice.pdf"])
def test_links_are_not_followed(base: Path, path: str) -> None:
    """Wherever they lead: who puts them there may not be who configured the storage."""
    files = LocalFiles(str(base))
    with pytest.raises(StorageFailed, match=r"symbolic links are not followed|Not a directory"):
        files.get(path, 100)
    if "/" in path:
        with pytest.raises(StorageFailed):
            files.put(path, b"x")
        with pytest.raises(StorageFailed):
            files.delete(path)
    assert untouched(base)


def test_a_link_in_the_place_of_a_file_is_replaced_and_deleted_itself(base: Path) -> None:
    files = LocalFiles(str(base))
    files.put("link", b"mine")
    assert (base / "link").read_bytes() == b"mine"
    files.delete("way")
    assert untouched(base)


def test_what_is_no_file_or_too_large_is_not_read(base: Path) -> None:
    """A named pipe neither: it would be waited for."""
    os.mkfifo(base / "pipe")
    files = LocalFiles(str(base))
    for path, limit, said in (
        ("2026", 100, "Is a directory|is not a file"),
        ("pipe", 100, "is not a file"),
        ("2026/may/invoice.pdf", 3, "has more than 3 bytes"),
        ("nothing", 100, "No such file or directory"),
    ):
        with pytest.raises(StorageFailed, match=said):
            files.get(path, limit)


def test_what_cannot_be_finished_leaves_nothing(base: Path) -> None:
    (base / "taken").mkdir()
    before = sorted(base.rglob("*"))
    with pytest.raises(StorageFailed, match="Is a directory"):
        LocalFiles(str(base)).put("taken", b"x")
    assert sorted(base.rglob("*")) == before
