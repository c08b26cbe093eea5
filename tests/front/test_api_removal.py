"""Deleting messages, and cleaning up, as the API offers them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from mail_proxy.services.messages import MAX_PAGE
from tests.support.api import STRANGE, Api, open_api
from tests.support.telling import acknowledge, due_of
from tests.support.works import ask

DELETE, CLEANUP = "/commands/delete-messages", "/commands/cleanup-messages"
DAY, WEEK, MONTH = 86_400, 604_800, 2_592_000
SYNC_URL = {"GMP_CLIENT_SYNC_URL": "http://127.0.0.1:9/sync"}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """With an application that is to be told of everything."""
    async with open_api(database_url, SYNC_URL) as opened:
        yield opened


async def send(api: Api, *ids: str, tenant_id: str = "acme") -> None:
    """Queue messages, and let them have been sent just now."""
    await api.queue(tenant_id, ids)
    for each in ids:
        seq = (await api.runtime.services.messages.get(tenant_id, each)).seq
        now = api.clock.now()
        await execute(
            api, f"UPDATE messages SET status = 'sent', sent_ts = {now}, updated_at = {now} WHERE seq = {seq}"
        )
        await execute(
            api,
            "INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due) "
            f"VALUES ({seq}, '{tenant_id}', 'sent', {now}, 'x', 1)",
        )


async def report(api: Api, tenant_id: str = "acme") -> None:
    """Let the application take all that it was not told of."""
    batch = await due_of(api.runtime.store, tenant_id)
    taken = [each.event_id for each in batch]
    await acknowledge(api.runtime.store, taken, api.clock.now(), tenant_id=tenant_id)


async def execute(api: Api, sql: str) -> None:
    """Change the tables behind the API's back."""
    await api.runtime.store.database.write(ask, sql)


async def left(api: Api) -> list[str]:
    return sorted(message["id"] for message in (await api.get("/messages")).body["messages"])


async def test_messages_are_deleted_by_their_ids(api: Api, key: str) -> None:
    await api.queue("acme", ["a", "b", "c"])
    answer = await api.post(DELETE, {"ids": ["a", "nothing", "c", "a"]}, token=key)
    assert answer.body == {
        "ok": True,
        "removed": 2,
        "not_found": ["nothing"],
        "unauthorized": [],
        "refused": [],
    }
    assert await left(api) == ["b"]
    assert (await api.get("/messages/a", token=key)).status == 404


async def test_what_stays_is_told_with_the_reason(api: Api, key: str) -> None:
    await send(api, "sent")
    await api.queue("acme", ["sending"])
    await execute(api, "UPDATE messages SET status = 'sending' WHERE id = 'sending'")
    answer = await api.post(DELETE, {"ids": ["sent", "sending"]}, token=key)
    assert (answer.status, answer.body["removed"]) == (200, 0)
    assert answer.body["refused"] == [
        {"id": "sent", "reason": "sent and not yet reported"},
        {"id": "sending", "reason": "being sent"},
    ]

    forced = await api.post(DELETE, {"ids": ["sent", "sending"], "force": True}, token=key)
    assert (forced.body["removed"], await left(api)) == (1, ["sending"])


async def test_what_was_reported_needs_no_force(api: Api, key: str) -> None:
    await send(api, "sent")
    await report(api)
    assert (await api.post(DELETE, {"ids": ["sent"]}, token=key)).body["removed"] == 1


async def test_with_nobody_to_report_to_nothing_waits_for_a_report(database_url: str) -> None:
    async with open_api(database_url) as api:
        key = await api.add_tenant("acme", "main")
        await send(api, "sent")
        assert (await api.post(DELETE, {"ids": ["sent"]}, token=key)).body["removed"] == 1


async def test_a_tenants_own_application_counts_as_somebody(database_url: str) -> None:
    async with open_api(database_url) as api:
        key = await api.add_tenant("acme", "main")
        await api.put("/tenant/acme", {"client_base_url": "https://app.example.org"})
        await send(api, "sent")
        refused = (await api.post(DELETE, {"ids": ["sent"]}, token=key)).body["refused"]
        assert [each["id"] for each in refused] == ["sent"]


