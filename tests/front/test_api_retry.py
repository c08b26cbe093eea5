"""Trying a message again, or at another time, as the API offers it."""

from __future__ import annotations

import pytest

from tests.support.api import STRANGE, Api
from tests.support.works import ask

DAY = 86_400


@pytest.fixture
async def key(api: Api) -> str:
    """The API key of tenant acme, which has an account and message m1."""
    key = await api.add_tenant("acme", "main")
    await api.queue("acme", ["m1"])
    return key


async def become(api: Api, status: str, more: str = "updated_at = updated_at") -> None:
    """Bring the message into a state behind the API's back."""
    sql = f"UPDATE messages SET status = '{status}', {more}"
    await api.runtime.store.database.write(ask, sql)


async def test_a_failed_message_is_tried_again_and_shown(api: Api, key: str) -> None:
    await become(api, "error", "error = 'no', error_ts = 1, retry_count = 5")
    api.bell.rings.clear()
    answer = await api.post("/messages/m1/retry", token=key)
    assert answer.status == 200
    assert answer.body == (await api.get("/messages/m1", token=key)).body
    shown = {name: answer.body[name] for name in ("status", "error", "error_ts", "retry_count")}
    assert shown == {"status": "pending", "error": None, "error_ts": None, "retry_count": 0}
    assert api.bell.rings == [False]


async def test_a_message_is_put_off(api: Api, key: str) -> None:
    moment = int(api.clock.now()) + DAY
    answer = await api.post("/messages/m1/retry?tenant_id=acme", {"at": moment})
    assert (answer.body["status"], answer.body["deferred_ts"]) == ("deferred", moment)
    again = await api.post("/messages/m1/retry", {"at": None}, token=key)
    assert (again.body["status"], again.body["deferred_ts"]) == ("pending", None)


async def test_a_time_may_be_given_as_text(api: Api, key: str) -> None:
    answer = await api.post("/messages/m1/retry", {"at": "2999-01-01T00:00:00Z"}, token=key)
    assert answer.body["deferred_ts"] == 32_472_144_000


@pytest.mark.parametrize(
    ("status", "why"),
    [("sending", "is being sent"), ("sent", "was sent already"), ("bounced", "was sent already")],
)
async def test_what_is_being_sent_or_was_sent_is_refused(api: Api, key: str, status: str, why: str) -> None:
    await become(api, status)
    refused = await api.post("/messages/m1/retry", token=key)
    assert (refused.status, refused.body["error"]) == (409, f"message 'm1' {why}")


async def test_another_tenants_message_is_not_there(api: Api, key: str) -> None:
    other = await api.add_tenant("beta", "main")
    answers = [await api.post(f"/messages/{each}/retry", token=other) for each in ("m1", "nothing")]
    assert [answer.status for answer in answers] == [404, 404]
    assert answers[0].body["error"].replace("m1", "nothing") == answers[1].body["error"]
    assert (await api.post("/messages/m1/retry?tenant_id=acme", token=other)).status == 401


async def test_the_admin_may_leave_out_the_tenant_where_an_id_has_one_owner(api: Api, key: str) -> None:
    assert (await api.post("/messages/m1/retry")).status == 200
    await api.add_tenant("beta", "main")
    await api.queue("beta", ["m1"])
    assert (await api.post("/messages/m1/retry")).status == 409
    assert (await api.post("/messages/m1/retry?tenant_id=beta")).body["tenant_id"] == "beta"


async def test_no_strange_time_makes_it_stumble(api: Api, key: str) -> None:
    for value in STRANGE:
        answer = await api.post("/messages/m1/retry", {"at": value}, token=key)
        assert answer.status == 200 or (answer.status, answer.fields) == (422, ["at"]), value
