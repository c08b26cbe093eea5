"""Every change over HTTP is in the command log, and no secret is (contract: http-api.md, last paragraph)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.auth import Level
from mail_proxy.api.gate import Gate
from mail_proxy.api.requests import ApiRequest, Node
from mail_proxy.api.routing import Endpoint, routes_of
from mail_proxy.api.schemas import ApiKeyInput
from mail_proxy.errors import Conflict, DatabaseUnavailable
from mail_proxy.model.commands import Command, CommandFilter
from mail_proxy.store.database import Call
from tests.support.api import ADMIN, Api, Json, message, open_api
from tests.support.command_log import logged
from tests.support.stores import statement

CHANGES = [endpoint for endpoint in ENDPOINTS if endpoint.is_change]
SECRET = "s3cr3t-of-the-tests"
CLIENT = "127.0.0.1"

BODY: Json = {
    "id": "x", "host": "sandbox", "name": "x", "protocol": "local", "config": {"base_path": "/srv"},
    "messages": [message()], "ids": ["m1"], "since": 0,
}  # fmt: skip
"""Something for every endpoint."""


def named(endpoint: Endpoint) -> str:
    return endpoint.name


def path_of(endpoint: Endpoint, name: str = "x") -> str:
    return endpoint.path.format(id=name, name=name)


async def forget_all(api: Api) -> None:
    """Let the log be empty from here on."""
    while await api.runtime.store.commands.forget(1e12, 1000):
        pass


@pytest.mark.parametrize("endpoint", CHANGES, ids=named)
async def test_every_change_leaves_one_row(api: Api, endpoint: Endpoint) -> None:
    """Whatever came of it, with the admin token and with a tenant's, also when that is not enough."""
    key = await api.add_tenant("acme")
    path, body = path_of(endpoint), BODY if endpoint.body is not None else None
    for token, tenant_id in ((key, "acme"), (ADMIN, "beta")):
        await forget_all(api)
        asked = path if token == key else f"{path}?tenant_id=beta"
        answer = await api.call(endpoint.method, asked, body, token=token)
        [row] = await logged(api)
        assert (row["endpoint"], row["status"], row["client"]) == (endpoint.name, answer.status, CLIENT)
        assert row["path"] == asked
        assert abs(row["ts"] - api.clock.now()) < 60
        if token == key or not endpoint.path.startswith(("/tenant", "/commands/add-messages")):
            assert row["tenant_id"] == tenant_id
        is_unread = token == key and endpoint.level is Level.ADMIN
        assert (row["payload"] is None) == (body is None or is_unread)


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if not each.is_change], ids=named)
async def test_reading_leaves_none(sqlite_api: Api, endpoint: Endpoint) -> None:
    await sqlite_api.get(endpoint.path.format(id="x", token="x"))
    assert await logged(sqlite_api) == []


@pytest.mark.parametrize("endpoint", CHANGES, ids=named)
async def test_what_nobody_known_asks_is_not_logged(sqlite_api: Api, endpoint: Endpoint) -> None:
    """Or anybody could fill the disk."""
    for token in (None, "unknown"):
        answer = await sqlite_api.call(endpoint.method, path_of(endpoint), BODY, token=token)
        assert answer.status == 401
    assert await logged(sqlite_api) == []


async def test_what_is_no_endpoint_is_not_logged(sqlite_api: Api) -> None:
    for method, path, status in (("POST", "/nothing", 404), ("PATCH", "/account/x", 405)):
        assert (await sqlite_api.call(method, path, {})).status == status
    assert await logged(sqlite_api) == []


