"""The API's description of itself: it is valid, complete and true."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from pydantic import BaseModel

from mail_proxy.api import responses
from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.auth import Level
from mail_proxy.api.errors import TRANSLATIONS
from mail_proxy.api.routing import Endpoint
from tests.support.api import ADMIN, Api, Json, message, open_api
from tests.support.server import REPOSITORY

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
NEVER = "GET /files/{token}"
"""Answers 404 until there are files to link to."""


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    async with open_api(sqlite_url) as api:
        yield api


@pytest.fixture
async def document(api: Api) -> Json:
    return (await api.get("/openapi.json")).body


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    """Every operation with its method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def fits(document: Json, schema: Json, value: object) -> bool:
    whole = {**schema, "components": document["components"]}
    return bool(OAS31Validator(whole).is_valid(value))


async def test_anybody_may_read_it(api: Api) -> None:
    answer = await api.get("/openapi.json", token=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body["openapi"].startswith("3.1.")


async def test_it_is_valid_openapi(document: Json) -> None:
    validate(document)
    assert document["jsonSchemaDialect"] == "https://json-schema.org/draft/2020-12/schema"


async def test_every_route_is_in_it_and_nothing_else(api: Api, document: Json) -> None:
    served = set()
    for path in {endpoint.path for endpoint in ENDPOINTS}:
        allowed = (await api.call("OPTIONS", path)).headers["allow"].split(", ")
        served |= {f"{method} {path}" for method in allowed if method != "HEAD"}
    assert {name for name, _ in operations(document)} == served


async def test_each_operation_says_what_it_does_and_for_whom(document: Json) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for name, operation in operations(document):
        level = BY_NAME[name].level
        assert operation["summary"], name
        assert set(operation["tags"]) <= tags, name
        assert operation["x-level"] == level, name
        assert operation["security"] == ([] if level is Level.PUBLIC else [{"token": []}]), name


async def test_every_status_that_an_error_can_have_is_described(document: Json) -> None:
    told = {status for _, operation in operations(document) for status in operation["responses"]}
    assert {str(translation.status) for translation in TRANSLATIONS.values()} <= told


async def test_retry_after_is_described_where_it_is_sent(document: Json) -> None:
    described = document["components"]["responses"]
    assert {name for name, each in described.items() if "Retry-After" in each.get("headers", {})} == {
        "TooManyRequests",
        "ServiceUnavailable",
    }


async def test_links_lead_to_operations_and_fill_their_parameters(document: Json) -> None:
    parameters = {
        operation["operationId"]: {each["name"] for each in operation.get("parameters", ())}
        for _, operation in operations(document)
    }
    links = [
        link
        for _, operation in operations(document)
        for link in operation["responses"]["200"].get("links", {}).values()
    ]
    assert len(links) > 10
    for link in links:
        given = set(link["parameters"])
        assert given <= parameters[link["operationId"]], link["operationId"]


async def test_examples_are_valid(document: Json) -> None:
    shown = 0
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                assert fits(document, parameter["schema"], parameter["example"]), name
        for holder in (operation.get("requestBody", {}), operation["responses"]["200"]):
            for media in holder.get("content", {}).values():
                if "example" in media:
                    assert fits(document, media["schema"], media["example"]), name
                    shown += 1
    assert shown > 30


async def test_every_body_and_every_answer_in_json_has_an_example(document: Json) -> None:
    for name, operation in operations(document):
        contents = [operation.get("requestBody", {}), operation["responses"]["200"]]
        media = [
            holder["content"]["application/json"]
            for holder in contents
            if "application/json" in holder.get("content", {})
        ]
        assert name == "GET /openapi.json" or all("example" in each for each in media), name


async def test_fields_are_described_in_the_words_of_their_docstrings(document: Json) -> None:
    schemas = document["components"]["schemas"]
    host = "The SMTP server; `sandbox` keeps the mail in a directory."
    assert [schemas[name]["properties"]["host"]["description"] for name in ("AccountInput", "Account")] == [
        host,
        host,
    ]


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ({"messages": [message("a")]}, True),
        ({"messages": [message("a", to="ann@example.net, bob@example.net")]}, True),
        ({"messages": [message("a", to=None, cc_addr=["ann@example.net"])]}, True),
        ({"messages": [message("a", anything="else")]}, True),
        ({"messages": [{"id": "a", "raw": "RnJvbTogYQ=="}]}, True),
        ({"messages": [message("a", priority="high", send_after="2027-01-01T00:00:00Z")]}, True),
        ({"messages": [message("a", subject="line\nbreak")]}, False),
        ({"messages": [message("x" * 256)]}, False),
        ({"messages": [message("a", priority=4)]}, False),
        ({"messages": [message("a", cc=[], cc_addr=[])]}, False),
        ({"messages": [message("a", attachments=[{"filename": "a", "storage_path": "base64:YQ=="}])]}, True),
        ({"messages": [message("a", attachments=[{"filename": "a", "storage_path": "YQ=="}])]}, False),
        ({"messages": [{"id": "a"}]}, False),
        ({"messages": [message("a", to=[], bcc="")]}, False),
        ({"messages": [message("a", headers={"X Y": "z"})]}, False),
        ({"messages": [message("a", metadata={"not": {"flat": 1}})]}, False),
        ({"messages": {}}, False),
        ({}, False),
    ],
)
async def test_the_schema_of_a_submission_tells_what_the_api_takes(
    document: Json, body: Json, *, is_valid: bool
) -> None:
    operation = document["paths"]["/commands/add-messages"]["post"]
    assert fits(document, operation["requestBody"]["content"]["application/json"]["schema"], body) is is_valid


