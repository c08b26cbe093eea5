"""Reading messages: pages, filters, contents, events, counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mail_proxy.errors import NotFound
from mail_proxy.model.messages import EventType, Message, MessageFilter, Payload, PayloadKind, Place, Status
from mail_proxy.model.queue import NewEvent, Waiting
from tests.support.stores import NOW, OWNER, Bench, as_error, as_sent, begin_final, record_outcome


async def listed(bench: Bench, **fields: object) -> list[str]:
    return [message.id for message in await page(bench, **fields)]


async def page(bench: Bench, **fields: object) -> list[Message]:
    which = replace(MessageFilter(), **fields)  # type: ignore[arg-type]  # the caller names its fields
    places = await bench.store.messages.places(which)
    found = await bench.store.messages.some([place.seq for place in places])
    assert [Place(message.created_at, message.seq) for message in found] == places
    return found


@pytest.fixture
async def filled(bench: Bench) -> Bench:
    """Sent s1 and s2, failed e1, sending g1, pending p1, deferred d1, and theirs of tenant beta, in order."""
    await bench.sent("s1", "s2")
    await bench.add("e1", batch_code="bills")
    [claimed] = await bench.claim()
    await record_outcome(bench.store, as_error(claimed), OWNER, NOW)
    await bench.add("g1")
    await bench.claim()
    await bench.add("p1", batch_code="bills", now=NOW + 10)
    await bench.add("d1", deferred_ts=NOW + 60, now=NOW + 20)
    lane = await bench.account("theirs", "beta")
    await bench.add("b1", tenant_id="beta", account_id="theirs", lane=lane, now=NOW + 30)
    return bench


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["b1", "d1", "p1", "g1", "e1", "s2", "s1"]),
        ({"tenant_id": "acme"}, ["d1", "p1", "g1", "e1", "s2", "s1"]),
        ({"tenant_id": "beta"}, ["b1"]),
        ({"tenant_id": "nobody"}, []),
        ({"status": Status.SENT}, ["s2", "s1"]),
        ({"status": Status.PENDING}, ["b1", "p1"]),
        ({"status": Status.DEFERRED}, ["d1"]),
        ({"status": Status.SENDING, "tenant_id": "acme"}, ["g1"]),
        ({"status": Status.PENDING, "tenant_id": "beta"}, ["b1"]),
        ({"active_only": True}, ["b1", "d1", "p1", "g1"]),
        ({"active_only": True, "tenant_id": "acme"}, ["d1", "p1", "g1"]),
        ({"active_only": True, "status": Status.SENT}, []),
        ({"active_only": True, "limit": 2}, ["b1", "d1"]),
        ({"account_id": "theirs"}, ["b1"]),
        ({"batch_code": "bills"}, ["p1", "e1"]),
        ({"batch_code": "bills", "status": Status.PENDING}, ["p1"]),
        ({"since": NOW + 10}, ["b1", "d1", "p1"]),
        ({"since": NOW + 10, "until": NOW + 30}, ["d1", "p1"]),
        ({"active_only": True, "until": NOW + 10}, ["g1"]),
        ({"limit": 2}, ["b1", "d1"]),
    ],
)
async def test_a_page_holds_what_the_filter_names(
    filled: Bench, fields: dict[str, object], expected: list[str]
) -> None:
    """Newest first, `since` inclusive, `until` exclusive, all conditions at once."""
    assert await listed(filled, **fields) == expected


@pytest.mark.parametrize("fields", [{}, {"tenant_id": "acme"}, {"active_only": True}])
async def test_pages_continue_where_the_last_one_ended(filled: Bench, fields: dict[str, object]) -> None:
    """Page by page one sees what one list shows, whatever is queued meanwhile."""
    whole = await listed(filled, **fields)
    found: list[str] = []
    after: Place | None = None
    while part := await page(filled, after=after, limit=2, **fields):
        found += [message.id for message in part]
        after = Place(part[-1].created_at, part[-1].seq)
        await filled.add(f"new-{after.seq}", now=NOW + 40)

    assert found == whole


async def test_messages_are_found_by_id_within_their_tenant(filled: Bench) -> None:
    """Another tenant's message is not there at all."""
    assert (await filled.store.messages.get("beta", "b1")).tenant_id == "beta"
    with pytest.raises(NotFound, match="no message 'b1'"):
        await filled.store.messages.get("acme", "b1")


