"""The receiver of reports as a process of its own, apart from what is measured and from what is killed.

``python -m tests.support.receiver_process --record FILE`` prints its port, then answers each line on its
standard input with what it has seen as JSON, and ends with its standard input. The line ``calm`` ends its
moods.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tests.support.asked_process import AskedProcess, run_fast, standard_input
from tests.support.children import tethered
from tests.support.receiver import Mood, Receiver, Seen

CALM = "calm"


class ReceiverProcess(AskedProcess):
    """A receiver to ask what it has seen; what is under way at its end is written down as unanswered."""

    def __init__(
        self, *, moods: Mapping[Mood, float] | None = None, seed: int = 0, record: Path | None = None
    ) -> None:
        command = [sys.executable, "-m", "tests.support.receiver_process"]
        command += ["--moods", json.dumps(moods or {}), "--seed", str(seed)]
        command += ["--record", str(record)] if record else []
        super().__init__(tethered(command))

    @property
    def url(self) -> str:
        """Its base URL: it answers on every path."""
        return f"http://127.0.0.1:{self.port}"

    def seen(self) -> Seen:
        """Ask what it has seen so far."""
        return Seen(**self.ask())

    def calm_down(self) -> Seen:
        """Let it take everything at once from here on."""
        return Seen(**self.ask(CALM))


async def _serve(moods: Mapping[str, float], seed: int, record: Path | None) -> None:
    reader = await standard_input()
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
    run_fast(_serve(given.moods, given.seed, given.record))


if __name__ == "__main__":
    main()
