"""The whole API over a real store, spoken to in the test's own loop: no socket, no process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from mail_proxy.api.app import create_app
from mail_proxy.api.vitals import Vitals
from mail_proxy.clock import SystemClock
from mail_proxy.config import load_config
from mail_proxy.encryption import KEY_VARIABLE, generate_key
from mail_proxy.metrics import Metrics
from mail_proxy.runtime import Runtime, open_services

ADMIN = "the-admin-token-of-these-tests-0123456789"

STRANGE: list[object] = [
    None, True, -1, 0, 1.5, 10**30, 1e300, "", " ", "\0", "a\0b", "a\r\nb", "\u2028", "é" * 300, "x" * 70_000,
    "../x", "***", [], [[]], {}, {"a": 1}, {"a\0": "\0"}, [None], ["\0"], [{}],
]  # fmt: skip
"""Values that a field may meet, whatever it wants."""

Json = dict[str, Any]  # what the API answers: the tests look into it, and find out


class MovableClock(SystemClock):
    """The machine's time and `ahead` seconds, which the test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class NotedBell:
    """Notes each ring: whether a run was asked for."""

    def __init__(self) -> None:
        self.rings: list[bool] = []

    async def ring(self, *, run_now: bool = False) -> None:
        self.rings.append(run_now)


@dataclass(slots=True, kw_only=True)
class Answer:
    """A response; `body` is what its JSON says, empty for what is not JSON."""

    status: int
    headers: httpx2.Headers
    text: str
    body: Json = field(default_factory=dict)

    @property
    def fields(self) -> list[str]:
        """The fields that a 422 names, each as a path with dots."""
        return [".".join(str(part) for part in fault["loc"]) for fault in self.body["detail"]]


@dataclass(slots=True, kw_only=True)
class Caller:
    """Who speaks to the API."""

    client: httpx2.AsyncClient

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = ADMIN,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; `body` is sent as JSON, `content` as it is."""
        given = {} if token is None else {"X-API-Token": token}
        if body is not None:
            content = json.dumps(body).encode()
        if content is not None:
            given["Content-Type"] = "application/json"
        raw = [(name.encode(), value.encode()) for name, value in {**given, **(headers or {})}.items()]
        response = await self.client.request(method, path, content=content, headers=raw)
        is_json = response.headers.get("content-type") == "application/json"
        return Answer(
            status=response.status_code,
            headers=response.headers,
            text=response.text,
            body=response.json() if is_json and response.content else {},
        )

    async def get(self, path: str, *, token: str | None = ADMIN) -> Answer:
        return await self.call("GET", path, token=token)

    async def post(self, path: str, body: object = None, *, token: str | None = ADMIN) -> Answer:
        return await self.call("POST", path, body, token=token)

    async def put(self, path: str, body: object, *, token: str | None = ADMIN) -> Answer:
        return await self.call("PUT", path, body, token=token)

    async def delete(self, path: str, *, token: str | None = ADMIN) -> Answer:
        return await self.call("DELETE", path, token=token)


@dataclass(slots=True, kw_only=True)
class Api(Caller):
    """The application and what is around it."""

    runtime: Runtime
    clock: MovableClock
    metrics: Metrics
    vitals: Vitals
    bell: NotedBell

    async def add_tenant(self, tenant_id: str, *accounts: str) -> str:
        """Create a tenant with accounts of the sandbox; its API key."""
        answer = await self.post("/tenant", {"id": tenant_id})
        assert answer.status == 200, answer.text
        for account_id in accounts:
            await self.add_account(tenant_id, account_id)
        key: str = answer.body["api_key"]
        return key

    async def add_account(self, tenant_id: str, account_id: str) -> None:
        answer = await self.post("/account", {"tenant_id": tenant_id, "id": account_id, "host": "sandbox"})
        assert answer.status == 200, answer.text

    async def submit(self, *messages: object, token: str = ADMIN) -> Answer:
        return await self.post("/commands/add-messages", {"messages": messages}, token=token)

    async def queue(self, tenant_id: str, ids: Sequence[str], **fields: object) -> None:
        """Queue one plain message for each id."""
        answer = await self.submit(*(message(each, tenant_id=tenant_id, **fields) for each in ids))
        assert answer.body.get("queued") == len(ids), answer.text


def message(message_id: object = "m1", **fields: object) -> Json:
    """A message with all that is required."""
    return {
        "id": message_id,
        "from": "shop@example.org",
        "to": ["ann@example.net"],
        "subject": "Your order",
        "body": "It is on its way.",
        **fields,
    }


@asynccontextmanager
async def open_api(
    database_url: str, settings: Mapping[str, str] | None = None, *, with_key: bool = True
) -> AsyncIterator[Api]:
    """Serve the API over this database: a path, or a DSN. `settings` are environment variables."""
    place = "GMP_DATABASE_URL" if "://" in database_url else "GMP_DB_PATH"
    config = load_config(None, {place: database_url, "GMP_API_TOKEN": ADMIN, **(settings or {})})
    environ = {KEY_VARIABLE: generate_key()} if with_key else {}
    clock, bell, metrics = MovableClock(), NotedBell(), Metrics()
    async with open_services(
        config, None, clock=clock, bell=bell, environ=environ, metrics=metrics
    ) as runtime:
        vitals = Vitals(started_at=clock.now())
        async with _client(runtime, metrics, vitals) as client:
            yield Api(
                client=client,
                runtime=runtime,
                clock=clock,
                metrics=metrics,
                vitals=vitals,
                bell=bell,
            )


@asynccontextmanager
async def caller_of(runtime: Runtime) -> AsyncIterator[Caller]:
    """Serve the API over services that are open; its admin token is that of the tests."""
    runtime.services.authentication.set_admin_token(ADMIN)
    async with _client(runtime, Metrics(), Vitals(started_at=runtime.clock.now())) as client:
        yield Caller(client=client)


def _client(runtime: Runtime, metrics: Metrics, vitals: Vitals) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(create_app(runtime, metrics=metrics, vitals=vitals))
    return httpx2.AsyncClient(transport=transport, base_url="http://mail-proxy.test")
