"""When a real server process posts to a real application, by its own clock."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from mail_proxy.client import webhooks
from tests.support.application import Answer, Application, Post
from tests.support.office import TENANT, Office, move_in
from tests.support.server import Server

SECRET = "whsec_" + base64.b64encode(Random(1).randbytes(32)).decode()
SLACK = 0.9
"""Seconds by which a post may be late on a machine that is busy."""

POLL = 60
"""Seconds between the looks that nothing asks for: none of them helps within a test."""

QUEUED = 30


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A process of ours, not started, on either engine."""
    dsn = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    made = Server(tmp_path / "home", database_url=dsn)
    yield made
    made.kill()


@asynccontextmanager
async def opened(server: Server, **settings: object) -> AsyncIterator[Office]:
    server.settings = {f"GMP_{name.upper()}": str(value) for name, value in settings.items()}
    async with Application() as app:
        await asyncio.to_thread(server.start)
        yield await move_in(server, app)


async def test_empty_posts_keep_their_interval_and_do_not_disturb(server: Server) -> None:
    """Each second one, signed; while the application wants none, only news; the tenant lifts that."""
    async with opened(server, sync_interval=1, send_loop_interval=POLL) as office:
        app = office.app
        await office.call("PUT", f"/tenant/{TENANT}", {"webhook_secret": SECRET})
        posts = await app.wait_for(lambda posts: len(posts) >= 3)
        assert [webhooks.receive(SECRET, post.headers, post.body) for post in posts] == [()] * len(posts)
        gaps = [later.at - earlier.at for earlier, later in pairwise(posts)]
        assert all(1 - 0.1 < gap < 1 + SLACK for gap in gaps), gaps

        app.answer = Answer(body={"ok": True, "next_sync_after": posts[-1].at + 3600})
        await office.until_status(lambda status: bool(status["in_dnd"]))
        app.answer, quiet = Answer(), len(app.posts)
        await office.run_now(by_admin=True)
        await office.submit("m1")
        await office.until_told(["m1"])
        assert [len(post.entries) for post in app.posts[quiet:]] == [1]
        assert (await office.until_status(lambda _: True))["in_dnd"] is True
        assert webhooks.receive(SECRET, app.posts[-1].headers, app.posts[-1].body)[0].id == "m1"

        await office.run_now()
        beats = (await app.wait_for(lambda posts: len(posts) >= quiet + 3))[quiet + 1 :]
        assert [post.entries for post in beats] == [[], []]
        assert (await office.until_status(lambda _: True))["in_dnd"] is False


async def test_an_application_that_submits_while_it_is_told_is_not_kept_waiting(server: Server) -> None:
    """It hands in a message with each answer: all have gone in less time than a look takes to come."""
    async with opened(server, send_loop_interval=POLL) as office:
        left = [f"q{number}" for number in range(QUEUED)]

        async def submit(_: Post) -> Answer:
            if left:
                await office.submit(left[-1])
                left.pop()
            return Answer(body={"ok": True, "queued": len(left)})

        office.app.answer = submit
        await office.run_now()
        async with asyncio.timeout(POLL / 2):
            await office.app.wait_for(lambda _: not left)
            await office.until_told([f"q{number}" for number in range(QUEUED)])


async def test_networks_are_opened_to_tenants_while_the_server_runs(server: Server) -> None:
    """Before that nothing goes where a tenant's word leads, and the tenant's events wait."""
    async with opened(server) as office:
        await office.call("PUT", f"/tenant/{TENANT}", {"client_base_url": f"{office.app.url}/mine"})
        await office.submit("m1")
        status = await office.until_status(lambda status: status["consecutive_failures"] > 0)
        assert "is not a public address" in status["last_error"]
        assert office.app.connections == 0

        config = server.directory / "config.toml"
        config.write_text(f"allowed_networks = {json.dumps(['127.0.0.0/8'])}\n")
        server.send_signal(signal.SIGHUP)
        await office.until_log("configuration read anew")
        await office.run_now()
        (post,) = await office.app.wait_for(lambda posts: len(posts) == 1)
        assert post.target == "/mine/mail-proxy/sync"
        await office.until_told(["m1"])
