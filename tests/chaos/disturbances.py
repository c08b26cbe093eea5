"""What befalls nodes, and the database they share: made up at random, and gone through in its time."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mail_proxy.daemon.leases import LEASE, RENEW_EVERY
from tests.support.server import Server

NODES = {"postgres": ("first", "second", "third"), "sqlite": ("first",)}
"""What servers there are on a database."""

SHORTEST_LEASE = LEASE - RENEW_EVERY - 2
"""Seconds of a stop from which on another node may have what the sleeper holds."""


class Kind(StrEnum):
    KILL = "kill"
    STOP = "stop"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, order=True)
class Disturbance:
    """What befalls a node, by its number, or the database: from `at` on, for `lasts` seconds."""

    at: float
    lasts: float
    kind: Kind
    node: int = 0
    how: signal.Signals = signal.SIGINT


def at_random(dice: random.Random, seconds: float, nodes: int, restarts: int) -> list[Disturbance]:
    """Make up what befalls each node in so many seconds: half of it kills, a sixth stops beyond a lease.

    Of the restarts of the database each second is a crash, after which it is away for longer than a lease.
    """
    plan = [each for node in range(nodes) for each in _life(dice, seconds, node)]
    for number in range(restarts):
        at = seconds * (number + dice.uniform(0.3, 0.7)) / restarts
        how = (signal.SIGINT, signal.SIGQUIT)[number % 2]
        away = (dice.uniform(0.5, 3), dice.uniform(LEASE + 3, LEASE + 8))[number % 2]
        plan.append(Disturbance(at, away, Kind.RESTART, how=how))
    return sorted(plan)


def _life(dice: random.Random, seconds: float, node: int) -> Iterator[Disturbance]:
    at = dice.uniform(1, 10)
    while at < seconds:
        kind = dice.choice((Kind.KILL, Kind.KILL, Kind.KILL, Kind.STOP, Kind.STOP, None))
        if kind is None:
            lasts, kind = dice.uniform(LEASE + 3, LEASE + 15), Kind.STOP
        else:
            lasts = dice.uniform(0.2, 5)
        yield Disturbance(at, lasts, kind, node)
        at += lasts + dice.uniform(4, 20)


def go_through(
    plan: Sequence[Disturbance],
    begin: Callable[[Disturbance], None],
    end: Callable[[Disturbance], None],
) -> None:
    """Begin and end each disturbance in its time, or as soon as those before allow; restarts only begin."""
    begins = [(each.at, 0, each) for each in plan]
    ends = [(each.at + each.lasts, 1, each) for each in plan if each.kind is not Kind.RESTART]
    began = time.monotonic()
    for at, is_end, each in sorted(begins + ends):
        time.sleep(max(0.0, began + at - time.monotonic()))
        (end if is_end else begin)(each)


def has_to_run(server: Server) -> None:
    """Raise AssertionError when a node that nothing has befallen is not there."""
    if not server.is_running:
        raise AssertionError(f"{server.name} ended by itself: {server.log[-3000:]}")


def ends_badly(server: Server) -> list[str]:
    """Stop a node; what is to be said against the way it ended."""
    code = server.stop()
    if code == 0 and "Traceback" not in server.log:
        return []
    return [f"{server.name} ended with {code}: {server.log[-2000:]}"]
