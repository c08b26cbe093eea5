"""Events that applications were told of or not, put into the tables behind the store's back."""

from __future__ import annotations

from collections.abc import Sequence

from mail_proxy.store.database import Call, Row, Work
from tests.support.api import Api
from tests.support.stores import statement

LONG_AGO = 1_600_000_000
REFUSED, GIVEN_UP = 2, -1


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


async def stand(api: Api, tenant_id: str, **fields: float | str | None) -> None:
    """Let the reporting to a tenant be like this (columns of sync_state)."""
    shown = {name: "NULL" if value is None else repr(value) for name, value in fields.items()}
    changes = ", ".join(f"{name} = {value}" for name, value in shown.items())
    await run(api, f"UPDATE sync_state SET {changes} WHERE tenant_id = '{tenant_id}'")


async def mark(api: Api, tenant_id: str, message_id: str, is_due: int, again_ts: float | None = None) -> None:
    """Let the application have refused an event (2), or let it have been given up (-1)."""
    again = "NULL" if again_ts is None else again_ts
    refusals = 3 if is_due == REFUSED else 0
    await run(
        api,
        f"UPDATE events SET is_due = {is_due}, refusals = {refusals}, again_ts = {again} "
        f"WHERE is_due = 1 AND tenant_id = '{tenant_id}' "
        f"AND seq = (SELECT seq FROM messages WHERE tenant_id = '{tenant_id}' AND id = '{message_id}')",
    )


async def listed(api: Api, query: str = "", *, token: str | None = None) -> list[tuple[str, str, str]]:
    path = f"/reports?{query}"
    answer = await (api.get(path) if token is None else api.get(path, token=token))
    assert answer.status == 200, answer.text
    return [(each["tenant_id"], each["id"], each["state"]) for each in answer.body["reports"]]
