"""Query plans: how each named statement of the hot paths reaches its rows. docs/query-plans.md shows them.

A statement that scans a table which grows with history is marked.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from mail_proxy.store.queries import Query, load
from tests.bench.fill import fill
from tests.bench.report import Report
from tests.bench.rig import ACCOUNT, TENANT, Rig

MESSAGES = 100_000

HOT = {
    "intake": ("intake", ("allocate", "existing", "insert", "insert_payload")),
    "replacing": ("intake", ("replace", "replace_payload")),
    "claim": ("queue", ("promote", "look", "pick", "take", "renew", "release")),
    "content": ("messages", ("payload", "payloads")),
    "settle": ("outcomes", ("lock", "held", "begin_final", "settle")),
    "taking over": ("queue", ("orphans", "reclaim")),
    "report": (
        "contacts",
        (
            "with_news",
            "with_refused",
            "with_beat",
            "moments",
            "take",
            "renew",
            "news",
            "join_refused",
            "due_again",
            "hold",
            "again",
            "newest",
            "submitted",
            "lock_told",
            "told",
            "told_messages",
            "refusals",
            "refuse",
            "accepted",
            "failed",
        ),
    ),
    "reading": ("messages", ("get", "by_id", "events", "histories", "some", "waiting", "waiting_of_tenant")),
    "lists": (
        "messages",
        ("tenant_ids", "branches", "parked_branches", "newest_of_accounts", "newest_of_batches"),
    ),
}
"""The statements that run for each message, or while messages run, by what they are for."""

# Indexes of what waits: as small as the queue, so reading one through is no scan of the history.
PARTIAL = (
    "messages_ready",
    "messages_parked",
    "messages_held",
    "messages_deferred",
    "messages_leased",
    "events_due",
    "events_refused",
    "events_refused_of_message",
    "events_given_up",
)
_WAITING = rf"\w+ USING (?:COVERING )?INDEX (?:{'|'.join(PARTIAL)})"
_STEPS = r"(?:n|ready|due|branch|given|first|newest|waiting|ripe)$"
_OWN = rf"CONSTANT ROW|sqlite_sequence|\w+ VIRTUAL TABLE|\(subquery-\d+\)$|{_STEPS}"
_TENANTS = r"(?:t|tenants) USING COVERING INDEX sqlite_autoindex_tenants_1"
_HARMLESS = rf"{_OWN}|{_TENANTS}|{_WAITING}"
_SQLITE_SCAN = re.compile(rf"^\s*SCAN (?!{_HARMLESS})", re.MULTILINE)
_POSTGRES_SCAN = re.compile(r"Seq Scan on (?:messages|payloads|events|send_log)\b")

_NOW = time.time()
PARAMETERS: dict[str, object] = {
    "account_id": ACCOUNT,
    "active": "active",
    "active_only": 0,
    "after": 0,
    "again_ts": _NOW,
    "batch_code": None,
    "beat_at": _NOW + 300,
    "before": _NOW + 60,
    "below": 0,
    "branches": f'[["{TENANT}", "sent", "{ACCOUNT}"]]',
    "count": 1,
    "deferred_ts": None,
    "description": "",
    "dnd_until": None,
    "each": 100,
    "envelope_from": None,
    "error": None,
    "error_ts": None,
    "event_data": None,
    "event_id": 10,
    "event_ids": "[10]",
    "event_ts": _NOW,
    "event_type": "queued",
    "id": "old-10",
    "ids": '["old-10"]',
    "in_hand": "[1]",
    "is_due": 0,
    "is_held": 0,
    "is_news": 1,
    "is_pec": 0,
    "is_unknown": 0,
    "kind": "fields",
    "lane": 1,
    "last_error": None,
    "lease_until": _NOW + 30,
    "limit": 100,
    "message_id": "<x@bench.test>",
    "metadata": None,
    "next_try": _NOW + 10,
    "now": _NOW,
    "owner": "node",
    "parked_for": None,
    "parked_since": None,
    "payload": b"{}",
    "pk": "pk",
    "place": 10,
    "priority": 2,
    "read_along": 262_144,
    "recipients": "[]",
    "retry_count": 0,
    "rounds": 0,
    "seen_again": _NOW,
    "seen_beat": -1.0,
    "seen_seq": 10,
    "sent_ts": None,
    "seq": 10,
    "seqs": "[10]",
    "since": 0.0,
    "size": 2,
    "status": None,
    "statuses": '["pending", "sent"]',
    "tenant_id": TENANT,
    "tenant_ids": f'["{TENANT}"]',
    "tenants": f'["{TENANT}"]',
    "until": _NOW + 60,
}


def measure(database: str, count: int = MESSAGES) -> Report:
    """The plans on a database with a past."""
    report = Report(f"query plans ({database})")
    with Rig(database) as rig:
        rig.start()
        rig.server.stop()
        target = rig.database_url or rig.sqlite_file
        report.figure("sent messages in the database", count, "")
        report.figure("time to write them", fill(target, count), "s")
        add_plans(report, target)
    return report


def add_plans(report: Report, target: str | Path) -> None:
    """Explain every hot statement; a bound says that none scans what grows."""
    scans = []
    for purpose, plans in explain(target).items():
        for name, plan in plans.items():
            report.texts.append((f"{purpose}: {name}", plan))
            if scans_history(plan):
                scans.append(name)
    if scans:
        report.texts.append(("statements that scan a growing table", ", ".join(scans)))
    report.at_most("statements that scan a growing table", len(scans), 0)


def scans_history(plan: str) -> bool:
    """Whether a plan reads all of a table, or of an index, that grows with what was ever sent."""
    return bool(_SQLITE_SCAN.search(plan) or _POSTGRES_SCAN.search(plan))


def explain(target: str | Path) -> dict[str, dict[str, str]]:
    """The plan of each hot statement, by purpose and name; a Path is SQLite."""
    if isinstance(target, Path):
        with contextlib.closing(sqlite3.connect(target)) as raw:
            return {
                purpose: {query.name: _explain_sqlite(raw, query) for query in queries}
                for purpose, queries in _hot()
            }
    return asyncio.run(_explain_all_postgres(target))


def _hot() -> Iterator[tuple[str, list[Query]]]:
    for purpose, (stem, names) in HOT.items():
        queries = load(stem)
        yield purpose, [queries[name] for name in names]


def _parameters(query: Query) -> dict[str, object]:
    missing = set(query.order) - PARAMETERS.keys()
    if missing:
        raise KeyError(f"statement {query.name}: give PARAMETERS a plausible {', '.join(sorted(missing))}")
    given = dict(PARAMETERS)
    if query.name in ("insert", "replace", "settle", "reclaim"):
        given["status"] = "pending"
    return given


def _explain_sqlite(raw: sqlite3.Connection, query: Query) -> str:
    rows = raw.execute(f"EXPLAIN QUERY PLAN {query.sqlite}", _parameters(query)).fetchall()
    depth = {0: -1}
    lines = []
    for identity, parent, _, detail in rows:
        depth[identity] = depth.get(parent, -1) + 1
        lines.append("  " * depth[identity] + detail)
    return "\n".join(lines) or "(no table is read)"


async def _explain_all_postgres(dsn: str) -> dict[str, dict[str, str]]:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    try:
        return {
            purpose: {query.name: await _explain_postgres(connection, query) for query in queries}
            for purpose, queries in _hot()
        }
    finally:
        await connection.close()


async def _explain_postgres(connection: asyncpg.Connection[asyncpg.Record], query: Query) -> str:
    arguments = query.arguments(_parameters(query))
    rows = await connection.fetch(f"EXPLAIN (COSTS OFF) {query.postgres}", *arguments)
    return "\n".join(row[0] for row in rows)
