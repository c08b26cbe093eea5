"""Memory: whether taking in a million messages leaves the server as small as it was."""

from __future__ import annotations

from tests.bench.bare_endpoint import PATH
from tests.bench.load import load, post, run
from tests.bench.report import Report
from tests.bench.rig import Rig, fields
from tests.support.server import Server

MESSAGES = 1_000_000
PER_BATCH, CONNECTIONS = 100, 8
STEPS = 10
GROWTH_MB = 20.0


def measure(database: str, count: int = MESSAGES) -> Report:
    """Batches of 100, the server's resident memory after each tenth of them. Dispatch rests meanwhile."""
    report = Report(f"memory ({database})")
    with Rig(database, settings={"GMP_SCHEDULER_ACTIVE": "false"}) as rig:
        server = rig.start()
        resident = [_take(report, server, step, count // STEPS) for step in range(STEPS)]
    # The first tenth fills caches and makes the allocator's arenas; from then on nothing may be added.
    report.at_most("grown since the first tenth", max(resident) - resident[0], GROWTH_MB, "MiB")
    return report


def _take(report: Report, server: Server, step: int, count: int) -> float:
    batches = (
        [f"{step}-{batch}-{number}" for number in range(PER_BATCH)] for batch in range(count // PER_BATCH)
    )
    requests = [post(PATH, {"messages": [fields(name) for name in names]}, server.token) for names in batches]
    result = run(load(server.port, requests, CONNECTIONS))
    result.require_success()
    resident = server.resident_mb()
    report.figure(f"after {(step + 1) * count:,} messages", resident, "MiB")
    report.figure("taken meanwhile", result.rate * PER_BATCH, "messages/s")
    return resident
