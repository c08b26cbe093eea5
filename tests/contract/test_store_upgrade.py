"""A database that the first version has filled: nothing is lost by the migrations, and all goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mail_proxy.model.messages import MessageFilter, Status
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.store.migration import migrations
from mail_proxy.store.removal import Sweep
from mail_proxy.store.store import open_database
from tests.support.postgres import PostgresServer
from tests.support.stores import (
    NOW,
    OTHER,
    OWNER,
    Bench,
    as_sent,
    open_store,
    record_outcome,
    target_of,
)
from tests.support.telling import due_of
from tests.support.works import ask

LANE = 7
LATER = NOW + 1000
REPORTED = NOW + 5

TENANT = """
INSERT INTO tenants (id, client_base_url, client_sync_path, client_attachment_path, rate_hourly, rate_daily,
    report_nulls, active, by_tenant, created_at, updated_at)
VALUES ('acme', 'https://app.example', '/sync', '/get', 0, 0, 1, 1, 0, {now}, {now})"""
ACCOUNT = """
INSERT INTO accounts (lane, tenant_id, id, host, port, tls_verify, ttl, limit_per_minute, limit_per_hour,
    limit_per_day, limit_behavior, on_unknown, is_pec_account, imap_port, imap_folder, imap_ssl, by_tenant,
    created_at, updated_at)
VALUES ({lane}, 'acme', 'main', 'sandbox', 587, 1, 300, 0, 0, 0, 'defer', 'retry', 0, 993, 'INBOX', 1, 0,
    {now}, {now})"""
LEDGER = """
CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL,
    applied_at DOUBLE PRECISION NOT NULL)"""
CONTENT = {"sqlite": "x'7b7d'", "postgres": r"'\x7b7d'"}
SUSPENSION = "INSERT INTO suspensions (tenant_id, batch_code, created_at) VALUES ('acme', 'campaign', {now})"
MESSAGE = """
INSERT INTO messages (pk, tenant_id, id, account_id, lane, status, priority, batch_code, recipients,
    message_id, is_pec, size, created_at, updated_at, deferred_ts, lease_owner, lease_until,
    sent_ts, reported_ts)
VALUES ('pk-{id}', 'acme', '{id}', 'main', {lane}, '{status}', 2, {batch_code},
    '[{{"address": "ann@example.net", "status": "{fate}", "code": null, "reply": null}}]',
    '<{id}@example.org>', 0, 20, {now} + {number}, {now}, {deferred_ts}, {owner}, {until},
    {sent_ts}, {reported_ts})"""
PAYLOADS = "INSERT INTO payloads (seq, kind, content) SELECT seq, 'fields', {content} FROM messages"
EVENTS = """
INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due, reported_ts)
SELECT seq, 'acme', 'queued', {now}, 'queued', 0, NULL FROM messages UNION ALL
SELECT seq, 'acme', 'sent', {now}, '250 ok', CASE WHEN reported_ts IS NULL THEN 1 ELSE 0 END, reported_ts
    FROM messages WHERE status = 'sent'"""

FILLED: tuple[dict[str, object], ...] = (
    {"id": "told", "status": "sent", "sent_ts": NOW, "reported_ts": REPORTED},
    {"id": "untold", "status": "sent", "sent_ts": NOW},
    {"id": "waits", "status": "pending"},
    {"id": "held", "status": "pending", "batch_code": "'campaign'"},
    {"id": "later", "status": "deferred", "deferred_ts": LATER},
    {"id": "begun", "status": "sending", "owner": f"'{OTHER}'", "until": NOW + 30},
    {"id": "failed", "status": "error"},
)


def filling(dialect: str) -> list[str]:
    """Every state that a message of the first version may be in, and a suspension."""
    unset = ("batch_code", "deferred_ts", "owner", "until", "sent_ts", "reported_ts")
    blank: dict[str, object] = {**dict.fromkeys(unset, "NULL"), "lane": LANE, "now": NOW}
    messages = [
        MESSAGE.format(**blank | row | {"number": number, "fate": fate_of(str(row["status"]))})
        for number, row in enumerate(FILLED)
    ]
    others = [each.format(lane=LANE, now=NOW) for each in (TENANT, ACCOUNT, SUSPENSION)]
    return [*others, *messages, PAYLOADS.format(content=CONTENT[dialect]), EVENTS.format(now=NOW)]


def fate_of(status: str) -> str:
    return status if status in ("sent", "error", "deferred") else "pending"


def first_version(dialect: str) -> list[str]:
    step = migrations()[0]
    return [
        LEDGER,
        f"INSERT INTO schema_version VALUES ({step.version}, '{step.name}', '{step.checksum}', {NOW})",
        *step.statements(dialect),
    ]


@pytest.fixture(params=["sqlite", "postgres"])
async def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database of the first version, in use."""
    if request.param == "sqlite":
        url = str(tmp_path / "old.db")
        await fill(url, "sqlite")
        yield url
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = await server.create_database()
    await fill(url, "postgres")
    yield url
    await server.drop_database(url)


