"""Intake: how many messages a second are taken and on disk, beside a bare endpoint and plain inserts."""

from __future__ import annotations

import json

from tests.bench import plain_inserts
from tests.bench.bare_endpoint import PATH, BareEndpoint
from tests.bench.load import Load, load, post, run
from tests.bench.report import Report
from tests.bench.rig import Rig, fields
from tests.support.server import Server

SINGLES, SINGLE_CONNECTIONS = 20_000, 64
BATCHES, PER_BATCH, BATCH_CONNECTIONS = 300, 100, 8
WARM_UP = 2_000
SHARE = 0.5
P99_MS = 50.0


def measure(database: str, count: int = SINGLES) -> Report:
    """One message a request over 64 connections, then batches of 100. Dispatch rests meanwhile."""
    report = Report(f"intake ({database})")
    with Rig(database, settings={"GMP_SCHEDULER_ACTIVE": "false"}) as rig:
        server = rig.start()
        _singles(report, server, count)
        _batches(report, rig, server)
    return report


def _singles(report: Report, server: Server, count: int) -> None:
    requests = [_request(server.token, [f"single-{i}"]) for i in range(count)]
    with BareEndpoint() as bare:
        run(load(bare.port, requests[:WARM_UP], SINGLE_CONNECTIONS))
        limit = run(load(bare.port, requests, SINGLE_CONNECTIONS))
        limit.require_success()
    warm = [_request(server.token, [f"warm-{i}"]) for i in range(WARM_UP)]
    run(load(server.port, warm, SINGLE_CONNECTIONS)).require_success()
    before = server.resident_mb()
    ours = run(load(server.port, requests, SINGLE_CONNECTIONS))
    ours.require_success()
    _describe(report, "bare endpoint", limit)
    _describe(report, "one a request", ours)
    report.figure("memory before", before, "MiB")
    report.figure("memory after", server.resident_mb(), "MiB")
    report.at_least("one a request / bare endpoint", ours.rate / limit.rate, SHARE)
    report.at_most("one a request, p99", ours.milliseconds(0.99), P99_MS, "ms")


def _batches(report: Report, rig: Rig, server: Server) -> None:
    names = [[f"batch-{b}-{i}" for i in range(PER_BATCH)] for b in range(BATCHES)]
    requests = [_request(server.token, batch) for batch in names]
    rows = BATCHES * PER_BATCH
    size = len(json.dumps(fields("batch-0-0")))
    target = rig.database_url or rig.directory / "plain.db"
    limit = plain_inserts.one_table(target, rows, size)
    ours = run(load(server.port, requests, BATCH_CONNECTIONS))
    ours.require_success()
    server.stop()
    same_rows = plain_inserts.message(rig.database_url or rig.sqlite_file, rows, size)
    rate = ours.rate * PER_BATCH
    report.figure("plain inserts of one row, 100 a commit", limit, "rows/s")
    report.figure("plain inserts of the same rows", same_rows, "messages/s")
    report.figure("batches of 100", rate, "messages/s")
    report.figure("batches of 100, p99", ours.milliseconds(0.99), "ms")
    report.figure("batches of 100 / plain inserts of one row", rate / limit, "")
    # A message is three rows and seven indexes: only the same rows are a limit of storing it.
    report.at_least("batches of 100 / plain inserts of the same rows", rate / same_rows, SHARE)


def _request(token: str, names: list[str]) -> bytes:
    return post(PATH, {"messages": [fields(name) for name in names]}, token)


def _describe(report: Report, name: str, result: Load) -> None:
    report.figure(name, result.rate, "requests/s")
    report.figure(f"{name}, median", result.milliseconds(0.5), "ms")
    report.figure(f"{name}, p99", result.milliseconds(0.99), "ms")
