"""Messages over HTTP: taking them in and telling what became of them (contract: messages.md)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from mail_proxy.services.message_inputs import MessageInput
from mail_proxy.services.messages import HANDFUL, HANDFUL_BYTES
from tests.support.api import ADMIN, STRANGE, Api, Json, message, open_api


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as api:
        await api.add_tenant("acme", "main")
        yield api


def ids(answer: Json) -> list[str]:
    return [each["id"] for each in answer["messages"]]


async def test_queueing_tells_how_many_and_wakes_dispatch(api: Api) -> None:
    api.bell.rings.clear()
    answer = await api.submit(message("a", tenant_id="acme"), message("b", tenant_id="acme"))
    assert (answer.status, answer.body) == (200, {"ok": True, "queued": 2, "rejected": []})
    assert api.bell.rings


async def test_valid_messages_are_queued_whatever_the_others_are(api: Api) -> None:
    bad: Json = {"id": "bad", "tenant_id": "acme", "to": ["nobody"], "subject": "a\nb"}
    answer = await api.submit(message("good", tenant_id="acme"), bad, "no message at all", 7)
    assert (answer.status, answer.body["queued"]) == (200, 1)
    rejected = answer.body["rejected"]
    assert [each["id"] for each in rejected] == ["bad", None, None]
    named = {tuple(fault["loc"]) for fault in rejected[0]["errors"]}
    assert named == {("to", 0), ("subject",), ("body",), ("from",)}
    assert {"loc", "msg", "type"} == set(rejected[0]["errors"][0])


async def test_400_when_every_message_is_invalid(api: Api) -> None:
    answer = await api.submit(message("a", to=[]), message("b", priority=9))
    assert (answer.status, answer.body["ok"]) == (400, False)
    assert sorted(answer.body["detail"]) == ["error", "rejected"]
    assert [each["id"] for each in answer.body["detail"]["rejected"]] == ["a", "b"]


async def test_an_empty_batch_is_fine(api: Api) -> None:
    answer = await api.submit()
    assert (answer.status, answer.body) == (200, {"ok": True, "queued": 0, "rejected": []})


async def test_a_second_entry_with_the_same_id_is_rejected(api: Api) -> None:
    answer = await api.submit(message("a", tenant_id="acme"), message("a", tenant_id="acme"))
    assert answer.body == {"ok": True, "queued": 1, "rejected": [{"id": "a", "reason": "duplicate id"}]}


async def test_submitting_again_replaces_what_still_waits(api: Api) -> None:
    """That makes retrying a request harmless."""
    await api.queue("acme", ["a"])
    await api.queue("acme", ["a"], subject="Changed")
    assert (await api.get("/messages/a")).body["message"]["subject"] == "Changed"
    types = [event["event_type"] for event in (await api.get("/messages/a/events")).body["events"]]
    assert types == ["queued", "replaced"]


async def test_unknown_fields_are_named_in_warnings(api: Api) -> None:
    answer = await api.submit(message("a", tenant_id="acme", colour="red"))
    assert answer.body["queued"] == 1
    assert "colour" in answer.body["warnings"][0]


async def test_more_messages_than_allowed_are_refused_whole(sqlite_url: str) -> None:
    async with open_api(sqlite_url, {"GMP_MAX_ENQUEUE_BATCH": "2"}) as api:
        await api.add_account("default", "main")
        assert (await api.submit(*(message(str(n)) for n in range(2)))).body["queued"] == 2
        assert (await api.submit(*(message(str(n)) for n in range(3)))).status == 413


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": {"id": "a"}}, "messages"),
        ({"messages": "all"}, "messages"),
        ({"messages": [], "default_priority": 4}, "default_priority"),
        ({"messages": [], "default_priority": "urgent"}, "default_priority"),
        ({"messages": [], "default_priority": True}, "default_priority"),
    ],
)
async def test_a_malformed_submission_is_422(api: Api, body: Json, field: str) -> None:
    answer = await api.post("/commands/add-messages", body)
    assert (answer.status, answer.fields) == (422, [field])


@pytest.mark.parametrize(("given", "priority"), [(0, 0), ("low", 3), (None, 2)])
async def test_the_batch_may_have_a_priority(api: Api, given: object, priority: int) -> None:
    batch = {"messages": [message("a", tenant_id="acme")], "default_priority": given}
    assert (await api.post("/commands/add-messages", batch)).body["queued"] == 1
    assert (await api.get("/messages/a")).body["priority"] == priority


async def test_a_message_without_a_tenant_is_default_s(api: Api) -> None:
    await api.add_account("default", "own")
    await api.submit(message("a"))
    assert (await api.get("/messages/a?tenant_id=default")).status == 200


async def test_a_record_has_every_field(api: Api) -> None:
    await api.put("/tenant/acme", {"name": "Acme Ltd"})
    await api.queue("acme", ["a"], batch_code="june", metadata={"order": 7})
    shown = (await api.get("/messages/a")).body
    assert set(shown) == {
        "ok", "pk", "id", "tenant_id", "tenant_name", "account_id", "status", "priority", "batch_code",
        "created_at", "updated_at", "deferred_ts", "sent_ts", "error_ts", "error", "retry_count",
        "reported_ts", "bounce_type", "bounce_code", "bounce_reason", "bounce_ts", "is_pec", "message_id",
        "recipients", "last_error", "metadata", "message",
    }  # fmt: skip
    assert (shown["status"], shown["tenant_name"], shown["batch_code"]) == ("pending", "Acme Ltd", "june")
    assert shown["recipients"] == [
        {"address": "ann@example.net", "status": "pending", "code": None, "reply": None}
    ]
    assert (shown["message"]["subject"], shown["metadata"]) == ("Your order", {"order": 7})
    assert isinstance(shown["created_at"], int)
    assert shown == {"ok": True, **(await api.get("/messages")).body["messages"][0]}


async def test_contents_of_attachments_are_left_out(api: Api) -> None:
    content = base64.b64encode(b"what is in the file").decode()
    file = {"filename": "a.txt", "storage_path": f"base64:{content}"}
    await api.queue("acme", ["a"], attachments=[file])
    for path in ("/messages/a", "/messages"):
        answer = await api.get(path)
        assert "a.txt" in answer.text
        assert content not in answer.text


async def test_a_raw_message_is_shown_without_its_bytes(api: Api) -> None:
    raw = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nhello\r\n"
    given = {"id": "a", "tenant_id": "acme", "raw": base64.b64encode(raw).decode()}
    assert (await api.submit(given)).body["queued"] == 1
    assert (await api.get("/messages/a")).body["message"] == {"raw": True, "size": len(raw)}


@pytest.mark.parametrize("message_id", ["a/b", "a/events", "ä ö", "100%", "a?b#c", "%2F", "😀", "x" * 255])
async def test_an_id_may_be_any_text(api: Api, message_id: str) -> None:
    """Ids are the application's own; in a path they are percent-encoded."""
    from urllib.parse import quote

    await api.queue("acme", [message_id])
    assert (await api.get(f"/messages/{quote(message_id, safe='')}")).body["id"] == message_id
    events = await api.get(f"/messages/{quote(message_id, safe='')}/events")
    assert [event["event_type"] for event in events.body["events"]] == ["queued"]


