"""What the application sees of who posts to it: its login, or the instance's, and a signature that holds."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping

import pytest

from mail_proxy.client.errors import InvalidSignature
from mail_proxy.client.webhooks import ReportEntry, receive
from tests.support.api import Json
from tests.support.application import Answer, Application, Post
from tests.support.dispatching import TENANT
from tests.support.pacing import Pacing, pacing

SYNC = "/mail-proxy/sync"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ANY_TIME = float("inf")
"""The clock of these tests is not today's."""


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Pacing]:
    async with pacing(database_url) as made:
        yield made


async def change(app: Pacing, tenant_id: str = TENANT, **fields: object) -> None:
    answer = await app.api.put(f"/tenant/{tenant_id}", fields)
    assert answer.status == 200, answer.text


async def told(app: Pacing, message_id: str = "m1", tenant_id: str = TENANT) -> None:
    """Let something happen, and be told."""
    await app.desk.happen(message_id, "sent", tenant_id=tenant_id)
    await app.desk.work()
    assert await app.desk.pending(tenant_id) == 0


@pytest.mark.parametrize(
    ("auth", "seen"),
    [
        ({"method": "none"}, None),
        ({"method": "bearer", "token": "t0ken"}, "Bearer t0ken"),
        ({"method": "basic", "user": "shop", "password": "pässwörd:1"}, basic("shop:pässwörd:1")),
    ],
    ids=["none", "bearer", "basic"],
)
async def test_the_application_sees_the_login_it_gave(app: Pacing, auth: Json, seen: str | None) -> None:
    """With news and without."""
    await change(app, client_auth=auth)
    await told(app)
    await app.run_now(app.key)
    assert [len(each.post.entries) for each in app.log] == [1, 0]
    assert [each.post.headers.get("authorization") for each in app.log] == [seen] * 2
    assert [each.post.target for each in app.log] == [SYNC] * 2


async def test_a_new_login_holds_from_the_next_post(app: Pacing) -> None:
    await change(app, client_auth={"method": "bearer", "token": "old"})
    await told(app, "m1")
    await change(app, client_auth={"method": "bearer", "token": "new"})
    await told(app, "m2")
    await change(app, client_auth={"method": "none"}, client_sync_path="/hooks?of=mail")
    await told(app, "m3")
    assert [(each.post.target, each.post.headers.get("authorization")) for each in app.log] == [
        (SYNC, "Bearer old"),
        (SYNC, "Bearer new"),
        ("/hooks?of=mail", None),
    ]


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, None),
        ({"GMP_CLIENT_SYNC_TOKEN": "all"}, "Bearer all"),
        ({"GMP_CLIENT_SYNC_USER": "u", "GMP_CLIENT_SYNC_PASSWORD": "p"}, basic("u:p")),
        (
            {"GMP_CLIENT_SYNC_TOKEN": "all", "GMP_CLIENT_SYNC_USER": "u", "GMP_CLIENT_SYNC_PASSWORD": "p"},
            "Bearer all",
        ),
    ],
    ids=["none", "bearer", "basic", "the token goes first"],
)
async def test_the_instances_application_sees_the_instances_login(
    database_url: str, settings: Mapping[str, str], seen: str | None
) -> None:
    """Never that of the tenant; nor does a tenant's own application see the instance's."""
    async with (
        Application() as fallback,
        pacing(database_url, {"GMP_CLIENT_SYNC_URL": f"{fallback.url}/all?a=b", **settings}) as app,
    ):
        await app.desk.add_tenant("quiet", None)
        await change(app, "quiet", client_auth={"method": "bearer", "token": "quiet's own"})
        await told(app, tenant_id="quiet")
        await told(app)
        (post,) = fallback.posts
        assert (post.target, post.headers.get("authorization")) == ("/all?a=b", seen)
        assert [entry["tenant_id"] for entry in post.entries] == ["quiet"]
        (own,) = app.log
        assert own.post.headers.get("authorization") is None
        assert [entry["tenant_id"] for entry in own.post.entries] == [TENANT]


