"""A real server for both kinds of the Python client, and tenants on it whose mail goes to a sink."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.python_client import KINDS, Driver, Kind, driven, new_tenant_id
from tests.support.server import Server
from tests.support.sink import Sink


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests here, each of which has a tenant of its own."""
    with Server(tmp_path_factory.mktemp("client") / "home") as started:
        yield started


@pytest.fixture(scope="session")
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as listening:
        yield listening


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
async def admin(kind: Kind, server: Server) -> AsyncIterator[Driver]:
    """A client with the admin token."""
    async with driven(kind, server.url, token=server.token) as driver:
        yield driver


@pytest.fixture
async def own(kind: Kind, server: Server, admin: Driver, sink: Sink) -> AsyncIterator[Driver]:
    """A client with the key of a new tenant, whose account `main` leads to the sink."""
    tenant_id = new_tenant_id()
    key = await admin(admin.client.tenants.create, tenant_id, name="Acme")
    where = {"host": "127.0.0.1", "port": sink.port, "tls": "none"}
    await admin(admin.client.accounts.create, "main", tenant_id=tenant_id, **where)
    async with driven(kind, server.url, token=key) as driver:
        yield driver