async def test_an_event_tells_what_happened_and_when(api: Api) -> None:
    await api.queue("acme", ["a"])
    [event] = (await api.get("/messages/a/events?tenant_id=acme")).body["events"]
    assert set(event) == {"event_id", "event_type", "event_ts", "description", "event_data"}
    assert isinstance(event["event_ts"], int)


@pytest.mark.parametrize("path", ["/messages/absent", "/messages/absent/events", "/messages/%00"])
@pytest.mark.parametrize("query", ["", "?tenant_id=acme", "?tenant_id=absent"])
async def test_an_unknown_message_is_404(api: Api, path: str, query: str) -> None:
    answer = await api.get(path + query)
    assert (answer.status, answer.body["ok"]) == (404, False)


async def test_the_admin_may_leave_the_tenant_out_while_the_id_is_unique(api: Api) -> None:
    await api.queue("acme", ["a"])
    assert (await api.get("/messages/a")).body["tenant_id"] == "acme"
    await api.add_account("default", "own")
    await api.queue("default", ["a"])
    assert [(await api.get(f"/messages/a{tail}")).status for tail in ("", "/events")] == [409, 409]
    assert (await api.get("/messages/a?tenant_id=default")).body["tenant_id"] == "default"


async def test_lists_are_newest_first_and_go_on_at_the_cursor(api: Api) -> None:
    await api.queue("acme", ["a", "b", "c", "d", "e"])
    first = (await api.get("/messages?limit=2")).body
    second = (await api.get(f"/messages?limit=2&cursor={first['next_cursor']}")).body
    third = (await api.get(f"/messages?limit=2&cursor={second['next_cursor']}")).body
    assert [ids(page) for page in (first, second, third)] == [["e", "d"], ["c", "b"], ["a"]]
    assert third["next_cursor"] is None


async def test_a_list_longer_than_one_piece_is_whole(api: Api) -> None:
    """Contents are read and sent piece by piece; that does not show."""
    names = [f"m{number:03}" for number in range(2 * HANDFUL + 1)]
    await api.queue("acme", names)
    answer = await api.get("/messages")
    assert ids(answer.body) == names[::-1]
    assert all(each["message"]["subject"] == "Your order" for each in answer.body["messages"])
    assert (answer.body["ok"], answer.body["next_cursor"]) == (True, None)