async def test_each_tenant_gets_its_own_reports_only(app: Pacing) -> None:
    """Though they have one application, and messages of the same id."""
    tenants = [f"t{number}" for number in range(5)]
    for tenant_id in tenants:
        await app.desk.add_tenant(tenant_id, f"{app.desk.app.url}/{tenant_id}")
        await app.desk.happen("m1", "deferred", "sent", tenant_id=tenant_id)
    await app.desk.work()
    found = {each.post.target: [entry["tenant_id"] for entry in each.post.entries] for each in app.log}
    assert found == {f"/{tenant_id}{SYNC}": [tenant_id] * 2 for tenant_id in tenants}


class TestSignature:
    async def test_it_verifies(self, app: Pacing) -> None:
        """That of news, and that of an empty post."""
        await change(app, webhook_secret=SECRET)
        await told(app)
        await app.run_now(app.key)
        news, empty = (each.post for each in app.log)
        (entry,) = received(news)
        assert (entry.id, entry.event) == ("m1", "sent")
        assert received(empty) == ()

    async def test_a_changed_byte_does_not(self, app: Pacing) -> None:
        """Whichever: of the body, the id, the time or the signature; nor does another secret."""
        await change(app, webhook_secret=SECRET)
        await told(app)
        post = app.log[0].post
        for place in range(len(post.body)):
            body = post.body[:place] + bytes([post.body[place] ^ 1]) + post.body[place + 1 :]
            with pytest.raises(InvalidSignature):
                receive(SECRET, post.headers, body, tolerance=ANY_TIME)
        for body in (post.body + b" ", post.body[:-1], b""):
            with pytest.raises(InvalidSignature):
                receive(SECRET, post.headers, body, tolerance=ANY_TIME)
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            text = post.headers[name]
            for place in range(len(text)):
                changed = text[:place] + ("1" if text[place] == "0" else "0") + text[place + 1 :]
                with pytest.raises(InvalidSignature):
                    receive(SECRET, {**post.headers, name: changed}, post.body, tolerance=ANY_TIME)
        with pytest.raises(InvalidSignature):
            receive("whsec_" + "A" * 43 + "=", post.headers, post.body, tolerance=ANY_TIME)

    async def test_who_has_no_secret_gets_none(self, app: Pacing) -> None:
        """Who has one gets it by way of the instance's application, too."""
        async with Application() as fallback:
            app.desk.reporter = app.desk.anew(client_sync_url=fallback.url)
            await app.desk.add_tenant("quiet", None)
            await change(app, "quiet", webhook_secret=SECRET)
            await told(app, tenant_id="quiet")
            await told(app)
            assert received(fallback.posts[0])
        assert [name for name in app.log[0].post.headers if name.startswith("webhook-")] == []

    async def test_what_is_posted_again_has_the_same_id(self, app: Pacing) -> None:
        """So that receivers of any make can tell; signed anew, at its own time. Other posts have others."""
        await change(app, webhook_secret=SECRET)
        app.answer = Answer(status=500)
        await app.happen("m1", "deferred", "sent")
        await app.pass_until(app.now + 35)
        app.answer = Answer()
        await app.pass_until(app.now + 100)
        await told(app, "m2")
        again, (other,) = [each.post for each in app.log[:-1]], [each.post for each in app.log[-1:]]
        assert len(again) == 4
        assert [post.body for post in again] == [again[0].body] * 4
        assert {post.headers["webhook-id"] for post in again} == {again[0].headers["webhook-id"]}
        assert len({post.headers["webhook-timestamp"] for post in again}) == 4
        assert other.headers["webhook-id"] != again[0].headers["webhook-id"]
        for post in (*again, other):
            assert received(post)


def received(post: Post) -> tuple[ReportEntry, ...]:
    """What a careful application takes it for."""
    return receive(SECRET, post.headers, post.body, tolerance=ANY_TIME)
