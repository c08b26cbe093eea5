"""A message that waits in line for a rate limit is deferred, wherever it is shown."""

from __future__ import annotations

from typing import cast

import pytest

from tests.support.api import Api, Json

BATCH = "campaign"
FLYING = "m00"
PARKED = [f"m{number:02}" for number in range(1, 51)]
BEHIND = ["m51", "m52", "m53"]
ALL = [FLYING, *PARKED, *BEHIND]

LIMITED = {"tenant_id": "acme", "id": "main", "host": "sandbox", "limit_per_minute": 1}


@pytest.fixture
async def key(api: Api) -> str:
    """The API key of tenant acme: its first message is being sent, and the heads of the line are parked."""
    key = await api.add_tenant("acme", "main")
    await api.post("/account", LIMITED)
    await api.queue("acme", ALL, batch_code=BATCH)
    assert await claim(api) == [FLYING]
    assert await claim(api) == []
    return key


async def claim(api: Api, after: float = 0.0) -> list[str]:
    """What a server takes to send, so many seconds from now."""
    store, now = api.runtime.store, api.clock.now() + after
    lane = (await store.accounts.get("acme", "main")).lane
    claim = await store.queue.claim(lane, 10, "node", now, now + 30)
    return [message.id for message in claim.messages]


async def give_back(api: Api) -> None:
    """The server stops, and what it has not begun returns to its place."""
    store = api.runtime.store
    await store.queue.release([(await store.messages.get("acme", FLYING)).seq], "node", api.clock.now())


async def listed(api: Api, query: str) -> list[str]:
    """The ids of a list, from the oldest, read in small pages."""
    ids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await api.get(f"/messages?limit=20&{query}&cursor={cursor}".removesuffix("&cursor="))).body
        ids += [message["id"] for message in page["messages"]]
        cursor = page["next_cursor"]
    return ids[::-1]


async def shown(api: Api, message_id: str) -> Json:
    return (await api.get(f"/messages/{message_id}?tenant_id=acme")).body


async def happened(api: Api, message_id: str) -> list[str]:
    events = (await api.get(f"/messages/{message_id}/events?tenant_id=acme")).body["events"]
    return [event["event_type"] for event in events]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("status=deferred", PARKED),
        ("status=deferred&tenant_id=acme", PARKED),
        ("status=deferred&tenant_id=acme&account_id=main", PARKED),
        ("status=deferred&account_id=main", PARKED),
        ("status=deferred&account_id=other", []),
        (f"status=deferred&batch_code={BATCH}", PARKED),
        (f"status=deferred&batch_code={BATCH}&account_id=main&tenant_id=acme", PARKED),
        ("status=deferred&batch_code=other", []),
        ("status=pending", BEHIND),
        ("status=pending&tenant_id=acme", BEHIND),
        ("status=pending&tenant_id=acme&account_id=main", BEHIND),
        (f"status=pending&batch_code={BATCH}", BEHIND),
        ("status=sending", [FLYING]),
        ("active_only=true", ALL),
        ("tenant_id=acme", ALL),
        (f"batch_code={BATCH}&tenant_id=acme", ALL),
        ("", ALL),
    ],
)
async def test_lists(api: Api, key: str, query: str, ids: list[str]) -> None:
    """Each filter, page by page: nothing is left out, and nothing comes twice."""
    assert await listed(api, query) == ids


async def test_one_message(api: Api, key: str) -> None:
    """It says about when it will go; what stands behind is pending."""
    parked, behind = await shown(api, PARKED[0]), await shown(api, BEHIND[0])
    assert parked["status"] == "deferred"
    assert 55 <= parked["deferred_ts"] - api.clock.now() <= 65
    assert (behind["status"], behind["deferred_ts"]) == ("pending", None)
    assert await happened(api, PARKED[0]) == ["queued", "deferred"]


async def test_counts(api: Api, key: str) -> None:
    """Of statistics; all that has still to leave is pending in the wider sense."""
    stats = await api.runtime.services.instance.stats()
    assert stats["messages"] == {
        "pending": 3, "deferred": 50, "sending": 1, "sent": 0, "error": 0, "bounced": 0
    }  # fmt: skip
    waiting = cast("list[Json]", stats["waiting"])
    assert {row["status"]: row["count"] for row in waiting} == {"pending": 3, "deferred": 50, "sending": 1}
    assert await api.runtime.services.instance.stats("acme") == stats
    assert (await api.get("/status")).body["pending_messages"] == 54


