"""Where a tenant's word leads, and where the admin's (contract: security.md, Untrusted input)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.api import ADMIN
from tests.support.application import Answer, Application
from tests.support.dispatching import TENANT
from tests.support.pacing import Pacing, pacing

NOT_PUBLIC = "is not a public address; GMP_ALLOWED_NETWORKS can permit private networks"
INWARD = [
    "127.0.0.1", "127.1.2.3", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "2130706433",
    "0x7f.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[fe80::1]",
    "169.254.169.254", "[fd00:ec2::254]", "168.63.129.16",
]  # fmt: skip


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Pacing]:
    async with pacing(database_url) as made:
        yield made


async def point(app: Pacing, url: str, token: str) -> None:
    answer = await app.api.call("PUT", f"/tenant/{TENANT}", {"client_base_url": url}, token=token)
    assert answer.status == 200, answer.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("host", INWARD)
async def test_a_tenants_word_leads_to_no_private_address(app: Pacing, host: str) -> None:
    """However it is written, or a name for one. Nothing goes there, why is told, and the events wait."""
    await point(app, f"http://{host}:{app.desk.app.port}/mine", app.key)
    await app.happen("m1", "sent")
    await app.run_now(app.key)
    assert (app.desk.app.connections, app.log) == (0, [])
    status = await app.status()
    assert (status["consecutive_failures"], status["pending_reports"]) == (1, 1)
    assert NOT_PUBLIC in status["last_error"] or "does not resolve" in status["last_error"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("host", ["my_app.xn--p1ai", "}xn--a", ".xn--a", "-xn--a", "a" * 64, "%00", "[v1.a]"])
async def test_no_host_that_a_tenant_gives_ends_the_reporting(app: Pacing, host: str) -> None:
    """It fails, for this tenant alone; the others are told."""
    await app.desk.add_tenant("beta", app.desk.app.url)
    await point(app, f"https://{host}", app.key)
    await app.happen("m1", "sent")
    await app.desk.happen("m2", "sent", tenant_id="beta")
    await app.desk.work()
    assert [entry["tenant_id"] for entry in app.desk.app.entries] == ["beta"]
    assert (await app.status())["consecutive_failures"] == 1


async def test_the_admins_word_leads_anywhere(app: Pacing) -> None:
    """And what waited because of the tenant's is told; until the tenant says something else."""
    url = f"{app.desk.app.url}/mine"
    await point(app, url, app.key)
    await app.happen("m1", "sent")
    await app.desk.work()
    assert app.log == []

    await point(app, url, ADMIN)
    await app.run_now(app.key)
    assert app.heard == [(app.now, 1)]
    assert (await app.status())["last_error"] is None

    await point(app, url, app.key)
    await app.happen("m1", "sent")
    await app.desk.work()
    assert len(app.log) == 2
    await point(app, f"{url}/too", app.key)
    await app.happen("m1", "sent")
    await app.desk.work()
    assert len(app.log) == 2
    assert NOT_PUBLIC in (await app.status())["last_error"]


async def test_what_a_tenant_changes_besides_leaves_the_admins_word_the_admins(app: Pacing) -> None:
    answer = await app.api.call("PUT", f"/tenant/{TENANT}", {"client_sync_path": "/there"}, token=app.key)
    assert answer.status == 200
    await app.happen("m1", "sent")
    await app.desk.work()
    assert [each.post.target for each in app.log] == ["/there"]


async def test_networks_can_be_opened(database_url: str) -> None:
    """Those that the instance allows, and no others."""
    async with pacing(database_url, {"GMP_ALLOWED_NETWORKS": "127.0.0.1/32"}) as app:
        await point(app, app.desk.app.url, app.key)
        await app.happen("m1", "sent")
        await app.desk.work()
        assert app.heard == [(app.now, 1)]
        await point(app, f"http://127.0.0.2:{app.desk.app.port}", app.key)
        await app.happen("m1", "sent")
        await app.desk.work()
        assert (len(app.log), app.desk.app.connections) == (1, 1)
        assert NOT_PUBLIC in (await app.status())["last_error"]


@pytest.mark.parametrize("by", ["tenant", "admin"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_leads_anywhere(database_url: str, by: str, status: int) -> None:
    """Not even that of an application that the admin named."""
    async with (
        Application() as inside,
        pacing(database_url, {"GMP_ALLOWED_NETWORKS": "127.0.0.1/32"}) as app,
    ):
        await point(app, app.desk.app.url, ADMIN if by == "admin" else app.key)
        app.answer = Answer(status=status, headers={"Location": f"{inside.url}/secret"})
        await app.happen("m1", "sent")
        await app.desk.work()
        assert (len(app.log), inside.connections) == (1, 0)
        error = (await app.status())["last_error"]
        assert "redirects are not followed" in error
        assert inside.url not in error
