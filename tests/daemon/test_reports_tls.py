"""Reports go over TLS only to the application that the URL names, and are told again once it is that one."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from mail_proxy.callbacks.poster import Poster
from mail_proxy.net import open_client
from tests.support.application import HOST, Application
from tests.support.certificates import Authority
from tests.support.dispatching import TENANT
from tests.support.reporting import Reporting, reporting
from tests.support.story import LONGEST, Story, broken_promises

HASTE = 0.2
LONGEST_BACKOFF = 300.0

OURS, THEIRS = Authority(), Authority()
"""The one that the server trusts, and one that it does not."""

WRONG: dict[str, tuple[Callable[[ssl.SSLContext], None], str]] = {
    "nobody we trust": (lambda tls: THEIRS.certify(tls, HOST), "unable to get local issuer certificate"),
    "another name": (lambda tls: OURS.certify(tls, "example.org"), "IP address mismatch"),
    "expired": (lambda tls: OURS.certify(tls, HOST, is_expired=True), "certificate has expired"),
}


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Reporting]:
    """A reporter that trusts one authority, and does not wait for long."""
    trusting = ssl.create_default_context(cadata=OURS.pem)
    async with reporting(database_url) as made, open_client(tls=trusting) as client:
        made.poster = Poster(client, timeout=HASTE)
        made.reporter = made.anew()
        yield made


async def move(desk: Reporting, url: str) -> None:
    """Give the tenant's application another address."""
    await desk.rig.execute(f"UPDATE tenants SET client_base_url = '{url}' WHERE id = '{TENANT}'")


async def suffer(desk: Reporting, story: Story, reason: str) -> None:
    """Report while more happens, and nothing leaves."""
    await story.begin()
    for failures in range(1, LONGEST + 1):
        await story.go_on()
        await desk.work()
        states = await desk.rig.store.reports.sync_states()
        found = next(each for each in states if each.tenant_id == TENANT)
        assert found.failures == failures
        assert reason in str(found.last_error)
        desk.rig.time.advance(LONGEST_BACKOFF)


async def recover(desk: Reporting, app: Application, story: Story) -> None:
    """Report to the right application: it hears everything, and once."""
    assert app.posts == []
    await desk.work()
    assert await desk.pending() == 0
    assert broken_promises([post.entries for post in app.posts], story.expected) == []


@pytest.mark.parametrize("wrong", list(WRONG))
async def test_a_certificate_that_is_wrong_is_told_nothing(desk: Reporting, wrong: str) -> None:
    """Nothing is sent to it; with the right one all is told."""
    certify, reason = WRONG[wrong]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certify(tls)
    async with Application(tls=tls) as app:
        await move(desk, app.url)
        story = Story(desk.rig)
        await suffer(desk, story, f"the certificate of {HOST}:{app.port} was refused")
        states = await desk.rig.store.reports.sync_states()
        assert reason in str(next(each for each in states if each.tenant_id == TENANT).last_error)
        OURS.certify(tls, HOST)
        await recover(desk, app, story)


async def test_tls_to_one_that_speaks_none_fails(desk: Reporting) -> None:
    """What it answers to a handshake is no answer."""
    story = Story(desk.rig)
    async with Application(tls=OURS.server_context(HOST)) as app:
        await move(desk, f"https://{HOST}:{desk.app.port}")
        await suffer(desk, story, f"{HOST}:{desk.app.port}")
        assert desk.app.posts == []
        await move(desk, app.url)
        await recover(desk, app, story)


async def test_plain_http_to_one_that_speaks_tls_fails(desk: Reporting) -> None:
    story = Story(desk.rig)
    async with Application(tls=OURS.server_context(HOST)) as app:
        await move(desk, f"http://{HOST}:{app.port}")
        await suffer(desk, story, f"{HOST}:{app.port}")
        await move(desk, app.url)
        await recover(desk, app, story)


async def test_a_handshake_that_is_not_answered_is_not_waited_for(desk: Reporting) -> None:
    story = Story(desk.rig)
    async with Application(tls=OURS.server_context(HOST)) as app:
        desk.app.is_deaf = True
        await move(desk, f"https://{HOST}:{desk.app.port}")
        await suffer(desk, story, f"did not answer within {HASTE} s")
        await move(desk, app.url)
        await recover(desk, app, story)
