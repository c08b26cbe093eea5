"""Listing: pages, cursors, and reading a long page in handfuls."""

from __future__ import annotations

import base64

import pytest

from mail_proxy.errors import InvalidInput
from mail_proxy.model.messages import Event, MessageFilter, Place, Status
from mail_proxy.services.cursors import cursor_of, place_of
from mail_proxy.services.messages import HANDFUL
from tests.support.services import NOW, Desk, message
from tests.support.stores import OWNER

PLACES = [Place(0.0, 1), Place(1_700_000_000.123456, 42), Place(253402300799.999, 2**63 - 1)]


@pytest.mark.parametrize("place", PLACES)
def test_a_cursor_leads_back_to_its_place(place: Place) -> None:
    """To the last bit, and it can stand in a query as it is."""
    cursor = cursor_of(place)

    assert place_of(cursor) == place
    assert cursor.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("place", PLACES)
def test_a_cursor_that_was_changed_is_refused(place: Place) -> None:
    """In any one of its characters, or cut, or padded."""
    cursor = cursor_of(place)
    changed = [
        cursor[:at] + other + cursor[at + 1 :]
        for at in range(len(cursor))
        for other in "A9-_=+ é\0"
        if other != cursor[at]
    ]

    for text in (*changed, cursor[:-1], cursor + "=", cursor + "A", " " + cursor, cursor.swapcase()):
        with pytest.raises(InvalidInput, match="cursor: is not one that an earlier answer gave"):
            place_of(text)


def test_a_cursor_of_no_time_is_refused() -> None:
    """Even where its sum is right."""
    cursor = cursor_of(Place(float("nan"), 1))

    assert len(base64.urlsafe_b64decode(cursor + "=")) == 20
    with pytest.raises(InvalidInput, match="cursor"):
        place_of(cursor)


async def test_a_page_that_ends_the_list_gives_a_cursor_only_when_it_is_full(desk: Desk) -> None:
    """Nobody can know that nothing comes after a full page: the page after it is empty."""
    await desk.submit(*(message(f"m{i}") for i in range(4)))
    first = await desk.services.messages.list(MessageFilter(limit=4))
    second = await desk.services.messages.list(MessageFilter(limit=4), first.next_cursor)

    assert [each.id for each in first.messages] == ["m3", "m2", "m1", "m0"]
    assert (second.messages, second.next_cursor) == ((), None)


async def test_what_changes_before_it_is_read_is_left_out(desk: Desk) -> None:
    """A page found as pending shows nothing that is being sent by now, nor what is gone."""
    await desk.submit(*(message(f"m{i:03}") for i in range(HANDFUL + 2)))
    service = desk.services.messages
    found = await service.find_page(MessageFilter(status=Status.PENDING))
    everything = await service.find_page(MessageFilter())
    account = await desk.services.accounts.get("acme", "main")
    claimed = (await desk.runtime.store.queue.claim(account.lane, 2, OWNER, NOW, NOW + 30)).messages

    shown = [each.id async for part in service.handfuls(found) for each in part]
    whole = [each.id async for part in service.handfuls(everything) for each in part]

    assert [each.id for each in claimed] == ["m000", "m001"]
    assert shown == [f"m{i:03}" for i in reversed(range(2, HANDFUL + 2))]
    assert whole == [f"m{i:03}" for i in reversed(range(HANDFUL + 2))]


async def test_histories_are_read_together(desk: Desk) -> None:
    """Each message's own, in order; also of one that has none left."""
    await desk.submit(message("a"), message("b"))
    await desk.submit(message("b", subject="anew"))
    page = await desk.services.messages.list(MessageFilter())
    histories = await desk.services.messages.histories(page.messages)

    def types(events: list[Event]) -> list[str]:
        return [event.event_type.value for event in events]

    found = {each.id: types(list(histories[each.seq])) for each in page.messages}
    assert found == {"a": ["queued"], "b": ["queued", "replaced"]}
    assert list(histories[page.messages[0].seq]) == await desk.services.messages.events(page.messages[0])


async def test_tenants_are_named_together(desk: Desk) -> None:
    """Those that have a name; a tenant that was deleted meanwhile has none."""
    await desk.services.tenants.update("acme", {"name": "Acme Ltd"})
    await desk.services.tenants.create({"id": "beta"})
    await desk.services.accounts.create("beta", {"id": "main", "host": "sandbox"})
    await desk.submit(message("a"))
    await desk.submit(message("b"), tenant_id="beta")
    page = await desk.services.messages.list(MessageFilter())

    assert await desk.services.messages.tenant_names(page.messages) == {"acme": "Acme Ltd", "beta": None}
    await desk.services.tenants.delete("beta")
    assert await desk.services.messages.tenant_names(page.messages) == {"acme": "Acme Ltd"}


async def test_a_tenant_counts_what_waits_of_its_own(desk: Desk) -> None:
    """By account and status, as the whole instance does."""
    await desk.services.tenants.create({"id": "beta"})
    await desk.services.accounts.create("beta", {"id": "main", "host": "sandbox"})
    await desk.submit(message("a"), message("later", deferred_ts=NOW + 60))
    await desk.submit(message("b"), tenant_id="beta")

    async def counted(tenant_id: str | None) -> set[tuple[str, str, str, int]]:
        found = await desk.services.instance.waiting(tenant_id)
        return {(each.tenant_id, each.account_id, each.status, each.count) for each in found}

    acme = {("acme", "main", Status.PENDING, 1), ("acme", "main", Status.DEFERRED, 1)}
    assert await counted("acme") == acme
    assert await counted(None) == acme | {("beta", "main", Status.PENDING, 1)}
    assert await counted("nobody") == set()
    assert await desk.services.instance.pending_messages("acme") == 2
