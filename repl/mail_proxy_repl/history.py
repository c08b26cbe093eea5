"""What was typed, kept from session to session; never what may hold a password."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from mail_proxy.errors import InstanceError
from mail_proxy.files import write_private

LARGEST = 1024 * 1024
"""Bytes of a history; of a larger one, the newer half is kept."""

_GIVEN = (
    r"(?:pass(?:w|phrase|_|\b)|pwd|\bpw|secret|token|credential|authorization|connection_?string"
    r"|api_?key|(?:access|account|private|encryption)_?key)"
)
_SECRET_GIVEN = re.compile(
    rf"""
    --(?!no-)[\w-]*(?:{_GIVEN}|key)[\w-]*(?<!-stdin)(?![\w-])\s*=?\s*\S  # an option with its value
    | {_GIVEN}\w*["']?\]?\s*[:=,]                                          # a field with its value
    | \bset\s+(?:--\s+)?\S*{_GIVEN}\S*\s+\S                              # config set KEY VALUE
    | ://[^\s:]*:\S+@                                                    # a URL with a login
    """,
    re.IGNORECASE | re.VERBOSE,
)


def keeps(text: str) -> bool:
    """Whether a line may be kept: not one that gives a secret, nor one that begins with a space."""
    return bool(text.strip()) and not text[0].isspace() and _SECRET_GIVEN.search(text) is None


class _Discreet(History):
    """A history that forgets at once what is not to be kept."""

    def append_string(self, string: str) -> None:
        if keeps(string):
            super().append_string(string)


class _KeptInFile(_Discreet, FileHistory):
    """In a file, of which a full disk, or a directory that cannot be written, costs no more than the line."""

    def load_history_strings(self) -> Iterable[str]:
        with suppress(OSError):
            return super().load_history_strings()
        return ()

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string.encode("utf-8", "replace").decode())  # what was typed may be no text


class _KeptInMemory(_Discreet, InMemoryHistory):
    pass


def open_history(path: Path) -> History:
    """Open the history in a file of the user's own (mode 0600); where that cannot be, one in memory."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return _KeptInMemory()
            os.fchmod(descriptor, 0o600)
            is_large = os.fstat(descriptor).st_size > LARGEST
        finally:
            os.close(descriptor)
        if is_large:
            _halve(path)
    except (OSError, InstanceError):
        return _KeptInMemory()
    return _KeptInFile(path)


def _halve(path: Path) -> None:
    """Forget the older half of the entries, each of which begins with a line that begins with '#'."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * LARGEST))
        newest = file.read(2 * LARGEST).decode("utf-8", errors="replace")
    entries = re.split(r"(?m)^(?=# )", newest)
    write_private(path, "".join(entries[len(entries) // 2 :]))