async def test_a_list_of_large_contents_is_whole(api: Api) -> None:
    """They are read a few at a time, by their size."""
    body = "x" * (HANDFUL_BYTES // 3)
    await api.queue("acme", ["a", "b", "c", "d"], body=body)
    answer = await api.get("/messages")
    assert ids(answer.body) == ["d", "c", "b", "a"]
    assert {len(each["message"]["body"]) for each in answer.body["messages"]} == {len(body)}


async def test_an_empty_list_is_a_list(api: Api) -> None:
    assert (await api.get("/messages")).body == {"ok": True, "messages": [], "next_cursor": None}


async def test_lists_can_be_narrowed(api: Api) -> None:
    now = int(api.clock.now())
    await api.add_account("acme", "second")
    await api.queue("acme", ["plain"], account_id="main")
    await api.queue("acme", ["other"], account_id="second", batch_code="june")
    await api.queue("acme", ["later"], account_id="main", deferred_ts=now + 1000)
    for query, expected in [
        ("status=deferred", ["later"]),
        ("status=sent", []),
        ("account_id=second", ["other"]),
        ("batch_code=june", ["other"]),
        ("active_only=true", ["later", "other", "plain"]),
        (f"since={now + 100}", []),
        (f"until={now - 100}", []),
        (f"since={now - 100}&until={now + 100}", ["later", "other", "plain"]),
        ("since=2001-01-01T00:00:00Z", ["later", "other", "plain"]),
        ("tenant_id=default", []),
        ("tenant_id=absent", []),
    ]:
        assert ids((await api.get(f"/messages?{query}")).body) == expected, query


async def test_history_comes_with_the_messages_when_asked_for(api: Api) -> None:
    await api.queue("acme", ["a"])
    assert "events" not in (await api.get("/messages")).body["messages"][0]
    [shown] = (await api.get("/messages?include_history=1")).body["messages"]
    assert [event["event_type"] for event in shown["events"]] == ["queued"]


MALFORMED = [
    "limit=0",
    "limit=10001",
    "limit=-1",
    "limit=ten",
    "limit=1e3",
    "limit=99999999999999999999999999",
    "limit=",
    "limit=1&limit=2",
    "status=lost",
    "account_id=a%20b",
    "batch_code=" + "x" * 65,
    "batch_code=a%00b",
    "since=yesterday",
    "since=nan",
    "until=inf",
    "until=-1",
    "active_only=perhaps",
    "include_history=2",
    "cursor=abc",
    "cursor=-5",
    "cursor=%00",
    "cursor=" + "9" * 30,
    "tenant_id=%ff",
]


async def test_a_malformed_query_is_422_naming_the_field(api: Api) -> None:
    answers = {query: await api.get(f"/messages?{query}") for query in MALFORMED}
    assert {query: (answer.status, answer.fields) for query, answer in answers.items()} == {
        query: (422, [query.partition("=")[0]]) for query in MALFORMED
    }


async def test_all_faults_of_a_query_are_told_at_once(api: Api) -> None:
    answer = await api.get("/messages?limit=0&status=lost&since=x")
    assert answer.fields == ["status", "since", "limit"]


@pytest.mark.parametrize("token_of", ["admin", "tenant"])
async def test_no_value_of_any_field_is_too_much(api: Api, token_of: str) -> None:
    """A message with a strange value is queued or rejected, never an error of the server."""
    key = (await api.post("/tenant/acme/api-key")).body["api_key"]
    token = ADMIN if token_of == "admin" else key
    names = MessageInput.model_fields.keys() - {"from_"} | {"from", "cc_addr", "custom_headers", "send_after"}
    strange = [(name, value) for name in sorted(names) for value in STRANGE]
    statuses = {
        f"{name}={value!r}": (await api.submit(message() | {name: value}, token=token)).status
        for name, value in strange
        if not (name == "tenant_id" and token == key)
    }
    assert {name: status for name, status in statuses.items() if status not in (200, 400)} == {}


async def test_a_tenant_id_that_is_no_name_is_a_fault_of_its_message(api: Api) -> None:
    """A tenant's token refuses requests that name another tenant; what names nobody is rejected."""
    key = (await api.post("/tenant/acme/api-key")).body["api_key"]
    values: tuple[object, ...] = (7, [], {}, True)
    for value in values:
        answer = await api.submit(message("a", tenant_id=value), message("b"), token=key)
        assert (answer.status, answer.body["queued"]) == (200, 1)
        assert answer.body["rejected"][0]["errors"][0]["loc"] == ["tenant_id"]
