"""However much was ever sent, frequent statements find their rows by an index, on either engine."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing

import asyncpg

from mail_proxy.store.queries import Query, load
from tests.support.stores import NOW, Bench, open_bench

HISTORY = 20_000

COUNTS_ALL = "messages.totals"
"""The one statement that may read everything: it proves that a scan is recognised."""

OFTEN = {
    "activity": ("bounds", "tallies", "failures", "accounts", "names", "states"),
    "accounts": ("get", "of_lane", "of_tenant", "named", "left", "departed"),
    "failures": ("fail",),
    "intake": ("allocate", "existing", "insert", "insert_payload", "replace", "replace_payload"),
    "messages": (
        "insert_event", "get", "by_id", "payload", "payloads", "events", "histories", "some",
        "tenant_names", "branches", "parked_branches", "newest_of_accounts", "newest_of_batches", "waiting",
        "waiting_of_tenant", "waiting_of_lane", "ready_since", "totals",
    ),
    "queue": (
        "promote", "look", "pick", "take", "renew", "release", "orphans",
        "orphans_at_start", "reclaim",
    ),
    "outcomes": ("lock", "held", "begin_final", "settle"),
    "reports": (
        "failing", "tenants_untold", "untold", "entries", "sync_states", "pending_of_each", "refused_of_each",
        "span", "event_from", "stretch", "replay", "replay_failed", "replay_messages", "hold", "give_up",
    ),
    "contacts": (
        "with_news", "with_refused", "with_beat", "moments", "take", "renew", "news", "join_refused",
        "due_again", "hold", "again", "newest", "submitted", "lock_told", "told", "told_messages",
        "refusals", "refuse", "accepted", "failed",
    ),
    "tenants": ("delete_messages", "delete_send_log", "by_key", "hold"),
    "suspensions": (
        "markings", "waiting_of_tenant", "waiting_of_batch", "next_of_tenant", "next_of_batch", "follow",
    ),
    "removal": (
        "of_tenant", "of_anybody", "due", "known", "delete", "told_before", "untold_before", "delete_done",
    ),
    "circuit": (
        "state", "lock", "open", "close", "prober", "probe", "ailing", "unparked", "overdue", "waited_since",
    ),
    "parking": ("heads", "park"),
    "rescheduling": ("state", "reschedule"),
    "limits": (
        "of_lane", "used_of_lane", "used_of_tenant", "leavers_of_lane", "leavers_of_tenant", "reserve",
        "confirm", "cancel", "abandon", "rewind", "last_of_some", "take_out", "put_back", "forget", "over",
    ),
}  # fmt: skip

PARAMETERS: dict[str, object] = {
    "ids": '["old-7"]', "event_ids": "[7]", "seqs": "[7]", "tenants": '["acme"]',
    "statuses": '["pending", "sent"]',
    "branches": '[["acme", "sent", "main"]]', "each": 50,
    "tenant_id": "acme", "id": "old-7", "seq": 7, "lane": 1, "owner": "n",
    "below": 10_000, "place": 7, "limit": 50, "count": 1, "now": NOW, "until": NOW, "since": 0.0, "after": 0,
    "last": 7, "before": 1.0, "event_id": 7, "kind": "fields", "payload": b"", "is_pec": 0, "is_due": 0,
    "is_held": 0, "is_unknown": 0, "priority": 2, "size": 1, "retry_count": 0, "event_ts": NOW,
    "recipients": "[]", "pk": "p", "message_id": "<x>", "description": "", "event_type": "sent",
    "moment": 0.0, "untold_before": 1.0, "in_flight": 1e15, "later": NOW, "span": 0, "most": 1000,
    "sent_at": NOW, "amount": 1, "due": 1, "refused": 1, "given_up": 1,
    "again_ts": NOW, "beat_at": NOW, "lease_until": NOW, "next_try": NOW, "rounds": 0, "seen_beat": -1.0,
    "seen_again": NOW, "seen_seq": 7, "tenant_ids": '["acme"]', "heads": 50, "rest": 30.0, "updated_at": NOW,
    "read_along": 1000, "settled": NOW, "first": 1, "accounts": '[["acme", "main"]]',
    "minute": NOW, "hour": NOW, "day": NOW,
}  # fmt: skip
"""What plans are asked with; whatever is not here is NULL."""

SERIES = {
    "postgres": f"generate_series(1, {HISTORY}) AS s(i)",
    "sqlite": "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s"
    f" WHERE i < {HISTORY}) SELECT i FROM s)",
}
MESSAGES = """
INSERT INTO messages (seq, pk, tenant_id, id, account_id, lane, status, priority, recipients, message_id,
    is_pec, size, created_at, updated_at, sent_ts)
