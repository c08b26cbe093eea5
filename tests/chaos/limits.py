"""Three servers on one PostgreSQL and a limit of messages a minute, for a minute and more of real time.

One of them is killed in the middle of its first conversations and started again. In no window of 60 s may
more arrive than the limit allows, and what it allows has to arrive.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mail_proxy.store.limits import MARGIN
from tests.bench.rig import Rig, queue, wait_for
from tests.chaos.verdict import verdict
from tests.support.children import clean_up_when_terminated
from tests.support.postgres import PostgresServer
from tests.support.sink import Knobs, read_record

NODES = ("second", "third")
WINDOW = 60.0
REPLY_AFTER = 0.3
"""Seconds that the sink takes for its reply to a content, so that a kill finds some in flight."""

RESTART = 8.0
"""Seconds within which the killed server is back at work, on a busy machine."""

CONVERSATIONS = 4
"""Of one server at a time."""

SLACK = 2.0
"""Seconds from a slot's being free to the next arrival, on a busy machine."""


LATE = 20.0
"""Seconds by which the last may be late on a machine that is busier still; slots come again later."""


@dataclass(slots=True)
class Outcome:
    """When contents arrived, in seconds from the first."""

    limit: int
    seconds: float
    arrivals: list[float] = field(default_factory=list)

    @property
    def most(self) -> int:
        """The most that arrived within any window, both its ends included."""
        return most_within(self.arrivals, WINDOW)

    @property
    def least(self) -> int:
        """How many had to arrive: each slot is free again a window after its message, or the restart.

        What the killed server was about to transmit counts, and has perhaps not arrived.
        """
        round_trip = WINDOW + MARGIN + REPLY_AFTER + SLACK
        rounds = 1 + max(0, int((self.seconds - RESTART) // round_trip))
        return self.limit * rounds - CONVERSATIONS

    def broken_promises(self) -> list[str]:
        broken = []
        if self.most > self.limit:
            broken.append(f"{self.most} arrived within {WINDOW:g} s, {self.limit} are allowed")
        if len(self.arrivals) < self.least:
            broken.append(f"{len(self.arrivals)} arrived in {self.seconds:g} s, {self.least} were allowed")
        return broken

    def __str__(self) -> str:
        return (
            f"limit {self.limit} a minute, {self.seconds:.0f} s: {len(self.arrivals)} arrivals,"
            f" at most {self.most} in any minute; the last {self.arrivals[-1]:.2f} s after the first"
        )


def most_within(moments: Sequence[float], seconds: float) -> int:
    """The most of these moments that lie within any window, both its ends included."""
    ordered, most, first = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] < moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def run(*, limit: int, seconds: float, postgres: PostgresServer | None = None) -> Outcome:
    """Queue three times what may go, and let the three send for so long."""
    outcome = Outcome(limit, seconds)
    knobs = Knobs(final_delay=REPLY_AFTER)
    with Rig("postgres", record=True, knobs=knobs, postgres=postgres) as rig:
        first = rig.start(limit_per_minute=limit, batch_size=limit // 2, max_concurrent=CONVERSATIONS)
        others = [rig.add_server(name).start() for name in NODES]
        queue(first.client(), [f"limited-{number}" for number in range(3 * limit)])
        wait_for(lambda: rig.sink.tally().messages > 0, poll=0.01)
        started = time.monotonic()
        others[0].kill()
        others[0].start()
        time.sleep(max(0.0, started + seconds - time.monotonic()))
        with suppress(TimeoutError):
            wait_for(lambda: rig.sink.tally().messages >= outcome.least, poll=0.1, patience=LATE)
        arrivals = sorted(arrival.dot for arrival in read_record(rig.record))
        for server in (first, *others):
            server.stop()
    outcome.arrivals = [moment - arrivals[0] for moment in arrivals]
    return outcome


def main() -> int:
    """Run from the command line; 1 if a promise was broken."""
    clean_up_when_terminated()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.limits", description=__doc__)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=140.0)
    given = parser.parse_args()
    outcome = run(limit=given.limit, seconds=given.seconds)
    return verdict(outcome)


if __name__ == "__main__":
    sys.exit(main())
