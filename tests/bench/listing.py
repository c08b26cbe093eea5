"""Listing: whether a page of messages comes as fast from a million of them as from a thousand.

Most messages are alike, of one state, account and batch; the few that a filter looks for are the oldest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from tests.bench.fill import Past, fill
from tests.bench.report import Report, percentile
from tests.bench.rig import ACCOUNT, TENANT, Rig
from tests.support.postgres import find_postgres
from tests.support.server import Client

FEW, MANY = 1_000, 1_000_000
LIMIT = 100
RATIO = 2.0
WARM_UP, RUNS = 3, 21

OTHER_TENANT, OTHER_ACCOUNT = "few", "few"
IDLE = {"GMP_START_ACTIVE": "false"}
STATES = ("sent", "pending", "error")
"""What most messages are."""


def past(state: str) -> Past:
    """Give the oldest messages, `LIMIT` of each kind, something of their own."""
    return Past(
        tenant=f"CASE WHEN i <= {LIMIT} THEN '{OTHER_TENANT}' ELSE '{TENANT}' END",
        account=f"CASE WHEN i > {LIMIT} AND i <= {2 * LIMIT} THEN '{OTHER_ACCOUNT}' ELSE '{ACCOUNT}' END",
        batch=f"CASE WHEN i > {2 * LIMIT} AND i <= {3 * LIMIT} THEN 'few' ELSE 'many' END",
        status=f"CASE WHEN i > {3 * LIMIT} AND i <= {4 * LIMIT} THEN 'deferred'"
        f" WHEN i > {4 * LIMIT} AND i <= {5 * LIMIT} THEN 'bounced' ELSE '{state}' END",
        events=("queued",),
    )


def measure(database: str, count: int = MANY) -> Report:
    """Each filter alone and within a tenant, on few messages and on many, of which most are in one state."""
    report = Report(f"listing ({database})")
    with contextlib.ExitStack() as stack:
        postgres = find_postgres(durable=True) if database == "postgres" else None
        if postgres is not None:
            stack.enter_context(postgres)
        for state in STATES:
            with (
                Rig(database, postgres=postgres, settings=IDLE) as small,
                Rig(database, postgres=postgres, settings=IDLE) as large,
            ):
                few, many = _filled(small, state, FEW), _filled(large, state, count)
                _compare(report, state, few, many, count)
    return report


def _filled(rig: Rig, state: str, count: int) -> Client:
    client = rig.start().client()
    client.post("/tenant", {"id": OTHER_TENANT})
    for tenant_id, account_id in ((TENANT, OTHER_ACCOUNT), (OTHER_TENANT, ACCOUNT)):
        client.post(
            "/account", {"id": account_id, "tenant_id": tenant_id, "host": "127.0.0.1", "tls": "none"}
        )
    rig.server.stop()
    target: str | Path = rig.database_url or rig.sqlite_file
    fill(target, count, past(state))
    return rig.server.start().client()


def _compare(report: Report, state: str, few: Client, many: Client, count: int) -> None:
    """Ask both in turn, and take of each the time that a quarter of the requests kept.

    What else the machine does meanwhile slows single requests down, which says nothing of a list.
    """
    of_few, of_many = _queries(few, state, FEW), _queries(many, state, count)
    for name in of_few:
        times = [(_time(few, of_few[name]), _time(many, of_many[name])) for _ in range(WARM_UP + RUNS)]
        small, large = (percentile(column, 0.25) for column in zip(*times[WARM_UP:], strict=True))
        report.figure(f"{state}: {name}, of {FEW:,}", small, "ms")
        report.figure(f"{state}: {name}, of {count:,}", large, "ms")
        report.at_most(f"{state}: {name}, many / few", large / small, RATIO)


def _time(client: Client, query: Mapping[str, object]) -> float:
    begun = time.perf_counter()
    client.get(_path(query))
    return (time.perf_counter() - begun) * 1000


def _queries(client: Client, state: str, count: int) -> dict[str, dict[str, object]]:
    newest = client.get("/messages?limit=1")["messages"][0]["created_at"]
    middle = client.get(_path({"until": newest - count // 2}, limit=1))["next_cursor"]
    alone: dict[str, dict[str, object]] = {
        "all": {},
        "most": {"status": state},
        "deferred": {"status": "deferred"},
        "bounced": {"status": "bounced"},
        "sending": {"status": "sending"},
        "active": {"active_only": "true"},
        "large account": {"account_id": ACCOUNT},
        "small account": {"account_id": OTHER_ACCOUNT},
        "large batch": {"batch_code": "many"},
        "small batch": {"batch_code": "few"},
        "last minute": {"since": newest - 59},
        "long ago": {"until": newest - count + LIMIT + 10},
        "with history": {"include_history": "true"},
    }
    middles = {
        f"{name} from the middle": alone[name] | {"cursor": middle}
        for name in ("all", "most", "large account", "large batch", "small account", "small batch", "bounced")
    }
    queries = alone | middles
    of_tenant = {f"tenant, {name}": query | {"tenant_id": TENANT} for name, query in queries.items()}
    return queries | of_tenant | {"small tenant": {"tenant_id": OTHER_TENANT}}


def _path(query: Mapping[str, object], limit: int = LIMIT) -> str:
    return "/messages?" + urlencode({"limit": limit, **query})
