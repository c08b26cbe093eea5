"""What applications are still to be told, over HTTP (contract: http-api.md, reports.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from mail_proxy.store import reports as store_reports
from mail_proxy.store.database import Call, Row, Work
from tests.support.api import Api, Json, open_api
from tests.support.stores import statement

LONG_AGO = 1_600_000_000


async def run(api: Api, sql: str) -> Sequence[Row]:
    """Look into the tables, or change them behind the store's back."""

    def work() -> Work[Sequence[Row]]:
        return (yield Call(statement(sql), {}))

    return await api.runtime.store.database.write(work)


async def happen(
    api: Api, tenant_id: str, message_id: str, *moments: float, is_told: bool = False, kind: str = "sent"
) -> None:
    """Let events happen to a message, at these moments, told or not; it is queued if it is not there."""
    if (await api.get(f"/messages/{message_id}?tenant_id={tenant_id}")).status == 404:
        await api.queue(tenant_id, [message_id], account_id="main")
    where = f"tenant_id = '{tenant_id}' AND id = '{message_id}'"
    for moment in moments:
        told = f"0, {moment}" if is_told else "1, NULL"
        await run(
            api,
            "INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due, reported_ts) "
            f"SELECT seq, tenant_id, '{kind}', {moment}, 'x', {told} FROM messages WHERE {where}",
        )
    if is_told:
        await run(api, f"UPDATE messages SET reported_ts = {moments[-1]}, updated_at = 1 WHERE {where}")


async def listed(api: Api, query: str = "", *, token: str | None = None) -> list[tuple[str, str, str]]:
    path = f"/reports?{query}"
    answer = await (api.get(path) if token is None else api.get(path, token=token))
    assert answer.status == 200, answer.text
    return [(each["tenant_id"], each["id"], each["state"]) for each in answer.body["reports"]]


async def test_an_untold_event_says_whose_it_is(api: Api) -> None:
    await api.add_tenant("acme", "main")
    await happen(api, "acme", "m1", LONG_AGO + 0.5)
    await happen(api, "acme", "m2", LONG_AGO, is_told=True)
    answer = await api.get("/reports?tenant_id=acme")
    [entry] = answer.body["reports"]
    message = (await api.get("/messages/m1")).body
    event_id = entry.pop("event_id")
    assert entry == {
        "tenant_id": "acme", "id": "m1", "pk": message["pk"], "account_id": "main", "event": "sent",
        "event_ts": LONG_AGO, "state": "unreported",
    }  # fmt: skip
    assert answer.body["next_cursor"] is None
    assert event_id == (await api.get("/messages/m1/events")).body["events"][-1]["event_id"]


async def test_a_tenant_sees_its_own(api: Api) -> None:
    """The admin sees one's, or everybody's, tenant by tenant."""
    keys = {name: await api.add_tenant(name, "main") for name in ("beta", "acme")}
    for tenant_id in keys:
        await happen(api, tenant_id, f"of-{tenant_id}", LONG_AGO)
    of_acme = [("acme", "of-acme", "unreported")]
    of_beta = [("beta", "of-beta", "unreported")]
    assert await listed(api, token=keys["acme"]) == of_acme
    assert await listed(api, "tenant_id=beta") == of_beta
    assert await listed(api) == of_acme + of_beta
    for other in ("beta", "absent"):
        for answer in (
            await api.get(f"/reports?tenant_id={other}", token=keys["acme"]),
            await api.post(f"/reports/replay?tenant_id={other}", {"since": 0}, token=keys["acme"]),
        ):
            assert (answer.status, answer.body["error"]) == (401, "Token not authorized for this tenant")


async def test_the_state_tells_whether_the_application_fails(api: Api) -> None:
    for tenant_id in ("acme", "beta"):
        await api.add_tenant(tenant_id, "main")
        await happen(api, tenant_id, "m1", LONG_AGO)
    await api.runtime.store.reports.failed("acme", "refused", time.time() + 10)
    failing, unreported = [("acme", "m1", "failing")], [("beta", "m1", "unreported")]
    assert await listed(api) == failing + unreported
    assert await listed(api, "state=failing") == failing
    assert await listed(api, "state=unreported") == unreported
    assert await listed(api, "state=failing&tenant_id=beta") == []
    await api.runtime.store.reports.acknowledge("acme", [], time.time())
    assert await listed(api, "state=failing") == []


@pytest.mark.parametrize("query", ["", "tenant_id=acme&", "state=unreported&"])
async def test_pages_follow_each_other_without_gaps(api: Api, query: str) -> None:
    """Also over the border of a tenant, and when what the cursor stands on was told meanwhile."""
    names = ["acme"] if "acme" in query else ["acme", "beta", "gamma"]
    for tenant_id in ("gamma", "acme", "beta"):
        await api.add_tenant(tenant_id, "main")
        await happen(api, tenant_id, "m1", *[LONG_AGO] * 3)
    seen: list[Json] = []
    cursor = ""
    while True:
        body = (await api.get(f"/reports?{query}limit=2{cursor}")).body
        seen += body["reports"]
        if body["next_cursor"] is None:
            break
        cursor = f"&cursor={body['next_cursor']}"
        if len(seen) == 2:
            await run(api, f"UPDATE events SET is_due = 0 WHERE event_id = {seen[-1]['event_id']}")
    assert [each["tenant_id"] for each in seen] == [name for name in names for _ in range(3)]
    numbers = [(each["tenant_id"], each["event_id"]) for each in seen]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=10001",
        "limit=many",
        "state=lost",
        "cursor=",
        "cursor=7",
        "cursor=acme:-1",
        "cursor=acme:1234567890123456789",
        "cursor=a%20b:7",
        "cursor=acme:%D9%A3",
        "tenant_id=a%20b",
        "limit=1&limit=2",
    ],
)
async def test_a_malformed_query_is_422(api: Api, query: str) -> None:
    answer = await api.get(f"/reports?{query}")
    assert (answer.status, answer.fields) == (422, [query.partition("=")[0]])


