"""The receiver of reports as a process of its own, apart from what is measured and from what is killed.

``python -m tests.support.receiver_process --record FILE`` prints its port, then answers each line on its
standard input with what it has seen as JSON, and ends with its standard input. The line ``calm`` ends its
moods.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.children import tethered
from tests.support.receiver import Mood, Receiver, Seen
from tests.support.server import REPOSITORY

STOP_TIMEOUT = 10.0
CALM = "calm"


class ReceiverProcess:
    """``with ReceiverProcess() as receiver: receiver.url, receiver.seen()``."""

    def __init__(
        self, *, moods: Mapping[Mood, float] | None = None, seed: int = 0, record: Path | None = None
    ) -> None:
        self._options = ["--moods", json.dumps(moods or {}), "--seed", str(seed)]
        self._options += ["--record", str(record)] if record else []
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its base URL: it answers on every path."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        command = tethered([sys.executable, "-m", "tests.support.receiver_process", *self._options])
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._read_line())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; what it still has under way is written down as unanswered."""
        assert self._process is not None
        try:
            self._process.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def seen(self) -> Seen:
        """Ask what it has seen so far."""
        return self._ask("")

    def calm_down(self) -> Seen:
        """Let it take everything at once from here on."""
        return self._ask(CALM)

    def _ask(self, line: str) -> Seen:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return Seen(**json.loads(self._read_line()))

    def _read_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the receiver ended with {self._process.wait(STOP_TIMEOUT)}")
        return line


async def _serve(moods: Mapping[str, float], seed: int, record: Path | None) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    receiver = Receiver(moods=moods, seed=seed, record=record)
    await receiver.start()
    print(receiver.port, flush=True)
    while line := await reader.readline():
        if line.decode().strip() == CALM:
            receiver.calm_down()
        print(json.dumps(asdict(receiver.seen)), flush=True)
    await receiver.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.receiver_process", description=__doc__)
    parser.add_argument("--moods", type=json.loads, default={}, metavar="JSON", help="their weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, metavar="FILE")
    given = parser.parse_args()
    serving = _serve(given.moods, given.seed, given.record)
    if importlib.util.find_spec("uvloop"):
        import uvloop

        uvloop.run(serving)
    else:
        asyncio.run(serving)


if __name__ == "__main__":
    main()
