"""What goes and what stays: by id, and when its time has come. Nothing unreported ever goes by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mail_proxy.model.messages import Status
from mail_proxy.model.queue import Claimed, Settlement
from mail_proxy.model.removal import Kept, Removal
from mail_proxy.store.removal import CHUNK, CHUNK_BYTES, Sweep
from tests.support.stores import NOW, OWNER, Bench, as_deferred, as_error, as_sent, record_outcome
from tests.support.telling import acknowledge, due_of, pending_of

WEEK = 7 * 86_400.0
MONTH = 30 * 86_400.0
LATER = NOW + 1000


@pytest.fixture
def told() -> float:
    """When the application was told."""
    return NOW + 10


async def report(bench: Bench, message_id: str, now: float) -> None:
    """Let the application take all that it was not told of this message."""
    batch = await due_of(bench.store)
    await acknowledge(bench.store, [each.event_id for each in batch if each.id == message_id], now)


async def settle(bench: Bench, message_id: str, outcome: Callable[[Claimed, float], Settlement]) -> None:
    """Queue a message, and let one attempt come to this."""
    await bench.add(message_id)
    (claimed,) = await bench.claim()
    assert await record_outcome(bench.store, outcome(claimed, NOW), OWNER, NOW)


async def sweep(bench: Bench, before: float, untold_before: float) -> int:
    """Go through all of acme; how many went."""
    removed = 0
    for is_untold in (False, True):
        left = Sweep(tenant_id="acme", before=before, untold_before=untold_before, is_untold=is_untold)
        while not left.is_over:
            left = await bench.store.removals.sweep(left)
        removed += left.removed
    return removed


async def sweep_told(bench: Bench, before: float) -> int:
    """For a tenant that has somebody to tell."""
    return await sweep(bench, before, before - MONTH)


async def delete(bench: Bench, *ids: str, tenant_id: str | None = "acme", force: bool = False) -> Removal:
    return await bench.store.removals.delete(ids, tenant_id, force=force, tells_all=True)


async def counted(bench: Bench) -> tuple[int, ...]:
    """How many messages, contents and events there are."""
    counts = []
    for table in ("messages", "payloads", "events"):
        (row,) = await bench.rows(f"SELECT COUNT(*) AS n FROM {table}")
        counts.append(row["n"])
    return tuple(counts)


async def test_what_is_deleted_is_gone_with_all_that_is_known_of_it(bench: Bench) -> None:
    await bench.add("m1", "m2")
    pk = (await bench.get("m1")).pk
    done = await delete(bench, "m1")

    assert [(each.id, each.pk, each.tenant_id) for each in done.removed] == [("m1", pk, "acme")]
    assert await counted(bench) == (1, 1, 1)
    assert [message.id for message in await bench.claim()] == ["m2"]


async def test_an_id_that_is_deleted_may_be_used_again(bench: Bench) -> None:
    await bench.sent("m1")
    await delete(bench, "m1", force=True)
    await bench.add("m1")
    assert (await bench.get("m1")).status is Status.PENDING


async def test_ids_that_are_not_there_are_told(bench: Bench) -> None:
    await bench.add("m1")
    done = await delete(bench, "nothing", "m1", "nowhere")
    assert (done.not_found, len(done.removed)) == (("nothing", "nowhere"), 1)


@pytest.mark.parametrize("force", [False, True])
async def test_what_is_being_sent_stays(bench: Bench, force: bool) -> None:
    await bench.add("m1")
    await bench.claim()
    done = await delete(bench, "m1", force=force)
    assert (done.kept, done.removed) == ({"m1": Kept.BEING_SENT}, ())
    assert (await bench.get("m1")).status is Status.SENDING


async def test_what_is_sent_and_not_yet_reported_goes_by_force_alone(bench: Bench) -> None:
    await bench.sent("m1")
    assert (await delete(bench, "m1")).kept == {"m1": Kept.NOT_REPORTED}
    assert len((await delete(bench, "m1", force=True)).removed) == 1


async def test_what_was_sent_to_some_and_waits_for_others_counts_as_sent(bench: Bench) -> None:
    """Somebody has got it, and nobody knows."""

    def partly(claimed: Claimed, now: float) -> Settlement:
        return replace(as_sent(claimed, now), status=Status.DEFERRED, deferred_ts=LATER)

    await settle(bench, "m1", partly)
    assert (await delete(bench, "m1")).kept == {"m1": Kept.NOT_REPORTED}


async def test_what_is_sent_and_reported_goes(bench: Bench, told: float) -> None:
    await bench.sent("m1")
    await report(bench, "m1", told)
    assert len((await delete(bench, "m1")).removed) == 1


async def test_what_nobody_is_to_be_told_of_goes(bench: Bench) -> None:
    """A tenant without an application, in an instance without one."""
    await bench.sent("m1")
    done = await bench.store.removals.delete(["m1"], "acme", force=False, tells_all=False)
    assert len(done.removed) == 1


async def test_whom_servers_post_to_is_to_be_told_whoever_deletes(bench: Bench) -> None:
    """A command may not know of the instance's application, which the server was given by its environment."""
    await bench.sent("m1")
    await bench.store.contacts.schedule(NOW, 300, has_fallback=True)

    done = await bench.store.removals.delete(["m1"], "acme", force=False, tells_all=False)
    [owner] = [each for each in await bench.store.removals.owners() if each.tenant_id == "acme"]

    assert done.kept == {"m1": Kept.NOT_REPORTED}
    assert owner.has_address


