"""The sink as a process of its own, apart from what is measured and from what is killed.

``python -m tests.support.sink_process --port 0 --record FILE`` prints its port, then answers each line on
its standard input with its tally as JSON, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.support.asked_process import AskedProcess, run_fast, standard_input
from tests.support.sink import Knobs, Sink, Tally


class SinkProcess(AskedProcess):
    """A sink to ask for its tally."""

    def __init__(self, knobs: Knobs | None = None, *, record: Path | None = None) -> None:
        command = [sys.executable, "-m", "tests.support.sink_process"]
        command += ["--knobs", json.dumps(asdict(knobs or Knobs()))]
        command += ["--record", str(record)] if record else []
        super().__init__(command)

    def tally(self) -> Tally:
        """Ask what it has seen so far."""
        return Tally(**self.ask())


async def _serve(port: int, record: Path | None, knobs: Knobs) -> None:
    reader = await standard_input()
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
    run_fast(_serve(given.port, given.record, Knobs(**given.knobs)))


if __name__ == "__main__":
    main()
