"""A storage that is a directory of this machine: no name and no link leads out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

from mail_proxy.attachments.failure import StorageFailed

_INTO = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a named pipe would be waited for
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalFiles:
    """Blocking. Paths are walked directory by directory: a link put there meanwhile is refused too."""

    def __init__(self, base: str) -> None:
        self._base = base

    def put(self, path: str, content: bytes) -> None:
        """Write a file whole, or not at all."""
        with self._told(), self._folder_of(path) as (folder, name):
            begun = f".{secrets.token_hex(8)}.part"
            try:
                with os.fdopen(os.open(begun, _NEW, 0o600, dir_fd=folder), "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(begun, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(begun, dir_fd=folder)
                raise

    def get(self, path: str, limit: int) -> bytes:
        """Read a file of at most `limit` bytes."""
        with (
            self._told(),
            self._folder_of(path) as (folder, name),
            os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file,
        ):
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StorageFailed(f"{self._base}: {path} is not a file")
            content = file.read(limit + 1)
        if len(content) > limit:
            raise StorageFailed(f"{self._base}: {path} has more than {limit} bytes")
        return content

    def delete(self, path: str) -> None:
        """Remove a file."""
        with self._told(), self._folder_of(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        base = os.open(self._base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # the admin's own links
        try:
            yield base
        finally:
            os.close(base)

    @contextlib.contextmanager
    def _folder_of(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory that the path's last part is in."""
        *above, name = path.split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in (*above, name)):
            raise StorageFailed("it is not a path inside the storage")
        with contextlib.ExitStack() as opened:
            folder = opened.enter_context(self._opened())
            for part in above:
                folder = os.open(part, _INTO, dir_fd=folder)
                opened.callback(os.close, folder)
            yield folder, name

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.ELOOP:
                reason = "symbolic links are not followed"
            raise StorageFailed(f"{self._base}: {reason}") from error
