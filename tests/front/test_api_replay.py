"""Telling applications again, over HTTP (contract: http-api.md, reports.md)."""

from __future__ import annotations

import time

import pytest

from mail_proxy.store import reports as store_reports
from tests.support.api import Api, Json
from tests.support.untold import GIVEN_UP, LONG_AGO, REFUSED, happen, listed, mark, run, stand


async def test_what_happened_since_a_time_is_told_again(api: Api) -> None:
    """Of that tenant alone; what was never told stays as it was, and nothing is counted twice."""
    key = await api.add_tenant("acme", "main")
    await api.add_tenant("beta", "main")
    await happen(api, "acme", "old", LONG_AGO, is_told=True)
    await happen(api, "acme", "new", LONG_AGO + 100, LONG_AGO + 200, is_told=True)
    await happen(api, "beta", "theirs", LONG_AGO + 100, is_told=True)
    await happen(api, "acme", "untold", LONG_AGO + 300)
    api.bell.rings.clear()
    answer = await api.post("/reports/replay", {"since": LONG_AGO + 100}, token=key)
    assert (answer.status, answer.body) == (200, {"ok": True, "replayed": 2})
    assert api.bell.rings == [False]
    assert [name for _, name, _ in await listed(api)] == ["new", "new", "untold"]
    assert (await api.post("/reports/replay", {"since": LONG_AGO}, token=key)).body["replayed"] == 1


async def test_a_message_told_of_again_counts_as_not_told(api: Api) -> None:
    """So retention does not take it away before its application has it: its time begins anew."""
    await api.add_tenant("acme", "main")
    for name, moment in [("old", LONG_AGO), ("new", LONG_AGO + 100)]:
        await happen(api, "acme", name, moment, is_told=True)
    await api.post("/reports/replay?tenant_id=acme", {"since": LONG_AGO + 50})
    old, new = (await api.get("/messages/old")).body, (await api.get("/messages/new")).body
    assert (old["reported_ts"], old["updated_at"]) == (LONG_AGO, 1)
    assert new["reported_ts"] is None
    assert abs(new["updated_at"] - time.time()) < 60


