"""How the reporting to each tenant goes, over HTTP (contract: reports.md)."""

from __future__ import annotations

import time

import pytest

from tests.support.api import Api, Json, open_api
from tests.support.untold import LONG_AGO, REFUSED, happen, mark, run, stand


async def status_of(api: Api, tenant_id: str) -> Json:
    tenants: list[Json] = (await api.get("/tenants/sync-status")).body["tenants"]
    return next(each for each in tenants if each["id"] == tenant_id)


async def test_sync_status_tells_how_reporting_goes(api: Api) -> None:
    """Never told, failing with something due, and told before: each tenant by itself."""
    for tenant_id in ("quiet", "acme", "beta"):
        await api.add_tenant(tenant_id, "main")
        await api.put(f"/tenant/{tenant_id}", {"client_base_url": "https://app.example.org"})
    await happen(api, "acme", "m1", LONG_AGO, LONG_AGO)
    await happen(api, "beta", "m1", LONG_AGO)
    now = int(time.time())
    await stand(api, "acme", failures=2, last_error="answered 500", next_try_ts=now + 600, beat_at=now + 600)
    await stand(api, "beta", last_sync_ts=now, beat_at=now + 300)
    await stand(api, "quiet", beat_at=now + 200)
    answer = await api.get("/tenants/sync-status")
    assert answer.body["sync_interval_seconds"] == api.runtime.config.sync_interval == 300
    found = {each.pop("id"): each for each in answer.body["tenants"]}
    assert list(found) == ["acme", "beta", "default", "quiet"]
    url, blank = "https://app.example.org", {"name": None, "active": True, "in_dnd": False}
    assert found["acme"] == {
        **blank, "client_base_url": url, "last_sync_ts": None, "next_sync_due": now + 600,
        "pending_reports": 2, "consecutive_failures": 2, "last_error": "answered 500",
    }  # fmt: skip
    assert abs(found["beta"].pop("next_sync_due") - now) < 60
    assert found["beta"] == {
        **blank, "client_base_url": url, "last_sync_ts": now,
        "pending_reports": 1, "consecutive_failures": 0, "last_error": None,
    }  # fmt: skip
    assert found["quiet"] == {
        **blank, "client_base_url": url, "last_sync_ts": None, "next_sync_due": now + 200,
        "pending_reports": 0, "consecutive_failures": 0, "last_error": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ahead", "next_due"),
    [
        ({"beat": 100}, 100),
        ({"beat": 100, "again": 40}, 40),
        ({"beat": 30, "again": 40}, 30),
        ({"beat": 100, "again": 40, "next_try": 60}, 60),
        ({"beat": 100, "again": -40}, 0),
        ({"beat": -100}, 0),
        ({}, None),
    ],
)
async def test_the_next_post_is_the_first_that_is_due(
    api: Api, ahead: dict[str, int], next_due: int | None
) -> None:
    """An empty one, or what was refused when it has waited; neither before the next try after a failure."""
    await api.add_tenant("acme", "main")
    await api.put("/tenant/acme", {"client_base_url": "https://app.example.org"})
    now = int(time.time())
    moments = {name: now + seconds for name, seconds in ahead.items()}
    await stand(
        api,
        "acme",
        beat_at=moments.get("beat"),
        again_ts=moments.get("again"),
        next_try_ts=moments.get("next_try"),
    )
    if "again" in ahead:
        await happen(api, "acme", "m1", LONG_AGO)
        await mark(api, "acme", "m1", REFUSED, moments["again"])
        await happen(api, "acme", "m1", LONG_AGO)  # waits with what was refused
    status = await status_of(api, "acme")
    assert status["pending_reports"] == (2 if "again" in ahead else 0)
    if next_due == 0:
        assert 0 <= status["next_sync_due"] - now < 25
    else:
        assert status["next_sync_due"] == (None if next_due is None else now + next_due)


async def test_do_not_disturb_is_told_while_it_lasts(api: Api) -> None:
    await api.add_tenant("acme")
    now = int(time.time())
    await stand(api, "acme", dnd_until=now + 600)
    assert (await status_of(api, "acme"))["in_dnd"] is True
    api.clock.ahead = 700
    assert (await status_of(api, "acme"))["in_dnd"] is False


async def test_an_inactive_tenant_is_posted_to_while_there_is_something_to_tell(api: Api) -> None:
    await api.add_tenant("acme", "main")
    await happen(api, "acme", "m1", LONG_AGO)
    await api.put("/tenant/acme", {"client_base_url": "https://app.example.org", "active": False})
    await stand(api, "acme", beat_at=LONG_AGO)
    assert (await status_of(api, "acme"))["next_sync_due"] is not None
    await run(api, "UPDATE events SET is_due = -1 WHERE is_due = 1")
    status = await status_of(api, "acme")
    assert (status["next_sync_due"], status["pending_reports"]) == (None, 0)


@pytest.mark.parametrize(("settings", "is_due"), [({}, False), ({"GMP_CLIENT_SYNC_URL": "http://a/"}, True)])
async def test_what_has_nowhere_to_go_is_never_due(
    sqlite_url: str, settings: dict[str, str], is_due: bool
) -> None:
    """A tenant without an application has the instance's, if that is configured."""
    async with open_api(sqlite_url, settings) as api:
        await api.add_tenant("acme", "main")
        await happen(api, "acme", "m1", LONG_AGO)
        await stand(api, "acme", beat_at=LONG_AGO)
        assert ((await status_of(api, "acme"))["next_sync_due"] is not None) is is_due


async def test_sync_status_is_the_admins(api: Api) -> None:
    key = await api.add_tenant("acme")
    assert (await api.get("/tenants/sync-status", token=key)).status == 403
