"""The end of a log that is rotated: its last lines, and those that come.

The log is ``server.log``; what is older lies in ``server.log.1``, ``server.log.2`` and so on.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import BinaryIO

BLOCK = 64 * 1024
"""Bytes read at a time while looking for where the last lines begin."""

LONGEST = 4 * BLOCK
"""Bytes of a line: a longer one counts, and is given, in pieces."""

POLL = 0.2
"""Seconds between looks for new lines."""


def open_at_last(path: Path, lines: int) -> list[BinaryIO]:
    """Open the log where its last lines begin, and older ones as far as these reach; the oldest first."""
    files: list[BinaryIO] = []
    for file in _newest_first(path):
        files.insert(0, file)
        beginning, found = _last(file, lines)
        file.seek(beginning)
        lines -= found
        if lines <= 0:
            break
    return files


def rest_of(file: BinaryIO) -> Iterator[bytes]:
    """Give the lines that are left."""
    return iter(partial(file.readline, LONGEST), b"")


def follow(
    path: Path, file: BinaryIO | None, pause: Callable[[float], object] = time.sleep
) -> Iterator[bytes]:
    """Give each line that comes in `file`, or in a log that is not there yet, and then in its successors.

    Endless: waits by `pause`. A line is given once it is whole. The file is closed in the end.
    """
    while file is None:
        file = _opened(path)
        if file is None:
            pause(POLL)
    while True:
        with file:
            file = yield from _all_of(path, file, pause)


def _all_of(path: Path, file: BinaryIO, pause: Callable[[float], object]) -> Generator[bytes, None, BinaryIO]:
    """Give the lines of a file until it is moved away; return its successor."""
    begun = b""
    while True:
        begun = yield from _whole_lines(file, begun)
        successor = _successor(path, file)
        if successor is not None:
            begun = yield from _whole_lines(file, begun)  # written after our look and before the move
            if begun:
                yield begun
            return successor
        if os.fstat(file.fileno()).st_size < file.tell():  # somebody has emptied it
            file.seek(0)
            begun = b""
        else:
            pause(POLL)


def _whole_lines(file: BinaryIO, begun: bytes) -> Generator[bytes, None, bytes]:
    """Give the lines there are, the first of which was begun so; return how an unfinished one begins."""
    for line in rest_of(file):
        begun += line
        if begun.endswith(b"\n") or len(begun) >= LONGEST:
            yield begun
            begun = b""
    return begun


def _newest_first(path: Path) -> Iterator[BinaryIO]:
    """Open the log and its predecessors, each once, though they may be moved meanwhile."""
    seen: list[os.stat_result] = []
    for number in count():
        file = _opened(_numbered(path, number))
        if file is None:
            if number:
                return
            continue
        status = os.fstat(file.fileno())
        if any(os.path.samestat(status, each) for each in seen):
            file.close()
            continue
        seen.append(status)
        yield file


def _last(file: BinaryIO, lines: int) -> tuple[int, int]:
    """Find where the last lines begin, at most so many; return that, and how many they are."""
    position = file.seek(0, os.SEEK_END)
    found = 0
    if lines <= 0 or position == 0:
        return position, 0
    beginning, before = position, position - 1  # a line end there is the end of the last line
    while position:
        start = max(0, position - BLOCK)
        file.seek(start)
        block = file.read(position - start)
        at = min(len(block), before - start)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            beginning = start + at + 1
            found += 1
            if found == lines:
                return beginning, found
        while beginning - start >= LONGEST:
            beginning -= LONGEST
            found += 1
            if found == lines:
                return beginning, found
        position = start
    return 0, found + (beginning > 0)


def _successor(path: Path, file: BinaryIO) -> BinaryIO | None:
    """Open what was begun after `file` was moved away; None while it is the log."""
    ours = os.fstat(file.fileno())
    current = _status(path)
    if current is None or os.path.samestat(current, ours):
        return None
    for number in count(1):
        status = _status(_numbered(path, number))
        if status is None:
            return _opened(path)
        if os.path.samestat(status, ours):
            successor = _opened(_numbered(path, number - 1))
            if successor is not None and not _is_at(_numbered(path, number), ours):
                successor.close()  # all were moved on meanwhile: at the next look
                return None
            return successor
    return None


def _is_at(path: Path, file: os.stat_result) -> bool:
    status = _status(path)
    return status is not None and os.path.samestat(status, file)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def _opened(path: Path) -> BinaryIO | None:
    """Open a file; raises OSError for what is none: a pipe would be waited for, a device has no end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", str(path))
    return os.fdopen(descriptor, "rb")


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
