"""Whatever a client sends, wherever: an answer in JSON, soon, and it is never 500."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from mail_proxy.api.app import ENDPOINTS, create_app
from mail_proxy.api.routing import Endpoint
from tests.conftest import DATABASE_FILE
from tests.support.api import ADMIN, Api, message, open_api
from tests.support.arbitrary import almost, any_text, json_values
from tests.support.postgres import PostgresServer
from tests.support.raw_requests import BODIES, KNOWN, TENANT, RawAnswer, ask

SETTINGS = {"GMP_AUTH_FAILURE_LIMIT": "0"}
"""Wrong tokens by the hundred are to reach the database."""

LEVELS = ("admin", "tenant")
WITH_BODY = [endpoint for endpoint in ENDPOINTS if endpoint.body is not None]
WITH_PARTS = [endpoint for endpoint in ENDPOINTS if "{" in endpoint.path]
JSON_TYPE = (b"Content-Type", b"application/json")


def few(examples: int) -> settings:
    """The same examples in every run, so many."""
    return settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def endpoints(found: list[Endpoint]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("endpoint", found, ids=[endpoint.name for endpoint in found])


levels = pytest.mark.parametrize("level", LEVELS)


@dataclass(slots=True)
class Scene:
    """An application with a tenant that has two accounts, whose servers answer or refuse at once."""

    api: Api
    app: ASGIApp
    ids: Iterator[int] = field(default_factory=count)
    key: str = ""
    is_changed: bool = True

    async def restore(self) -> None:
        """Put back what a test before may have deleted or changed; and so show that all works still."""
        if not self.is_changed:
            return
        self.is_changed = False
        await self.api.post("/tenant", {"id": TENANT})
        self.key = (await self.api.post(f"/tenant/{TENANT}/api-key")).body["api_key"]
        await self.api.add_account(TENANT, "main")
        closed = {"tenant_id": TENANT, "id": "closed", "host": "127.0.0.1", "port": 1, "tls": "none"}
        assert (await self.api.post("/account", closed)).status == 200
        config = {"tenant_id": TENANT, "name": "files", "protocol": "local", "config": {"base_path": "/x"}}
        assert (await self.api.post("/storage", config)).status == 200
        for message_id in ("known", f"n{next(self.ids)}"):
            answer = await self.api.submit(message(message_id, account_id="main"), token=self.key)
            assert (answer.status, answer.body["queued"]) == (200, 1)

    async def ask(
        self,
        level: str,
        method: str,
        target: str,
        content: bytes = b"",
        headers: tuple[tuple[bytes, bytes], ...] = (JSON_TYPE,),
    ) -> RawAnswer:
        """Send a request with the token of this level, and hold the answer to what holds for all."""
        self.is_changed |= method not in ("GET", "HEAD")
        token = (b"X-API-Token", (ADMIN if level == "admin" else self.key).encode())
        answer = await ask(self.app, method, target, (token, *headers), content)
        check(answer)
        return answer


def check(answer: RawAnswer) -> None:
    assert answer.status < 500, answer.content
    if answer.status < 400:
        assert not answer.is_json or answer.body.get("ok", True) is True
        return
    assert answer.is_json
    assert answer.body["ok"] is False
    error = answer.body["error"]
    assert isinstance(error, str)
    assert len(error.splitlines()) == 1
    if answer.status == 422:
        assert answer.body["detail"]
        assert all(fault.keys() == {"loc", "msg", "type"} for fault in answer.body["detail"])


@pytest.fixture(scope="module")
async def sqlite_stage(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    path = tmp_path_factory.mktemp("arbitrary") / DATABASE_FILE
    shutil.copyfile(sqlite_template, path)
    async with open_api(str(path), SETTINGS) as api:
        scene = Scene(api, create_app(api.runtime))
        yield scene
        await scene.restore()


@pytest.fixture(scope="module")
async def postgres_stage(postgres_server: PostgresServer, postgres_template: str) -> AsyncIterator[Scene]:
    dsn = await postgres_server.create_database(postgres_template)
    async with open_api(dsn, SETTINGS) as api:
        scene = Scene(api, create_app(api.runtime))
        yield scene
        await scene.restore()
    await postgres_server.drop_database(dsn)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest) -> Scene:
    """One application for all tests on an engine: what one leaves behind, the next has to bear."""
    opened: Scene = request.getfixturevalue(f"{request.param}_stage")
    return opened


@pytest.fixture
async def scene(stage: Scene) -> Scene:
    await stage.restore()
    return stage


def path_of(endpoint: Endpoint) -> str:
    """The endpoint's path, about what is there."""
    there = KNOWN.get(endpoint.path.split("/")[1], [""])[0]
    return endpoint.path.format(id=there, name=there, token=there)


def content_of(endpoint: Endpoint) -> bytes:
    return json.dumps(BODIES[endpoint.name]).encode() if endpoint.body else b""


