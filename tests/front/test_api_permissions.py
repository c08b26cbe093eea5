"""Who may do what: every endpoint with every kind of token (contract: http-api.md, Authentication)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.auth import Level
from tests.support.api import ADMIN, Answer, Api, Json, message, open_api

OWN, ADMINS = "acme", "umbrella"
"""Two tenants with the same things: one acts by its own token, on the other the admin does."""

STORAGE: Json = {
    "name": "files",
    "protocol": "s3",
    "config": {"bucket": "files", "access_key_id": "an-id", "secret_access_key": "a-secret"},
}


@dataclass(frozen=True, slots=True)
class Row:
    """A request that works, and the statuses of its answers; in its path `{tenant}` is the tenant's name.

    `absent` is the same request for what is not there; None: it names nothing that could be absent.
    """

    path: str
    none: int
    wrong: int
    expired: int
    other: int
    own: int
    admin: int
    body: Json | None = None
    absent: str | None = None


PUBLIC = (200, 200, 200, 200, 200, 200)
TENANT = (401, 401, 401, 401, 200, 200)
ANYBODY = (401, 401, 401, 200, 200, 200)  # with any token, each its own
ADMIN_ONLY = (401, 401, 401, 403, 403, 200)

ABSENT = "absent"
MESSAGE = "/messages/m1{}?tenant_id={{tenant}}"
ACCOUNT = "/account/main{}?tenant_id={{tenant}}"

# Tokens, in the order of the columns: none, wrong, expired, another tenant's, the tenant's own, the admin's.
MATRIX = {
    "POST /commands/add-messages": Row(
        "/commands/add-messages", *TENANT, body={"messages": [message("new", tenant_id="{tenant}")]}
    ),
    "GET /messages/{id}": Row(MESSAGE.format(""), *TENANT, absent="/messages/{id}"),
    "GET /messages/{id}/events": Row(MESSAGE.format("/events"), *TENANT, absent="/messages/{id}/events"),
    "GET /messages/{id}/receipts": Row(
        MESSAGE.format("/receipts"), *TENANT, absent="/messages/{id}/receipts"
    ),
    "POST /messages/{id}/retry": Row(
        MESSAGE.format("/retry"), *TENANT, body={"at": 5_000_000_000}, absent="/messages/{id}/retry"
    ),
    "GET /messages": Row("/messages?tenant_id={tenant}", *TENANT),
    "POST /commands/run-now": Row("/commands/run-now?tenant_id={tenant}", *TENANT),
    "POST /commands/suspend": Row("/commands/suspend?tenant_id={tenant}", *TENANT),
    "POST /commands/activate": Row("/commands/activate?tenant_id={tenant}", *TENANT),
    "POST /commands/delete-messages": Row(
        "/commands/delete-messages?tenant_id={tenant}",
        *TENANT,
        body={"ids": ["m1"]},
        absent="/commands/delete-messages",
    ),
    "POST /commands/cleanup-messages": Row("/commands/cleanup-messages?tenant_id={tenant}", *TENANT),
    "GET /health": Row("/health", *PUBLIC),
    "GET /ready": Row("/ready", *PUBLIC),
    "GET /metrics": Row("/metrics", *PUBLIC),
    "GET /openapi.json": Row("/openapi.json", *PUBLIC),
    "GET /docs": Row("/docs", *PUBLIC),
    "GET /status": Row("/status", *ANYBODY),
    "POST /account": Row("/account?tenant_id={tenant}", *TENANT, body={"id": "new", "host": "sandbox"}),
    "GET /accounts": Row("/accounts?tenant_id={tenant}", *TENANT),
    "GET /account/{id}": Row(ACCOUNT.format(""), *TENANT, absent="/account/{id}"),
    "PUT /account/{id}": Row(ACCOUNT.format(""), *TENANT, body={"ttl": 60}, absent="/account/{id}"),
    "DELETE /account/{id}": Row(ACCOUNT.format("") + "&force=1", *TENANT, absent="/account/{id}"),
    "POST /account/{id}/test": Row(ACCOUNT.format("/test"), *TENANT, absent="/account/{id}/test"),
    "POST /storage": Row("/storage?tenant_id={tenant}", *TENANT, body=STORAGE),
    "GET /storages": Row("/storages?tenant_id={tenant}", *TENANT),
    "DELETE /storage/{name}": Row("/storage/files?tenant_id={tenant}", *TENANT, absent="/storage/{id}"),
    "POST /tenant": Row("/tenant", *ADMIN_ONLY, body={"id": "new"}),
    "GET /tenants": Row("/tenants", *ADMIN_ONLY),
    "GET /tenants/sync-status": Row("/tenants/sync-status", *ADMIN_ONLY),
    "GET /tenant/{id}": Row("/tenant/{tenant}", *TENANT),
    "PUT /tenant/{id}": Row("/tenant/{tenant}", *TENANT, body={"name": "New"}),
    "DELETE /tenant/{id}": Row("/tenant/{tenant}", *ADMIN_ONLY),
    "POST /tenant/{id}/api-key": Row("/tenant/{tenant}/api-key", *ADMIN_ONLY),
    "DELETE /tenant/{id}/api-key": Row("/tenant/{tenant}/api-key", *ADMIN_ONLY),
    "GET /instance": Row("/instance", *ADMIN_ONLY),
    "PUT /instance": Row("/instance", *ADMIN_ONLY, body={"name": "New"}),
    "GET /instance/bounce": Row("/instance/bounce", *ADMIN_ONLY),
    "PUT /instance/bounce": Row("/instance/bounce", *ADMIN_ONLY, body={"bounce_imap_port": 993}),
    "POST /instance/bounce/reload": Row("/instance/bounce/reload", *ADMIN_ONLY),
    "POST /instance/reload-bounce": Row("/instance/reload-bounce", *ADMIN_ONLY),
    "GET /reports": Row("/reports?tenant_id={tenant}", *TENANT),
    "POST /reports/replay": Row("/reports/replay?tenant_id={tenant}", *TENANT, body={"since": 0}),
    "GET /files/{token}": Row("/files/no-such-file", 404, 404, 404, 404, 404, 404),
    "GET /command-log": Row("/command-log", *ADMIN_ONLY),
    "GET /command-log/export": Row("/command-log/export", *ADMIN_ONLY),
}

NAMING_A_TENANT = [name for name, row in MATRIX.items() if (row.other, row.own) == (401, 200)]
NAMING_A_THING = [name for name, row in MATRIX.items() if row.absent]

NOT_YOURS = "Token not authorized for this tenant"
LIVING = ("none", "wrong", "expired", "other", "own", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Tenants with an account, a message and a storage each, and every kind of token."""

    api: Api
    tokens: dict[str, str | None]

    async def ask(self, name: str, tenant: str, *, token: str) -> Answer:
        row = MATRIX[name]
        return await self._send(name, row.path.replace("{tenant}", tenant), tenant, token)

    async def ask_for(self, name: str, thing: str, *, token: str) -> Answer:
        """Send the request for something of this id, of no tenant in particular."""
        path = (MATRIX[name].absent or "").replace("{id}", thing)
        return await self._send(name, path, thing, token)

    async def _send(self, name: str, path: str, given: str, token: str) -> Answer:
        body = _filled(MATRIX[name].body, given)
        return await self.api.call(name.partition(" ")[0], path, body, token=self.tokens[token])


