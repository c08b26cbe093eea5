"""The program called within the test's process, on a real terminal to write to."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.cli import QuickCli, Result

ROWS, COLUMNS = 40, 120


class QuickTerminal(QuickCli):
    """Standard output and error are one pseudo-terminal, which `Result.out` is read from; input is given."""

    def __call__(
        self,
        *arguments: str | Path,
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        primary, replica = os.openpty()
        fcntl.ioctl(replica, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        with ThreadPoolExecutor(1) as reader, os.fdopen(primary, "rb", buffering=0) as terminal:
            shown = reader.submit(_read_all, terminal.fileno())
            with os.fdopen(replica, "w", encoding="utf-8") as stream:
                code = self.run_with(stream, stream, arguments, stdin, env, cwd)
            return Result(code, shown.result().decode(), "")


def _read_all(descriptor: int) -> bytes:
    """Read what comes, until nobody has the terminal open any more."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)
