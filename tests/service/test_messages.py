"""Messages: handing in, listing, waiting."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mail_proxy.errors import Conflict, InvalidInput, NotFound, TooLarge
from mail_proxy.model.messages import MessageFilter, Status
from mail_proxy.services.messages import MAX_PAGE, WAIT_STEP
from tests.support.services import NOW, Desk, message, open_desk
from tests.support.stores import OWNER, as_deferred, as_error, as_sent, record_outcome


async def claim_one(desk: Desk, tenant_id: str = "acme") -> object:
    account = await desk.services.accounts.get(tenant_id, "main")
    [claimed] = (await desk.runtime.store.queue.claim(account.lane, 1, OWNER, NOW, NOW + 30)).messages
    return claimed


async def settle_one(desk: Desk, outcome: str) -> None:
    queue = desk.runtime.store.queue
    account = await desk.services.accounts.get("acme", "main")
    [claimed] = (await queue.claim(account.lane, 1, OWNER, NOW, NOW + 30)).messages
    settlement = {
        "sent": as_sent(claimed),
        "error": as_error(claimed),
        "deferred": as_deferred(claimed, NOW + 60),
        "held": replace(as_deferred(claimed, NOW, is_unknown=True), deferred_ts=None),
    }[outcome]
    assert await record_outcome(desk.runtime.store, settlement, OWNER, NOW)


# Handing in


async def test_valid_ones_are_queued_whatever_the_others_are(desk: Desk) -> None:
    """Each is judged by itself; the answer counts and names."""
    done = await desk.submit(message("a"), message("b", to=["nobody"]), 7, message("c"))

    assert (done.queued, [each.id for each in done.rejected]) == (2, ["b", None])
    assert not done.is_all_invalid


async def test_nothing_handed_in_is_nothing_queued(desk: Desk) -> None:
    """And no fault."""
    done = await desk.submit()

    assert (done.queued, done.rejected, done.is_all_invalid) == (0, (), False)


async def test_all_invalid_is_told_apart(desk: Desk) -> None:
    """The whole request was wrong."""
    assert (await desk.submit({}, {"id": "m"})).is_all_invalid


async def test_a_second_entry_of_the_same_id_is_a_duplicate(desk: Desk) -> None:
    """The first is queued; the second is refused, whatever it says."""
    done = await desk.submit(message("m", subject="first"), message("m", subject="second"))

    assert (done.queued, [(each.id, each.reason, each.is_invalid) for each in done.rejected]) == (
        1, [("m", "duplicate id", False)],
    )  # fmt: skip
    assert b'"subject":"first"' in (await desk.stored())["content"]  # type: ignore[operator]  # bytes


async def test_the_same_id_of_two_tenants_is_no_duplicate(desk: Desk) -> None:
    """Ids are unique within their tenant."""
    await desk.services.tenants.create({"id": "beta"})
    await desk.services.accounts.create("beta", {"id": "main", "host": "sandbox"})

    done = await desk.submit(message(tenant_id="acme"), message(tenant_id="beta"), tenant_id=None)

    assert done.queued == 2


async def test_submitting_again_replaces_and_counts(desk: Desk) -> None:
    """Retrying a request is harmless."""
    await desk.submit(message())
    done = await desk.submit(message(subject="new"))

    assert (done.queued, done.rejected) == (1, ())
    message_ = await desk.services.messages.get("acme", "m")
    assert [each.event_type for each in await desk.services.messages.events(message_)] == [
        "queued",
        "replaced",
    ]


@pytest.mark.parametrize(("state", "reason"), [("sent", "already sent"), ("sending", "being sent")])
async def test_submitting_again_what_is_out_of_reach(desk: Desk, state: str, reason: str) -> None:
    """Is refused, which is no fault of the message: 200, not 400."""
    await desk.submit(message())
    await (claim_one(desk) if state == "sending" else settle_one(desk, state))

    done = await desk.submit(message())

    assert [(each.id, each.reason, each.errors, each.is_invalid) for each in done.rejected] == [
        ("m", reason, (), False)
    ]
    assert (done.queued, done.is_all_invalid) == (0, False)


async def test_too_many_messages_are_refused_as_a_whole(sqlite_url: str) -> None:
    """Before anything is queued."""
    async with open_desk(sqlite_url, GMP_MAX_ENQUEUE_BATCH="2") as desk:
        with pytest.raises(TooLarge, match="at most 2 messages a request, got 3"):
            await desk.submit(message("a"), message("b"), message("c"))
        assert (await desk.submit(message("a"), message("b"))).queued == 2


async def test_queueing_rings_the_bell_once(desk: Desk) -> None:
    """A request that queues nothing does not ring."""
    desk.bell.rings.clear()
    await desk.submit(message("a"), message("b"))
    await desk.submit({})

    assert desk.bell.rings == [False]


async def test_a_tenant_deleted_during_the_request(desk: Desk) -> None:
    """Its messages are refused, and nothing breaks."""
    requests = [asyncio.create_task(desk.submit(message(f"m{i}"))) for i in range(20)]
    await desk.services.tenants.delete("acme")

    answers = await asyncio.gather(*requests)

    reasons = {each.reason for done in answers for each in done.rejected}
    assert reasons <= {
        "the tenant was deleted", "tenant_id: no such tenant", "tenant_id: the tenant is not active",
        "account_id: the tenant has no account",
    }  # fmt: skip
    with pytest.raises(NotFound):
        await desk.services.tenants.get("acme")


# Reading


async def test_lists_are_paged(desk: Desk) -> None:
    """Each page gives the cursor for the next; the last gives none."""
    await desk.submit(*(message(f"m{i}") for i in range(5)))
    first = await desk.services.messages.list(MessageFilter(limit=2))
    second = await desk.services.messages.list(MessageFilter(limit=2), first.next_cursor)
    third = await desk.services.messages.list(MessageFilter(limit=2), second.next_cursor)

    pages = [[each.id for each in page.messages] for page in (first, second, third)]
    assert pages == [["m4", "m3"], ["m2", "m1"], ["m0"]]
    assert third.next_cursor is None


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
async def test_a_limit_out_of_range(desk: Desk, limit: int) -> None:
    """Is refused, naming the range."""
    with pytest.raises(InvalidInput, match="limit: must be 1 to 10000"):
        await desk.services.messages.list(MessageFilter(limit=limit))


@pytest.mark.parametrize("cursor", ["", "x", "-1", "7", "9" * 27, "\u0661" * 27, "A" * 27, "1 OR 1=1"])
async def test_a_cursor_that_none_gave(desk: Desk, cursor: str) -> None:
    """Is refused."""
    with pytest.raises(InvalidInput, match="cursor: is not one that an earlier answer gave"):
        await desk.services.messages.list(MessageFilter(), cursor)


async def test_a_message_is_found_by_its_id_alone_when_that_is_unique(desk: Desk) -> None:
    """Else the tenant must be said."""
    await desk.services.tenants.create({"id": "beta"})
    await desk.services.accounts.create("beta", {"id": "main", "host": "sandbox"})
    await desk.submit(message("mine"), message("both"))
    await desk.submit(message("both"), tenant_id="beta")

    find = desk.services.messages.find
    assert (await find("mine")).tenant_id == "acme"
    assert (await find("both", "beta")).tenant_id == "beta"
    with pytest.raises(Conflict, match="several tenants have a message 'both': say which by tenant_id"):
        await find("both")
    with pytest.raises(NotFound, match="no message 'mine'"):
        await find("mine", "beta")
    with pytest.raises(NotFound, match="no message 'none'"):
        await find("none")


# Waiting


@pytest.mark.parametrize(
    ("outcome", "status"), [("sent", Status.SENT), ("error", Status.ERROR), ("held", Status.DEFERRED)]
)
async def test_waiting_ends_with_the_outcome(desk: Desk, outcome: str, status: Status) -> None:
    """Sent, failed, or held for a person to decide."""
    await desk.submit(message())
    waiting = asyncio.create_task(desk.services.messages.wait("acme", "m"))
    await desk.clock.until_asleep(WAIT_STEP)
    await settle_one(desk, outcome)
    desk.clock.advance(WAIT_STEP)

    assert (await asyncio.wait_for(waiting, 60)).status is status


async def test_waiting_goes_on_over_a_retry(desk: Desk) -> None:
    """A message put off has still to leave."""
    await desk.submit(message())
    await settle_one(desk, "deferred")
    waiting = asyncio.create_task(desk.services.messages.wait("acme", "m"))
    await desk.clock.until_asleep(WAIT_STEP)

    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_waiting_ends_after_its_time(desk: Desk) -> None:
    """With the message as it is then."""
    await desk.submit(message())
    waiting = asyncio.create_task(desk.services.messages.wait("acme", "m", timeout=5))
    await desk.clock.until_asleep(WAIT_STEP)
    desk.clock.advance(5)

    assert (await asyncio.wait_for(waiting, 60)).status is Status.PENDING


async def test_waiting_for_what_is_not_there(desk: Desk) -> None:
    """Is not waiting."""
    with pytest.raises(NotFound):
        await desk.services.messages.wait("acme", "none")
