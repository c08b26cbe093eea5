"""What completion may offer, read past the store on either engine."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mail_proxy.model.storages import Storage, StorageProtocol
from mail_proxy.store import names
from mail_proxy.store.names import Kind
from tests.support.stores import NOW, Bench, open_bench, target_of


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person is gone after a tenth of a second, a busy machine's test is not."""
    monkeypatch.setattr(names, "PATIENCE", 20.0)


async def offered(bench: Bench, begun: str, kind: Kind, tenant_id: str = "acme") -> list[str]:
    return await asyncio.to_thread(names.names_like, begun, kind, target_of(bench.url), tenant_id)


async def store(bench: Bench, storage: Storage) -> None:
    await bench.store.storages.put(storage.tenant_id, storage.name, lambda _current: storage, NOW)


@pytest.mark.parametrize(
    ("begun", "kind", "found"),
    [
        ("", "tenants", ["acme", "acorn"]),
        ("aco", "tenants", ["acorn"]),
        ("", "accounts", ["main", "second"]),
        ("s", "accounts", ["second"]),
        ("", "messages", ["order-2", "order-1", "a%b"]),
        ("order", "messages", ["order-2", "order-1"]),
        ("%", "messages", []),
        ("ORDER", "messages", []),
        ("", "batches", ["spring"]),
        ("x", "batches", []),
        ("", "storages", ["archive", "files"]),
        ("f", "storages", ["files"]),
    ],
)
async def test_names_that_begin_so(database_url: str, begun: str, kind: Kind, found: list[str]) -> None:
    """Those of the tenant alone, messages from the newest, and nothing in them is a pattern."""
    async with open_bench(database_url) as bench:
        await bench.account("second")
        await bench.account("foreign", tenant_id="acorn")
        for name, owner in (("files", "acme"), ("archive", "acme"), ("foreign", "acorn")):
            await store(bench, Storage(tenant_id=owner, name=name, protocol=StorageProtocol.LOCAL, config={}))
        await bench.add("a%b")
        await bench.add("order-1", "order-2", batch_code="spring")

        assert await offered(bench, begun, kind) == found


async def test_a_tenant_that_is_not_there_has_none(database_url: str) -> None:
    async with open_bench(database_url) as bench:
        assert await offered(bench, "", "accounts", "nobody") == []


@pytest.mark.parametrize(
    "target", [Path("/nowhere/mail.db"), "postgresql://127.0.0.1:1/none", "postgresql://[broken"]
)
def test_a_database_out_of_reach_offers_nothing(target: str | Path) -> None:
    """A Tab is no place for an error, and makes no file."""
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(names.names_like, "", "tenants", target).result() == []
    assert not Path("/nowhere").exists()


async def test_a_silent_database_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What accepts a connection and says nothing is given up."""
    monkeypatch.setattr(names, "PATIENCE", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x"
        assert await asyncio.to_thread(names.names_like, "", "tenants", url) == []