@pytest.mark.parametrize(
    ("method", "path", "body", "tenant_id"),
    [
        ("POST", "/account?tenant_id=acme", {"id": "a", "host": "sandbox"}, "acme"),
        ("POST", "/account", {"tenant_id": "acme", "id": "a", "host": "sandbox"}, "acme"),
        ("POST", "/account", {"id": "a", "host": "sandbox"}, "default"),
        ("POST", "/account", {"tenant_id": 7}, None),
        ("POST", "/account?tenant_id=a", {"tenant_id": "b"}, None),
        ("PUT", "/account/main", {"ttl": 9}, "acme"),
        ("DELETE", "/account/main", None, "acme"),
        ("DELETE", "/account/main?tenant_id=..", None, None),
        ("POST", "/tenant", {"id": "new"}, "new"),
        ("POST", "/tenant", {"id": ["new"]}, None),
        ("PUT", "/tenant/acme", {"name": "Acme"}, "acme"),
        ("POST", "/tenant/acme/api-key", None, "acme"),
        ("DELETE", "/tenant/%2e%2e", None, None),
        ("POST", "/commands/run-now", None, None),
        ("POST", "/commands/run-now?tenant_id=acme", None, "acme"),
        ("POST", "/commands/add-messages", {"messages": [message(tenant_id="acme")]}, "acme"),
        ("POST", "/commands/add-messages", {"messages": [message(account_id="main")]}, "acme"),
        ("POST", "/commands/add-messages", {"messages": [{"tenant_id": "acme"}]}, "acme"),
        ("POST", "/commands/add-messages", {"messages": [{"tenant_id": "acme"}, {}]}, None),
        ("POST", "/commands/add-messages", {"messages": [None]}, None),
        ("POST", "/commands/add-messages", {"messages": []}, None),
    ],
)
async def test_the_tenant_is_the_one_it_was_about(
    api: Api, method: str, path: str, body: Json | None, tenant_id: str | None
) -> None:
    """Named in whatever place, or found by what was named; none, if it is unclear."""
    await api.add_tenant("acme", "main")
    await forget_all(api)
    await api.call(method, path, body)
    assert [row["tenant_id"] for row in await logged(api)] == [tenant_id]