async def test_for_a_tenant_what_others_have_is_not_there(api: Api, key: str) -> None:
    await api.add_tenant("beta", "main")
    await api.queue("beta", ["theirs"])
    answer = await api.post(DELETE, {"ids": ["theirs", "nothing"]}, token=key)
    assert (answer.body["not_found"], answer.body["unauthorized"]) == (["theirs", "nothing"], [])
    assert await left(api) == ["theirs"]


async def test_the_admin_is_told_what_only_other_tenants_have(api: Api, key: str) -> None:
    await api.add_tenant("beta", "main")
    await api.queue("beta", ["theirs"])
    answer = await api.post(f"{DELETE}?tenant_id=acme", {"ids": ["theirs", "nothing"]})
    assert (answer.body["not_found"], answer.body["unauthorized"]) == (["nothing"], ["theirs"])
    assert await left(api) == ["theirs"]


async def test_the_admin_may_leave_out_the_tenant_where_an_id_has_one_owner(api: Api, key: str) -> None:
    await api.add_tenant("beta", "main")
    await api.queue("acme", ["both", "mine"])
    await api.queue("beta", ["both", "theirs"])
    answer = await api.post(DELETE, {"ids": ["mine", "both", "theirs", "nothing"]})
    assert (answer.body["removed"], await left(api)) == (2, ["both", "both"])
    assert answer.body["refused"] == [{"id": "both", "reason": "several tenants have a message of this id"}]
    assert (answer.body["not_found"], answer.body["unauthorized"]) == (["nothing"], [])


async def test_the_last_trace_of_a_message_is_in_the_log(
    api: Api, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mail_proxy.services.removal")
    await api.queue("acme", ["a"])
    await api.post(DELETE, {"ids": ["a"]}, token=key)
    assert [record.getMessage() for record in caplog.records] == ["message a of acme was deleted"]


async def test_more_than_one_transaction_takes_is_deleted(api: Api, key: str) -> None:
    ids = [f"m{number}" for number in range(450)]
    await api.queue("acme", ids)
    answer = await api.post(DELETE, {"ids": ["x", *ids, "y"]}, token=key)
    assert (answer.body["removed"], answer.body["not_found"]) == (450, ["x", "y"])
    assert await left(api) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "ids"),
        ({"ids": None}, "ids"),
        ({"ids": "a"}, "ids"),
        ({"ids": ["a", 1]}, "ids.1"),
        ({"ids": [""]}, "ids.0"),
        ({"ids": ["x" * 256]}, "ids.0"),
        ({"ids": ["a\0"]}, "ids.0"),
        ({"ids": ["a"] * (MAX_PAGE + 1)}, "ids"),
        ({"ids": ["a"], "force": "yes"}, "force"),
    ],
)
async def test_what_cannot_be_ids_is_refused_by_its_field(
    api: Api, key: str, body: object, field: str
) -> None:
    await api.queue("acme", ["a"])
    refused = await api.post(DELETE, body, token=key)
    assert (refused.status, refused.fields) == (422, [field])
    assert await left(api) == ["a"]


@pytest.mark.parametrize("path", [DELETE, CLEANUP])
async def test_other_tenants_and_those_that_are_not_there(api: Api, key: str, path: str) -> None:
    await api.add_tenant("beta")
    body = {"ids": ["a"]}
    statuses = [
        (await api.post(f"{path}?tenant_id={each}", body, token=key)).status for each in ("beta", "x")
    ]
    assert statuses == [401, 401]
    assert (await api.post(f"{path}?tenant_id=nobody", body)).status == 404


async def test_cleaning_up_applies_the_retention_now(api: Api, key: str) -> None:
    await send(api, "old")
    await report(api)
    api.clock.ahead += DAY
    await send(api, "young")
    await report(api)
    api.clock.ahead += WEEK - DAY / 2
    assert (await api.post(CLEANUP, token=key)).body == {"ok": True, "removed": 1}
    assert await left(api) == ["young"]