async def test_a_cursor_of_another_tenants_list_shows_nothing_of_it(api: Api) -> None:
    """A tenant may write any name into it."""
    key = await api.add_tenant("acme", "main")
    await api.add_tenant("beta", "main")
    for tenant_id in ("acme", "beta"):
        await happen(api, tenant_id, "m1", LONG_AGO)
    assert await listed(api, "cursor=aaaa:1", token=key) == [("acme", "m1", "unreported")]
    assert await listed(api, "cursor=beta:0", token=key) == []


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
        ("", {"since": 0}, 422, ["tenant_id"]),
        ("?tenant_id=acme", {}, 422, ["since"]),
        ("?tenant_id=acme", {"since": None}, 422, ["since"]),
        ("?tenant_id=acme", {"since": "yesterday"}, 422, ["since"]),
        ("?tenant_id=acme", {"since": -1}, 422, ["since"]),
        ("?tenant_id=acme", {"since": 1e300}, 422, ["since"]),
        ("?tenant_id=absent", {"since": 0}, 404, None),
    ],
)
async def test_a_replay_names_tenant_and_time(
    api: Api, query: str, body: Json, status: int, fields: list[str] | None
) -> None:
    await api.add_tenant("acme")
    answer = await api.post(f"/reports/replay{query}", body)
    assert answer.status == status
    assert fields is None or answer.fields == fields


async def test_sync_status_tells_how_reporting_goes(api: Api) -> None:
    """Never told, failing with something due, and all told: each tenant by itself."""
    for tenant_id in ("quiet", "acme", "beta"):
        await api.add_tenant(tenant_id, "main")
        await api.put(f"/tenant/{tenant_id}", {"client_base_url": "https://app.example.org"})
    await happen(api, "acme", "m1", LONG_AGO, LONG_AGO)
    await happen(api, "beta", "m1", LONG_AGO)
    now = time.time()
    for _ in range(2):
        await api.runtime.store.reports.failed("acme", "answered 500", now + 600)
    await api.runtime.store.reports.acknowledge("beta", [], now)
    answer = await api.get("/tenants/sync-status")
    assert answer.body["sync_interval_seconds"] == api.runtime.config.send_loop_interval
    found = {each.pop("id"): each for each in answer.body["tenants"]}
    assert list(found) == ["acme", "beta", "default", "quiet"]
    url, blank = "https://app.example.org", {"name": None, "active": True, "in_dnd": False}
    assert found["acme"] == {
        **blank, "client_base_url": url, "last_sync_ts": None, "next_sync_due": int(now + 600),
        "pending_reports": 2, "consecutive_failures": 2, "last_error": "answered 500",
    }  # fmt: skip
    assert abs(found["beta"].pop("next_sync_due") - now) < 60
    assert found["beta"] == {
        **blank, "client_base_url": url, "last_sync_ts": int(now),
        "pending_reports": 1, "consecutive_failures": 0, "last_error": None,
    }  # fmt: skip
    assert found["quiet"] == {
        **blank, "client_base_url": url, "last_sync_ts": None, "next_sync_due": None,
        "pending_reports": 0, "consecutive_failures": 0, "last_error": None,
    }  # fmt: skip


@pytest.mark.parametrize(("settings", "is_due"), [({}, False), ({"GMP_CLIENT_SYNC_URL": "http://a/"}, True)])
async def test_what_has_nowhere_to_go_is_never_due(
    sqlite_url: str, settings: dict[str, str], is_due: bool
) -> None:
    """A tenant without an application has the instance's, if that is configured."""
    async with open_api(sqlite_url, settings) as api:
        await api.add_tenant("acme", "main")
        await happen(api, "acme", "m1", LONG_AGO)
        [status] = [
            each for each in (await api.get("/tenants/sync-status")).body["tenants"] if each["id"] == "acme"
        ]
        assert (status["next_sync_due"] is not None) is is_due


async def test_a_failure_in_the_past_is_due_now(api: Api) -> None:
    await api.add_tenant("acme", "main")
    await api.put("/tenant/acme", {"client_base_url": "https://app.example.org"})
    await happen(api, "acme", "m1", LONG_AGO)
    await api.runtime.store.reports.failed("acme", "x", LONG_AGO)
    [acme, _] = (await api.get("/tenants/sync-status")).body["tenants"]
    assert abs(acme["next_sync_due"] - time.time()) < 60


async def test_sync_status_is_the_admins(api: Api) -> None:
    key = await api.add_tenant("acme")
    assert (await api.get("/tenants/sync-status", token=key)).status == 403


async def test_the_state_of_a_tenant_that_is_gone_is_not_written(api: Api) -> None:
    """A post may end after its tenant was deleted."""
    await api.runtime.store.reports.failed("absent", "x", 1.0)
    await api.runtime.store.reports.acknowledge("absent", [], 1.0)
    assert await run(api, "SELECT * FROM sync_state") == []
