"""The server itself over HTTP: health, readiness, status, metrics, run-now (contract: http-api.md)."""

from __future__ import annotations

import asyncio
import gc
import re
import time

import pytest

from mail_proxy import __version__
from mail_proxy.api import health
from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.metrics import Metrics
from mail_proxy.model.queue import NodeInfo
from tests.support.api import Api, open_api
from tests.support.postgres import PostgresServer


async def test_health_says_that_the_process_works(api: Api) -> None:
    answer = await api.get("/health", token=None)
    expected = {"ok": True, "status": "ok", "version": __version__, "database": "ok"}
    assert (answer.status, answer.body) == (200, expected)


async def test_when_the_database_goes_the_process_lives_on(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    """Liveness stays, readiness ends, counters can be read, and what is not known is not claimed."""
    async with open_api(postgres_url) as api:
        await postgres_server.drop_database(postgres_url)
        health = await api.get("/health", token=None)
        assert (health.status, health.body["database"]) == (200, "unavailable")
        ready = await api.get("/ready", token=None)
        assert (ready.status, ready.body["ok"]) == (503, False)
        assert "database" in ready.body["error"]
        assert "gmp_pending_messages NaN" in (await api.get("/metrics", token=None)).text


async def test_a_database_that_hangs_counts_as_gone(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*args: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(health, "DATABASE_TIMEOUT", 0.01)
    async with open_api(sqlite_url) as api:
        monkeypatch.setattr(api.runtime.store.database, "read", hang)
        assert (await api.get("/health", token=None)).body["database"] == "unavailable"
        assert (await api.get("/ready", token=None)).status == 503
        assert "gmp_pending_messages NaN" in (await api.get("/metrics", token=None)).text


@pytest.mark.parametrize("error", [None, DatabaseUnavailable("gone")])
async def test_a_database_that_does_not_let_go_either_keeps_nobody_waiting(
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception | None,
) -> None:
    """A driver tries to tell a silent server that it gives up. However that ends, it is no news."""
    silence = asyncio.Event()

    async def hang(*args: object) -> None:
        try:
            await silence.wait()
        finally:
            await silence.wait()
            if error is not None:
                raise error

    monkeypatch.setattr(health, "DATABASE_TIMEOUT", 0.01)
    async with open_api(sqlite_url) as api:
        monkeypatch.setattr(api.runtime.store.database, "read", hang)
        async with asyncio.timeout(60):
            assert (await api.get("/health", token=None)).body["database"] == "unavailable"
            assert (await api.get("/ready", token=None)).status == 503
            assert "gmp_pending_messages NaN" in (await api.get("/metrics", token=None)).text
        silence.set()
        for _ in range(10):
            await asyncio.sleep(0)
        gc.collect()
    assert caplog.records == []


async def test_readiness_ends_when_the_node_is_draining(api: Api) -> None:
    assert (await api.get("/ready", token=None)).status == 200
    api.vitals.is_draining = True
    answer = await api.get("/ready", token=None)
    assert (answer.status, answer.body["ok"]) == (503, False)
    assert "draining" in answer.body["error"]
    assert (await api.get("/health", token=None)).status == 200


async def test_status_tells_how_the_server_fares(api: Api) -> None:
    await api.add_tenant("acme", "main")
    await api.queue("acme", ["a", "b"])
    api.clock.ahead = 90
    body = (await api.get("/status")).body
    assert set(body) == {
        "ok",
        "active",
        "scheduler_active",
        "pending_messages",
        "uptime_seconds",
        "version",
        "nodes",
    }
    assert (body["active"], body["pending_messages"], body["nodes"]) == (True, 2, [])
    assert 90 <= body["uptime_seconds"] < 100


async def test_status_shows_tenants_no_other_tenant_and_no_machine(api: Api) -> None:
    """A tenant is told that a node lives, not what it is called."""
    node = NodeInfo(
        node_id="secret-id", name="host-7", pid=4711, version="1", started_at=time.time(), seen_at=time.time()
    )
    await api.runtime.store.nodes.seen(node, 0.0)
    key = await api.add_tenant("acme", "main")
    await api.add_tenant("other", "main")
    await api.queue("acme", ["a"])
    await api.queue("other", ["b", "c"])
    of_admin, of_tenant = (await api.get("/status")).body, (await api.get("/status", token=key)).body
    assert (of_admin["pending_messages"], of_tenant["pending_messages"]) == (3, 1)
    assert set(of_admin["nodes"][0]) == {"node_id", "name", "pid", "version", "started_at", "seen_at"}
    assert set(of_tenant["nodes"][0]) == {"version", "started_at", "seen_at"}


@pytest.mark.parametrize(
    ("settings", "active", "scheduler"),
    [({}, True, True), ({"GMP_SCHEDULER_ACTIVE": "0"}, False, False), ({"GMP_TEST_MODE": "1"}, True, False)],
)
async def test_status_tells_whether_dispatch_runs(
    sqlite_url: str, settings: dict[str, str], active: bool, scheduler: bool
) -> None:
    async with open_api(sqlite_url, settings) as api:
        body = (await api.get("/status")).body
        assert (body["active"], body["scheduler_active"]) == (active, scheduler)


async def test_run_now_rings_for_a_run(api: Api) -> None:
    key = await api.add_tenant("acme")
    for path, token in [("/commands/run-now?tenant_id=acme", None), ("/commands/run-now", key)]:
        api.bell.rings.clear()
        answer = await (api.post(path) if token is None else api.post(path, token=token))
        assert (answer.status, answer.body) == (200, {"ok": True})
        assert api.bell.rings == [True]


async def test_metrics_tell_how_long_the_first_in_line_has_waited(api: Api) -> None:
    """Not what is scheduled, nor what waits for its account, which has a gauge of its own."""
    await api.add_tenant("acme", "main")
    assert "gmp_queue_age_seconds 0.0" in await _lines(api)
    await api.queue("acme", ["a"])
    await api.queue("acme", ["later"], deferred_ts=api.clock.now() + 60)
    api.clock.ahead = 100
    account = await api.runtime.services.accounts.get("acme", "main")
    age = next(line for line in await _lines(api) if line.startswith("gmp_queue_age_seconds "))
    assert 99 < float(age.split()[1]) < 110

    await api.runtime.store.circuits.trip(account, "535 no", api.clock.now())
    await api.runtime.store.circuits.park(account.lane, api.clock.now())
    gauge = 'gmp_circuit_open{account_id="main",tenant_id="acme"}'
    assert {"gmp_queue_age_seconds 0.0", f"{gauge} 1.0"} <= await _lines(api)
    api.clock.ahead = 200
    assert await api.runtime.store.circuits.mend(account, api.clock.now())
    assert f"{gauge} 0.0" in await _lines(api)


def test_metrics_tell_how_long_messages_were_on_their_way_and_count_connections() -> None:
    metrics = Metrics()
    metrics.count_connections(lambda: 7)
    metrics.delivered(0.2)
    metrics.delivered(-1)  # a clock that was set back
    lines = metrics.exposition().content.decode().splitlines()
    assert {
        'gmp_delivery_seconds_bucket{le="0.01"} 1.0',
        'gmp_delivery_seconds_bucket{le="0.25"} 2.0',
        "gmp_delivery_seconds_count 2.0",
        "gmp_smtp_connections 7.0",
    } <= set(lines)


async def _lines(api: Api) -> set[str]:
    return set((await api.get("/metrics", token=None)).text.splitlines())


async def test_metrics_give_the_five_basic_ones(api: Api) -> None:
    await api.add_tenant("acme", "main")
    await api.queue("acme", ["a", "b"])
    api.metrics.sent("acme", "main", 3)
    api.metrics.error("acme", "main")
    api.metrics.deferred("acme", "main", 2)
    api.metrics.rate_limited("acme", "main")
    answer = await api.get("/metrics", token=None)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    of_account = '{account_id="main",tenant_id="acme"}'
    for line in [
        f"gmp_sent_total{of_account} 3.0",
        f"gmp_errors_total{of_account} 1.0",
        f"gmp_deferred_total{of_account} 2.0",
        f"gmp_rate_limited_total{of_account} 1.0",
        "gmp_pending_messages 2.0",
    ]:
        assert line in answer.text.splitlines()


def test_counters_of_two_servers_in_one_process_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.sent("acme", "main")
    assert b"acme" in first.exposition().content
    assert b"acme" not in second.exposition().content


def test_every_metric_is_explained() -> None:
    text = Metrics().exposition().content.decode()
    types = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    assert types == set(re.findall(r"^# HELP (\w+) \S", text, re.MULTILINE))
    assert types == {
        "gmp_sent_total",
        "gmp_errors_total",
        "gmp_deferred_total",
        "gmp_rate_limited_total",
        "gmp_pending_messages",
        "gmp_queue_age_seconds",
        "gmp_circuit_open",
        "gmp_smtp_connections",
        "gmp_delivery_seconds",
        "gmp_report_failures_total",
    }


async def test_labels_are_escaped(sqlite_url: str) -> None:
    async with open_api(sqlite_url) as api:
        api.metrics.sent('a"b', "c\nd")
        assert 'account_id="c\\nd",tenant_id="a\\"b"' in (await api.get("/metrics")).text