def _filled(value: object, given: str) -> object:
    """Put what the request is about in the place of `{tenant}`, and of the message to delete."""
    if isinstance(value, dict):
        return {name: _filled(each, given) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, given) for each in value]
    return given if value == "{tenant}" or (value == "m1" and given not in (OWN, ADMINS)) else value


@asynccontextmanager
async def open_house(database_url: str) -> AsyncIterator[House]:
    async with open_api(database_url, {"GMP_AUTH_FAILURE_LIMIT": "0"}) as api:
        own, _, other, late = [await api.add_tenant(each) for each in (OWN, ADMINS, "other", "late")]
        for tenant_id, account, message_id in [
            (OWN, "main", "m1"),
            (ADMINS, "main", "m1"),
            ("other", "theirs", "theirs"),
        ]:
            await api.add_account(tenant_id, account)
            await api.queue(tenant_id, [message_id], account_id=account)
            name = "theirs" if tenant_id == "other" else "files"
            stored = await api.post(f"/storage?tenant_id={tenant_id}", {**STORAGE, "name": name})
            assert stored.status == 200, stored.text
        ended = await api.put("/tenant/late", {"api_key_expires_at": api.clock.now() - 1})
        assert ended.status == 200, ended.text
        tokens = dict(zip(LIVING, (None, "wrong", late, other, own, ADMIN), strict=True))
        yield House(api=api, tokens=tokens)


