"""Posting delivery reports to a real application over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mail_proxy.callbacks.answer import PostResult
from mail_proxy.callbacks.poster import Poster, Target, join_url, target_for
from mail_proxy.config import Config
from mail_proxy.errors import InvalidInput
from mail_proxy.model.tenants import AuthMethod, ClientAuth, Tenant
from mail_proxy.net import open_client
from tests.support.application import Answer, Application

BEARER = ClientAuth(method=AuthMethod.BEARER, token="secret-token")
NOW = 1735689600.5


@pytest.fixture
async def app() -> AsyncIterator[Application]:
    async with Application() as application:
        yield application


@pytest.fixture
async def poster() -> AsyncIterator[Poster]:
    async with open_client() as client:
        yield Poster(client)


async def test_the_entries_arrive_in_order(app: Application, poster: Poster) -> None:
    entries = [{"id": "città", "event_id": n, "sent_ts": 1735689600, "error": None} for n in range(500)]
    result = await poster.post(Target(url=f"{app.url}/sync", auth=BEARER, trusted=True), entries, now=NOW)
    assert result == PostResult()
    (post,) = app.posts
    assert (post.method, post.target) == ("POST", "/sync")
    assert post.headers["authorization"] == "Bearer secret-token"
    assert post.json == {"delivery_report": entries}


async def test_no_entries_are_a_heartbeat(app: Application, poster: Poster) -> None:
    assert (await poster.post(Target(url=app.url, trusted=True), [], now=NOW)).accepted
    assert app.posts[0].json == {"delivery_report": []}


async def test_the_answer_is_read(app: Application, poster: Poster) -> None:
    app.answer = Answer(
        body={"ok": True, "queued": 7, "next_sync_after": 1735689600, "error": ["a"], "not_found": ["b"]}
    )
    result = await poster.post(
        Target(url=app.url, trusted=True), [{"id": "a"}, {"id": "b"}, {"id": "c"}], now=NOW
    )
    assert result == PostResult(
        error_ids=frozenset({"a"}), not_found_ids=frozenset({"b"}), queued=7, next_sync_after=1735689600.0
    )


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(status=500), "answered 500 Internal Server Error"),
        (Answer(status=307, headers={"Location": "/elsewhere"}), "answered 307 Temporary Redirect"),
        (Answer(body=b"thanks"), "not JSON"),
        (Answer(body={"ok": False}), "ok: false"),
        (Answer(body=b" " * 1024 * 1024 + b"{}"), "answered 200 with more than 1048576 bytes"),
        (Answer(raw=b"\x00\x01\x02\r\n\r\n"), "gave a broken answer"),
        (Answer(drop=True), "closed the connection without an answer"),
    ],
)
async def test_everything_else_is_a_failure_with_a_reason(
    app: Application, poster: Poster, answer: Answer, failure: str
) -> None:
    app.answer = answer
    result = await poster.post(Target(url=app.url, trusted=True), [{"id": "a"}], now=NOW)
    assert result.failure is not None
    assert failure in result.failure
    assert [post.target for post in app.posts] == ["/"]


async def test_a_tenants_address_is_guarded(app: Application, poster: Poster) -> None:
    """The same URL is refused when a tenant gave it and reached when the admin did."""
    for by_tenant, accepted in [(True, False), (False, True)]:
        tenant = Tenant(id="acme", client_base_url=app.url, by_tenant=by_tenant)
        target = target_for(tenant, Config())
        assert target is not None
        assert (await poster.post(target, [], now=NOW)).accepted is accepted
    assert len(app.posts) == 1


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", ""])
async def test_a_token_cannot_add_a_header(app: Application, poster: Poster, token: str) -> None:
    auth = ClientAuth(method=AuthMethod.BEARER, token=token)
    result = await poster.post(Target(url=app.url, auth=auth, trusted=True), [], now=NOW)
    assert result.failure == "client_auth: the bearer token is empty or holds characters that it must not"
    assert app.posts == []


class TestTarget:
    def test_the_tenants_own_application(self) -> None:
        tenant = Tenant(id="acme", client_base_url="https://app.example/mail", client_auth=BEARER)
        assert target_for(tenant, Config(client_sync_url="https://fallback.example/")) == Target(
            url="https://app.example/mail/mail-proxy/sync", auth=BEARER, trusted=True
        )

    def test_an_address_given_by_a_tenant_is_not_trusted(self) -> None:
        target = target_for(
            Tenant(id="acme", client_base_url="https://app.example", by_tenant=True), Config()
        )
        assert target == Target(url="https://app.example/mail-proxy/sync", trusted=False)

    @pytest.mark.parametrize(
        ("config", "auth"),
        [
            (Config(client_sync_url="https://f.example/s?a=b"), ClientAuth()),
            (
                Config(
                    client_sync_url="https://f.example/s?a=b", client_sync_token="t", client_sync_user="u"
                ),
                ClientAuth(method=AuthMethod.BEARER, token="t"),
            ),
            (
                Config(
                    client_sync_url="https://f.example/s?a=b", client_sync_user="u", client_sync_password="p"
                ),
                ClientAuth(method=AuthMethod.BASIC, user="u", password="p"),
            ),
        ],
        ids=["no auth", "token first", "user and password"],
    )
    def test_without_one_the_instances(self, config: Config, auth: ClientAuth) -> None:
        tenant = Tenant(id="acme", client_auth=BEARER, by_tenant=True)
        assert target_for(tenant, config) == Target(url="https://f.example/s?a=b", auth=auth, trusted=True)

    def test_or_nowhere(self) -> None:
        assert target_for(Tenant(id="acme"), Config()) is None

    async def test_a_bad_path_is_a_failure_that_says_so(self, poster: Poster) -> None:
        tenant = Tenant(id="acme", client_base_url="https://app.example", client_sync_path="sync")
        target = target_for(tenant, Config())
        assert target is not None
        result = await poster.post(target, [], now=NOW)
        assert result.failure == "the path 'sync' does not begin with '/'"


class TestJoin:
    @pytest.mark.parametrize(
        ("base", "path", "url"),
        [
            ("https://h", "/sync", "https://h/sync"),
            ("https://h/", "/sync", "https://h/sync"),
            ("https://h/a/b/", "/c/d", "https://h/a/b/c/d"),
            ("https://h:8443/a", "/sync", "https://h:8443/a/sync"),
            ("https://h/a?x=1", "/sync", "https://h/a/sync?x=1"),
            ("https://h/a", "/sync?y=2", "https://h/a/sync?y=2"),
            ("https://h/a?x=1", "/sync?y=2&z=3", "https://h/a/sync?x=1&y=2&z=3"),
            ("https://h/a#top", "/sync#end", "https://h/a/sync"),
            ("https://h", "//evil.example/x", "https://h//evil.example/x"),
            ("https://h", "/@evil.example", "https://h/@evil.example"),
            ("https://h", "/a..b/...", "https://h/a..b/..."),
            ("https://h", "/x?to=../y", "https://h/x?to=../y"),
            ("https://[2001:db8::1]:80", "/s", "https://[2001:db8::1]:80/s"),
        ],
    )
    def test_by_component(self, base: str, path: str, url: str) -> None:
        assert join_url(base, path) == url

    @pytest.mark.parametrize(
        ("base", "path"),
        [
            ("https://h", ""),
            ("https://h", "sync"),
            ("https://h", "@evil.example/"),
            ("https://h", ".evil.example/"),
            ("https://h", "?x=1"),
            ("https://h", "https://evil.example/"),
            ("https://h/a", "/../b"),
            ("https://h/a", "/b/.."),
            ("https://h/a", "/%2e%2E/b"),
            ("https://h/a", "/..\\b"),
            ("https://h", "/a\r\nX: 1"),
            ("https://h", "/a\x00"),
            ("https://h\r\n", "/a"),
            ("https://[::1", "/a"),
        ],
    )
    def test_what_leaves_the_base_is_refused(self, base: str, path: str) -> None:
        with pytest.raises(InvalidInput):
            join_url(base, path)