def test_it_is_made_when_asked_for_and_not_before() -> None:
    """What makes it takes time that no start should pay."""
    code = "import sys, mail_proxy.daemon.app; print([name for name in sys.modules if 'openapi_' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


class Recorder:
    """Calls the API and holds every answer to the model that its endpoint declares."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.seen: dict[str, list[int]] = {}

    async def __call__(
        self,
        name: str,
        path: str | None = None,
        body: object = None,
        *,
        status: int = 200,
        token: str | None = ADMIN,
    ) -> Json:
        endpoint = BY_NAME[name]
        answer = await self._api.call(endpoint.method, path or endpoint.path, body, token=token)
        assert answer.status == status, (name, answer.text)
        self.seen.setdefault(name, []).append(status)
        if model := _model(endpoint, status):
            model.model_validate_json(answer.text, strict=True)
        return answer.body


def _model(endpoint: Endpoint, status: int) -> type[BaseModel] | None:
    if status == 200:
        return endpoint.answer
    return {400: responses.AllRejected, 422: responses.Invalid}.get(status, responses.Refusal)


async def test_every_answer_is_what_the_description_says_and_has_no_field_more(database_url: str) -> None:
    async with open_api(database_url) as api:
        call = Recorder(api)
        await _administer(call)
        await _send(call)
        await _fail(call)
    told = {endpoint.name for endpoint in ENDPOINTS if endpoint.answer is not None}
    assert told - {name for name, statuses in call.seen.items() if 200 in statuses} == set()


async def _administer(call: Recorder) -> None:
    for method in (
        {"method": "none"},
        {"method": "bearer", "token": "t"},
        {"method": "basic", "user": "u", "password": "p"},
    ):
        tenant = {
            "id": "acme",
            "client_base_url": "https://app.example",
            "client_auth": method,
            "webhook_secret": "s",
        }
        await call("POST /tenant", body=tenant)
        await call("GET /tenant/{id}", "/tenant/acme")
    await call("PUT /tenant/{id}", "/tenant/acme", {"name": "Acme", "large_file_config": {"enabled": False}})
    await call("POST /tenant/{id}/api-key", "/tenant/acme/api-key", {"expires_at": "2100-01-01"})
    await call("GET /tenants")
    await call("DELETE /tenant/{id}/api-key", "/tenant/acme/api-key")
    await call("POST /tenant", body={"id": "gone"})
    await call("DELETE /tenant/{id}", "/tenant/gone")
    account = {"id": "main", "tenant_id": "acme", "host": "sandbox", "user": "u", "password": "p"}
    await call("POST /account", body=account)
    await call("GET /accounts")
    await call("GET /account/{id}", "/account/main")
    await call("PUT /account/{id}", "/account/main", {"limit_per_minute": 5})
    await call("POST /account/{id}/test", "/account/main/test")
    await call("POST /account", body={"id": "spare", "host": "sandbox"})
    await call("DELETE /account/{id}", "/account/spare?force=true")
    keys = {"access_key_id": "i", "secret_access_key": "s"}
    await call("POST /storage", body={"name": "files", "protocol": "s3", "config": {"bucket": "b", **keys}})
    await call("POST /storage", body={"name": "disk", "protocol": "local", "config": {"base_path": "/srv"}})
    await call("GET /storages")
    await call("DELETE /storage/{name}", "/storage/files")
    settings = {"bounce_imap_host": "imap.example", "bounce_imap_user": "u", "bounce_imap_password": "p"}
    await call("PUT /instance", body={"name": "mail", **settings})
    await call("GET /instance")
    await call("PUT /instance/bounce", body={"bounce_enabled": True})
    await call("GET /instance/bounce")
    await call("POST /instance/bounce/reload")
    await call("POST /instance/reload-bounce")
    await call("GET /command-log")


async def _send(call: Recorder) -> None:
    file = {
        "filename": "a.txt",
        "storage_path": "base64:YQ==",
        "content_id": "c",
        "inline": True,
        "mime_type": "text/plain",
    }
    more = {
        "cc": ["c@example.net"],
        "bcc": ["b@example.net"],
        "body_html": "<p>",
        "reply_to": "r@example.net",
        "headers": {"X-A": "b"},
        "metadata": {"a": 1},
        "batch_code": "b",
        "priority": "high",
        "attachments": [file],
    }
    raw = {"id": "r", "raw": "RnJvbTogYUBiLml0DQpUbzogY0BkLml0DQoNCng="}
    scheduled = message("d", deferred_ts="2100-01-01", content_type="html")
    given = [message("a"), message("f", **more), raw, scheduled, {"id": "bad"}, 7, message("u", unknown=1)]
    given = [each | {"tenant_id": "acme"} if isinstance(each, dict) else each for each in given]
    assert (await call("POST /commands/add-messages", body={"messages": given}))["queued"] == 5
    for path in ("/messages", "/messages?include_history=true&limit=2", "/messages?status=error"):
        await call("GET /messages", path)
    for each in "afrd":
        await call("GET /messages/{id}", f"/messages/{each}")
        await call("GET /messages/{id}/events", f"/messages/{each}/events")
    await call("GET /messages/{id}/receipts", "/messages/a/receipts")
    await call("POST /messages/{id}/retry", "/messages/d/retry", {"at": "2100-01-02"})
    await call("POST /commands/suspend", "/commands/suspend?tenant_id=acme&batch_code=b")
    await call("POST /commands/activate", "/commands/activate?tenant_id=acme")
    await call("POST /commands/suspend", "/commands/suspend?tenant_id=*")
    await call("POST /commands/activate", "/commands/activate")
    await call("POST /commands/run-now")
    await call("POST /commands/delete-messages", body={"ids": ["a", "nobody"]})
    await call("POST /commands/cleanup-messages")
    await call("POST /reports/replay", "/reports/replay?tenant_id=acme", {"since": 0})
    for name in ("GET /reports", "GET /tenants/sync-status", "GET /status", "GET /health", "GET /ready"):
        await call(name)


async def _fail(call: Recorder) -> None:
    await call("POST /commands/add-messages", body={"messages": [{"id": "bad"}, None]}, status=400)
    await call("GET /messages", token=None, status=401)
    await call("GET /messages/{id}", "/messages/nobody", status=404)
    await call("DELETE /account/{id}", "/account/main", status=409)
    await call("GET /messages", "/messages?limit=0&status=nothing", status=422)
    await call("POST /tenant", body=[], status=422)
    await call(NEVER, "/files/anything", status=404)
