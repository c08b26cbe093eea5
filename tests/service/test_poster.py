"""Posting delivery reports to a real application over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import pytest

from mail_proxy.callbacks.answer import PostResult
from mail_proxy.callbacks.poster import Poster, Target, join_url, target_for
from mail_proxy.config import Config
from mail_proxy.errors import InvalidInput
from mail_proxy.model.tenants import AuthMethod, ClientAuth, Tenant
from mail_proxy.net import open_client
from mail_proxy.signing import disbelief
from tests.support.application import Answer, Application, Post

BEARER = ClientAuth(method=AuthMethod.BEARER, token="secret-token")
NOW = 1735689600.5
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ENTRIES = [
    {"id": "città", "tenant_id": "acme", "pk": "01a1-1", "event": "sent", "event_id": 7},
    {"id": "m2", "tenant_id": "acme", "pk": "01a1-2", "event": "error", "event_id": 8},
]


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


async def test_of_ids_only_those_that_were_posted_are_kept(app: Application, poster: Poster) -> None:
    """An answer of a MiB of ids would else be several in memory, until it is recorded, for each tenant."""
    others = [f"other-{number}" for number in range(10_000)]
    app.answer = Answer(body={"error": [*others, "m2", 7], "not_found": ["città", *others]})
    result = await poster.post(Target(url=app.url, trusted=True), ENTRIES, now=NOW)
    assert result == PostResult(error_ids=frozenset({"m2"}), not_found_ids=frozenset({"città"}))


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


async def test_a_fault_of_our_own_is_a_failure_too(caplog: pytest.LogCaptureFixture) -> None:
    """Of this post: whatever a tenant's address leads to, the server lives."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        raise LookupError(host)

    async with open_client(resolve=resolve) as client:
        result = await Poster(client).post(Target(url="http://a.example"), [], now=NOW)
    assert result.failure == "a fault of mail-proxy's own, which its log tells of"
    assert "LookupError: a.example" in caplog.text


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", ""])
async def test_a_token_cannot_add_a_header(app: Application, poster: Poster, token: str) -> None:
    auth = ClientAuth(method=AuthMethod.BEARER, token=token)
    result = await poster.post(Target(url=app.url, auth=auth, trusted=True), [], now=NOW)
    assert result.failure == "client_auth: the bearer token is empty or holds characters that it must not"
    assert app.posts == []


