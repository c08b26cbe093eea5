"""History: whether a message is queued and sent as fast with a million sent ones behind it as with none."""

from __future__ import annotations

import time

from tests.bench.fill import fill
from tests.bench.latency import WARM_UP, Sample, sample
from tests.bench.plans import add_plans
from tests.bench.report import Report, percentile
from tests.bench.rig import Rig, queue
from tests.support.server import Client

SENT = 1_000_000
MESSAGES, BURST = 200, 500
RATIO = 1.5


def measure(database: str, count: int = SENT) -> Report:
    """Single messages and a burst, on an empty database and on a full one."""
    report = Report(f"history ({database})")
    with Rig(database, record=True) as rig:
        server = rig.start()
        empty, empty_burst = _send(rig, server.client(), "empty")
        server.stop()
        target = rig.database_url or rig.sqlite_file
        report.figure("sent messages in the database", count, "")
        report.figure("time to write them", fill(target, count), "s")
        begun = time.perf_counter()
        server.start()
        report.figure("start of the server with them", time.perf_counter() - begun, "s")
        full, full_burst = _send(rig, server.client(), "full")
        server.stop()
        _compare(report, "POST to its answer", empty.answers, full.answers)
        _compare(report, "POST to the final dot", empty.dots, full.dots)
        _compare(report, f"burst of {BURST} to the last dot", [empty_burst], [full_burst])
        add_plans(report, target)
    return report


def _send(rig: Rig, client: Client, name: str) -> tuple[Sample, float]:
    """Single messages, then a burst whose milliseconds to the last final dot are the second value."""
    sample(rig, client, f"{name}-warm", WARM_UP)
    singles = sample(rig, client, f"{name}-single", MESSAGES)
    before = rig.sink.tally().distinct
    begun = time.time()
    queue(client, [f"{name}-burst-{number}" for number in range(BURST)])
    tally = rig.wait_for_sink(lambda tally: tally.distinct >= before + BURST)
    rig.wait_until_sent(client)
    return singles, (tally.last - begun) * 1000


def _compare(report: Report, name: str, empty: list[float], full: list[float]) -> None:
    before, after = percentile(empty, 0.5), percentile(full, 0.5)
    report.figure(f"{name}, empty", before, "ms")
    report.figure(f"{name}, full", after, "ms")
    report.at_most(f"{name}, full / empty", after / before, RATIO)
