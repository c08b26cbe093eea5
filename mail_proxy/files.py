"""Files for their owner alone, written so that a reader, or a crash, sees all of a text or none of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mail_proxy.errors import InstanceError

MAX_SMALL = 1024 * 1024
"""Bytes of a file that is read at once."""


def open_file(path: Path) -> BinaryIO:
    """Open a file to be read; raises OSError, also for what is none: a pipe would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "Not a file", str(path))
    return os.fdopen(descriptor, "rb")


def read_small(path: Path) -> str:
    """Return the text of a file that is small; raises OSError, and UnicodeDecodeError."""
    with open_file(path) as file:
        content = file.read(MAX_SMALL + 1)
    if len(content) > MAX_SMALL:
        raise OSError(errno.EFBIG, f"More than {MAX_SMALL} bytes", str(path))
    return content.decode()


def write_private(path: Path, text: str) -> None:
    """Write a file (mode 0600), or replace it at once by the new text; raise InstanceError."""
    with reporting(f"cannot write {path}"), _complete_file(path, text) as complete:
        complete.replace(path)


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file (mode 0600) to be written piece by piece; it is there, whole, once the block has ended.

    What is no file on the disk, as a pipe, is written as it is. Raises InstanceError.
    """
    with reporting(f"cannot write {path}"):
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        path = path.resolve()  # a link goes on to lead there
        with _temporary(path) as (descriptor, temporary):
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_directory(path.parent)


def create_private(path: Path, text: str) -> bool:
    """Write a file (mode 0600) unless it exists; tell whether it was this call that made it."""
    with reporting(f"cannot create {path}"), _complete_file(path, text) as complete:
        try:
            path.hardlink_to(complete)
        except FileExistsError:
            return False
    return True


def write_through(descriptor: int, content: bytes) -> None:
    """Write all of `content` onto the disk, and close; raise OSError."""
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Keep others, who ask too, out of a directory: of two that read a file and write it, none is lost.

    Raises InstanceError.
    """
    with reporting(f"cannot lock {directory}"):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with reporting(f"cannot lock {directory}"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: syncing a file does not; raise OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reporting(failure: str) -> Iterator[None]:
    """Turn the system's refusal into an InstanceError of one line that begins with `failure`."""
    try:
        yield
    except OSError as error:
        raise InstanceError(f"{failure}: {error.strerror or error}") from error


@contextlib.contextmanager
def _complete_file(beside: Path, text: str) -> Iterator[Path]:
    """Yield a temporary file that holds all of `text` on the disk, to be put in its place."""
    with _temporary(beside) as (descriptor, temporary):
        write_through(descriptor, text.encode())
        yield temporary
        sync_directory(beside.parent)


@contextlib.contextmanager
def _temporary(beside: Path) -> Iterator[tuple[int, Path]]:
    """Make a temporary file in the same directory; if it is there still in the end, it is removed."""
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix=f".{beside.name}.", dir=beside.parent)
    try:
        yield descriptor, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
