"""Nodes that are killed, and stopped and continued, at random, while they tell moody applications of events.

Three nodes on one PostgreSQL, or one on SQLite. Applications answer slowly, refuse, hang, and break off.
Every event arrives at its application, in order within its message; told twice is only what a node had in
hand that was killed or stopped beyond a lease, with the same event_id and in the same words.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.rig import Rig, wait_for
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
from tests.chaos.report_ledger import Absence, Reports, read_happened, read_left
from tests.chaos.verdict import verdict
from tests.support.children import clean_up_when_terminated
from tests.support.postgres import PostgresServer
from tests.support.receiver import Mood, read_requests
from tests.support.receiver_process import ReceiverProcess
from tests.support.server import Client, Server
from tests.support.sink import Knobs

MOODS: Mapping[Mood, float] = {
    Mood.SLOW: 0.3,
    Mood.SOME: 0.1,
    Mood.REFUSE: 0.04,
    Mood.NOT_OK: 0.04,
    Mood.GARBAGE: 0.04,
    Mood.DROP: 0.04,
    Mood.HANG: 0.02,
}
TENANTS = 20
SETTINGS = {"GMP_RETRY_DELAYS": "1", "GMP_SYNC_INTERVAL": "20"}
DEFERRED = 3
"""Of so many attempts to send one is put off: most messages have an event, many have two or three."""

PACE = 0.8
"""How slow the sink is made, so that sending lasts about as long as the disturbances; found by trying."""

PATIENCE = 400.0
"""Seconds after the last disturbance in which all has to be told: beyond the longest backing off."""


@dataclass(slots=True, kw_only=True)
class Outcome(Reports):
    """What was done, and what was seen."""

    seed: int
    kills: int = 0
    stops: int = 0
    long_stops: int = 0
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)

    def broken_promises(self) -> list[str]:
        return self.complaints + super(Outcome, self).broken_promises()

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills, {self.stops} stops, {self.long_stops} of them longer "
            f"than a lease, in {self.seconds:.0f} s; {super(Outcome, self).__str__()}"
        )


class _Chaos:
    def __init__(self, nodes: Sequence[Server], out: Outcome) -> None:
        self._nodes = nodes
        self._out = out
        self._begun: dict[int, float] = {}

    def begin(self, disturbance: Disturbance) -> None:
        node = self._nodes[disturbance.node]
        has_to_run(node)
        self._begun[disturbance.node] = time.time()
        if disturbance.kind is Kind.KILL:
            node.kill()
            self._out.kills += 1
        else:
            node.send_signal(signal.SIGSTOP)
            self._out.stops += 1

    def end(self, disturbance: Disturbance) -> None:
        node = self._nodes[disturbance.node]
        if disturbance.kind is Kind.KILL:
            node.start()
        else:
            node.send_signal(signal.SIGCONT)
        begin, end = self._begun[disturbance.node], time.time()
        if disturbance.kind is Kind.STOP and end - begin <= SHORTEST_LEASE:
            return
        self._out.long_stops += disturbance.kind is Kind.STOP
        self._out.absences.append(Absence(node.name, disturbance.kind, begin, end))


def run(
    database: str,
    *,
    messages: int,
    seconds: float,
    tenants: int = TENANTS,
    moods: Mapping[Mood, float] = MOODS,
    seed: int | None = None,
    names: Sequence[str] | None = None,
    plan: Sequence[Disturbance] | None = None,
    postgres: PostgresServer | None = None,
) -> Outcome:
    """Disturb as planned, or for so many seconds at random, while so many messages are sent.

    `names` are those of the nodes. Raises TimeoutError if it never ends.
    """
    outcome = Outcome(seed=secrets.randbelow(2**32) if seed is None else seed)
    names = names or NODES[database]
    if plan is None:
        plan = at_random(random.Random(outcome.seed), seconds, len(names), 0)
    delay = PACE * seconds * tenants * len(names) / messages * 0.3
    knobs = Knobs(delay=delay, final_delay=delay, fail_every=DEFERRED)
    began = time.monotonic()
    with Rig(database, settings=SETTINGS, knobs=knobs, postgres=postgres) as rig:
        record = rig.directory / "reports"
        with ReceiverProcess(moods=moods, seed=outcome.seed, record=record) as receiver:
            nodes = [_start(rig, receiver, name) for name in names]
            client = nodes[0].client()
            _add_tenants(client, tenants, rig.sink.port)
            _submit(client, messages, tenants)
            chaos = _Chaos(nodes, outcome)
            go_through(plan, chaos.begin, chaos.end)
            for node in nodes:
                has_to_run(node)
            receiver.calm_down()
            target: str | Path = rig.database_url or rig.sqlite_file
            client = nodes[0].client()
            wait_for(lambda: client.get("/status")["pending_messages"] == 0, poll=0.1, patience=PATIENCE)
            _wait_until_all_is_told(client)
            outcome.complaints += [fault for node in nodes for fault in ends_badly(node)]
        outcome.happened, outcome.left = read_happened(target), read_left(target)
        outcome.requests = sorted(read_requests(record), key=lambda request: request.begin)
    outcome.seconds = time.monotonic() - began
    return outcome


def _start(rig: Rig, receiver: ReceiverProcess, name: str) -> Server:
    """Start a node that posts to a path of its own: tenants have no base URL, each node has one for them."""
    node = rig.add_server(name)
    node.settings["GMP_CLIENT_SYNC_URL"] = f"{receiver.url}/{name}"
    return node.start()


def _add_tenants(client: Client, count: int, port: int) -> None:
    for number in range(count):
        client.post("/tenant", {"id": f"t{number}"})
        account = {"id": "main", "tenant_id": f"t{number}", "host": "127.0.0.1", "port": port, "tls": "none"}
        client.post("/account", {**account, "max_concurrent": 1})


def _submit(client: Client, count: int, tenants: int, *, batch: int = 500) -> None:
    messages = [
        {
            "id": f"m{number}",
            "tenant_id": f"t{number % tenants}",
            "account_id": "main",
            "from": "sender@chaos.test",
            "to": ["recipient@chaos.test"],
            "subject": "chaos",
            "body": "Hello",
            "metadata": {"number": number},
        }
        for number in range(count)
    ]
    for start in range(0, count, batch):
        client.post("/commands/add-messages", {"messages": messages[start : start + batch]})


def _wait_until_all_is_told(client: Client) -> None:
    """Without help: applications that are well again hear of everything when it is their turn."""
    wait_for(
        lambda: not any(each["pending_reports"] for each in client.get("/tenants/sync-status")["tenants"]),
        poll=0.2,
        patience=PATIENCE,
    )


def main() -> int:
    """Run from the command line; 1 if a promise was broken."""
    clean_up_when_terminated()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.report_nodes", description=__doc__)
    parser.add_argument("--database", choices=tuple(NODES), default="postgres")
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=300.0, help="for which nodes are disturbed")
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    outcome = run(given.database, messages=given.messages, seconds=given.seconds, seed=given.seed)
    return verdict(outcome, given.database)


if __name__ == "__main__":
    sys.exit(main())