async def test_a_tenants_token_is_logged_as_its_tenant_whoever_it_names(api: Api) -> None:
    key = await api.add_tenant("acme")
    await api.add_tenant("beta", "main")
    await forget_all(api)
    answers = [
        await api.delete("/account/main?tenant_id=beta", token=key),
        await api.put("/tenant/beta", {"name": "x"}, token=key),
        await api.submit(message(tenant_id="beta"), token=key),
    ]
    assert [answer.status for answer in answers] == [401] * 3
    assert [(row["tenant_id"], row["status"]) for row in await logged(api)] == [("acme", 401)] * 3
    assert await logged(api, "?tenant_id=beta") == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 422),
        (b"[]", {}, 422),
        (b"", {}, 422),
        (b'{"a":1,"a":2}', {}, 422),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b" " * (1024 * 1024 + 1), {}, 413),
    ],
)
@pytest.mark.parametrize("path", ["/account", "/commands/add-messages"])
async def test_a_body_that_cannot_be_read_is_logged_without_it(
    sqlite_url: str, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    async with open_api(sqlite_url, {"GMP_MAX_BODY_MB": "1"}) as api:
        answer = await api.call("POST", path, content=content, headers=headers)
        assert answer.status == status
        assert [(row["status"], row["payload"]) for row in await logged(api)] == [(status, None)]


async def test_messages_are_logged_without_their_contents(api: Api) -> None:
    """Once, in the transaction that queues them, with the tenant that they turned out to be of."""
    await api.add_tenant("acme", "main")
    await forget_all(api)
    attachment = {"filename": "a.pdf", "storage_path": "base64:eHh4", "fetch_mode": "base64"}
    given = message(account_id="main", metadata={"order": 7}, attachments=[attachment], body="It is here.")
    assert (await api.submit(given, {"id": "bad"})).body["queued"] == 1

    [row] = await logged(api)
    kept = {name: given[name] for name in ("id", "from", "to", "subject", "account_id")}
    assert row["payload"] == {"messages": [kept | {"attachments": ["a.pdf"]}, {"id": "bad"}]}
    assert (row["endpoint"], row["status"]) == ("POST /commands/add-messages", 200)
    assert (row["tenant_id"], row["client"]) == ("acme", CLIENT)


@pytest.mark.parametrize("other", [message("m2", tenant_id="beta"), {"id": "bad", "tenant_id": "beta"}])
async def test_messages_of_several_tenants_are_logged_without_whose_they_are(api: Api, other: Json) -> None:
    """Deleting one tenant is to leave nothing of it, also when its message was refused."""
    for tenant_id in ("acme", "beta"):
        await api.add_tenant(tenant_id, "main")
    await forget_all(api)
    assert (await api.submit(message("m1", tenant_id="acme"), other)).status == 200
    [row] = await logged(api)
    assert row["tenant_id"] is None
    kept = [{"id": "m1", "tenant_id": "acme"}, {"id": other["id"], "tenant_id": "beta"}]
    assert row["payload"] == {"messages": kept}


@pytest.mark.parametrize(
    ("messages", "status"), [([{"id": "bad"}], 400), ([message()] * 3, 413), ("none", 422), ([], 200)]
)
async def test_messages_that_were_not_taken_are_logged_once(
    database_url: str, messages: object, status: int
) -> None:
    async with open_api(database_url, {"GMP_MAX_ENQUEUE_BATCH": "2"}) as api:
        assert (await api.post("/commands/add-messages", {"messages": messages})).status == status
        assert [row["status"] for row in await logged(api)] == [status]


async def test_messages_that_are_there_already_are_logged_as_well(api: Api) -> None:
    """Nothing was stored, and the answer is 200."""
    await api.add_tenant("acme", "main")
    await forget_all(api)
    for _ in range(2):
        assert (await api.submit(message(tenant_id="acme"))).status == 200
    assert [row["status"] for row in await logged(api)] == [200, 200]


async def test_a_large_body_is_logged_as_a_summary(api: Api) -> None:
    ids = [f"{i}-{'x' * 200}" for i in range(5000)]
    await api.post("/commands/delete-messages?tenant_id=default", {"ids": ids})
    [row] = await logged(api)
    assert row["payload"] == {"truncated": True, "ids": ids[:100]}


async def test_no_secret_is_ever_kept(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the table, nor in answers, the export or the log of the server."""
    caplog.set_level(logging.DEBUG)
    key = await api.add_tenant("acme", "main")
    login = {"method": "basic", "user": "ann", "password": f"{SECRET}-1"}
    bodies: list[Json] = [
        {"id": "main", "host": "sandbox", "password": f"{SECRET}-2", "imap_password": f"{SECRET}-3"},
        {"id": "beta", "webhook_secret": f"{SECRET}-4", "client_auth": login, "api_key": f"{SECRET}-5"},
        {"client_auth": {"method": "bearer", "token": f"{SECRET}-6"}, "token": f"{SECRET}-7"},
        {"client_base_url": f"https://ann:{SECRET}-8@app.example.org/?sig={SECRET}-9"},
        {"name": "s", "protocol": "s3", "config": {"bucket": f"{SECRET}-10", "x": [f"{SECRET}-11"]}},
        {"bounce_imap_password": f"{SECRET}-12", "bounce": {"imap": {"Password": f"{SECRET}-13"}}},
        {"client_auth": f"{SECRET}-14", "auth": [f"{SECRET}-15"], "password": {"a": f"{SECRET}-16"}},
        {"messages": [message(body=f"{SECRET}-17", metadata={"a": f"{SECRET}-18"}, raw=f"{SECRET}-19",
                              headers={"X-A": f"{SECRET}-20"}, password=f"{SECRET}-21",
                              attachments=[{"filename": "a", "storage_path": "https://app.example.org/f",
                                            "auth": {"method": "bearer", "token": f"{SECRET}-22"}}])]},
    ]  # fmt: skip
    for endpoint in sorted(CHANGES, key=lambda each: "api-key" in each.path):  # these end the key: last
        if endpoint.name == "DELETE /tenant/{id}":
            continue
        for body in bodies if endpoint.body is not None else bodies[:1]:
            for token in (ADMIN, key):
                asked = f"{path_of(endpoint, 'acme')}?password={SECRET}-23"
                await api.call(endpoint.method, asked, body, token=token)

    rows = await table(api)
    assert len(rows) > 100
    assert [row for row in rows if SECRET in row] == []
    assert key not in "".join(rows)
    assert ADMIN not in "".join(rows)
    assert SECRET not in (await api.get("/command-log?limit=10000")).text
    assert SECRET not in (await api.get("/command-log/export")).text
    said = [record.getMessage() for record in caplog.records if record.name.startswith("mail_proxy")]
    assert SECRET not in "".join(said)


async def table(api: Api) -> list[str]:
    """Every row of the log as it lies in the database."""

    def work() -> Any:
        return (yield Call(statement("SELECT * FROM commands"), {}))

    return [str(tuple(row)) for row in await api.runtime.store.database.read(work)]


Handler = Callable[[ApiRequest], Any]


class KilledError(BaseException):
    """What ends a process in the midst of a request."""


async def ask(api: Api, handler: Handler, body: object = None, level: Level = Level.ADMIN) -> httpx2.Response:
    """Let a handler of the test's own answer ``PUT /x/{id}``."""
    endpoint = Endpoint("PUT", "/x/{id}", level, handler, body=ApiKeyInput, body_is_optional=True)
    gate = Gate(api.runtime.config, api.clock)
    node = Node(runtime=api.runtime, metrics=api.metrics, vitals=api.vitals, gate=gate)
    transport = httpx2.ASGITransport(Starlette(routes=routes_of([endpoint], node)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://mail-proxy.test") as client:
        return await client.put("/x/a%2Fb?tenant_id=acme&x=%C3%A9", json=body, headers={"X-API-Token": ADMIN})


async def rows_of(api: Api) -> list[Command]:
    return await api.runtime.store.commands.oldest(CommandFilter(), 10)


async def test_a_request_is_in_the_log_before_it_is_acted_upon(api: Api) -> None:
    """Without a status, which is there when the answer is."""
    seen: list[Command] = []

    async def handler(request: ApiRequest) -> Response:
        assert await request.body() == {"name": "n", "token": SECRET}
        seen.extend(await rows_of(api))
        return ok()

    assert (await ask(api, handler, {"name": "n", "token": SECRET})).status_code == 200

    [row] = seen
    assert (row.status, row.payload) == (None, '{"name":"n","token":"***"}')
    assert (row.endpoint, row.path) == ("PUT /x/{id}", "/x/a%2Fb?tenant_id=acme&x=%C3%A9")
    assert (row.tenant_id, row.client) == ("acme", CLIENT)
    assert [each.status for each in await rows_of(api)] == [200]


async def test_a_process_that_ends_before_it_answers_leaves_a_row_without_a_status(api: Api) -> None:
    async def handler(request: ApiRequest) -> Response:
        raise KilledError

    with pytest.raises(KilledError):
        await ask(api, handler, {"name": "n"})
    [row] = await logged(api)
    assert (row["status"], row["payload"]) == (None, {"name": "n"})


@pytest.mark.parametrize(("error", "status"), [(Conflict("no"), 409), (RuntimeError("bug"), 500)])
async def test_a_refusal_is_logged_with_its_status(api: Api, error: Exception, status: int) -> None:
    async def handler(request: ApiRequest) -> Response:
        raise error

    assert (await ask(api, handler)).status_code == status
    assert [row["status"] for row in await logged(api)] == [status]


async def test_what_a_handler_finds_out_about_the_tenant_is_logged(api: Api) -> None:
    async def handler(request: ApiRequest) -> Response:
        request.about("beta")
        return ok()

    await ask(api, handler)
    assert [row["tenant_id"] for row in await logged(api)] == ["beta"]


async def test_an_answer_that_cannot_be_logged_is_given_all_the_same(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was done is done, and an API key is shown only once."""
    real = api.runtime.store.database.write

    async def write_unless_last(work: Callable[..., Any], *args: object) -> object:
        if work.__name__ == "_complete":
            raise DatabaseUnavailable("the disk is full")
        return await real(work, *args)

    monkeypatch.setattr(api.runtime.store.database, "write", write_unless_last)
    answer = await api.post("/tenant", {"id": "acme"})
    assert (answer.status, len(answer.body["api_key"])) == (200, 43)
    assert [row["status"] for row in await logged(api)] == [None]
    assert "lacks the answer 200 to /tenant: the disk is full" in caplog.text


async def test_what_cannot_be_logged_is_not_done(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and nothing has changed."""
    real = api.runtime.store.database.write

    async def write_unless_first(work: Callable[..., Any], *args: object) -> object:
        if work.__name__ == "_add" and isinstance(args[0], Command):
            raise DatabaseUnavailable("the disk is full")
        return await real(work, *args)

    monkeypatch.setattr(api.runtime.store.database, "write", write_unless_first)
    assert (await api.post("/tenant", {"id": "acme"})).status == 503
    assert (await api.get("/tenant/acme")).status == 404
    assert await logged(api) == []
