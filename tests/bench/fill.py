"""A past for a database: very many sent and reported messages, written straight with SQL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path

import asyncpg

from tests.bench.rig import ACCOUNT, TENANT

FILL_TIMEOUT = 1800.0
EVENTS = ("queued", "sending", "sent")
PAYLOAD = '{"from": "sender@bench.test", "to": ["recipient@bench.test"], "subject": "old", "body": "gone"}'

# What both engines understand; {series} yields i from 1, {pk} a unique text, {payload} the content's bytes.
_MESSAGES = """
INSERT INTO messages (seq, pk, tenant_id, id, account_id, lane, status, priority, recipients, message_id,
    is_pec, size, created_at, updated_at, sent_ts, reported_ts)
SELECT {base} + i, {pk}, '{tenant}', 'old-' || i, '{account}',
    (SELECT lane FROM accounts WHERE tenant_id = '{tenant}' AND id = '{account}'), 'sent', 2,
    '[["recipient@bench.test","sent","250","2.0.0 ok"]]', '<old-' || i || '@bench.test>',
    0, {size}, {now} - {count} + i, {now} - {count} + i, {now} - {count} + i, {now} - {count} + i
FROM {series}"""
_PAYLOADS = """
INSERT INTO payloads (seq, kind, content) SELECT {base} + i, 'fields', {payload} FROM {series}"""
_EVENTS = """
INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due, reported_ts)
SELECT {base} + i, '{tenant}', '{event}', {now} - {count} + i, 'old', 0, {now} FROM {series}"""
_SEND_LOG = """
INSERT INTO send_log (seq, tenant_id, lane, sent_at)
SELECT seq, tenant_id, lane, sent_ts FROM messages WHERE status = 'sent'"""


def fill(path_or_dsn: str | Path, count: int) -> float:
    """Add `count` sent messages of the bench's account; return the seconds it took. No server may run."""
    begun = time.perf_counter()
    if isinstance(path_or_dsn, Path):
        _fill_sqlite(path_or_dsn, count)
    else:
        asyncio.run(_fill_postgres(path_or_dsn, count))
    return time.perf_counter() - begun


def _statements(base: int, count: int, series: str, pk: str, payload: str) -> list[str]:
    values = {
        "base": base,
        "count": count,
        "now": time.time(),
        "tenant": TENANT,
        "account": ACCOUNT,
        "size": len(PAYLOAD),
        "series": series,
        "pk": pk,
        "payload": payload,
    }
    events = [_EVENTS.format(event=event, **values) for event in EVENTS]
    return [_MESSAGES.format(**values), _PAYLOADS.format(**values), *events, _SEND_LOG]


def _fill_sqlite(path: Path, count: int) -> None:
    series = (
        f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"
    )
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA synchronous=OFF")
        raw.execute("PRAGMA cache_size=-262144")
        base = raw.execute("SELECT COALESCE(MAX(seq), 0) FROM messages").fetchone()[0]
        raw.execute("BEGIN")
        payload = f"CAST('{PAYLOAD}' AS BLOB)"
        for statement in _statements(base, count, series, "lower(hex(randomblob(16)))", payload):
            raw.execute(statement)
        raw.execute("COMMIT")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _fill_postgres(dsn: str, count: int) -> None:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=FILL_TIMEOUT)
    try:
        await connection.execute("SET synchronous_commit = off")
        await connection.execute("SET session_replication_role = replica")  # our rows refer to what is there
        base = await connection.fetchval("SELECT COALESCE(MAX(seq), 0) FROM messages")
        payload = f"convert_to('{PAYLOAD}', 'UTF8')"
        series = f"generate_series(1, {count}) AS n(i)"
        for statement in _statements(base, count, series, "gen_random_uuid()::text", payload):
            await connection.execute(statement)
        await connection.execute(
            "SELECT setval(pg_get_serial_sequence('messages', 'seq'), (SELECT MAX(seq) FROM messages))"
        )
        # What autovacuum does within a minute; a measure does not wait for it.
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
