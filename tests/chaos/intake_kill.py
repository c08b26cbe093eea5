"""``kill -9`` while messages are being taken in: whatever was answered 200 is there afterwards."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import secrets
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import load
from tests.bench.rig import Rig, fields
from tests.chaos.ledger import read_states
from tests.support.children import clean_up_when_terminated
from tests.support.postgres import PostgresServer
from tests.support.server import Server

CONNECTIONS = 16
PER_REQUEST = 3
SHORTEST, LONGEST = 0.1, 0.8
"""Seconds of intake before the kill."""


@dataclass(slots=True)
class Outcome:
    """What was promised by an answer, and what was not there when the server came back."""

    seed: int
    kills: int = 0
    answered: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills, {len(self.answered)} messages answered 200, "
            f"{len(self.missing)} of them missing"
        )


def run(
    database: str, *, kills: int, seed: int | None = None, postgres: PostgresServer | None = None
) -> Outcome:
    """Kill so many times during intake, dispatch at rest."""
    outcome = Outcome(seed=secrets.randbelow(2**32) if seed is None else seed)
    dice = random.Random(outcome.seed)
    with Rig(database, settings={"GMP_SCHEDULER_ACTIVE": "false"}, postgres=postgres) as rig:
        server = rig.start()
        target: str | Path = rig.database_url or rig.sqlite_file
        names = (f"intake-{number}" for number in itertools.count())
        for _ in range(kills):
            seconds = dice.uniform(SHORTEST, LONGEST)
            outcome.answered += load.run(_submit_until_killed(server, names, seconds))
            server.kill()
            outcome.kills += 1
            server.start()
            states = read_states(target)
            outcome.missing = [name for name in outcome.answered if name not in states]
    return outcome


async def _submit_until_killed(server: Server, names: Iterator[str], seconds: float) -> list[str]:
    """Post over many connections until the server is gone; the ids that were answered 200."""
    answered: list[str] = []
    callers = [await load.Caller.connect(server.port) for _ in range(CONNECTIONS)]
    asyncio.get_running_loop().call_later(seconds, server.send_signal, signal.SIGKILL)
    token = server.token
    await asyncio.gather(*(_submit(caller, token, names, answered) for caller in callers))
    return answered


async def _submit(caller: load.Caller, token: str, names: Iterator[str], answered: list[str]) -> None:
    with contextlib.suppress(OSError):  # the kill
        while True:
            batch = list(itertools.islice(names, PER_REQUEST))
            body = {"messages": [fields(name) for name in batch]}
            status, answer = await caller.call(load.post("/commands/add-messages", body, token))
            if status != 200 or json.loads(answer)["queued"] != len(batch):
                raise AssertionError(f"{status}: {answer[:300]!r}")
            answered += batch
    caller.close()


def main() -> int:
    """Run from the command line; 1 if a message is missing."""
    clean_up_when_terminated()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.intake_kill", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    outcome = run(given.database, kills=given.kills, seed=given.seed)
    print(f"{given.database}: {outcome}")
    return 1 if outcome.missing else 0


if __name__ == "__main__":
    sys.exit(main())
