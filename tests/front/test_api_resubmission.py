"""The same id again, in every state a message can be in (contract: messages.md, Validation)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mail_proxy.model.messages import RecipientStatus
from mail_proxy.model.queue import Claimed, Settlement
from tests.support.api import Api, Json, message
from tests.support.stores import OWNER, as_deferred, as_error, as_sent, recipients, record_outcome
from tests.support.works import ask

Bringing = Callable[[Api, str], Awaitable[object]]

DAY = 86_400
TWO = {"to": ["ann@example.net", "bob@example.net"], "subject": "First"}
REPLACED = {"ok": True, "queued": 1, "rejected": []}


def rejected(reason: str) -> Json:
    return {"ok": True, "queued": 0, "rejected": [{"id": "m1", "reason": reason}]}


async def queue(api: Api, key: str, **fields: object) -> None:
    answer = await api.submit(message("m1", **TWO, **fields), token=key)
    assert answer.body == REPLACED, answer.text


async def claim(api: Api) -> Claimed:
    now = api.clock.now()
    lane = (await api.runtime.store.accounts.get("acme", "main")).lane
    [claimed] = (await api.runtime.store.queue.claim(lane, 1, OWNER, now, now + 30)).messages
    return claimed


async def settle(api: Api, key: str, result: Callable[[Claimed], Settlement]) -> None:
    """Queue the message, and let its first attempt end so."""
    await queue(api, key)
    assert await record_outcome(api.runtime.store, result(await claim(api)), OWNER, api.clock.now())


def ends(result: Callable[[Claimed], Settlement]) -> Bringing:
    return lambda api, key: settle(api, key, result)


def mixed(settlement: Settlement, first: RecipientStatus, second: RecipientStatus) -> Settlement:
    return replace(settlement, recipients=recipients(first, second))


async def schedule(api: Api, key: str) -> None:
    await queue(api, key, deferred_ts=api.clock.now() + DAY)


async def hold(api: Api, key: str) -> None:
    await api.post("/commands/suspend", token=key)
    await queue(api, key)


async def send_in_part(api: Api, key: str) -> None:
    """Ann has got it, Bob is tried again later."""
    later = api.clock.now() + DAY
    await settle(
        api,
        key,
        lambda claimed: replace(
            mixed(as_deferred(claimed, later), RecipientStatus.SENT, RecipientStatus.DEFERRED), sent_ts=1.0
        ),
    )


async def lose_its_account(api: Api, key: str) -> None:
    await queue(api, key)
    await api.delete("/account/main?force=true", token=key)
    await api.add_account("acme", "main")


async def start(api: Api, key: str) -> None:
    await queue(api, key)
    await claim(api)


async def bounce(api: Api, key: str) -> None:
    await settle(api, key, as_sent)
    await api.runtime.store.database.write(
        ask, "UPDATE messages SET status = 'bounced', bounce_type = 'hard'"
    )


STATES: dict[str, tuple[str, Bringing, Json]] = {
    "queued": ("pending", queue, REPLACED),
    "held by a suspension": ("pending", hold, REPLACED),
    "scheduled": ("deferred", schedule, REPLACED),
    "to be tried again": ("deferred", ends(lambda each: as_deferred(each, 2e9)), REPLACED),
    "failed": ("error", ends(as_error), REPLACED),
    "failed with its account": ("error", lose_its_account, REPLACED),
    "claimed": ("sending", start, rejected("being sent")),
    "sent": ("sent", ends(as_sent), rejected("already sent")),
    "returned": ("bounced", bounce, rejected("already sent")),
    "sent to some": ("deferred", send_in_part, rejected("already sent")),
    "failed, but sent to some": (
        "error",
        ends(lambda each: mixed(as_error(each), RecipientStatus.SENT, RecipientStatus.ERROR)),
        rejected("already sent"),
    ),
    "in doubt": (
        "deferred",
        ends(lambda each: as_deferred(each, 2e9, is_unknown=True)),
        rejected("already sent"),
    ),
    "failed in doubt": (
        "error",
        ends(lambda each: replace(as_error(each), is_unknown=True)),
        rejected("already sent"),
    ),
}


@pytest.mark.parametrize(("status", "bring", "expected"), STATES.values(), ids=STATES.keys())
async def test_a_request_may_be_repeated_in_every_state(
    api: Api, key: str, status: str, bring: Bringing, expected: Json
) -> None:
    """200 always; what somebody may have got is left as it is, and the rest starts afresh in its place."""
    await bring(api, key)
    before = (await api.get("/messages/m1", token=key)).body
    assert before["status"] == status

    for _ in range(2):
        answer = await api.submit(message("m1", **TWO | {"subject": "Second"}), token=key)
        assert (answer.status, answer.body) == (200, expected)

    after = (await api.get("/messages/m1", token=key)).body
    events = [each["event_type"] for each in (await api.get("/messages/m1/events", token=key)).body["events"]]
    if expected != REPLACED:
        assert (after, "replaced" in events) == (before, False)
        return
    assert events.count("replaced") == 2
    fresh = {"status": "pending", "retry_count": 0, "error": None, "error_ts": None, "last_error": None}
    assert {name: after[name] for name in fresh} == fresh
    assert (after["message"]["subject"], after["created_at"]) == ("Second", before["created_at"])
    assert {each["status"] for each in after["recipients"]} == {"pending"}


async def test_what_is_repeated_while_suspended_is_held_still(api: Api, key: str) -> None:
    """And goes, once, when it is let go."""
    await hold(api, key)
    await api.submit(message("m1", **TWO), token=key)
    assert (await api.get("/tenant/acme", token=key)).body["suspended_batches"] == ["*"]
    now, lane = api.clock.now(), (await api.runtime.store.accounts.get("acme", "main")).lane
    assert (await api.runtime.store.queue.claim(lane, 10, OWNER, now, now + 30)).messages == ()

    await api.post("/commands/activate", token=key)
    assert len((await api.runtime.store.queue.claim(lane, 10, OWNER, now, now + 30)).messages) == 1


async def test_an_invalid_repetition_changes_nothing(api: Api, key: str) -> None:
    await queue(api, key)
    before = (await api.get("/messages/m1", token=key)).body
    answer = await api.submit(message("m1", to=["nobody"]), token=key)
    assert answer.status == 400
    assert (await api.get("/messages/m1", token=key)).body == before


async def test_a_used_id_beside_an_invalid_message_is_no_400(api: Api, key: str) -> None:
    """Not every message was refused for being invalid: the request was only repeated."""
    await settle(api, key, as_sent)
    answer = await api.submit(message("m1", **TWO), {"id": "bad"}, token=key)
    assert (answer.status, answer.body["queued"]) == (200, 0)
    assert {each["id"] for each in answer.body["rejected"]} == {"m1", "bad"}


async def test_a_used_id_of_another_tenant_is_free(api: Api, key: str) -> None:
    await settle(api, key, as_sent)
    other = await api.add_tenant("beta", "main")
    assert (await api.submit(message("m1"), token=other)).body == REPLACED


async def test_an_id_whose_message_was_deleted_is_free(api: Api, key: str) -> None:
    await settle(api, key, as_sent)
    await api.post("/commands/delete-messages", {"ids": ["m1"], "force": True}, token=key)
    await queue(api, key)
