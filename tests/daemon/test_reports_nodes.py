"""Several nodes tell the same applications: one at a time; the long run: tests/chaos/report_nodes.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mail_proxy.daemon.leases import LEASE
from mail_proxy.daemon.telling import BATCH
from mail_proxy.encryption import generate_key
from tests.chaos import report_nodes
from tests.chaos.disturbances import NODES, Disturbance, Kind
from tests.support.application import Answer, Application
from tests.support.dispatching import TENANT
from tests.support.nodes import settle_in, submit
from tests.support.postgres import PostgresServer
from tests.support.receiver import Mood
from tests.support.reporting import Reporting, reporting
from tests.support.server import Server
from tests.support.smtp_server import SmtpServer

A_MOMENT = 5.0
"""Seconds that a loaded machine may need besides."""


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Reporting]:
    async with reporting(database_url) as made:
        yield made


def event_ids(desk: Reporting) -> list[list[int]]:
    """The events of each post."""
    return [[int(str(entry["event_id"])) for entry in post.entries] for post in desk.app.posts]


def test_two_nodes_tell_each_event_once(postgres_server: PostgresServer) -> None:
    """300 events of five tenants; no event is posted twice, no application by both at a time."""
    outcome = report_nodes.run(
        "postgres",
        messages=210,
        tenants=5,
        seconds=4,
        moods={},
        names=("first", "second"),
        plan=(),
        postgres=postgres_server,
    )
    posts = [request for request in outcome.requests if request.entries]

    assert outcome.broken_promises() == [], str(outcome)
    assert (outcome.doubled, outcome.at_once) == ([], [])
    assert sum(len(request.entries) for request in posts) == len(outcome.happened) >= 300
    assert {request.path for request in posts} == {"/first", "/second"}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_node_killed_and_one_stopped_for_a_while_tell_everything(
    database: str, request: pytest.FixtureRequest
) -> None:
    """Told twice is at most what the killed one had in hand; a stop shorter than a lease costs its time."""
    postgres = request.getfixturevalue("postgres_server") if database == "postgres" else None
    last = len(NODES[database]) - 1
    outcome = report_nodes.run(
        database,
        messages=200,
        tenants=5,
        seconds=4,
        moods={Mood.SLOW: 0.2},
        plan=[Disturbance(1.0, 0.5, Kind.KILL, 0), Disturbance(2.5, 1.0, Kind.STOP, last)],
        postgres=postgres,
    )

    assert outcome.broken_promises() == [], str(outcome)
    assert (outcome.kills, outcome.stops, outcome.long_stops) == (1, 1, 0)


async def test_nodes_that_look_at_the_same_moment_share(desk: Reporting) -> None:
    names = [TENANT, *(f"t{number}" for number in range(9))]
    for name in names[1:]:
        await desk.add_tenant(name, desk.app.url)
    for name in names:
        await desk.happen("m1", "deferred", "sent", tenant_id=name)
    nodes = [desk.node(f"node-{number}") for number in range(3)]
    await asyncio.gather(*(node.step() for node in nodes))
    await asyncio.gather(*(node.idle() for node in nodes))
    assert sorted(str(entry["tenant_id"]) for post in desk.app.posts for entry in post.entries[:1]) == names
    assert len(desk.app.posts) == len(names)


async def test_what_a_stopped_node_had_is_taken_over_when_its_lease_is_over(desk: Reporting) -> None:
    """Not before; and when it goes on, it begins no other post: its tenant is another's."""
    held = asyncio.Event()
    stopped, other = desk.node("stopped"), desk.node("other")
    await desk.happen("m1", *["deferred"] * (BATCH + 1))
    desk.app.script = [Answer(held=held)]
    await stopped.step()
    await desk.app.wait_for(lambda posts: len(posts) == 1)

    desk.rig.time.advance(LEASE - 1)
    await other.step()
    await other.idle()
    assert len(desk.app.posts) == 1

    desk.rig.time.advance(1)
    await other.step()
    await other.idle()
    assert [len(post.entries) for post in desk.app.posts] == [BATCH, BATCH, 1]
    assert desk.app.posts[1].entries == desk.app.posts[0].entries

    held.set()
    await stopped.idle()
    assert len(desk.app.posts) == 3
    assert await desk.pending() == 0


