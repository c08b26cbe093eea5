"""The end of a rotated log: its last lines, and those that come, whatever becomes of the file."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.logging import LogFile
from mail_proxy_cli import tail
from mail_proxy_cli.tail import follow, open_at_last


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


def last(log: Path, lines: int) -> bytes:
    """What is read from where the last lines begin."""
    files = open_at_last(log, lines)
    content = b"".join(file.read() for file in files)
    for file in files:
        file.close()
    return content


def test_the_last_lines(log: Path) -> None:
    """A line that is not ended yet is one."""
    log.write_bytes(b"one\ntwo\nthree\n")
    assert [last(log, count) for count in (0, 1, 2, 3, 9)] == [
        b"", b"three\n", b"two\nthree\n", b"one\ntwo\nthree\n", b"one\ntwo\nthree\n",
    ]  # fmt: skip
    log.write_bytes(b"one\ntwo\nthr")
    assert [last(log, count) for count in (1, 2)] == [b"thr", b"two\nthr"]


def test_older_files_as_far_as_need_be(log: Path) -> None:
    log.with_name("server.log.2").write_bytes(b"one\ntwo\n")
    log.with_name("server.log.1").write_bytes(b"three\nfour\n")
    log.write_bytes(b"five\n")
    assert last(log, 1) == b"five\n"
    assert last(log, 2) == b"four\nfive\n"
    assert last(log, 4) == b"two\nthree\nfour\nfive\n"
    assert last(log, 100) == b"one\ntwo\nthree\nfour\nfive\n"


def test_while_the_log_is_being_moved(log: Path) -> None:
    """For a moment there is only the old one."""
    log.with_name("server.log.1").write_bytes(b"one\ntwo\n")
    assert last(log, 1) == b"two\n"


def test_no_log(log: Path) -> None:
    assert open_at_last(log, 10) == []
    log.touch()
    assert last(log, 10) == b""


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"") + b"\n"), max_size=12),
    parts=st.lists(st.integers(0, 12), max_size=3),
    ended=st.booleans(),
    wanted=st.integers(0, 14),
    block=st.integers(1, 16),
)
def test_any_lines_in_any_blocks(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    parts: list[int],
    ended: bool,
    wanted: int,
    block: int,
) -> None:
    """However they lie in the blocks that are read, and in the files."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    if lines and not ended:
        lines = [*lines[:-1], lines[-1][:-1] + b"x"]
    cuts = sorted({min(part, len(lines)) for part in parts} | {0, len(lines)})
    pieces = [b"".join(lines[start:end]) for start, end in itertools.pairwise(cuts)] or [b""]
    for number, piece in enumerate(reversed(pieces)):
        log.with_name(f"server.log.{number}" if number else "server.log").write_bytes(piece)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "BLOCK", block)
        assert last(log, wanted) == b"".join(lines[len(lines) - min(wanted, len(lines)) :])


def followed(log: Path, *happenings: Callable[[], object]) -> list[bytes]:
    """What is told while this happens, one thing whenever nothing was left to tell."""
    left = iter(happenings)

    class Over(Exception):
        pass

    def pause(_seconds: float) -> None:
        happening = next(left, None)
        if happening is None:
            raise Over
        happening()

    def told() -> Iterator[bytes]:
        files = open_at_last(log, 0)
        try:
            yield from follow(log, files[-1] if files else None, pause)
        except Over:
            return

    return list(told())


def append(log: Path, content: bytes) -> Callable[[], object]:
    def happening() -> None:
        with log.open("ab") as file:
            file.write(content)

    return happening


def rotated(log: Path) -> None:
    """As the server does it."""
    handler = LogFile(log, backups=3)
    handler.doRollover()
    handler.close()


def test_what_is_appended(log: Path) -> None:
    """A line is told once it is whole; what was there before is not."""
    log.write_bytes(b"before\n")
    assert followed(log, append(log, b"one\ntw"), append(log, b"o"), append(log, b"\nthree\n")) == [
        b"one\n", b"two\n", b"three\n",
    ]  # fmt: skip


def test_a_log_that_is_still_to_come(log: Path) -> None:
    assert followed(log, lambda: None, append(log, b"one\n"), append(log, b"two\n")) == [b"one\n", b"two\n"]


def test_through_rotation(log: Path) -> None:
    """Nothing is lost: what was written just before, and what several files hold that were begun since."""
    log.write_bytes(b"before\n")

    def much() -> None:
        for name in ("one", "two", "three"):
            append(log, f"{name}\n".encode())()
            rotated(log)
        append(log, b"four\n")()

    assert followed(log, append(log, b"zero\n"), much, append(log, b"five\n")) == [
        b"zero\n", b"one\n", b"two\n", b"three\n", b"four\n", b"five\n",
    ]  # fmt: skip


def test_through_more_rotations_than_files_are_kept(log: Path) -> None:
    """What is gone is gone; it goes on with the log as it is."""
    log.write_bytes(b"before\n")

    def very_much() -> None:
        for _ in range(5):
            rotated(log)
        append(log, b"now\n")()

    assert followed(log, very_much, append(log, b"then\n")) == [b"now\n", b"then\n"]


def test_a_log_that_another_program_moves_away(log: Path) -> None:
    """Until the server reopens it, on SIGHUP, the old one is written on."""
    log.write_bytes(b"before\n")
    moved = log.with_name("elsewhere")
    assert followed(
        log, lambda: log.rename(moved), append(moved, b"one\n"), append(log, b"two\n"), lambda: None
    ) == [b"one\n", b"two\n"]  # fmt: skip


def test_a_log_that_is_emptied(log: Path) -> None:
    log.write_bytes(b"before, and rather long\n")
    assert followed(log, lambda: os.truncate(log, 0), append(log, b"one\n")) == [b"one\n"]


def test_an_unfinished_line_of_a_file_that_is_moved_away(log: Path) -> None:
    """It is told as it is, and never joined to the next file's first."""
    log.write_bytes(b"before\n")
    assert followed(log, append(log, b"half"), lambda: rotated(log), append(log, b"whole\n")) == [
        b"half", b"whole\n",
    ]  # fmt: skip
