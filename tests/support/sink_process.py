"""The sink as a process of its own, apart from what is measured and from what is killed.

``python -m tests.support.sink_process --port 0 --record FILE`` prints its port, then answers each line on
its standard input with its tally as JSON, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.sink import Knobs, Sink, Tally

REPOSITORY = Path(__file__).resolve().parents[2]
STOP_TIMEOUT = 10.0


class SinkProcess:
    """Start with `start` or ``with``; `port` is where it listens."""

    def __init__(self, knobs: Knobs | None = None, *, record: Path | None = None) -> None:
        self._knobs = knobs or Knobs()
        self._record = record
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> Self:
        """Start it and wait for its port."""
        command = [
            sys.executable,
            "-m",
            "tests.support.sink_process",
            "--knobs",
            json.dumps(asdict(self._knobs)),
        ]
        if self._record is not None:
            command += ["--record", str(self._record)]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._read_line())
        return self

    def tally(self) -> Tally:
        """Ask what it has seen so far."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Tally(**json.loads(self._read_line()))

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
            raise RuntimeError(f"the sink ended with {self._process.wait(STOP_TIMEOUT)}")
        return line

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def _serve(port: int, record: Path | None, knobs: Knobs) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sink = Sink(knobs, record=record, remember=False)
    await sink.start(port)
    print(sink.port, flush=True)
    while await reader.readline():
        print(json.dumps(asdict(sink.tally)), flush=True)
    await sink.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.sink_process", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--knobs", type=json.loads, default={}, metavar="JSON", help=str(Knobs.__doc__))
    given = parser.parse_args()
    serving = _serve(given.port, given.record, Knobs(**given.knobs))
    if importlib.util.find_spec("uvloop"):
        import uvloop

        uvloop.run(serving)
    else:
        asyncio.run(serving)


if __name__ == "__main__":
    main()