@pytest.mark.parametrize("outcome", [as_error, lambda claimed, now: as_deferred(claimed, LATER, now)])
async def test_what_has_not_been_sent_goes_whatever_is_to_be_reported(
    bench: Bench, outcome: Callable[[Claimed, float], Settlement]
) -> None:
    """Who deletes it knows of it."""
    await settle(bench, "m1", outcome)
    assert len((await delete(bench, "m1")).removed) == 1
    assert await pending_of(bench.store) == 0


async def test_without_a_tenant_an_id_goes_by_its_only_owner(bench: Bench) -> None:
    lane = await bench.account("main", "beta")
    await bench.add("one", "both")
    await bench.add("both", "two", tenant_id="beta", lane=lane)
    done = await delete(bench, "one", "both", "two", tenant_id=None)

    assert {(each.tenant_id, each.id) for each in done.removed} == {("acme", "one"), ("beta", "two")}
    assert done.kept == {"both": Kept.AMBIGUOUS}


async def test_another_tenants_message_of_the_same_id_stays(bench: Bench) -> None:
    lane = await bench.account("main", "beta")
    await bench.add("m1")
    await bench.add("m1", "m2", tenant_id="beta", lane=lane)
    done = await delete(bench, "m1", "m2")

    assert (len(done.removed), done.not_found) == (1, ("m2",))
    assert (await bench.get("m1", "beta")).status is Status.PENDING
    assert await bench.store.removals.foreign(["m1", "m2", "m3"]) == {"m1", "m2"}


async def test_what_was_told_of_leaves_after_the_retention_and_not_before(bench: Bench, told: float) -> None:
    await bench.sent("m1")
    await report(bench, "m1", told)
    assert await sweep_told(bench, told - 1) == 0
    assert await sweep_told(bench, told) == 1
    assert await counted(bench) == (0, 0, 0)


@pytest.mark.parametrize("outcome", [as_sent, as_error])
async def test_what_was_not_told_of_stays(
    bench: Bench, outcome: Callable[[Claimed, float], Settlement]
) -> None:
    """However old it is, for a month."""
    await settle(bench, "m1", outcome)
    assert await sweep_told(bench, NOW + MONTH - 1) == 0
    assert await sweep_told(bench, NOW + MONTH) == 1


async def test_what_was_told_of_in_part_stays(bench: Bench, told: float) -> None:
    """It was put off, which the application knows, and then sent, which it does not."""
    await settle(bench, "m1", lambda claimed, now: as_deferred(claimed, NOW + 60, now))
    await report(bench, "m1", told)
    await bench.store.queue.promote(NOW + 60)
    (claimed,) = await bench.claim(now=NOW + 60)
    await record_outcome(bench.store, as_sent(claimed, NOW + 60), OWNER, NOW + 60)

    assert await sweep_told(bench, NOW + WEEK) == 0
    await report(bench, "m1", NOW + 100)
    assert await sweep_told(bench, NOW + 99) == 0
    assert await sweep_told(bench, NOW + 100) == 1


@pytest.mark.parametrize("state", ["pending", "deferred", "held", "sending"])
async def test_what_has_not_left_stays_for_ever(bench: Bench, told: float, state: str) -> None:
    """Also when all that has happened so far was told of long ago."""
    await settle(bench, "m1", lambda claimed, now: as_deferred(claimed, NOW + 60, now))
    await report(bench, "m1", told)
    if state != "deferred":
        await bench.store.queue.promote(NOW + 60)
    if state == "held":
        await bench.store.suspensions.suspend("acme", "*", NOW)
    if state == "sending":
        assert await bench.claim(now=NOW + 60)

    assert await sweep(bench, NOW + 100 * MONTH, NOW + 100 * MONTH) == 0


async def test_a_failure_that_is_submitted_anew_stays(bench: Bench, told: float) -> None:
    await settle(bench, "m1", as_error)
    await report(bench, "m1", told)
    await bench.add("m1")
    assert await sweep_told(bench, NOW + WEEK) == 0


async def test_with_nobody_to_tell_the_last_event_counts(bench: Bench) -> None:
    await bench.sent("m1")
    assert await sweep(bench, NOW - 1, NOW - 1) == 0
    assert await sweep(bench, NOW, NOW) == 1


