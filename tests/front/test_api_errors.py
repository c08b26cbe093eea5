"""How failures are answered (contract: http-api.md, Errors)."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.auth import Level
from mail_proxy.api.errors import TRANSLATIONS
from mail_proxy.api.routing import Endpoint
from mail_proxy.errors import DatabaseUnavailable, MailProxyError
from mail_proxy.services.encoding import encoded
from tests.support.api import Api, message, open_api

SECRET = "what-only-the-log-may-know"


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    async with open_api(sqlite_url) as api:
        yield api


def descendants(kind: type[MailProxyError]) -> Iterator[type[MailProxyError]]:
    for child in kind.__subclasses__():
        if child.__module__ == MailProxyError.__module__:
            yield child
            yield from descendants(child)


def test_every_error_has_its_answer() -> None:
    assert set(descendants(MailProxyError)) == set(TRANSLATIONS)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("POST", "/messages/a/b/c"),
        ("GET", "/health/"),
        ("GET", "//health"),
        ("GET", "/account/"),
        ("GET", "/Health"),
    ],
)
async def test_unknown_paths_are_404_for_anybody(api: Api, method: str, path: str) -> None:
    answer = await api.call(method, path, token=None)
    error = "there is no such endpoint"
    assert (answer.status, answer.body) == (404, {"ok": False, "error": error, "detail": error})


@pytest.mark.parametrize(
    ("part", "shown"), [("a%0D%0Ab", r"a\r\nb"), ("%1E", r"\x1e"), ("%E2%80%A8", r"\u2028"), ("%C3%A9", "é")]
)
async def test_an_error_is_one_line_whatever_it_repeats(api: Api, part: str, shown: str) -> None:
    assert (await api.get(f"/messages/{part}")).body["error"] == f"no message '{shown}'"


async def test_what_is_not_utf8_names_nothing(api: Api) -> None:
    """Not even what is called by the character that stands for wrong bytes."""
    await api.add_tenant("acme", "main")
    await api.queue("acme", ["\ufffd"], batch_code="\ufffd")
    assert (await api.get("/messages/%EF%BF%BD")).status == 200
    assert (await api.get("/messages/%E8")).status == 404
    assert (await api.get("/messages?batch_code=%EF%BF%BD")).body["messages"]
    answer = await api.post("/commands/suspend?tenant_id=acme&batch_code=%E8")
    assert (answer.status, answer.body["error"]) == (422, "batch_code: is not UTF-8")
    assert (await api.get("/tenant/acme")).body["suspended_batches"] == []


@pytest.mark.parametrize("path", sorted({endpoint.path for endpoint in ENDPOINTS}))
async def test_other_methods_are_405_naming_those_allowed(api: Api, path: str) -> None:
    offered = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == path}
    allowed = offered | ({"HEAD"} if "GET" in offered else set())
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"} - allowed:
        answer = await api.call(method, path.format(id="x", name="x", token="x"), token=None)
        assert answer.status == 405, method
        assert answer.headers["allow"] == ", ".join(sorted(allowed))


async def test_head_is_answered_like_get(api: Api) -> None:
    assert (await api.call("HEAD", "/health", token=None)).status == 200


def failing(api: Api, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database answer everything with this error from now on."""

    async def fail(*args: object, **kwargs: object) -> None:
        raise error

    for way in ("read", "write"):
        monkeypatch.setattr(api.runtime.store.database, way, fail)


PROTECTED = [endpoint for endpoint in ENDPOINTS if endpoint.level is not Level.PUBLIC]
BODY = {"id": "x", "host": "sandbox", "messages": [message()]}


@pytest.mark.parametrize("endpoint", PROTECTED, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
async def test_a_database_that_is_away_is_503_and_says_when_to_come_back(
    api: Api, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the database lies is for the log, not for the client."""
    failing(api, DatabaseUnavailable(f"database {SECRET} is locked"), monkeypatch)
    path = endpoint.path.format(id="x", name="x", token="x").replace("run-now", "run-now?tenant_id=x")
    answer = await api.call(endpoint.method, path, BODY if endpoint.method in ("POST", "PUT") else None)
    assert (answer.status, answer.body["ok"]) == (503, False)
    assert int(answer.headers["retry-after"]) > 0
    assert SECRET not in answer.text
    assert SECRET in caplog.text


async def test_a_tenants_token_cannot_be_judged_without_the_database(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 and not 401: the client is to try again, not to throw its token away."""
    key = await api.add_tenant("acme")
    failing(api, DatabaseUnavailable("locked"), monkeypatch)
    assert (await api.get("/status", token=key)).status == 503


@pytest.mark.parametrize("endpoint", PROTECTED, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
async def test_the_unexpected_is_500_with_an_id_that_the_log_has_too(
    api: Api, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing(api, RuntimeError(SECRET), monkeypatch)
    path = endpoint.path.format(id="x", name="x", token="x").replace("run-now", "run-now?tenant_id=x")
    answer = await api.call(endpoint.method, path, BODY if endpoint.method in ("POST", "PUT") else None)
    assert (answer.status, answer.body["ok"]) == (500, False)
    assert answer.body["detail"]["id"] in answer.body["error"]
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert answer.body["detail"]["id"] in record.getMessage()
    assert record.exc_info is not None


async def test_a_secret_that_cannot_be_kept_is_refused(postgres_url: str) -> None:
    """Without a key nothing is stored in the clear, and the answer does not tell where keys lie."""
    async with open_api(postgres_url, with_key=False) as api:
        given = {"id": "main", "host": "smtp.example.org", "user": "ann", "password": "secret"}
        answer = await api.post("/account", given)
        assert (answer.status, answer.body["ok"]) == (503, False)
        assert "/run/secrets" not in answer.text
        assert (await api.get("/account/main")).status == 404


async def test_a_lone_surrogate_in_an_answer_is_escaped() -> None:
    """What cannot be encoded must not become an error of its own."""
    assert json.loads(encoded({"a": "\ud800é"})) == {"a": "\ud800é"}