def percent(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


JUNK = (
    "%", "%2", "%zz", "%00", "%FF", "%C3%28", "%ED%A0%80", "%2F", "%2E%2E", "..", ".", "//", "%5C", "%0D%0A",
    "%25", "+", ";", "=", "&", "[", "]", "{id}", "*", "~", "a" * 5000, "9" * 400, "%E6%9D%B1" * 300,
)  # fmt: skip
junk = st.lists(st.sampled_from(JUNK), min_size=1, max_size=4).map("".join)
part = any_text.map(percent) | junk
value = part | st.sampled_from(
    [
        "",
        "true",
        "0",
        "-1",
        "1e400",
        "nan",
        "inf",
        "1_000",
        "2026-01-01T00:00:00Z",
        "9999-12-31",
        "error",
        TENANT,
        "*",
    ]
)
raw_content = st.binary(max_size=60) | st.one_of(
    json_values.map(lambda each: json.dumps(each, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    json_values.map(lambda each: json.dumps(each).encode("utf-16")),
    st.sampled_from(
        [
            *(b"", b"null", b"{", b"[[" * 50_000, b'{"a":' * 50_000, b'{"a": NaN}', b'{"a": 1e999}'),
            *(
                b'{"a": 1, "a": 2}',
                b"\xef\xbb\xbf{}",
                b'{"a": ' + b"9" * 5000 + b"}",
                b"{}{}",
                b'{"\\ud800": 1}',
            ),
        ]
    ),
)
header_value = st.binary(max_size=60).map(
    lambda each: bytes(byte for byte in each if byte > 31 and byte != 127)
)
header = st.tuples(
    st.sampled_from(
        [
            *(b"X-API-Token", b"Content-Type", b"Content-Length", b"Content-Encoding", b"Accept", b"Cookie"),
            *(b"X-Forwarded-For", b"Forwarded", b"Host", b"Range", b"If-None-Match", b"Expect"),
        ]
    ),
    header_value
    | st.sampled_from([b"9" * 5000, b"-1", b"gzip", b"application/json; charset=latin-1", b"*/*"]),
)


def test_each_endpoint_with_a_body_has_a_valid_one_here() -> None:
    assert {endpoint.name for endpoint in WITH_BODY} <= BODIES.keys()


@endpoints(WITH_BODY)
async def test_the_valid_body_is_one(scene: Scene, endpoint: Endpoint) -> None:
    """So that what is changed in it meets more than the first look."""
    level = "tenant" if endpoint.name in ("POST /account", "PUT /tenant/{id}") else "admin"
    query = f"?tenant_id={TENANT}" if endpoint.path.startswith(("/commands/", "/storage", "/reports")) else ""
    if endpoint.name == "POST /commands/add-messages":
        query = ""
    answer = await scene.ask(level, endpoint.method, path_of(endpoint) + query, content_of(endpoint))
    assert answer.status == 200, answer.content


@levels
@endpoints(WITH_BODY)
@few(8)
@given(body=json_values)
async def test_any_json_as_a_body(scene: Scene, endpoint: Endpoint, level: str, body: object) -> None:
    await scene.ask(level, endpoint.method, path_of(endpoint), json.dumps(body).encode())


@levels
@endpoints(WITH_BODY)
@few(16)
@given(data=st.data())
async def test_a_body_that_is_almost_right(
    scene: Scene, endpoint: Endpoint, level: str, data: st.DataObject
) -> None:
    body = data.draw(almost(BODIES[endpoint.name]))
    await scene.ask(level, endpoint.method, path_of(endpoint), json.dumps(body).encode())


@levels
@endpoints(WITH_BODY)
@few(10)
@given(content=raw_content)
async def test_any_bytes_as_a_body(scene: Scene, endpoint: Endpoint, level: str, content: bytes) -> None:
    await scene.ask(level, endpoint.method, path_of(endpoint), content)


@levels
@endpoints(list(ENDPOINTS))
@few(5)
@given(data=st.data())
async def test_any_query(scene: Scene, endpoint: Endpoint, level: str, data: st.DataObject) -> None:
    name = st.sampled_from([*endpoint.query.model_fields, "tenant_id", "unknown"]) | part
    pair = st.tuples(name, value).map("=".join) | junk
    query = "&".join(data.draw(st.lists(pair, min_size=1, max_size=3)))
    await scene.ask(level, endpoint.method, f"{path_of(endpoint)}?{query}", content_of(endpoint))


@levels
@endpoints(WITH_PARTS)
@few(8)
@given(data=st.data())
async def test_any_part_of_a_path(scene: Scene, endpoint: Endpoint, level: str, data: st.DataObject) -> None:
    known = KNOWN[endpoint.path.split("/")[1]]
    given_part = data.draw(st.sampled_from(known) | part.map(lambda text: text.replace("?", "")))
    target = endpoint.path.format(id=given_part, name=given_part, token=given_part)
    await scene.ask(level, endpoint.method, target, content_of(endpoint))


@endpoints(list(ENDPOINTS))
@few(6)
@given(headers=st.lists(header, min_size=1, max_size=3))
async def test_any_headers(scene: Scene, endpoint: Endpoint, headers: list[tuple[bytes, bytes]]) -> None:
    """Without a token, but for those that are given there; and with the admin's beside them."""
    check(await ask(scene.app, endpoint.method, path_of(endpoint), headers, content_of(endpoint)))
    await scene.ask("admin", endpoint.method, path_of(endpoint), content_of(endpoint), tuple(headers))


@few(60)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "x"]),
    path=part,
)
async def test_any_path_at_all(scene: Scene, method: str, path: str) -> None:
    await scene.ask("admin", method, f"/{path}".replace("?", ""))