SELECT 100 + i, 'pk-' || i, 'acme', 'old-' || i, 'main', {lane}, 'sent', 2, '[]', '<' || i || '@x>',
    0, 1, {now}, {now}, {now} FROM {series}"""
PAYLOADS = """
INSERT INTO payloads (seq, kind, content)
SELECT seq, 'fields', content FROM messages, (SELECT content FROM payloads LIMIT 1) AS one WHERE seq > 100"""
EVENTS = """
INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due)
SELECT seq, 'acme', 'sent', {now}, '', 0 FROM messages WHERE seq > 100"""
SENDINGS = """
INSERT INTO send_log (seq, tenant_id, lane, sent_at) SELECT seq, 'acme', {lane}, seq FROM messages"""

GROWING = "messages|payloads|events|send_log"
WAITING = (
    "messages_ready|messages_parked|messages_held|messages_deferred|messages_leased"
    "|events_due|events_refused|events_given_up"
)
"""Indexes as small as the queue."""

POSTGRES_SCAN = re.compile(rf"Seq Scan on ({GROWING})\b")
SQLITE_SCAN = re.compile(
    rf"^SCAN (?:{GROWING}|[meos])(?! USING (?:COVERING )?INDEX (?:{WAITING}))\b", re.MULTILINE
)


def often() -> list[tuple[str, Query]]:
    return [(f"{stem}.{name}", load(stem)[name]) for stem, names in OFTEN.items() for name in names]


def given(query: Query) -> dict[str, object]:
    values = {name: PARAMETERS.get(name) for name in query.order}
    if query.name.startswith(("used", "leaver")):
        values["since"] = HISTORY  # the times of the sendings are their places
    if query.name in ("last_of_some", "take_out", "forget"):
        values["until"] = 200
    if query.name in ("insert", "replace", "settle", "reclaim"):
        values["status"] = "pending"
    if query.name.startswith(("next_of", "waiting_of_batch")):
        values |= {"status": "pending", "account_id": "main", "batch_code": "campaign", "created_at": 0.0}
    return values


async def fill(bench: Bench) -> None:
    """Very many sent messages of an ordinary size, and a few that wait."""
    await bench.add("first", "second", payload=b"x" * 1000)
    series = SERIES[bench.store.database.dialect]
    for statement in (MESSAGES, PAYLOADS, EVENTS, SENDINGS, "ANALYZE"):
        await bench.execute(statement.format(lane=bench.lane, now=NOW, series=series))


async def test_no_plan_of_postgres_reads_through_what_grows(postgres_url: str) -> None:
    """With 20,000 sent messages, counted by ANALYZE."""
    async with open_bench(postgres_url) as bench:
        await fill(bench)
    scans = set()
    connection = await asyncpg.connect(postgres_url, timeout=10)
    try:
        for name, query in often():
            rows = await connection.fetch(f"EXPLAIN {query.postgres}", *query.arguments(given(query)))
            if POSTGRES_SCAN.search("\n".join(row[0] for row in rows)):
                scans.add(name)
    finally:
        await connection.close()

    assert scans == {COUNTS_ALL}


async def test_no_plan_of_sqlite_reads_through_what_grows(sqlite_url: str) -> None:
    """Nor through an index of all messages: only through those of what waits."""
    async with open_bench(sqlite_url) as bench:
        await fill(bench)

    assert await asyncio.to_thread(scans_of_sqlite, sqlite_url) == {COUNTS_ALL}


def scans_of_sqlite(path: str) -> set[str]:
    found = set()
    with closing(sqlite3.connect(path)) as raw:
        for name, query in often():
            rows = raw.execute(f"EXPLAIN QUERY PLAN {query.sqlite}", given(query)).fetchall()
            if SQLITE_SCAN.search("\n".join(row[3] for row in rows)):
                found.add(name)
    return found