async def test_a_node_that_goes_on_while_another_tells_begins_no_post(desk: Reporting) -> None:
    """Both have the first batch in hand; the second is for the one whose lease it is."""
    held, held_too = asyncio.Event(), asyncio.Event()
    stopped, other = desk.node("stopped"), desk.node("other")
    await desk.happen("m1", *["deferred"] * (BATCH + 1))
    desk.app.script = [Answer(held=held), Answer(held=held_too)]
    await stopped.step()
    await desk.app.wait_for(lambda posts: len(posts) == 1)
    desk.rig.time.advance(LEASE)
    await other.step()
    await desk.app.wait_for(lambda posts: len(posts) == 2)

    held.set()
    await stopped.idle()
    await stopped.step()
    await stopped.idle()
    assert len(desk.app.posts) == 2

    held_too.set()
    await other.idle()
    first, second, third = event_ids(desk)
    assert first == second
    assert [*first, *third] == sorted({*first, *third})
    assert await desk.pending() == 0


async def test_an_answer_that_takes_longer_than_a_lease_is_waited_for_by_one(desk: Reporting) -> None:
    """A node that lives renews what it has in hand."""
    held = asyncio.Event()
    living, other = desk.node("living"), desk.node("other")
    await desk.happen("m1", "sent")
    desk.app.script = [Answer(held=held)]
    await living.step()
    await desk.app.wait_for(lambda posts: len(posts) == 1)
    for _ in range(5):
        desk.rig.time.advance(LEASE - 1)
        await other.step()
        await other.idle()
        await living.renew()
    held.set()
    await living.idle()
    assert desk.told == [("m1", "sent")]
    assert await desk.pending() == 0


async def _killed_amid_a_post(
    postgres_url: str, tmp_path: Path, mail: SmtpServer, app: Application
) -> tuple[Server, Server]:
    """Two nodes, each posting to a path of its own; the one that began is dead, the other one lives."""
    key = generate_key()
    nodes = [Server(tmp_path / "home", name, database_url=postgres_url, key=key) for name in ("one", "two")]
    for node in nodes:
        node.settings["GMP_CLIENT_SYNC_URL"] = f"{app.url}/{node.name}"
        await asyncio.to_thread(node.start)
    await submit(await settle_in(nodes[0], mail), "m1")
    [post] = await app.wait_for(lambda posts: len(posts) == 1)
    dead, alive = sorted(nodes, key=lambda node: post.target != f"/{node.name}")
    await asyncio.to_thread(dead.kill)
    return dead, alive


async def test_what_a_killed_server_had_is_told_by_the_other(
    postgres_url: str, tmp_path: Path, mail: SmtpServer
) -> None:
    """Within the lease, for which this test waits: half a minute."""
    async with Application() as app:
        app.script = [Answer(hang=True)]
        began = time.monotonic()
        dead, alive = await _killed_amid_a_post(postgres_url, tmp_path, mail, app)
        try:
            first, second = await app.wait_for(lambda posts: len(posts) == 2)
            assert time.monotonic() - began < LEASE + A_MOMENT
            assert (first.target, second.target) == (f"/{dead.name}", f"/{alive.name}")
            assert second.entries == first.entries
        finally:
            await asyncio.to_thread(alive.stop)


async def test_what_a_killed_server_had_it_tells_after_its_restart(
    postgres_url: str, tmp_path: Path, mail: SmtpServer
) -> None:
    """At once: what it held in a former life is its own."""
    async with Application() as app:
        app.script = [Answer(hang=True)]
        dead, alive = await _killed_amid_a_post(postgres_url, tmp_path, mail, app)
        try:
            await asyncio.to_thread(dead.start)
            first, second = await app.wait_for(lambda posts: len(posts) == 2, timeout=LEASE - A_MOMENT)
            assert first.target == second.target == f"/{dead.name}"
            assert second.entries == first.entries
        finally:
            await asyncio.to_thread(dead.stop)
            await asyncio.to_thread(alive.stop)