async def test_cleaning_up_may_go_by_another_age(api: Api, key: str) -> None:
    await send(api, "old")
    await report(api)
    api.clock.ahead += DAY
    await send(api, "young")
    await report(api)
    answer = await api.post(CLEANUP, {"older_than_seconds": DAY / 2}, token=key)
    assert (answer.body["removed"], await left(api)) == (1, ["young"])
    api.clock.ahead += 1
    answer = await api.post(CLEANUP, {"older_than_seconds": 0}, token=key)
    assert (answer.body["removed"], await left(api)) == (1, [])


async def test_nothing_that_is_unreported_or_unsent_is_cleaned_up(api: Api, key: str) -> None:
    """Whatever age is given."""
    await send(api, "sent")
    await api.queue("acme", ["pending"])
    await api.queue("acme", ["later"], deferred_ts=int(api.clock.now()) + 2 * MONTH)
    api.clock.ahead += MONTH - 60
    assert (await api.post(CLEANUP, {"older_than_seconds": 0}, token=key)).body["removed"] == 0
    assert await left(api) == ["later", "pending", "sent"]


async def test_what_could_not_be_reported_for_a_month_counts_as_reported(api: Api, key: str) -> None:
    """From then on the retention counts."""
    await send(api, "sent")
    api.clock.ahead += MONTH + 60
    assert (await api.post(CLEANUP, token=key)).body["removed"] == 0
    api.clock.ahead += WEEK
    assert (await api.post(CLEANUP, token=key)).body["removed"] == 1


async def test_with_nobody_to_report_to_the_last_event_counts(database_url: str) -> None:
    async with open_api(database_url) as api:
        key = await api.add_tenant("acme", "main")
        await send(api, "sent")
        api.clock.ahead += WEEK - 60
        assert (await api.post(CLEANUP, token=key)).body["removed"] == 0
        api.clock.ahead += 120
        assert (await api.post(CLEANUP, token=key)).body["removed"] == 1


async def test_a_tenant_cleans_up_its_own_and_the_admin_everybodys(api: Api, key: str) -> None:
    await api.add_tenant("beta", "main")
    for tenant_id in ("acme", "beta"):
        await send(api, tenant_id, tenant_id=tenant_id)
        await report(api, tenant_id)
    api.clock.ahead += 1
    given = {"older_than_seconds": 0}
    assert (await api.post(CLEANUP, given, token=key)).body["removed"] == 1
    assert await left(api) == ["beta"]
    await send(api, "acme")
    await report(api)
    api.clock.ahead += 1
    assert (await api.post(CLEANUP, given)).body["removed"] == 2


async def test_the_retention_is_configured(database_url: str) -> None:
    settings = SYNC_URL | {"GMP_DELIVERY_REPORT_RETENTION_SECONDS": "60"}
    async with open_api(database_url, settings) as api:
        await api.add_tenant("acme", "main")
        await send(api, "sent")
        await report(api)
        assert (await api.post(CLEANUP)).body["removed"] == 0
        api.clock.ahead += 61
        assert (await api.post(CLEANUP)).body["removed"] == 1


@pytest.mark.parametrize("value", [True, -1, "60", [], {}, 1e300])
async def test_an_age_that_is_none_is_refused(api: Api, key: str, value: object) -> None:
    await send(api, "sent")
    await report(api)
    refused = await api.post(CLEANUP, {"older_than_seconds": value}, token=key)
    assert (refused.status, refused.fields) == (422, ["older_than_seconds"])
    assert await left(api) == ["sent"]


async def test_nothing_strange_makes_it_stumble(api: Api, key: str) -> None:
    for value in STRANGE:
        bodies: list[object] = [{"ids": value}, {"ids": [value]}, {"ids": ["a"], "force": value}]
        answers = [await api.post(DELETE, body, token=key) for body in bodies]
        answers.append(await api.post(CLEANUP, {"older_than_seconds": value}, token=key))
        assert {answer.status for answer in answers} <= {200, 422}, value