class TestSignature:
    @pytest.mark.parametrize("secret", [SECRET, "an own one, è"])
    @pytest.mark.parametrize("entries", [ENTRIES, []], ids=["events", "heartbeat"])
    async def test_the_receiver_can_verify_it(
        self, app: Application, poster: Poster, secret: str, entries: Sequence[Mapping[str, object]]
    ) -> None:
        (post,) = await self.posts(app, poster, entries, secret=secret)
        assert post.headers["webhook-timestamp"] == "1735689600"
        assert disbelief(secret, post.headers, post.body, now=NOW) is None

    async def test_what_was_changed_on_the_way_is_seen(self, app: Application, poster: Poster) -> None:
        """One byte, the secret, or the time at which it arrives."""
        (post,) = await self.posts(app, poster, ENTRIES)
        changed = post.body.replace(b'"sent"', b'"Sent"')
        assert changed != post.body
        assert disbelief(SECRET, post.headers, changed, now=NOW)
        assert disbelief("an own one", post.headers, post.body, now=NOW)
        assert disbelief(SECRET, post.headers, post.body, now=NOW + 302)

    async def test_without_a_secret_there_is_none(self, app: Application, poster: Poster) -> None:
        (post,) = await self.posts(app, poster, ENTRIES, secret=None)
        assert [name for name in post.headers if name.startswith("webhook-")] == []

    async def test_what_is_posted_again_has_the_same_id(self, app: Application, poster: Poster) -> None:
        """Signed anew, so that it is never too old."""
        target = Target(url=app.url, trusted=True, webhook_secret=SECRET)
        for now in (NOW, NOW + 86400):
            await poster.post(target, ENTRIES, now=now)
        first, again = app.posts
        assert first.headers["webhook-id"] == again.headers["webhook-id"]
        assert again.headers["webhook-timestamp"] == "1735776000"
        assert disbelief(SECRET, again.headers, again.body, now=NOW + 86400) is None

    async def test_what_differs_has_another(self, app: Application, poster: Poster) -> None:
        """Also the events of another tenant or another server whose numbers are the same."""
        others = [ENTRIES[:1], ENTRIES[1:], [ENTRIES[0] | {"pk": "02b2"}], [ENTRIES[0] | {"tenant_id": "b"}]]
        posts = await self.posts(app, poster, ENTRIES, *others, [], [])
        assert len({post.headers["webhook-id"] for post in posts}) == 7

    @pytest.mark.parametrize(
        ("auth", "sent"),
        [
            (BEARER, "Bearer secret-token"),
            (ClientAuth(method=AuthMethod.BASIC, user="u", password="p"), "Basic dTpw"),
            (ClientAuth(), None),
        ],
        ids=["bearer", "basic", "none"],
    )
    async def test_it_goes_beside_the_login(
        self, app: Application, poster: Poster, auth: ClientAuth, sent: str | None
    ) -> None:
        tenant = Tenant(id="acme", client_base_url=app.url, client_auth=auth, webhook_secret=SECRET)
        (post,) = await self.told(app, poster, tenant, Config())
        assert post.headers.get("authorization") == sent
        assert disbelief(SECRET, post.headers, post.body, now=NOW) is None

    @pytest.mark.parametrize(
        ("login", "sent"),
        [
            ({"client_sync_token": "t"}, "Bearer t"),
            ({"client_sync_user": "u", "client_sync_password": "p"}, "Basic dTpw"),
            ({}, None),
        ],
        ids=["bearer", "basic", "none"],
    )
    async def test_the_instances_application_sees_it_too(
        self, app: Application, poster: Poster, login: dict[str, str], sent: str | None
    ) -> None:
        """Signed with the tenant's secret, logged in as the instance."""
        tenant = Tenant(id="acme", client_auth=BEARER, webhook_secret=SECRET)
        config = replace(Config(client_sync_url=f"{app.url}/all"), **login)  # type: ignore[arg-type]  # named above
        (post,) = await self.told(app, poster, tenant, config)
        assert (post.target, post.headers.get("authorization")) == ("/all", sent)
        assert disbelief(SECRET, post.headers, post.body, now=NOW) is None

    @pytest.mark.parametrize("base_url", ["https://app.example", None], ids=["own", "instance's"])
    @pytest.mark.parametrize(
        ("tenant", "failure"),
        [
            (
                Tenant(id="acme", unreadable=frozenset({"webhook_secret"})),
                "the stored webhook_secret cannot be decrypted: give it again",
            ),
            (
                Tenant(id="acme", webhook_secret="whsec_short"),
                "the stored webhook_secret is not valid: it must have 24 to 64 bytes in base64 after whsec_",
            ),
        ],
        ids=["damaged", "impossible"],
    )
    async def test_without_the_secret_nothing_is_posted(
        self, app: Application, poster: Poster, tenant: Tenant, base_url: str | None, failure: str
    ) -> None:
        """A receiver that verifies would refuse it; one that does not would never learn that it should."""
        config = Config(client_sync_url=app.url)
        target = target_for(replace(tenant, client_base_url=base_url), config)
        assert target is not None
        assert (await poster.post(target, ENTRIES, now=NOW)).failure == failure
        assert app.posts == []

    def test_the_secret_is_not_shown(self) -> None:
        assert SECRET not in repr(Target(url="https://app.example", webhook_secret=SECRET))

    async def posts(
        self,
        app: Application,
        poster: Poster,
        *reports: Sequence[Mapping[str, object]],
        secret: str | None = SECRET,
    ) -> list[Post]:
        """Post each of the reports; what the application got."""
        target = Target(url=app.url, trusted=True, webhook_secret=secret)
        for entries in reports:
            assert (await poster.post(target, entries, now=NOW)).accepted
        return app.posts

    async def told(self, app: Application, poster: Poster, tenant: Tenant, config: Config) -> list[Post]:
        """Post to where the tenant's reports go; what the application got."""
        target = target_for(tenant, config)
        assert target is not None
        assert (await poster.post(target, ENTRIES, now=NOW)).accepted
        return app.posts


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
            ("https://h/a", "/..;/b"),
            ("https://h/a", "/%2e.%3bx=1/b"),
            ("https://h", "/a\r\nX: 1"),
            ("https://h", "/a\x00"),
            ("https://h\r\n", "/a"),
            ("https://[::1", "/a"),
        ],
    )
    def test_what_leaves_the_base_is_refused(self, base: str, path: str) -> None:
        with pytest.raises(InvalidInput):
            join_url(base, path)
