"""Nodes that are killed, and stopped and continued, at random, on a database that restarts.

Three nodes on one PostgreSQL, or one on SQLite. Some stops outlast the leases, so that another node takes
over what the sleeper held. Every message arrives; doubled are at most those that were in their final step at
a kill or at such a stop, and their events say so.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.rig import Rig, queue, wait_for
from tests.chaos.disturbances import (
    NODES,
    SHORTEST_LEASE,
    Disturbance,
    Kind,
    at_random,
    ends_badly,
    go_through,
    has_to_run,
)
from tests.chaos.ledger import Deliveries, read_events, read_in_final
from tests.chaos.verdict import verdict
from tests.support.children import clean_up_when_terminated
from tests.support.postgres import MISSING, PostgresServer, find_postgres
from tests.support.server import Server
from tests.support.sink import Knobs, read_record

SETTINGS = {"GMP_RETRY_DELAYS": "1"}
CONVERSATIONS = 10
"""At a time, of each node."""

PACE = {"postgres": 0.8, "sqlite": 1.2}
"""How slow the sink is made, so that sending lasts about as long as the disturbances; found by trying."""

PATIENCE = 240.0
"""Seconds after the last disturbance in which all has to be sent."""

SETTLED = 0.1
"""Seconds that a server of the database may need for what the dead has asked of it."""


@dataclass(slots=True, kw_only=True)
class Outcome(Deliveries):
    """What was done, and what was seen."""

    seed: int
    kills: int = 0
    stops: int = 0
    long_stops: int = 0
    restarts: int = 0
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)

    @property
    def sending(self) -> float:
        """Seconds from the first arrival to the last; disturbances after that disturbed nothing."""
        dots = [arrival.dot for arrival in self.arrivals]
        return max(dots) - min(dots)

    def broken_promises(self) -> list[str]:
        return self.complaints + super(Outcome, self).broken_promises()

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills, {self.stops} stops, {self.long_stops} of them longer "
            f"than a lease, {self.restarts} restarts of the database; {len(self.queued)} messages queued, "
            f"{len(self.copies)} arrived, {len(self.in_final)} were in their final step at a kill or a long "
            f"stop, {len(self.flagged)} flagged possible_duplicate, {len(self.doubled)} doubled; "
            f"sent for {self.sending:.0f} s of {self.seconds:.0f}"
        )


@dataclass(slots=True)
class _Node:
    """`held` is what it had in its final step when it was stopped, at `stopped_at`."""

    server: Server
    held: set[str] = field(default_factory=set)
    stopped_at: float = 0.0


class _Chaos:
    def __init__(
        self, rig: Rig, nodes: Sequence[_Node], postgres: PostgresServer | None, out: Outcome
    ) -> None:
        self._nodes = nodes
        self._postgres = postgres
        self._out = out
        self._target: str | Path = rig.database_url or rig.sqlite_file

    def go_through(self, plan: Sequence[Disturbance]) -> None:
        go_through(plan, self._begin, self._end)

    def _restart(self, disturbance: Disturbance) -> None:
        assert self._postgres is not None
        self._out.restarts += 1
        self._postgres.restart(disturbance.how, away=disturbance.lasts)

    def _begin(self, disturbance: Disturbance) -> None:
        if disturbance.kind is Kind.RESTART:
            self._restart(disturbance)
            return
        node = self._nodes[disturbance.node]
        has_to_run(node.server)
        if disturbance.kind is Kind.KILL:
            node.server.kill()
            self._out.kills += 1
        else:
            node.server.send_signal(signal.SIGSTOP)
            node.stopped_at = time.monotonic()
            self._out.stops += 1
        time.sleep(SETTLED)
        node.held = read_in_final(self._target, node.server.node_id)
        if disturbance.kind is Kind.KILL:
            self._out.in_final |= node.held

    def _end(self, disturbance: Disturbance) -> None:
        node = self._nodes[disturbance.node]
        if disturbance.kind is Kind.KILL:
            node.server.start()
            return
        node.server.send_signal(signal.SIGCONT)
        if time.monotonic() - node.stopped_at > SHORTEST_LEASE:
            self._out.long_stops += 1
            self._out.in_final |= node.held


def run(
    database: str,
    *,
    messages: int,
    seconds: float,
    seed: int | None = None,
    plan: Sequence[Disturbance] | None = None,
    postgres: PostgresServer | None = None,
) -> Outcome:
    """Disturb as planned, or for so many seconds at random, while so many messages are sent.

    `postgres` is one that may be restarted. Raises TimeoutError if it never ends.
    """
    outcome = Outcome(seed=secrets.randbelow(2**32) if seed is None else seed)
    names = NODES[database]
    if plan is None:
        restarts = 2 if database == "postgres" else 0
        plan = at_random(random.Random(outcome.seed), seconds, len(names), restarts)
    pace = PACE[database] * seconds * CONVERSATIONS * len(names) / messages
    knobs = Knobs(delay=pace * 0.3, final_delay=pace * 0.3)
    began = time.monotonic()
    with Rig(database, settings=SETTINGS, knobs=knobs, record=True, postgres=postgres) as rig:
        first = rig.start(max_concurrent=CONVERSATIONS)
        outcome.queued = [f"chaos-{number}" for number in range(messages)]
        queue(first.client(), outcome.queued)
        nodes = [_Node(first), *(_Node(rig.add_server(name).start()) for name in names[1:])]
        chaos = _Chaos(rig, nodes, postgres, outcome)
        chaos.go_through(plan)
        for node in nodes:
            has_to_run(node.server)
        wait_for(lambda: rig.sink.tally().distinct >= messages, poll=0.1, patience=PATIENCE)
        rig.wait_until_sent(first.client(), poll=0.1)
        outcome.complaints += [fault for node in nodes for fault in ends_badly(node.server)]
        outcome.arrivals = read_record(rig.record)
        outcome.events = read_events(rig.database_url or rig.sqlite_file)
    outcome.seconds = time.monotonic() - began
    return outcome


def main() -> int:
    """Run from the command line; 1 if a promise was broken."""
    clean_up_when_terminated()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.three_nodes", description=__doc__)
    parser.add_argument("--database", choices=tuple(NODES), default="postgres")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=300.0, help="for which nodes are disturbed")
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    postgres = find_postgres(durable=True) if given.database == "postgres" else None
    if given.database == "postgres" and (postgres is None or postgres.is_given):
        print(f"no PostgreSQL that may be restarted. {MISSING}")
        return 2
    try:
        if postgres is not None:
            postgres.start()
        outcome = run(
            given.database, messages=given.messages, seconds=given.seconds, seed=given.seed, postgres=postgres
        )
    finally:
        if postgres is not None:
            postgres.stop()
    return verdict(outcome, given.database)


if __name__ == "__main__":
    sys.exit(main())