async def test_it_goes_in_its_turn(api: Api, key: str) -> None:
    """Nothing has to release it: the claim takes it, and while it is sent it is not deferred."""
    await give_back(api)
    await api.post("/commands/delete-messages", {"ids": [FLYING]}, token=key)
    assert await claim(api) == [PARKED[0]]
    assert (await shown(api, PARKED[0]))["status"] == "sending"
    assert await listed(api, "status=deferred") == [*PARKED[1:], BEHIND[0]]


async def test_a_retry_lets_it_stay_in_line(api: Api, key: str) -> None:
    """It is parked anew if it still cannot go, in its old place."""
    first, second = PARKED[:2]
    again = await api.post(f"/messages/{second}/retry", token=key)
    assert (again.status, again.body["status"], again.body["deferred_ts"]) == (200, "pending", None)
    assert await claim(api, after=10) == []
    assert (await shown(api, second))["status"] == "deferred"
    assert await happened(api, second) == ["queued", "deferred", "queued", "deferred"]
    ahead = await api.runtime.services.explanation.explain("acme", second)
    assert ahead.ahead == 1
    assert (await shown(api, first))["status"] == "deferred"


async def test_it_may_be_put_off(api: Api, key: str) -> None:
    """Then it leaves the line, until its time comes."""
    await give_back(api)
    await api.post("/commands/delete-messages", {"ids": [FLYING]}, token=key)
    at = int(api.clock.now()) + 86_400
    later = await api.post(f"/messages/{PARKED[0]}/retry", {"at": at}, token=key)
    assert (later.body["status"], later.body["deferred_ts"]) == ("deferred", at)
    assert await claim(api) == [PARKED[1]]


async def test_what_is_suspended_is_pending(api: Api, key: str) -> None:
    """Contract: messages.md, Suspension. When it goes on it waits for its limit again."""
    held = await api.post(f"/commands/suspend?batch_code={BATCH}", token=key)
    assert held.body["pending_messages"] == 54
    assert await listed(api, "status=deferred") == []
    assert await listed(api, "status=pending") == [*PARKED, *BEHIND]
    assert (await shown(api, PARKED[0]))["deferred_ts"] is None

    await api.post(f"/commands/activate?batch_code={BATCH}", token=key)
    assert await claim(api) == []
    assert await listed(api, "status=deferred") == PARKED
    assert await happened(api, PARKED[0]) == ["queued", "deferred", "suspended", "activated", "deferred"]


async def test_it_may_be_submitted_anew(api: Api, key: str) -> None:
    """It starts afresh, in its old place."""
    await api.queue("acme", [PARKED[0]], batch_code=BATCH, subject="Another")
    assert (await shown(api, PARKED[0]))["status"] == "pending"
    assert await claim(api) == []
    assert await listed(api, "status=deferred") == PARKED


async def test_it_may_be_deleted(api: Api, key: str) -> None:
    """Nothing keeps it, and nothing is told of it any more."""
    gone = await api.post("/commands/delete-messages", {"ids": PARKED[:2]}, token=key)
    assert gone.body["removed"] == 2
    assert await listed(api, "status=deferred") == PARKED[2:]


async def test_cleaning_up_leaves_it(api: Api, key: str) -> None:
    """What has still to leave stays, however old."""
    api.clock.ahead = 365 * 86_400.0
    assert await api.runtime.services.removal.cleanup("acme", 0.0) == 0
    assert await listed(api, "status=deferred") == PARKED


async def test_it_fails_with_its_account(api: Api, key: str) -> None:
    """An error, and no longer deferred."""
    await give_back(api)
    gone = await api.call("DELETE", "/account/main?tenant_id=acme&force=true")
    assert gone.status == 200, gone.text
    assert await listed(api, "status=error") == ALL
    assert (await shown(api, PARKED[0]))["deferred_ts"] is None