async def test_what_is_to_be_told_again_stays_as_if_it_had_just_happened(bench: Bench, told: float) -> None:
    await bench.sent("m1")
    await report(bench, "m1", told)
    await bench.store.reports.replay_since("acme", 0.0, NOW + MONTH)
    assert await sweep_told(bench, NOW + MONTH + WEEK) == 0
    await report(bench, "m1", NOW + MONTH + 10)
    assert await sweep_told(bench, NOW + MONTH + 10) == 1


async def give_up(bench: Bench) -> None:
    await bench.execute("UPDATE events SET is_due = -1 WHERE is_due = 1")


async def test_what_was_given_up_stays_for_the_retention(bench: Bench) -> None:
    """It counts as told when it was a month old; until it goes it can be seen, and told after all."""
    await bench.sent("m1")
    await give_up(bench)
    assert await sweep_told(bench, NOW + MONTH - 1) == 0
    assert await sweep_told(bench, NOW + MONTH) == 1


async def test_what_was_given_up_in_part_waits_for_the_rest(bench: Bench) -> None:
    await settle(bench, "m1", lambda claimed, now: as_deferred(claimed, NOW + 60, now))
    await give_up(bench)
    await bench.store.queue.promote(NOW + MONTH)
    (claimed,) = await bench.claim(now=NOW + MONTH)
    await record_outcome(bench.store, as_sent(claimed, NOW + MONTH), OWNER, NOW + MONTH)
    assert await sweep_told(bench, NOW + MONTH + WEEK) == 0
    told = NOW + MONTH + 10
    await report(bench, "m1", told)
    assert await sweep_told(bench, told - 1) == 0
    assert await sweep_told(bench, told) == 1


async def test_what_was_given_up_is_deleted_without_force(bench: Bench) -> None:
    """Nobody waits any more until it is told of."""
    await bench.sent("m1")
    await give_up(bench)
    assert len((await delete(bench, "m1")).removed) == 1


async def test_what_was_given_up_and_is_told_again_stays_as_if_it_had_just_happened(bench: Bench) -> None:
    await bench.sent("m1")
    await give_up(bench)
    assert await bench.store.reports.replay_failed("acme", NOW + MONTH) == 1
    assert await sweep_told(bench, NOW + 2 * MONTH - 1) == 0
    await report(bench, "m1", NOW + 2 * MONTH)
    assert await sweep_told(bench, NOW + 2 * MONTH) == 1


async def test_another_tenants_messages_are_not_swept(bench: Bench) -> None:
    lane = await bench.account("main", "beta")
    await bench.add("theirs", tenant_id="beta", lane=lane)
    (claimed,) = (await bench.store.queue.claim(lane, 1, OWNER, NOW, NOW + 30)).messages
    await record_outcome(bench.store, as_sent(claimed), OWNER, NOW)
    assert await sweep(bench, LATER, LATER) == 0


async def test_many_go_in_steps_and_what_stays_does_not_stop_them(bench: Bench, told: float) -> None:
    """At most so many in one transaction; those in between that are kept are passed by."""
    ids = [f"m{number:04}" for number in range(CHUNK + 2)]
    await bench.sent(*ids)
    for kept in (ids[0], ids[CHUNK]):
        await bench.execute(
            "INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due) "
            f"VALUES ({(await bench.get(kept)).seq}, 'acme', 'bounce', {NOW}, 'x', 1)"
        )
    await bench.execute(f"UPDATE events SET is_due = 0, reported_ts = {told} WHERE event_type = 'sent'")
    await bench.execute(f"UPDATE messages SET reported_ts = {told}")
    first = await bench.store.removals.sweep(
        Sweep(tenant_id="acme", before=told, untold_before=NOW - MONTH, is_untold=False)
    )

    assert (first.removed, first.is_over) == (CHUNK - 1, False)
    assert await sweep_told(bench, told) == 1
    left = await bench.rows("SELECT id FROM messages ORDER BY id")
    assert [row["id"] for row in left] == [ids[0], ids[CHUNK]]


async def test_large_contents_go_in_smaller_steps(bench: Bench) -> None:
    """Removing what is large takes its time; one goes at least."""
    await bench.sent("m1", "m2", "m3")
    await bench.execute(f"UPDATE messages SET size = {CHUNK_BYTES + 1}")
    begun = Sweep(tenant_id="acme", before=LATER, untold_before=LATER, is_untold=True)
    removed = []
    while not begun.is_over:
        begun = await bench.store.removals.sweep(begun)
        removed.append(begun.removed)
    assert removed == [1, 2, 3]


async def test_what_counts_for_rate_limits_is_not_forgotten_with_the_message(
    bench: Bench, told: float
) -> None:
    await bench.execute("UPDATE accounts SET limit_per_hour = 1")
    await bench.sent("m1")
    await bench.add("m2")
    await delete(bench, "m1", force=True)
    assert await bench.claim(now=told) == []
