"""A server of the tests as a process of its own, which tells its port, and then answers line by line."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

from tests.support.server import REPOSITORY

STOP_TIMEOUT = 10.0


class AskedProcess:
    """Start with `start` or ``with``; `port` is where it listens. It ends with its standard input."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> Self:
        """Start it and wait for its port."""
        self._process = subprocess.Popen(
            self._command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._read_line())
        return self

    def ask(self, line: str = "") -> dict[str, Any]:
        """Write a line, and return the JSON object that it answers."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read_line())
        return answer

    def stop(self) -> None:
        """End it; may be called again."""
        if self._process is None:
            return
        try:
            self._process.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _read_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command} ended with {self._process.wait(STOP_TIMEOUT)}")
        return line

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def standard_input() -> asyncio.StreamReader:
    """The lines that such a process is asked with."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def run_fast(serving: Coroutine[object, object, None]) -> None:
    """Run it on uvloop where that is installed."""
    if importlib.util.find_spec("uvloop"):
        import uvloop

        uvloop.run(serving)
    else:
        asyncio.run(serving)