async def fill(url: str, dialect: str) -> None:
    async with open_database(target_of(url), url) as database:
        for sql in [*first_version(dialect), *filling(dialect)]:
            await database.write(ask, sql)


@pytest.fixture
async def bench(old_url: str) -> AsyncIterator[Bench]:
    """The same after all steps that have come since."""
    async with open_store(old_url) as store:
        assert await store.database.migrate() == len(migrations()) - 1
        yield Bench(store, old_url, LANE)


async def test_what_was_there_is_listed_and_counted(bench: Bench) -> None:
    everything = MessageFilter(limit=100)
    listed = await bench.store.messages.some(
        [place.seq for place in await bench.store.messages.places(everything)]
    )
    assert [message.id for message in listed] == [str(row["id"]) for row in reversed(FILLED)]
    waiting = {each.status: each.count for each in await bench.store.messages.waiting("acme")}
    assert waiting == {Status.PENDING: 2, Status.DEFERRED: 1, Status.SENDING: 1}


async def test_what_was_due_leaves_and_what_was_suspended_does_not(bench: Bench) -> None:
    assert [lane.lane for lane in (await bench.store.queue.look()).lanes] == [LANE]
    assert [message.id for message in await bench.claim()] == ["waits"]
    assert len(await bench.store.queue.take_over(LATER, owner=OWNER)) == 2
    assert await bench.store.queue.promote(LATER) == 1
    assert {message.id for message in await bench.claim(now=LATER)} == {"waits", "begun", "later"}


async def test_what_was_suspended_goes_once_it_is_activated(bench: Bench) -> None:
    await bench.store.suspensions.activate("acme", EVERYTHING)
    for marking in await bench.store.suspensions.markings():
        left = marking
        while left.status is not None:
            left = await bench.store.suspensions.mark(left, NOW)

    claimed = await bench.claim()
    assert [message.id for message in claimed] == ["waits", "held"]
    assert await record_outcome(bench.store, as_sent(claimed[1]), OWNER, NOW)
    assert await bench.told("held") == ["queued", "sent"]


async def test_only_what_was_told_of_goes_after_its_time(bench: Bench) -> None:
    removed = []
    for is_untold in (False, True):
        begun = Sweep(tenant_id="acme", before=LATER, untold_before=NOW - 1, is_untold=is_untold)
        while not begun.is_over:
            begun = await bench.store.removals.sweep(begun)
        removed.append(begun.removed)

    assert removed == [1, 0]
    left = await bench.rows("SELECT id FROM messages ORDER BY seq")
    assert [row["id"] for row in left] == [row["id"] for row in FILLED[1:]]
    assert [each.id for each in await due_of(bench.store)] == ["untold"]


async def test_new_messages_and_old_ids_are_taken(bench: Bench) -> None:
    await bench.add("new", "failed")
    assert {message.id for message in await bench.claim()} == {"waits", "new", "failed"}
