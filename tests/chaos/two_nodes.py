"""Two servers on one PostgreSQL: each message arrives exactly once, and both do their share."""

from __future__ import annotations

import argparse
import sys
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

from tests.bench.rig import Rig, queue, wait_for
from tests.chaos.verdict import verdict
from tests.support.children import clean_up_when_terminated
from tests.support.postgres import PostgresServer
from tests.support.server import Server
from tests.support.sink import read_record

NODES = ("first", "second")
SHARE = 0.25
SENT_METRIC = "gmp_sent_total"


@dataclass(slots=True)
class Outcome:
    """How often each message arrived, and how many each node says it sent."""

    queued: int
    copies: Counter[str] = field(default_factory=Counter)
    sent_by: dict[str, int] = field(default_factory=dict)

    def broken_promises(self) -> list[str]:
        broken = [f"{name} arrived {count} times" for name, count in self.copies.items() if count != 1]
        if len(self.copies) != self.queued:
            broken.append(f"{len(self.copies)} of {self.queued} messages arrived")
        if sum(self.sent_by.values()) != self.queued:
            broken.append(f"the nodes say they sent {self.sent_by}, {self.queued} were queued")
        broken += [f"{n} sent only {c}" for n, c in self.sent_by.items() if c < SHARE * self.queued]
        return broken

    def __str__(self) -> str:
        shares = ", ".join(f"{node} sent {count}" for node, count in self.sent_by.items())
        return (
            f"{self.queued} messages queued, {self.copies.total()} arrivals of {len(self.copies)}; {shares}"
        )


def run(*, messages: int, postgres: PostgresServer | None = None) -> Outcome:
    """Queue over the first node; both send."""
    outcome = Outcome(queued=messages)
    with Rig("postgres", record=True, postgres=postgres) as rig:
        first = rig.start()
        second = rig.add_server(NODES[1]).start()
        queue(first.client(), [f"node-{number}" for number in range(messages)])
        wait_for(lambda: rig.sink.tally().distinct >= messages, poll=0.02)
        rig.wait_until_sent(first.client())
        outcome.sent_by = dict(zip(NODES, map(_sent, (first, second)), strict=True))
        second.stop()
        first.stop()
        outcome.copies = Counter(arrival.test_id for arrival in read_record(rig.record))
    return outcome


def _sent(server: Server) -> int:
    """How many messages this node has sent, by its own metrics."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(SENT_METRIC)))


def main() -> int:
    """Run from the command line; 1 if a promise was broken."""
    clean_up_when_terminated()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.two_nodes", description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    outcome = run(messages=parser.parse_args().messages)
    return verdict(outcome)


if __name__ == "__main__":
    sys.exit(main())
