"""Reading the command log over HTTP: lists and exports (contract: http-api.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.model.commands import Command
from tests.support.api import STRANGE, Api
from tests.support.command_log import exported, logged

SECRET = "what-only-the-log-may-know"


async def write(api: Api, count: int, **fields: Any) -> None:
    """Put commands into the log, a second apart."""
    for ts in range(1, count + 1):
        given: dict[str, Any] = {"endpoint": "PUT /x", "path": "/x", "tenant_id": "acme", "status": 200}
        given |= fields
        await api.runtime.store.commands.add(Command(ts=float(ts), **given))


async def test_the_list_is_newest_first_and_counts_all(api: Api) -> None:
    await write(api, 130)
    answer = await api.get("/command-log?limit=60&offset=10")
    assert [row["ts"] for row in answer.body["commands"]] == list(range(120, 60, -1))
    assert (answer.body["ok"], answer.body["total"]) == (True, 130)
    assert len(await logged(api)) == 100
    assert len(await logged(api, "?limit=10000")) == 130
    assert (await api.get("/command-log?offset=130")).body == {"ok": True, "commands": [], "total": 130}


async def test_a_row_is_told_whole(api: Api) -> None:
    await write(api, 1, payload='{"a":1}', client="2001:db8::1", status=None)
    [row] = await logged(api)
    assert row == {
        "command_id": row["command_id"],
        "ts": 1,
        "endpoint": "PUT /x",
        "path": "/x",
        "tenant_id": "acme",
        "payload": {"a": 1},
        "status": None,
        "client": "2001:db8::1",
    }
    assert await exported(api) == [row]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("?since=3", [3, 4, 5, 6]),
        ("?until=3", [1, 2]),
        ("?since=1970-01-01T00:00:02Z&until=4", [2, 3]),
        ("?tenant_id=acme", [1, 2]),
        ("?tenant_id=beta&since=4", [4]),
        ("?tenant_id=nobody", []),
        ("?endpoint=PUT%20/account/%7Bid%7D", [3, 4]),
        ("?endpoint=/account/%7Bid%7D", [3, 4, 5, 6]),
        ("?endpoint=/account/{id}&tenant_id=beta", [3, 4]),
        ("?endpoint=PUT+/account/{id}&until=4", [3]),
        ("?endpoint=/account", []),
        ("?endpoint=PUT", []),
    ],
)
async def test_lists_and_exports_can_be_narrowed(api: Api, query: str, expected: list[int]) -> None:
    for ts, (endpoint, tenant_id) in enumerate(
        [("POST /tenant", "acme")] * 2
        + [("PUT /account/{id}", "beta")] * 2
        + [("DELETE /account/{id}", None)] * 2,
        start=1,
    ):
        command = Command(ts=float(ts), endpoint=endpoint, path="/", tenant_id=tenant_id)
        await api.runtime.store.commands.add(command)
    answer = await api.get(f"/command-log{query}")
    assert [row["ts"] for row in answer.body["commands"]] == expected[::-1]
    assert answer.body["total"] == len(expected)
    assert [row["ts"] for row in await exported(api, query)] == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=10001", "limit"), ("limit=x", "limit"), ("offset=-1", "offset"),
        ("offset=99999999999999999999", "offset"), ("since=yesterday", "since"), ("until=nan", "until"),
        ("tenant_id=..", "tenant_id"), ("endpoint=%00", "endpoint"), ("limit=1&limit=2", "limit"),
    ],
)  # fmt: skip
async def test_a_bad_query_is_422(sqlite_api: Api, query: str, field: str) -> None:
    answer = await sqlite_api.get(f"/command-log?{query}")
    assert (answer.status, answer.fields) == (422, [field])


async def test_no_value_of_a_query_is_too_much(api: Api) -> None:
    for value in STRANGE:
        for name in ("tenant_id", "since", "until", "endpoint", "limit", "offset"):
            given = httpx2.QueryParams({name: str(value)[:1000]})
            for path in ("/command-log", "/command-log/export"):
                assert (await api.get(f"{path}?{given}")).status in (200, 422)


async def test_the_log_is_the_admins(sqlite_api: Api) -> None:
    key = await sqlite_api.add_tenant("acme")
    for path in ("/command-log", "/command-log/export"):
        assert (await sqlite_api.get(path, token=key)).status == 403


async def test_a_handful_of_rows_is_in_memory_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are listed or exported."""
    await write(api, 130)
    real, sizes = api.runtime.store.database.read, []

    async def read_measured(work: Callable[..., Any], *args: object) -> object:
        found = await real(work, *args)
        sizes.append(len(found) if isinstance(found, list) else 0)
        return found

    monkeypatch.setattr(api.runtime.store.database, "read", read_measured)
    assert [row["ts"] for row in await exported(api)] == list(range(1, 131))
    assert [row["ts"] for row in await logged(api, "?limit=130")] == list(range(130, 0, -1))
    assert max(sizes) == 50


async def test_an_empty_log_is_exported_as_nothing(api: Api) -> None:
    assert await exported(api) == []


async def test_an_export_says_when_it_broke_off(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every line before is whole; and at the beginning it is a plain 503."""
    await write(api, 130)
    real, reads = api.runtime.store.database.read, 0

    async def read_twice(work: Callable[..., Any], *args: object) -> object:
        nonlocal reads
        reads += 1
        if reads > 2:
            raise DatabaseUnavailable(f"database {SECRET} is locked")
        return await real(work, *args)

    monkeypatch.setattr(api.runtime.store.database, "read", read_twice)
    *rows, last = await exported(api)
    assert [row["ts"] for row in rows] == list(range(1, 101))
    assert (last["ok"], SECRET in last["error"], SECRET in caplog.text) == (False, False, True)
    assert (await api.get("/command-log/export")).status == 503