@pytest.fixture
async def house(sqlite_url: str) -> AsyncIterator[House]:
    async with open_house(sqlite_url) as house:
        yield house


def test_every_endpoint_has_its_row() -> None:
    """A new endpoint cannot be forgotten here, nor can one that is gone."""
    assert [endpoint.name for endpoint in ENDPOINTS] == list(MATRIX)


@pytest.mark.parametrize("name", MATRIX)
async def test_a_token_opens_what_it_should_and_nothing_else(house: House, name: str) -> None:
    """The refused ones come first: had they done anything, those after them would not work."""
    row = MATRIX[name]
    found = {token: (await house.ask(name, OWN, token=token)).status for token in LIVING[:-1]}
    found["admin"] = (await house.ask(name, ADMINS, token="admin")).status
    assert found == {token: getattr(row, token) for token in LIVING}


@pytest.mark.parametrize("name", NAMING_A_TENANT)
async def test_another_tenant_is_the_same_whether_it_is_there_or_not(house: House, name: str) -> None:
    """Status, headers and body tell nothing of it."""
    there = await house.ask(name, OWN, token="other")
    absent = await house.ask(name, ABSENT, token="other")
    assert there.body == {"ok": False, "error": NOT_YOURS, "detail": NOT_YOURS}
    assert (there.status, there.text, there.headers) == (absent.status, absent.text, absent.headers)


@pytest.mark.parametrize("name", NAMING_A_THING)
async def test_what_another_tenant_has_is_the_same_as_what_is_not_there(house: House, name: str) -> None:
    """Status, headers and body are those of an id that nobody has, and nothing happens to it."""
    foreign = await house.ask_for(name, "theirs", token="own")
    absent = await house.ask_for(name, "absent", token="own")
    assert foreign.status == absent.status
    assert foreign.status == 404 or foreign.body["not_found"] == ["theirs"]
    assert foreign.text.replace("theirs", "absent") == absent.text
    assert foreign.headers == absent.headers or foreign.status == 404
    for path in ("/messages/theirs", "/account/theirs"):
        assert (await house.api.get(path, token=house.tokens["other"])).status == 200
    kept = (await house.api.get("/storages", token=house.tokens["other"])).body["storages"]
    assert [each["name"] for each in kept] == ["theirs"]


@pytest.mark.parametrize("name", [name for name, row in MATRIX.items() if (row.none, row.own) == (401, 200)])
async def test_a_key_revoked_through_another_node_is_dead_at_once(database_url: str, name: str) -> None:
    """Whatever this node remembers of it."""
    async with open_house(database_url) as house:
        assert (await house.ask(name, OWN, token="own")).status == 200
        await house.api.runtime.store.tenants.set_key(OWN, None, None, house.api.clock.now())
        assert (await house.ask(name, OWN, token="own")).status == 401


@pytest.mark.parametrize(
    "body",
    [{"messages": []}, {"messages": [{"id": "bad"}]}, {"messages": "none"}, {"messages": [message("m9")]}],
)
async def test_a_dead_key_learns_nothing_by_handing_in(house: House, body: Json) -> None:
    """Not even whether its messages would be valid."""
    assert (await house.api.submit(message("m2"), token=str(house.tokens["own"]))).status == 200
    await house.api.runtime.store.tenants.set_key(OWN, None, None, house.api.clock.now())
    answer = await house.api.post("/commands/add-messages", body, token=house.tokens["own"])
    assert answer.status == 401
    assert (await house.api.get(f"/messages/m9?tenant_id={OWN}")).status == 404


@pytest.mark.parametrize("level", [Level.TENANT, Level.ADMIN])
async def test_a_refusal_says_nothing_of_the_token(house: House, level: Level) -> None:
    """Wrong, expired and revoked look alike; the token is not repeated."""
    path = "/status" if level is Level.TENANT else "/tenants"
    answers = [await house.api.get(path, token=house.tokens[token]) for token in ("wrong", "expired")]
    assert answers[0].text == answers[1].text
    assert "wrong" not in answers[0].text
