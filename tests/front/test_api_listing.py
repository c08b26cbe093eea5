"""Lists of messages over HTTP: their cursors, their filters, and what belongs to single messages."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlencode

import httpx2
import pytest

from mail_proxy.api.app import create_app
from mail_proxy.daemon.http import HttpServer, listening
from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.model.messages import Message
from mail_proxy.services.messages import HANDFUL
from tests.support.api import ADMIN, Api, Json, open_api


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as api:
        await api.add_tenant("acme", "main")
        yield api


async def listed(api: Api, **query: object) -> list[Json]:
    """All pages of a list."""
    found: list[Json] = []
    cursor: dict[str, object] = {}
    while True:
        answer = await api.get(f"/messages?{urlencode({**query, **cursor})}")
        assert answer.status == 200, answer.text
        found += answer.body["messages"]
        if answer.body["next_cursor"] is None:
            return found
        cursor = {"cursor": answer.body["next_cursor"]}


async def test_pages_under_any_filters_come_to_what_the_filters_say(api: Api) -> None:
    """Each combination, three messages a page, compared with the list of all."""
    now = int(api.clock.now())
    await api.add_account("acme", "second")
    await api.add_tenant("beta", "main")
    for step, (tenant_id, account_id, batch_code) in enumerate(
        [
            ("acme", "main", "june"),
            ("acme", "second", "june"),
            ("acme", "main", None),
            ("beta", "main", "june"),
        ]
    ):
        api.clock.ahead = 100 * step
        later = now + 1000 if step % 2 else None
        names = [f"{tenant_id}-{account_id}-{batch_code}-{number}" for number in range(4)]
        await api.queue(tenant_id, names, account_id=account_id, batch_code=batch_code, deferred_ts=later)
    whole = await listed(api)
    assert len(whole) == 16

    filters: dict[str, tuple[object, ...]] = {
        "tenant_id": ("acme", "beta"),
        "account_id": ("main", "second"),
        "batch_code": ("june", "july"),
        "status": ("pending", "deferred", "sent"),
        "since": (now + 50,),
    }
    for values in itertools.product(*((None, *each) for each in filters.values())):
        query = {name: value for name, value in zip(filters, values, strict=True) if value is not None}
        expected = [
            each["id"]
            for each in whole
            if all(each[name] == value for name, value in query.items() if name != "since")
            and each["created_at"] >= query.get("since", 0)
        ]
        assert [each["id"] for each in await listed(api, limit=3, **query)] == expected, query


async def test_a_page_goes_on_where_the_last_one_ended_whatever_arrives(api: Api) -> None:
    """What is queued meanwhile is newer; what is submitted anew keeps its place."""
    await api.queue("acme", [f"m{number}" for number in range(6)])
    first = (await api.get("/messages?limit=3")).body
    await api.queue("acme", ["new", "m0", "m5"], subject="Changed")
    rest = (await api.get(f"/messages?limit=10&cursor={first['next_cursor']}")).body

    assert [each["id"] for each in first["messages"]] == ["m5", "m4", "m3"]
    assert [each["id"] for each in rest["messages"]] == ["m2", "m1", "m0"]


async def test_a_tenant_s_list_and_its_cursors_stay_its_own(api: Api) -> None:
    """A cursor that another tenant was given shows nothing of that tenant."""
    key = await api.add_tenant("beta", "main")
    await api.queue("acme", ["a1", "a2", "a3"])
    await api.queue("beta", ["b1", "b2"])
    cursor = (await api.get("/messages?tenant_id=acme&limit=1")).body["next_cursor"]

    assert [each["id"] for each in (await api.get("/messages", token=key)).body["messages"]] == ["b2", "b1"]
    assert (await api.get(f"/messages?cursor={cursor}", token=key)).body["messages"] == []


async def test_histories_of_a_long_list_are_each_message_s_own(api: Api) -> None:
    """They are read a handful at a time."""
    names = [f"m{number:03}" for number in range(HANDFUL + 3)]
    await api.queue("acme", names)
    await api.queue("acme", names[:2], subject="Changed")
    shown = (await api.get("/messages?include_history=true")).body["messages"]
    types = {each["id"]: [event["event_type"] for event in each["events"]] for each in shown}

    assert types == {name: ["queued"] for name in names} | {
        name: ["queued", "replaced"] for name in names[:2]
    }
    assert shown[0]["events"] == (await api.get(f"/messages/{names[-1]}/events")).body["events"]


async def test_a_list_that_breaks_off_has_no_end_and_costs_no_traceback(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its reader sees the connection end before the answer does."""
    await api.queue("acme", [f"m{number}" for number in range(3 * HANDFUL)])
    real, seen = api.runtime.store.messages.some, 0

    async def some(seqs: Sequence[int]) -> Sequence[Message]:
        nonlocal seen
        seen += 1
        if seen > 1:
            raise DatabaseUnavailable("the database is locked")
        return await real(seqs)

    monkeypatch.setattr(api.runtime.store.messages, "some", some)
    with listening("127.0.0.1", 0) as listener:
        server = HttpServer(create_app(api.runtime), listener)
        async with asyncio.TaskGroup() as group, httpx2.AsyncClient() as client:
            group.create_task(server.run_here())
            await server.is_up.wait()
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get(
                    f"http://127.0.0.1:{listener.getsockname()[1]}/messages", headers={"X-API-Token": ADMIN}
                )
            server.stop()
    assert "the answer to GET /messages broke off: the database is locked" in caplog.text
    assert "Traceback" not in caplog.text


async def test_every_message_of_a_list_says_its_tenant_s_name(api: Api) -> None:
    await api.put("/tenant/acme", {"name": "Acme Ltd"})
    await api.add_tenant("beta", "main")
    await api.queue("acme", [f"a{number}" for number in range(HANDFUL)])
    await api.queue("beta", ["b"])
    await api.queue("acme", ["last"])
    shown = (await api.get("/messages")).body["messages"]

    assert {(each["tenant_id"], each["tenant_name"]) for each in shown} == {
        ("acme", "Acme Ltd"),
        ("beta", None),
    }


async def test_a_message_has_no_receipts_yet(api: Api) -> None:
    """Of one that is not there, nothing is said but that."""
    await api.queue("acme", ["a"])

    for query in ("", "?tenant_id=acme"):
        answer = await api.get(f"/messages/a/receipts{query}")
        assert (answer.status, answer.body) == (200, {"ok": True, "receipts": []})
    assert (await api.get("/messages/absent/receipts")).status == 404
    assert (await api.get("/messages/a/receipts?tenant_id=default")).status == 404
