"""Suspensions over the lives of real servers, and between two of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mail_proxy.encryption import generate_key
from tests.support.api import message
from tests.support.server import Client, Server
from tests.support.waiting import until

B = "campaign"
SUSPEND = f"/commands/suspend?tenant_id=default&batch_code={B}"
ACTIVATE = f"/commands/activate?tenant_id=default&batch_code={B}"


def queue(client: Client, *ids: str, **fields: object) -> None:
    answer = client.post("/commands/add-messages", {"messages": [message(each, **fields) for each in ids]})
    assert answer["queued"] == len(ids)


def status(client: Client, message_id: str) -> object:
    return client.get(f"/messages/{message_id}")["status"]


async def test_a_suspension_survives_restarts_and_kills(database_url: str, tmp_path: Path) -> None:
    """And what comes afterwards to the same batch is held as well."""
    await asyncio.to_thread(suspend_over_lives, Server(tmp_path / "home", database_url=dsn_of(database_url)))


def dsn_of(database_url: str) -> str | None:
    """None: the server has a SQLite file of its own."""
    return database_url if "://" in database_url else None


def suspend_over_lives(server: Server) -> None:
    try:
        server.start()
        client = server.client()
        client.post("/account", {"id": "main", "host": "sandbox"})
        client.post(SUSPEND)
        queue(client, "before", batch_code=B)
        server.kill()

        client = server.start().client()
        queue(client, "after", batch_code=B)
        queue(client, "free")
        until(lambda: status(client, "free") == "sent", "free to leave")
        assert [status(client, each) for each in ("before", "after")] == ["pending", "pending"]

        server.stop()
        client = server.start().client()
        assert client.post(ACTIVATE)["suspended_batches"] == []
        until(lambda: {status(client, each) for each in ("before", "after")} == {"sent"}, "both to leave")
    finally:
        server.stop()


async def test_one_server_suspends_and_the_other_holds(postgres_url: str, tmp_path: Path) -> None:
    await asyncio.to_thread(suspend_across, postgres_url, tmp_path)


def suspend_across(database_url: str, home: Path) -> None:
    key = generate_key()
    # An admin token is the instance's own: each node is asked with its own.
    servers = [
        Server(home / name, name, database_url=database_url, key=key).start() for name in ("first", "second")
    ]
    try:
        first, second = (server.client() for server in servers)
        first.post("/account", {"id": "main", "host": "sandbox"})
        first.post(SUSPEND)
        queue(second, "m1", "m2", batch_code=B)
        queue(second, "free")
        until(lambda: status(second, "free") == "sent", "free to leave")
        assert {status(first, each) for each in ("m1", "m2")} == {"pending"}

        assert second.post(ACTIVATE)["suspended_batches"] == []
        until(lambda: {status(first, each) for each in ("m1", "m2")} == {"sent"}, "both to leave")
    finally:
        for server in servers:
            server.stop()


async def test_the_dispatch_of_all_is_stopped_on_every_server_and_stays_so(
    postgres_url: str, tmp_path: Path
) -> None:
    """By `suspend?tenant_id=*`, also in the next life of a server, until it is started on any of them."""
    await asyncio.to_thread(stop_all, postgres_url, tmp_path)


def stop_all(database_url: str, home: Path) -> None:
    key = generate_key()
    first, second = (
        Server(home / name, name, database_url=database_url, key=key) for name in ("first", "second")
    )
    try:
        here, there = first.start().client(), second.start().client()
        here.post("/account", {"id": "main", "host": "sandbox"})
        assert here.post("/commands/suspend?tenant_id=*") == {"ok": True, "active": False}
        queue(there, "m1")
        there.post("/commands/run-now")
        second.stop()
        there = second.start().client()
        queue(there, "m2")
        assert [each.get("/status")["active"] for each in (here, there)] == [False, False]
        assert {status(here, each) for each in ("m1", "m2")} == {"pending"}

        assert there.post("/commands/activate") == {"ok": True, "active": True}
        until(lambda: {status(here, each) for each in ("m1", "m2")} == {"sent"}, "both to leave")
    finally:
        first.stop()
        second.stop()


def test_what_has_had_its_time_goes_when_a_server_starts_also_in_test_mode(tmp_path: Path) -> None:
    """The cleaner keeps its own time."""
    server = Server(tmp_path / "home").start()
    try:
        client = server.client()
        client.post("/account", {"id": "main", "host": "sandbox"})
        queue(client, "m1")
        until(lambda: status(client, "m1") == "sent", "m1 to leave")
        server.stop()

        server.settings = {"GMP_DELIVERY_REPORT_RETENTION_SECONDS": "0.01", "GMP_TEST_MODE": "1"}
        client = server.start().client()
        until(lambda: client.request("GET", "/messages/m1")[0] == 404, "m1 to go")
    finally:
        server.stop()
