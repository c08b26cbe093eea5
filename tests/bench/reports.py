"""Reports: how fast applications learn of a backlog, and how soon of what happens now, beside dead ones."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg

from mail_proxy.model.accounts import SANDBOX_HOST
from tests.bench import bare_reports
from tests.bench.fill import Past, fill
from tests.bench.load import run
from tests.bench.report import Report, percentile
from tests.bench.rig import ACCOUNT, TENANT, Rig, wait_for
from tests.support.receiver import HANG, Seen, read_requests
from tests.support.receiver_process import ReceiverProcess
from tests.support.server import Client, Server

EVENTS, BATCH = 50_000, 500
TENANTS = (1, 20)
IN_TIME = 60.0
GROWTH_MB = 10.0

NEIGHBOURS, ROUNDS, PAUSE = 100, 80, 0.5
"""Half of so many tenants hang; an event of each, so many times, at such intervals: beyond a time-out."""
SOON = 2.0

SINGLES = 100
AT_ONCE = 1.0


def measure(database: str, count: int = EVENTS) -> Report:
    """50,000 events of one tenant and of twenty; events of 50 tenants beside 50 that hang; single events."""
    report = Report(f"reports ({database})")
    for tenants in TENANTS:
        _tell_a_backlog(report, database, count, tenants)
    _tell_beside_the_hanging(report, database, NEIGHBOURS)
    _tell_single_events(report, database)
    return report


def _tell_a_backlog(report: Report, database: str, count: int, tenants: int) -> None:
    name = f"{count:,} events of {tenants}"
    bodies = bare_reports.payloads(count, BATCH)
    with ReceiverProcess() as bare:
        ceiling = count / run(bare_reports.post_all(bare.url, bodies, tenants))
    with ReceiverProcess() as receiver, Rig(database) as rig:
        names = [f"{TENANT}-{number}" for number in range(tenants)]
        target = _fill(rig, receiver.url, names, count)
        resident: list[tuple[int, float]] = []
        begun = time.time()
        with _watch_memory(rig.server, receiver, resident) as seen:
            rig.server.start()
            wait_for(lambda: seen[-1].distinct >= count, poll=0.01)
            wait_for(lambda: not _is_any_due(target), poll=0.02)
        ended = time.time()
        last = receiver.seen()
    early = [size for told, size in resident if 0 < told <= count / 2] or [resident[0][1]]
    report.figure(f"{name}: bare client", ceiling, "events/s")
    report.figure(f"{name}: from first to last acknowledged", count / (ended - last.first), "events/s")
    report.figure(f"{name}: share of the bare client's", count / (ended - last.first) / ceiling, "")
    report.figure(f"{name}: start of the server to the first post", last.first - begun, "s")
    report.figure(f"{name}: posts", last.requests, "")
    report.figure(f"{name}: most memory, of the first half", max(early), "MiB")
    report.figure(f"{name}: most memory", max(size for _, size in resident), "MiB")
    growth = max(size for _, size in resident) - max(early)
    report.at_most(f"{name}: most memory beyond that of the first half", growth, GROWTH_MB, "MiB")
    report.at_most(f"{name}: start to last acknowledged", ended - begun, IN_TIME, "s")
    report.at_most(f"{name}: told twice", last.entries - last.distinct, 0)


def _fill(rig: Rig, url: str, tenants: Sequence[str], count: int) -> str | Path:
    """Make the tenants, and a past that their applications were not told of; the server is down then."""
    server = rig.add_server().start()
    _add_tenants(server.client(), dict.fromkeys(tenants, url))
    server.stop()
    target: str | Path = rig.database_url or rig.sqlite_file
    fill(target, count, Past(tenant=f"'{TENANT}-' || (i % {len(tenants)})", due=("sent",)))
    return target


def _add_tenants(client: Client, urls: dict[str, str]) -> None:
    for name, url in urls.items():
        client.post("/tenant", {"id": name, "client_base_url": url})
        client.post("/account", {"id": ACCOUNT, "tenant_id": name, "host": SANDBOX_HOST})


@contextlib.contextmanager
def _watch_memory(
    server: Server, receiver: ReceiverProcess, resident: list[tuple[int, float]]
) -> Iterator[list[Seen]]:
    """Note, all the time, what the receiver has seen, and at how many events what memory was in use."""
    seen = [receiver.seen()]
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.02):
            seen.append(receiver.seen())
            if server.is_running:
                resident.append((seen[-1].distinct, server.resident_mb()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def _is_any_due(target: str | Path) -> bool:
    """Ask the database itself: the server has enough to do."""
    sql = "SELECT 1 FROM events WHERE is_due = 1 LIMIT 1"
    if isinstance(target, Path):
        with contextlib.closing(sqlite3.connect(target, timeout=30)) as raw:
            return raw.execute(sql).fetchone() is not None
    return bool(asyncio.run(_postgres_rows(target, sql)))


async def _postgres_rows(dsn: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


def _tell_beside_the_hanging(report: Report, database: str, tenants: int) -> None:
    """Each round one message of each tenant is sent to the sandbox; half of the applications never answer."""
    names = [f"{'dead' if number % 2 else 'live'}-{number}" for number in range(tenants)]
    with Rig(database) as rig, ReceiverProcess(record=rig.directory / "reports") as receiver:
        server = rig.add_server().start()
        client = server.client()
        _add_tenants(
            client, {name: receiver.url + (HANG if name.startswith("dead") else "") for name in names}
        )
        for number in range(ROUNDS):
            messages = [_message(name, number) for name in names]
            client.post("/commands/add-messages", {"messages": messages})
            time.sleep(PAUSE)
        live = sum(name.startswith("live") for name in names) * ROUNDS
        wait_for(lambda: receiver.seen().distinct >= live, poll=0.1)
        server.kill()
        _report_delays(report, f"beside {tenants - tenants // 2} that hang", rig, SOON)


def _tell_single_events(report: Report, database: str) -> None:
    """One tenant, a message at a time, at random moments."""
    with Rig(database) as rig, ReceiverProcess(record=rig.directory / "reports") as receiver:
        server = rig.add_server().start()
        client = server.client()
        _add_tenants(client, {TENANT: receiver.url})
        for number in range(SINGLES):
            client.post("/commands/add-messages", {"messages": [_message(TENANT, number)]})
            time.sleep(random.uniform(0.05, 0.3))
        wait_for(lambda: receiver.seen().distinct >= SINGLES, poll=0.1)
        server.kill()
        _report_delays(report, "light load", rig, AT_ONCE)


def _message(tenant_id: str, number: int) -> dict[str, object]:
    return {
        "id": f"m{number}",
        "tenant_id": tenant_id,
        "account_id": ACCOUNT,
        "from": "sender@bench.test",
        "to": ["recipient@bench.test"],
        "subject": "bench",
        "body": "Hello",
    }


def _report_delays(report: Report, name: str, rig: Rig, limit: float) -> None:
    """From what happened, by the database, to its arrival at an application that answers."""
    happened = _moments(rig.database_url or rig.sqlite_file)
    arrivals = [
        (int(str(each["event_id"])), request.begin)
        for request in read_requests(rig.directory / "reports")
        for each in request.taken
    ]
    first = dict(reversed(arrivals))
    delays = [at - happened[event_id] for event_id, at in first.items()]
    report.figure(f"{name}: events told", len(first), "")
    report.figure(f"{name}: event to arrival, median", percentile(delays, 0.5) * 1000, "ms")
    report.figure(f"{name}: event to arrival, p99", percentile(delays, 0.99) * 1000, "ms")
    report.at_most(f"{name}: event to arrival, slowest", max(delays), limit, "s")
    report.at_most(f"{name}: told twice", len(arrivals) - len(first), 0)


def _moments(target: str | Path) -> dict[int, float]:
    sql = "SELECT event_id, event_ts FROM events WHERE event_type = 'sent'"
    if isinstance(target, Path):
        with contextlib.closing(sqlite3.connect(target)) as raw:
            return dict(raw.execute(sql).fetchall())
    return {row["event_id"]: row["event_ts"] for row in asyncio.run(_postgres_rows(target, sql))}