async def test_a_replay_goes_in_stretches(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their number, through other tenants' events and gaps of the numbering."""
    monkeypatch.setattr(store_reports, "STRETCH", 3)
    for tenant_id in ("acme", "beta"):
        await api.add_tenant(tenant_id, "main")
    for number in range(10):
        for tenant_id in ("acme", "beta"):
            await happen(api, tenant_id, f"m{number % 3}", LONG_AGO + 10_000 * number, is_told=True)
    await run(api, f"DELETE FROM events WHERE tenant_id = 'acme' AND event_ts = {LONG_AGO + 60_000}")
    answer = await api.post("/reports/replay?tenant_id=acme", {"since": LONG_AGO + 30_000})
    assert answer.body["replayed"] == 6
    moments = [each["event_ts"] for each in (await api.get("/reports")).body["reports"]]
    assert moments == [LONG_AGO + 10_000 * number for number in (3, 4, 5, 7, 8, 9)]


async def test_clocks_may_differ(api: Api) -> None:
    """An event that was stored later and happened earlier, by another node's clock, hides none."""
    await api.add_tenant("acme", "main")
    for moment in (0, 1000, 2000, 500, 3000, -900, 4000):
        await happen(api, "acme", "m1", LONG_AGO + moment, is_told=True)
    answer = await api.post("/reports/replay?tenant_id=acme", {"since": LONG_AGO + 500})
    assert answer.body["replayed"] == 5


@pytest.mark.parametrize("since", [LONG_AGO, float(LONG_AGO), "2020-09-13T12:26:40Z", 0])
async def test_a_time_is_given_in_seconds_or_as_text(api: Api, since: object) -> None:
    await api.add_tenant("acme", "main")
    await happen(api, "acme", "m1", LONG_AGO, is_told=True)
    assert (await api.post("/reports/replay?tenant_id=acme", {"since": since})).body["replayed"] == 1


async def test_where_nothing_happened_there_is_nothing_to_replay(api: Api) -> None:
    await api.add_tenant("acme")
    api.bell.rings.clear()
    assert (await api.post("/reports/replay?tenant_id=acme", {"since": 0})).body == {
        "ok": True,
        "replayed": 0,
    }
    assert api.bell.rings == []


@pytest.mark.parametrize(
    ("query", "body", "status", "fields"),
    [
        ("?tenant_id=acme", {"since": "yesterday"}, 422, ["since"]),
        ("?tenant_id=acme", {"since": -1}, 422, ["since"]),
        ("?tenant_id=acme", {"since": 1e300}, 422, ["since"]),
        ("?tenant_id=absent", {"since": 0}, 404, None),
        ("?tenant_id=absent", {}, 404, None),
    ],
)
async def test_a_replay_of_no_time_or_tenant_is_refused(
    api: Api, query: str, body: Json, status: int, fields: list[str] | None
) -> None:
    await api.add_tenant("acme")
    answer = await api.post(f"/reports/replay{query}", body)
    assert answer.status == status
    assert fields is None or answer.fields == fields


async def fail_in_every_way(api: Api, *tenants: str) -> None:
    """Let each tenant have a message told of, one due, one refused and one given up."""
    for tenant_id in tenants:
        await api.add_tenant(tenant_id, "main")
        await happen(api, tenant_id, "told", LONG_AGO, is_told=True)
        for name in ("due", "refused", "lost"):
            await happen(api, tenant_id, name, LONG_AGO + 100)
        await mark(api, tenant_id, "refused", REFUSED, LONG_AGO + 200)
        await mark(api, tenant_id, "lost", GIVEN_UP)
        await stand(api, tenant_id, failures=5, last_error="x", next_try_ts=4e9, again_ts=LONG_AGO + 200)
    api.bell.rings.clear()


@pytest.mark.parametrize("body", [None, {}, {"since": None}])
async def test_without_a_time_what_failed_is_told_again(api: Api, body: object) -> None:
    """What was told stays so; nobody waits any longer after a failure, and the server is woken."""
    await fail_in_every_way(api, "acme", "beta")
    answer = await api.post("/reports/replay?tenant_id=acme", body)
    assert (answer.status, answer.body) == (200, {"ok": True, "replayed": 2})
    assert api.bell.rings == [False]
    events = await run(api, "SELECT tenant_id, is_due, refusals, again_ts FROM events WHERE is_due <> 0")
    of_acme = [each for each in events if each["tenant_id"] == "acme"]
    assert [(each["is_due"], each["refusals"], each["again_ts"]) for each in of_acme] == [(1, 0, None)] * 3
    assert sorted(each["is_due"] for each in events if each not in of_acme) == [GIVEN_UP, 1, REFUSED]
    waits = await run(api, "SELECT tenant_id FROM sync_state WHERE next_try_ts IS NOT NULL")
    assert [row["tenant_id"] for row in waits] == ["beta"]


async def test_a_replay_since_a_time_tells_what_failed_since_then_too(api: Api) -> None:
    await fail_in_every_way(api, "acme")
    path = "/reports/replay?tenant_id=acme"
    assert (await api.post(path, {"since": LONG_AGO + 101})).body["replayed"] == 0
    assert api.bell.rings == []
    assert (await api.post(path, {"since": LONG_AGO + 50})).body["replayed"] == 2
    assert (await api.post(path, {"since": LONG_AGO})).body["replayed"] == 1
    assert [state for _, _, state in await listed(api)] == ["failing"] * 4
    waits = await run(api, "SELECT tenant_id FROM sync_state WHERE next_try_ts IS NOT NULL")
    assert list(waits) == []


@pytest.mark.parametrize(("body", "each"), [({"since": 0}, 3), ({}, 2)])
async def test_the_admin_replays_for_all_tenants(api: Api, body: Json, each: int) -> None:
    """A tenant's token still means its own."""
    await fail_in_every_way(api, "acme", "beta")
    key = (await api.post("/tenant/acme/api-key")).body["api_key"]
    assert (await api.post("/reports/replay", body, token=key)).body["replayed"] == each
    assert (await api.post("/reports/replay", body)).body["replayed"] == each
    kinds = await run(api, "SELECT DISTINCT tenant_id, is_due FROM events WHERE is_due <> 0")
    assert sorted((each["tenant_id"], each["is_due"]) for each in kinds) == [("acme", 1), ("beta", 1)]


async def test_what_failed_is_replayed_in_stretches(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_reports, "STRETCH", 2)
    await api.add_tenant("acme", "main")
    for number in range(7):
        await happen(api, "acme", f"m{number}", LONG_AGO)
        await mark(api, "acme", f"m{number}", REFUSED if number % 2 else GIVEN_UP)
    assert (await api.post("/reports/replay")).body["replayed"] == 7
    assert [state for _, _, state in await listed(api)] == ["unreported"] * 7