async def test_contents_are_read_together(filled: Bench) -> None:
    """By their places in the queue; those that are gone are left out."""
    one, two = await filled.get("s1"), await filled.get("p1")

    found = await filled.store.messages.payloads([one.seq, two.seq, 10**9])

    assert found == {
        one.seq: Payload(kind=PayloadKind.FIELDS, content=b'{"subject": "s1"}'),
        two.seq: Payload(kind=PayloadKind.FIELDS, content=b'{"subject": "p1"}'),
    }


async def test_a_content_that_is_gone(bench: Bench) -> None:
    """Its message was deleted."""
    with pytest.raises(NotFound):
        await bench.store.messages.payload(10**9)


async def test_counts_of_what_waits(filled: Bench) -> None:
    """By tenant, account and state; what has left is not counted."""
    found = await filled.store.messages.waiting()

    assert sorted(found, key=lambda each: (each.tenant_id, each.status)) == [
        Waiting(tenant_id="acme", account_id="main", status=Status.DEFERRED, count=1),
        Waiting(tenant_id="acme", account_id="main", status=Status.PENDING, count=1),
        Waiting(tenant_id="acme", account_id="main", status=Status.SENDING, count=1),
        Waiting(tenant_id="beta", account_id="theirs", status=Status.PENDING, count=1),
    ]


@pytest.mark.parametrize(
    ("tenant_id", "expected"),
    [
        (None, {"pending": 2, "deferred": 1, "sending": 1, "sent": 2, "error": 1, "bounced": 0}),
        ("beta", {"pending": 1, "deferred": 0, "sending": 0, "sent": 0, "error": 0, "bounced": 0}),
    ],
)
async def test_counts_by_state(filled: Bench, tenant_id: str | None, expected: dict[str, int]) -> None:
    """Every state is named, also with none in it."""
    assert await filled.store.messages.totals(tenant_id) == expected


async def test_events_are_kept_in_order(bench: Bench) -> None:
    """In the order in which they were recorded, whatever their times say, with all their data."""
    await bench.add("m")
    [claimed] = await bench.claim()
    await begin_final(bench.store, claimed, OWNER, NOW + 9, "handing over")
    outcome = replace(
        as_sent(claimed),
        events=(
            NewEvent(
                event_type=EventType.SENT, event_ts=NOW + 2, description="ok ü", event_data={"a": [1, "é"]}
            ),
            NewEvent(event_type=EventType.ERROR, event_ts=NOW + 1, description="no"),
        ),
    )
    await record_outcome(bench.store, outcome, OWNER, NOW + 3)

    events = await bench.events("m")

    assert [(each.event_type.value, each.event_ts) for each in events] == [
        ("queued", NOW),
        ("sending", NOW + 9),
        ("sent", NOW + 2),
        ("error", NOW + 1),
    ]
    assert (events[2].description, events[2].event_data, events[3].event_data) == (
        "ok ü", {"a": [1, "é"]}, None,
    )  # fmt: skip
    assert sorted(each.event_id for each in events) == [each.event_id for each in events]


async def test_event_ids_and_places_never_repeat(bench: Bench) -> None:
    """Not even when the newest message, with the newest events, was deleted."""
    await bench.add("m")
    old = await bench.get("m")
    old_ids = [event.event_id for event in await bench.events("m")]
    await bench.execute("DELETE FROM messages")
    assert await bench.rows("SELECT event_id FROM events") == []

    await bench.add("m")

    assert (await bench.get("m")).seq > old.seq
    assert min(event.event_id for event in await bench.events("m")) > max(old_ids)
