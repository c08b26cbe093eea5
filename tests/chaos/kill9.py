"""``kill -9`` while messages are being sent, again and again: what arrives, what is doubled, what is told.

Each round queues messages over REST, kills the server when the sink has taken a random number of them,
starts it again and waits until all are sent.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.rig import Rig, queue, wait_for
from tests.chaos.ledger import Deliveries, read_events, read_states
from tests.chaos.verdict import verdict
from tests.support.children import clean_up_when_terminated
from tests.support.postgres import PostgresServer
from tests.support.sink import Knobs, read_record

SETTINGS = {"GMP_RETRY_DELAYS": "1"}
FINAL_DELAY = 0.003
"""Seconds the sink takes to answer the final dot: the step in which a kill leaves the outcome unknown."""


@dataclass(slots=True, kw_only=True)
class Outcome(Deliveries):
    """What was seen."""

    seed: int
    kills: int = 0

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills, {len(self.queued)} messages queued, "
            f"{len(self.copies)} arrived, {len(self.in_final)} were in their final step at a kill, "
            f"{len(self.flagged)} flagged possible_duplicate, {len(self.doubled)} doubled"
        )


def run(
    database: str,
    *,
    kills: int,
    messages: int,
    seed: int | None = None,
    postgres: PostgresServer | None = None,
) -> Outcome:
    """Kill so many times, with so many messages queued before each; TimeoutError if a round never ends."""
    outcome = Outcome(seed=secrets.randbelow(2**32) if seed is None else seed)
    dice = random.Random(outcome.seed)
    knobs = Knobs(final_delay=FINAL_DELAY)
    with Rig(database, settings=SETTINGS, knobs=knobs, record=True, postgres=postgres) as rig:
        rig.start()
        target: str | Path = rig.database_url or rig.sqlite_file
        for round_number in range(kills):
            names = [f"kill-{round_number}-{number}" for number in range(messages)]
            _kill_while_sending(rig, target, names, dice.randrange(1, messages), outcome)
            _wait_until_all_sent(rig, outcome)
        rig.server.stop()
        outcome.arrivals = read_record(rig.record)
        outcome.events = read_events(target)
    return outcome


def _kill_while_sending(rig: Rig, target: str | Path, names: list[str], at: int, outcome: Outcome) -> None:
    """Queue, kill once the sink has taken `at` of them, and note what was in its final step."""
    before = rig.sink.tally().messages
    client = rig.server.client()
    queue(client, names)
    outcome.queued += names
    wait_for(lambda: rig.sink.tally().messages >= before + at, poll=0.0005)
    rig.server.end(signal.SIGKILL)
    rig.server.kill()
    outcome.kills += 1
    # What the dead had already written may still be on its way.
    wait_for(lambda: rig.sink.tally().open_now == 0, poll=0.005)
    states = read_states(target)
    lost = [name for name in names if name not in states]
    if lost:
        raise AssertionError(f"seed {outcome.seed}: queued and answered 200, but gone: {lost[:5]}")
    seen = {arrival.test_id for arrival in read_record(rig.record)}
    outcome.in_final |= {name for name in seen if states[name] != "sent"}


def _wait_until_all_sent(rig: Rig, outcome: Outcome) -> None:
    client = rig.server.start().client()
    wait_for(lambda: rig.sink.tally().distinct >= len(outcome.queued), poll=0.02)
    rig.wait_until_sent(client)


def main() -> int:
    """Run from the command line; 1 if a promise was broken."""
    clean_up_when_terminated()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kill9", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--messages", type=int, default=1000, help="queued before each kill")
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    outcome = run(given.database, kills=given.kills, messages=given.messages, seed=given.seed)
    return verdict(outcome, given.database)


if __name__ == "__main__":
    sys.exit(main())
