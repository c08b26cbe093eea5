"""Intake: a used id is replaced or refused as its message's state demands; nothing is queued twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mail_proxy.model.messages import Payload, PayloadKind, RecipientStatus, Status
from mail_proxy.store.intake import Taken
from tests.support.stores import (
    NOW,
    OWNER,
    Bench,
    as_deferred,
    as_error,
    as_sent,
    open_bench,
    open_store,
    recipients,
    record_outcome,
)
from tests.support.telling import acknowledge, due_of

Doing = Callable[[Bench], Awaitable[None]]


async def stay(bench: Bench) -> None:
    """Leave it as it was queued."""


async def start_sending(bench: Bench) -> None:
    await bench.claim()


async def succeed(bench: Bench) -> None:
    [claimed] = await bench.claim()
    await record_outcome(bench.store, as_sent(claimed), OWNER, NOW)


async def fail(bench: Bench) -> None:
    [claimed] = await bench.claim()
    await record_outcome(bench.store, as_error(claimed), OWNER, NOW)


async def defer(bench: Bench) -> None:
    [claimed] = await bench.claim()
    await record_outcome(bench.store, as_deferred(claimed, NOW + 60), OWNER, NOW)


async def lose_the_reply(bench: Bench) -> None:
    [claimed] = await bench.claim()
    await record_outcome(bench.store, as_deferred(claimed, NOW + 60, is_unknown=True), OWNER, NOW)


async def succeed_in_part(bench: Bench) -> None:
    [claimed] = await bench.claim()
    partly = recipients(RecipientStatus.SENT, RecipientStatus.DEFERRED)
    partly_sent = replace(as_deferred(claimed, NOW + 60), recipients=partly, sent_ts=NOW)
    await record_outcome(bench.store, partly_sent, OWNER, NOW)


async def fail_after_success_in_part(bench: Bench) -> None:
    [claimed] = await bench.claim()
    partly = recipients(RecipientStatus.SENT, RecipientStatus.ERROR)
    await record_outcome(bench.store, replace(as_error(claimed), recipients=partly), OWNER, NOW)


async def fail_with_doubt(bench: Bench) -> None:
    [claimed] = await bench.claim()
    await record_outcome(bench.store, replace(as_error(claimed), is_unknown=True), OWNER, NOW)


STATES = {
    "pending": (stay, Taken.REPLACED),
    "deferred": (defer, Taken.REPLACED),
    "error": (fail, Taken.REPLACED),
    "sending": (start_sending, Taken.BEING_SENT),
    "sent": (succeed, Taken.ALREADY_SENT),
    "partly sent": (succeed_in_part, Taken.ALREADY_SENT),
    "error after some were taken": (fail_after_success_in_part, Taken.ALREADY_SENT),
    "outcome unknown": (lose_the_reply, Taken.ALREADY_SENT),
    "error, outcome unknown": (fail_with_doubt, Taken.ALREADY_SENT),
}


@pytest.mark.parametrize(("doing", "expected"), STATES.values(), ids=STATES.keys())
async def test_the_same_id_again(bench: Bench, doing: Doing, expected: Taken) -> None:
    """Replaced only if no recipient took it, none is being tried, and no outcome is in doubt."""
    await bench.add("m")
    await doing(bench)
    before = await bench.get("m")

    [outcome] = await bench.store.intake.add([bench.new("m", batch_code="second")], NOW + 5)

    after = await bench.get("m")
    assert outcome is expected
    assert (after.batch_code == "second") is (expected is Taken.REPLACED)
    if expected is not Taken.REPLACED:
        assert after == before


async def test_a_replaced_message_starts_afresh(bench: Bench) -> None:
    """Nothing of the first attempt is left but its place in the queue and its history."""
    await bench.add("m")
    await fail(bench)
    old = await bench.get("m")
    new = bench.new(
        "m", payload=b"new", recipients=("bob@example.net",), message_id="<new@x>", priority=1, metadata="{}"
    )

    await bench.store.intake.add([new], NOW + 5)

    message = await bench.get("m")
    assert (message.seq, message.created_at, message.updated_at) == (old.seq, old.created_at, NOW + 5)
    assert (message.pk, message.message_id, message.priority, message.metadata) == (
        new.pk, "<new@x>", 1, "{}",
    )  # fmt: skip
    assert [(each.address, each.status) for each in message.recipients] == [("bob@example.net", "pending")]
    assert (message.status, message.error, message.error_ts, message.last_error, message.retry_count) == (
        "pending", None, None, None, 0,
    )  # fmt: skip
    assert await bench.store.messages.payload(message.seq) == Payload(kind=PayloadKind.FIELDS, content=b"new")
    assert await bench.told("m") == ["queued", "error", "replaced"]


async def test_a_replaced_message_has_not_been_reported(bench: Bench) -> None:
    """That the application knows of the first failure says nothing of the second attempt."""
    await bench.add("m")
    await fail(bench)
    [entry] = await due_of(bench.store)
    await acknowledge(bench.store, [entry.event_id], NOW)
    assert (await bench.get("m")).reported_ts == NOW

    await bench.add("m")

    assert (await bench.get("m")).reported_ts is None


async def test_a_replaced_message_keeps_its_place(bench: Bench) -> None:
    """It goes before what was queued after it first came."""
    await bench.add("first")
    await bench.add("second")
    await bench.add("first")

    assert [each.id for each in await bench.claim()] == ["first", "second"]


async def test_a_message_replaced_with_a_schedule_waits(bench: Bench) -> None:
    """What was due now is due when the second submission says."""
    await bench.add("m")
    await bench.add("m", deferred_ts=NOW + 60)

    assert (await bench.get("m")).status is Status.DEFERRED
    assert await bench.claim() == []


async def test_outcomes_come_in_the_order_of_the_request(bench: Bench) -> None:
    """New ones, replaced ones and refused ones, mixed."""
    await bench.sent("sent")
    await bench.add("waiting")

    outcomes = await bench.store.intake.add(
        [bench.new(each) for each in ("new", "sent", "waiting", "newer")], NOW
    )

    assert outcomes == [Taken.QUEUED, Taken.ALREADY_SENT, Taken.REPLACED, Taken.QUEUED]


async def test_an_id_belongs_to_its_tenant(bench: Bench) -> None:
    """Two tenants may use the same id, in one request."""
    lane = await bench.account("theirs", "beta")
    theirs = bench.new("m", tenant_id="beta", account_id="theirs", lane=lane)

    assert await bench.store.intake.add([bench.new("m"), theirs], NOW) == [Taken.QUEUED] * 2
    assert [each.tenant_id for each in await bench.store.messages.by_id("m")] == ["acme", "beta"]


async def test_what_was_queued_is_all_there(bench: Bench) -> None:
    """Every field that was given comes back, and the first event is there."""
    new = bench.new(
        "m",
        kind=PayloadKind.RAW,
        payload=b"\x00\xffraw",
        recipients=("ann@example.net", "Jörg@exämple.net"),
        envelope_from="bounces@example.org",
        priority=0,
        batch_code="b",
        is_pec=True,
        metadata='{"order":7}',
    )
    await bench.store.intake.add([new], NOW + 0.25)

    message = await bench.get("m")

    assert (message.pk, message.account_id, message.priority, message.batch_code, message.is_pec) == (
        new.pk, "main", 0, "b", True,
    )  # fmt: skip
    assert (message.envelope_from, message.message_id, message.metadata, message.created_at) == (
        "bounces@example.org", "<m@example.org>", '{"order":7}', NOW + 0.25,
    )  # fmt: skip
    assert [each.address for each in message.recipients] == ["ann@example.net", "Jörg@exämple.net"]
    assert (await bench.store.messages.payload(message.seq)).content == b"\x00\xffraw"
    assert await bench.told("m") == ["queued"]


async def test_a_tenant_deleted_meanwhile_takes_no_messages(bench: Bench) -> None:
    """Those of others in the same request are queued all the same."""
    lane = await bench.account("theirs", "beta")
    theirs = bench.new("m", tenant_id="beta", account_id="theirs", lane=lane)
    await bench.store.tenants.delete("beta")

    outcomes = await bench.store.intake.add([theirs, bench.new("mine")], NOW)

    assert outcomes == [Taken.TENANT_GONE, Taken.QUEUED]


async def test_a_thousand_messages_are_one_request(bench: Bench) -> None:
    """All in one commit, in their order."""
    await bench.add(*(f"m{i}" for i in range(1000)))

    claimed = await bench.claim(1000)

    assert [each.id for each in claimed] == [f"m{i}" for i in range(1000)]


async def test_the_same_ids_at_once_are_queued_once(bench: Bench) -> None:
    """Twenty requests with the same ids: each message is new once, and replaced by the others."""
    ids = [f"m{i}" for i in range(10)]

    answers = await asyncio.gather(
        *(bench.store.intake.add([bench.new(each) for each in ids], NOW) for _ in range(20))
    )

    outcomes = Counter(outcome for answer in answers for outcome in answer)
    assert outcomes == {Taken.QUEUED: 10, Taken.REPLACED: 190}
    assert len(await bench.rows("SELECT seq FROM messages")) == 10
    assert len(await bench.rows("SELECT event_id FROM events WHERE event_type = 'queued'")) == 10


async def test_two_nodes_that_take_the_same_ids_at_once(postgres_url: str) -> None:
    """In opposite order, so that they meet: both answer, and each message is there once."""
    async with open_bench(postgres_url) as one, open_store(postgres_url) as other:
        ids = [f"m{i}" for i in range(30)]
        answers = await asyncio.gather(
            *(
                store.intake.add([one.new(each) for each in order], NOW)
                for store, order in [(one.store, ids), (other, ids[::-1])] * 3
            )
        )
        count = len(await one.rows("SELECT seq FROM messages"))

    outcomes = Counter(outcome for answer in answers for outcome in answer)
    assert outcomes == {Taken.QUEUED: 30, Taken.REPLACED: 150}
    assert count == 30


async def test_a_message_claimed_meanwhile_is_not_replaced(bench: Bench) -> None:
    """Dispatch and resubmission at once: a message is replaced or sent, never both."""
    await bench.add(*(f"m{i}" for i in range(60)))

    async def claim_all() -> set[str]:
        got: set[str] = set()
        while claimed := await bench.claim(4):
            got |= {f"{each.id} {each.pk}" for each in claimed}
        return got

    async def resubmit() -> list[Taken]:
        answers = [
            await bench.store.intake.add([bench.new(f"m{i}", batch_code="again")], NOW) for i in range(60)
        ]
        return [answer[0] for answer in answers]

    claimed, outcomes = await asyncio.gather(claim_all(), resubmit())

    assert set(outcomes) <= {Taken.REPLACED, Taken.BEING_SENT}
    claimed |= {f"{each.id} {each.pk}" for each in await bench.claim(100)}
    rows = await bench.rows("SELECT id, pk FROM messages")
    assert claimed == {f"{row['id']} {row['pk']}" for row in rows}
