"""What applications were not told, over HTTP (contract: http-api.md, reports.md)."""

from __future__ import annotations

import pytest

from tests.support.api import Api, Json
from tests.support.untold import GIVEN_UP, LONG_AGO, REFUSED, happen, listed, mark, run, stand


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
        "event_ts": LONG_AGO, "state": "unreported", "refusals": 0, "again_ts": None, "last_error": None,
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
    """Altogether, or with this event; or that nobody tries any more."""
    for tenant_id, names in (("acme", ["m1"]), ("beta", ["m1", "refused", "lost"])):
        await api.add_tenant(tenant_id, "main")
        for name in names:
            await happen(api, tenant_id, name, LONG_AGO)
    await stand(api, "acme", failures=1, last_error="answered 500", next_try_ts=LONG_AGO + 10)
    await mark(api, "beta", "refused", REFUSED, LONG_AGO + 20)
    await mark(api, "beta", "lost", GIVEN_UP)
    failing = [("acme", "m1", "failing"), ("beta", "refused", "failing")]
    unreported, given_up = ("beta", "m1", "unreported"), ("beta", "lost", "given_up")
    assert await listed(api) == [failing[0], unreported, failing[1], given_up]
    assert await listed(api, "state=failing") == failing
    assert await listed(api, "state=unreported") == [unreported]
    assert await listed(api, "state=given_up") == [given_up]
    assert await listed(api, "state=failing&tenant_id=beta") == failing[1:]
    await stand(api, "acme", failures=0, last_error=None, next_try_ts=None)
    assert await listed(api, "state=failing") == failing[1:]
    assert await listed(api, "state=unreported") == [("acme", "m1", "unreported"), unreported]


async def test_it_is_told_why_and_when_it_is_tried_again(api: Api) -> None:
    """For a tenant that fails its next try; for what was refused the end of its wait, if that is later."""
    await api.add_tenant("acme", "main")
    for name in ("due", "refused", "lost"):
        await happen(api, "acme", name, LONG_AGO)
    await mark(api, "acme", "refused", REFUSED, LONG_AGO + 20)
    await mark(api, "acme", "lost", GIVEN_UP)
    await happen(api, "acme", "refused", LONG_AGO + 1)
    mine = "the application refused this message"

    async def told() -> list[tuple[object, ...]]:
        reports = (await api.get("/reports")).body["reports"]
        keys = ("id", "state", "refusals", "again_ts", "last_error")
        return [tuple(each[key] for key in keys) for each in reports]

    assert await told() == [
        ("due", "unreported", 0, None, None),
        ("refused", "failing", 3, LONG_AGO + 20, mine),
        ("lost", "given_up", 0, None, None),
        ("refused", "unreported", 0, LONG_AGO + 20, None),
    ]
    await stand(api, "acme", failures=2, last_error="answered 500", next_try_ts=LONG_AGO + 10)
    assert await told() == [
        ("due", "failing", 0, LONG_AGO + 10, "answered 500"),
        ("refused", "failing", 3, LONG_AGO + 20, "answered 500"),
        ("lost", "given_up", 0, None, "answered 500"),
        ("refused", "failing", 0, LONG_AGO + 20, "answered 500"),
    ]


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("", [1, 1, 1]),
        ("", [REFUSED, 1, GIVEN_UP]),
        ("tenant_id=acme&", [GIVEN_UP, REFUSED, 1]),
        ("state=unreported&", [1, 1, 1]),
        ("state=failing&", [REFUSED, REFUSED, REFUSED]),
        ("state=given_up&", [GIVEN_UP, GIVEN_UP, GIVEN_UP]),
    ],
)
async def test_pages_follow_each_other_without_gaps(api: Api, query: str, kinds: list[int]) -> None:
    """Also over the border of a tenant, and when what the cursor stands on was told meanwhile."""
    names = ["acme"] if "acme" in query else ["acme", "beta", "gamma"]
    for tenant_id in ("gamma", "acme", "beta"):
        await api.add_tenant(tenant_id, "main")
        for name, kind in zip("abc", kinds, strict=True):
            await happen(api, tenant_id, name, LONG_AGO)
            await mark(api, tenant_id, name, kind)
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


async def test_a_tenant_hears_nothing_of_the_instances_application(api: Api) -> None:
    """What that says, and where it is, is for the admin; of its own application a tenant is told all."""
    keys = {name: await api.add_tenant(name, "main") for name in ("own", "shared")}
    await api.put("/tenant/own", {"client_base_url": "https://own.example.com"})
    for name in keys:
        await happen(api, name, "m1", LONG_AGO)
        await stand(api, name, failures=1, last_error="the connection to 10.1.2.3:80 failed")
    seen = {name: (await api.get("/reports", token=keys[name])).body["reports"] for name in keys}
    assert seen["own"][0]["last_error"] == "the connection to 10.1.2.3:80 failed"
    assert "10.1.2.3" not in str(seen["shared"])
    assert "did not take it" in seen["shared"][0]["last_error"]
    of_all = (await api.get("/reports")).body["reports"]
    assert [each["last_error"] for each in of_all] == ["the connection to 10.1.2.3:80 failed"] * 2
