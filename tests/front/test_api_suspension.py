"""Suspend and activate, as the API offers them (contract: messages.md, Suspension)."""

from __future__ import annotations

import pytest

from tests.support.api import Api, message

SUSPEND, ACTIVATE = "/commands/suspend", "/commands/activate"
B = "campaign"


async def test_a_batch_is_suspended_and_activated(api: Api, key: str) -> None:
    await api.queue("acme", ["a", "b"], batch_code=B)
    await api.queue("acme", ["c"])
    held = await api.post(f"{SUSPEND}?batch_code={B}", token=key)
    assert held.body == {
        "ok": True,
        "tenant_id": "acme",
        "batch_code": B,
        "suspended_batches": [B],
        "pending_messages": 2,
    }
    assert (await api.get("/tenant/acme", token=key)).body["suspended_batches"] == [B]

    free = await api.post(f"{ACTIVATE}?tenant_id=acme&batch_code={B}")
    assert free.body == held.body | {"suspended_batches": []}


async def test_all_of_a_tenant_is_suspended_and_activated(api: Api, key: str) -> None:
    await api.queue("acme", ["a"], batch_code=B)
    await api.queue("acme", ["c"])
    held = await api.post(f"{SUSPEND}?tenant_id=acme")
    assert held.body == {
        "ok": True,
        "tenant_id": "acme",
        "batch_code": None,
        "suspended_batches": ["*"],
        "pending_messages": 2,
    }
    free = await api.post(ACTIVATE, token=key)
    assert free.body == held.body | {"suspended_batches": []}


async def test_both_may_be_repeated(api: Api, key: str) -> None:
    await api.queue("acme", ["a"], batch_code=B)
    for path in (f"{SUSPEND}?batch_code={B}", f"{ACTIVATE}?batch_code={B}"):
        first, second = [await api.post(path, token=key) for _ in range(2)]
        assert (first.status, second.body) == (200, first.body)
    events = (await api.get("/messages/a/events", token=key)).body["events"]
    assert [each["event_type"] for each in events] == ["queued", "suspended", "activated"]


async def test_a_batch_cannot_be_activated_while_everything_is_suspended(api: Api, key: str) -> None:
    await api.post(SUSPEND, token=key)
    refused = await api.post(f"{ACTIVATE}?batch_code={B}", token=key)
    assert (refused.status, refused.body["error"]) == (
        409,
        "all of tenant 'acme' is suspended: a single batch cannot be activated",
    )


async def test_what_is_held_stays_pending_and_is_told_of(api: Api, key: str) -> None:
    await api.post(SUSPEND, token=key)
    await api.queue("acme", ["a"])
    message = (await api.get("/messages/a", token=key)).body
    assert message["status"] == "pending"
    events = (await api.get("/messages/a/events", token=key)).body["events"]
    assert [each["event_type"] for each in events] == ["queued", "suspended"]


async def test_activating_rings_for_the_dispatchers(api: Api, key: str) -> None:
    await api.post(SUSPEND, token=key)
    api.bell.rings.clear()
    await api.post(ACTIVATE, token=key)
    assert api.bell.rings == [False]


async def test_a_tenant_that_is_not_there(api: Api) -> None:
    assert [(await api.post(f"{path}?tenant_id=nobody")).status for path in (SUSPEND, ACTIVATE)] == [404, 404]


@pytest.mark.parametrize("tenant_id", ["beta", "nobody", "*"])
@pytest.mark.parametrize("path", [SUSPEND, ACTIVATE])
async def test_a_tenants_token_reaches_its_own_alone(api: Api, key: str, path: str, tenant_id: str) -> None:
    """Another's, whether there is one or not, and the whole instance."""
    await api.add_tenant("beta")
    refused = await api.post(f"{path}?tenant_id={tenant_id}", token=key)
    assert (refused.status, refused.body["error"]) == (401, "Token not authorized for this tenant")
    assert (await api.get("/status")).body["active"]


async def test_the_admin_has_to_name_a_tenant_to_suspend(api: Api) -> None:
    refused = await api.post(SUSPEND)
    assert (refused.status, refused.fields) == (422, ["tenant_id"])


@pytest.mark.parametrize("activate", [ACTIVATE, f"{ACTIVATE}?tenant_id=*"])
async def test_the_admin_stops_and_starts_the_dispatch_of_the_instance(api: Api, activate: str) -> None:
    """What is suspended of a tenant stays so."""
    await api.add_tenant("acme")
    await api.post(f"{SUSPEND}?tenant_id=acme&batch_code={B}")
    assert (await api.post(f"{SUSPEND}?tenant_id=*")).body == {"ok": True, "active": False}
    assert not (await api.get("/status")).body["active"]
    assert (await api.post(activate)).body == {"ok": True, "active": True}
    assert (await api.get("/status")).body["active"]
    assert (await api.get("/tenant/acme")).body["suspended_batches"] == [B]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{SUSPEND}?tenant_id=acme&batch_code=", "batch_code"),
        (f"{SUSPEND}?tenant_id=acme&batch_code={'x' * 65}", "batch_code"),
        (f"{SUSPEND}?tenant_id=acme&batch_code=a%00b", "batch_code"),
        (f"{SUSPEND}?tenant_id=acme&batch_code=*", "batch_code"),
        (f"{ACTIVATE}?tenant_id=acme&batch_code=*", "batch_code"),
        (f"{SUSPEND}?tenant_id=**", "tenant_id"),
        (f"{SUSPEND}?tenant_id=*&batch_code={B}", "tenant_id"),
        (f"{ACTIVATE}?batch_code={B}", "tenant_id"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(api: Api, key: str, path: str, field: str) -> None:
    """And nothing is suspended by it, nor activated."""
    await api.post(f"{SUSPEND}?tenant_id=acme&batch_code={B}")
    refused = await api.post(path)
    assert (refused.status, refused.fields) == (422, [field])
    assert (await api.get("/tenant/acme")).body["suspended_batches"] == [B]
    assert (await api.get("/status")).body["active"]


async def test_no_message_is_of_the_batch_that_stands_for_all(api: Api, key: str) -> None:
    """Else it could be suspended with all others only, and be let go with them only."""
    refused = await api.submit(message("a", batch_code="*"), message("b", batch_code="**"), token=key)
    assert (refused.status, refused.body["queued"]) == (200, 1)
    [fault] = refused.body["rejected"][0]["errors"]
    assert (refused.body["rejected"][0]["id"], fault["loc"]) == ("a", ["batch_code"])
    schema = (await api.get("/openapi.json")).body["components"]["schemas"]["MessageInput"]
    [text, _] = schema["properties"]["batch_code"]["anyOf"]
    assert text["not"] == {"const": "*"}


async def test_a_batch_may_have_any_name(api: Api, key: str) -> None:
    name = "Spring & Söhne/2026"
    await api.queue("acme", ["a"], batch_code=name)
    answer = await api.post(f"{SUSPEND}?batch_code=Spring%20%26%20S%C3%B6hne%2F2026", token=key)
    assert (answer.body["suspended_batches"], answer.body["pending_messages"]) == ([name], 1)
