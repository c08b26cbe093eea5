"""A past for a database: very many messages, written straight with SQL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from mail_proxy.model.messages import Recipient, RecipientStatus
from mail_proxy.store.rows import recipients_text
from tests.bench.rig import ACCOUNT, RECIPIENT, TENANT

FILL_TIMEOUT = 1800.0
RECIPIENTS = recipients_text(
    [Recipient(address=RECIPIENT, status=RecipientStatus.SENT, code="250", reply="2.0.0 ok")]
)
PAYLOAD = '{"from": "sender@bench.test", "to": ["recipient@bench.test"], "subject": "old", "body": "gone"}'

# What both engines understand; {series} yields i from 1, {pk} a unique text, {payload} the content's bytes.
_MESSAGES = """
INSERT INTO messages (seq, pk, tenant_id, id, account_id, lane, status, priority, batch_code, recipients,
    message_id, is_pec, size, created_at, updated_at, deferred_ts, sent_ts, reported_ts)
SELECT {base} + i, {pk}, tenant, 'old-' || i, account,
    (SELECT lane FROM accounts WHERE accounts.tenant_id = tenant AND accounts.id = account), status, 2, batch,
    '{recipients}', '<old-' || i || '@bench.test>', 0, {size}, {now} - {count} + i, {now} - {count} + i,
    CASE WHEN status = 'deferred' THEN {now} + 1000000 END,
    CASE WHEN status = 'sent' THEN {now} - {count} + i END,
    CASE WHEN status = 'sent' AND {told} THEN {now} - {count} + i END
FROM (SELECT i, {past.tenant} AS tenant, {past.account} AS account, {past.status} AS status,
    {past.batch} AS batch FROM {series}) AS past"""
_PAYLOADS = """
INSERT INTO payloads (seq, kind, content) SELECT {base} + i, 'fields', {payload} FROM {series}"""
_EVENTS = """
INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due, reported_ts)
SELECT {base} + i, {past.tenant}, '{event}', {now} - {count} + i, 'old', {is_due},
    CASE WHEN {is_due} = 0 THEN {now} END FROM {series}"""
# The log of what was sent as a server keeps it: of a minute each, of an hour by seconds, of a day by minutes.
_SEND_LOG = (
    """
INSERT INTO send_log (seq, tenant_id, lane, sent_at)
SELECT seq, tenant_id, lane, sent_ts FROM messages WHERE status = 'sent' AND sent_ts > {now} - 60""",
    """
INSERT INTO send_log (seq, tenant_id, lane, sent_at, amount, span)
SELECT 0, tenant_id, lane, sent_ts, 1, 1 FROM messages
WHERE status = 'sent' AND sent_ts > {now} - 3600 AND sent_ts <= {now} - 60""",
    """
INSERT INTO send_log (seq, tenant_id, lane, sent_at, amount, span)
SELECT 0, tenant_id, lane, MAX(sent_ts), COUNT(*), 60 FROM messages
WHERE status = 'sent' AND sent_ts > {now} - 86400 AND sent_ts <= {now} - 3600
GROUP BY tenant_id, lane, CAST(sent_ts / 60 AS INTEGER)""",
)


@dataclass(frozen=True, slots=True)
class Past:
    """What the messages are, as SQL of `i`: the oldest message is number 1, each a second younger.

    The applications are still to be told of events of the types in `due`.
    """

    tenant: str = f"'{TENANT}'"
    account: str = f"'{ACCOUNT}'"
    status: str = "'sent'"
    batch: str = "CAST(NULL AS TEXT)"
    events: tuple[str, ...] = ("queued", "sending", "sent")
    due: tuple[str, ...] = ()


SENT = Past()


def fill(path_or_dsn: str | Path, count: int, past: Past = SENT) -> float:
    """Add `count` messages of the bench's accounts; return the seconds it took. No server may run."""
    begun = time.perf_counter()
    if isinstance(path_or_dsn, Path):
        _fill_sqlite(path_or_dsn, count, past)
    else:
        asyncio.run(_fill_postgres(path_or_dsn, count, past))
    return time.perf_counter() - begun


def _statements(past: Past, base: int, count: int, series: str, pk: str, payload: str) -> list[str]:
    values = {
        "past": past,
        "base": base,
        "count": count,
        "now": time.time(),
        "recipients": RECIPIENTS,
        "size": len(PAYLOAD),
        "told": "1 = 0" if past.due else "1 = 1",
        "series": series,
        "pk": pk,
        "payload": payload,
    }
    events = [_EVENTS.format(event=event, is_due=int(event in past.due), **values) for event in past.events]
    send_log = [part.format(**values) for part in _SEND_LOG]
    return [_MESSAGES.format(**values), _PAYLOADS.format(**values), *events, *send_log]


def _fill_sqlite(path: Path, count: int, past: Past) -> None:
    series = (
        f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"
    )
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA synchronous=OFF")
        raw.execute("PRAGMA cache_size=-262144")
        base = raw.execute("SELECT COALESCE(MAX(seq), 0) FROM messages").fetchone()[0]
        raw.execute("BEGIN")
        payload = f"CAST('{PAYLOAD}' AS BLOB)"
        for statement in _statements(past, base, count, series, "lower(hex(randomblob(16)))", payload):
            raw.execute(statement)
        raw.execute("COMMIT")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _fill_postgres(dsn: str, count: int, past: Past) -> None:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=FILL_TIMEOUT)
    try:
        await connection.execute("SET synchronous_commit = off")
        await connection.execute("SET session_replication_role = replica")  # our rows refer to what is there
        base = await connection.fetchval("SELECT COALESCE(MAX(seq), 0) FROM messages")
        payload = f"convert_to('{PAYLOAD}', 'UTF8')"
        series = f"generate_series(1, {count}) AS n(i)"
        for statement in _statements(past, base, count, series, "gen_random_uuid()::text", payload):
            await connection.execute(statement)
        await connection.execute(
            "SELECT setval(pg_get_serial_sequence('messages', 'seq'), (SELECT MAX(seq) FROM messages))"
        )
        # What autovacuum does within a minute; a measure does not wait for it.
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
