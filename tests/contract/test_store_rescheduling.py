"""A person's decision about when a message is tried stands above the dispatcher's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.messages import RecipientStatus, Status
from mail_proxy.model.queue import Claimed
from tests.support.stores import (
    NOW,
    OWNER,
    Bench,
    as_deferred,
    as_error,
    as_sent,
    recipients,
    record_outcome,
)
from tests.support.telling import due_of

SOON = NOW + 10
TOMORROW = NOW + 86_400


async def retry(bench: Bench, message_id: str = "m1", at: float | None = None) -> None:
    await bench.store.rescheduling.retry("acme", message_id, at, SOON)


async def begun(bench: Bench, *recipients: str) -> Claimed:
    """Queue m1 and claim it."""
    await bench.store.intake.add([bench.new("m1", recipients=recipients or ("ann@example.net",))], NOW)
    (claimed,) = await bench.claim()
    return claimed


async def queue(bench: Bench) -> None:
    await bench.add("m1")


async def fail(bench: Bench) -> None:
    claimed = await begun(bench)
    await record_outcome(bench.store, as_error(claimed), OWNER, NOW)


async def put_off(bench: Bench, *, is_unknown: bool = False) -> None:
    claimed = await begun(bench)
    await record_outcome(bench.store, as_deferred(claimed, TOMORROW, is_unknown=is_unknown), OWNER, NOW)


async def test_what_was_put_off_is_due_now(bench: Bench) -> None:
    """It keeps the count of its attempts: it is one more of them."""
    await put_off(bench)
    await retry(bench)

    message = await bench.get("m1")
    assert (message.status, message.deferred_ts, message.retry_count) == (Status.PENDING, None, 1)
    assert [each.id for each in await bench.claim(now=SOON)] == ["m1"]
    assert (await bench.events("m1"))[-1].description == "retry asked for"


async def test_what_failed_begins_anew_in_its_old_place(bench: Bench) -> None:
    await fail(bench)
    await bench.add("m2")
    await retry(bench)

    message = await bench.get("m1")
    assert (message.status, message.error, message.error_ts, message.retry_count) == (
        Status.PENDING,
        None,
        None,
        0,
    )
    assert [each.status for each in message.recipients] == [RecipientStatus.PENDING]
    assert [each.id for each in await bench.claim(now=SOON)] == ["m1", "m2"]
    assert await bench.told("m1") == ["queued", "error", "queued"]


async def test_those_who_have_got_it_do_not_get_it_again(bench: Bench) -> None:
    claimed = await begun(bench, "ann@example.net", "bob@example.net")
    fared = recipients(RecipientStatus.SENT, RecipientStatus.ERROR)
    await record_outcome(bench.store, replace(as_error(claimed), recipients=fared), OWNER, NOW)
    await retry(bench)

    assert [each.status for each in (await bench.get("m1")).recipients] == [
        RecipientStatus.SENT,
        RecipientStatus.PENDING,
    ]


@pytest.mark.parametrize("begin", [queue, put_off, fail])
async def test_it_may_be_put_off_to_another_time(
    bench: Bench, begin: Callable[[Bench], Awaitable[None]]
) -> None:
    """The application is told until when."""
    await begin(bench)
    await retry(bench, at=TOMORROW + 1)

    message = await bench.get("m1")
    assert (message.status, message.deferred_ts) == (Status.DEFERRED, TOMORROW + 1)
    assert await bench.claim(now=SOON) == []
    assert await bench.store.queue.promote(TOMORROW + 1) == 1
    last = (await bench.events("m1"))[-1]
    assert (last.event_type, (last.event_data or {})["deferred_ts"]) == ("deferred", TOMORROW + 1)
    due = await due_of(bench.store)
    assert due[-1].event_id == last.event_id


async def test_a_time_that_has_passed_is_now(bench: Bench) -> None:
    await put_off(bench)
    await retry(bench, at=SOON - 1)
    assert (await bench.get("m1")).status is Status.PENDING


async def test_what_is_due_already_is_left_as_it_is(bench: Bench) -> None:
    await bench.add("m1")
    await retry(bench)
    assert await bench.told("m1") == ["queued"]


async def test_what_is_being_sent_is_left_alone(bench: Bench) -> None:
    await begun(bench)
    with pytest.raises(Conflict, match="is being sent"):
        await retry(bench)


@pytest.mark.parametrize("status", ["sent", "bounced"])
async def test_what_was_sent_is_not_sent_again(bench: Bench, status: str) -> None:
    claimed = await begun(bench)
    await record_outcome(bench.store, as_sent(claimed), OWNER, NOW)
    await bench.execute(f"UPDATE messages SET status = '{status}'")
    with pytest.raises(Conflict, match="was sent already"):
        await retry(bench, at=TOMORROW)
    assert (await bench.get("m1")).status == status


async def test_a_doubt_about_the_outcome_is_the_persons_to_decide(bench: Bench) -> None:
    """It is sent, and stays known as one that may arrive twice."""
    await put_off(bench, is_unknown=True)
    await bench.execute("UPDATE messages SET deferred_ts = NULL")
    await retry(bench)
    (claimed,) = await bench.claim(now=SOON)
    assert claimed.is_unknown


async def test_what_is_suspended_stays_held(bench: Bench) -> None:
    """A failure was not held: it becomes so."""
    await fail(bench)
    await bench.store.suspensions.suspend("acme", "*", NOW)
    await retry(bench)

    assert await bench.claim(now=SOON) == []
    assert await bench.told("m1") == ["queued", "error", "queued", "suspended"]
    assert [row["is_held"] for row in await bench.rows("SELECT is_held FROM messages")] == [1]


async def test_what_is_activated_goes_even_if_it_is_put_off_while_flags_are_gone_over(bench: Bench) -> None:
    """What is deferred was gone over already, and what is pending was not yet."""
    await bench.add("m1")
    suspensions = bench.store.suspensions
    await suspensions.suspend("acme", "*", NOW)
    (left,) = await suspensions.markings()
    await suspensions.mark(await suspensions.mark(left, NOW), NOW)
    await suspensions.activate("acme", "*")
    (left,) = await suspensions.markings()
    left = await suspensions.mark(left, NOW)
    await retry(bench, at=TOMORROW)
    assert (await suspensions.mark(left, NOW)).status is None
    await bench.store.queue.promote(TOMORROW)

    assert [each.id for each in await bench.claim(now=TOMORROW)] == ["m1"]


async def test_it_goes_by_the_account_as_it_is_now(bench: Bench) -> None:
    """One that was deleted and made anew has a queue of its own."""
    await bench.add("m1")
    await bench.delete_account()
    with pytest.raises(Conflict, match="the account of message 'm1' was deleted"):
        await retry(bench)
    bench.lane = await bench.account("main")
    await retry(bench)
    assert [each.id for each in await bench.claim(now=SOON)] == ["m1"]


async def test_a_message_that_is_not_there_is_told_so(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await retry(bench, "nothing")
