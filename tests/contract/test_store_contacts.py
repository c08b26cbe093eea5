"""Who tells which tenant, of what and when: one node at a time, in order, until the application has it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mail_proxy.callbacks.pace import pause_after
from mail_proxy.model.contacts import Acceptance, Contact, Outlook
from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import NewEvent
from mail_proxy.store import Store
from mail_proxy.store.contacts import SOME
from tests.support.stores import NOW, OWNER, Bench, as_sent, open_bench, open_store, record_outcome
from tests.support.telling import acknowledge, due_of, pending_of

A, B = "node-a", "node-b"
INTERVAL = 300.0


async def told_of(store: Store, tenant_id: str = "acme", limit: int = 100) -> list[str]:
    return [f"{entry.id} {entry.event_type.value}" for entry in await due_of(store, tenant_id, limit)]


async def look(store: Store, now: float = NOW, owner: str = A, *, has_fallback: bool = True) -> Outlook:
    return await store.contacts.look(now, owner, has_fallback=has_fallback)


async def due(store: Store, now: float = NOW, owner: str = A) -> list[str]:
    return [each.tenant_id for each in (await look(store, now, owner)).due]


async def take(store: Store, owner: str = A, now: float = NOW) -> Contact | None:
    """Take `acme` for 30 seconds; None when somebody else has it."""
    taken = await store.contacts.take(["acme"], [], owner, now, now + 30)
    return taken[0] if taken else None


async def happen(bench: Bench, message_id: str, *kinds: EventType) -> list[int]:
    """Let these events happen to a message, new or not; the numbers of all that is due of it."""
    seq = (await bench.rows(f"SELECT seq FROM messages WHERE id = '{message_id}'"))[0]["seq"]
    for kind in kinds:
        await bench.execute(
            "INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due) "
            f"VALUES ({seq}, 'acme', '{kind.value}', {NOW}, '', 1)"
        )
    rows = await bench.rows(f"SELECT event_id FROM events WHERE seq = {seq} AND is_due > 0 ORDER BY event_id")
    return [row["event_id"] for row in rows]


def taken(now: float = NOW, **changes: object) -> Acceptance:
    """What an application said that took a post of nothing."""
    said = Acceptance(
        now=now,
        told=[],
        refused=[],
        beat_at=now + INTERVAL,
        dnd_until=None,
        rounds=0,
        seen_seq=0,
        lease_until=None,
    )
    return replace(said, **changes)  # type: ignore[arg-type]  # the caller names fields


async def test_only_outcomes_are_told(bench: Bench) -> None:
    """`queued` and `sending` are the message's history, no news for the application."""
    await bench.sent("m")

    assert await bench.told("m") == ["queued", "sending", "sent"]
    assert await told_of(bench.store) == ["m sent"]


async def test_an_entry_says_whose_event_it_is(bench: Bench) -> None:
    """All that a report says of the message comes along, metadata included."""
    await bench.add("m", priority=1, metadata='{"order":7}')
    [claimed] = await bench.claim()
    event = NewEvent(
        event_type=EventType.DEFERRED, event_ts=NOW + 1, description="later", event_data={"reason": "452"}
    )
    await record_outcome(bench.store, replace(as_sent(claimed), events=(event,)), OWNER, NOW + 1)

    [entry] = await due_of(bench.store)

    assert (entry.id, entry.tenant_id, entry.pk, entry.account_id, entry.priority, entry.metadata) == (
        "m", "acme", claimed.pk, "main", 1, '{"order":7}',
    )  # fmt: skip
    assert (entry.event_type, entry.event_ts, entry.event_data) == ("deferred", NOW + 1, {"reason": "452"})
    assert entry.event_id == (await bench.events("m"))[-1].event_id


async def test_a_batch_is_in_order_and_limited(bench: Bench) -> None:
    """The oldest first, in number and in bytes; one goes however large it is."""
    await bench.sent("a", "b", "c")

    assert await told_of(bench.store, limit=2) == ["a sent", "b sent"]
    few = await bench.store.contacts.news("acme", 10, 700)
    assert ([each.id for each in few.events], few.has_more) == (["a", "b"], True)
    one = await bench.store.contacts.news("acme", 10, 1)
    assert ([each.id for each in one.events], one.has_more) == (["a"], True)
    assert (await bench.store.contacts.news("acme", 10, 10_000)).has_more is False


async def test_each_tenant_is_told_of_its_own(bench: Bench) -> None:
    """And only tenants with news are due."""
    lane = await bench.account("theirs", "beta")
    await bench.account("silent", "gamma")
    await bench.sent("mine")
    await bench.add("theirs", tenant_id="beta", account_id="theirs", lane=lane)
    [claimed] = (await bench.store.queue.claim(lane, 1, OWNER, NOW, NOW + 30)).messages
    await record_outcome(bench.store, as_sent(claimed), OWNER, NOW)

    assert sorted(await due(bench.store)) == ["acme", "beta"]
    assert await told_of(bench.store, "acme") == ["mine sent"]
    assert await told_of(bench.store, "beta") == ["theirs sent"]
    assert await told_of(bench.store, "gamma") == []


async def test_what_is_acknowledged_is_not_told_again(bench: Bench) -> None:
    """Entry by entry: those that were not acknowledged stay."""
    await bench.sent("a", "b", "c")
    first, second, third = await due_of(bench.store)

    await acknowledge(bench.store, [first.event_id, third.event_id], NOW + 5)

    assert await told_of(bench.store) == ["b sent"]
    assert await pending_of(bench.store) == 1
    await acknowledge(bench.store, [second.event_id], NOW + 6)
    assert await due(bench.store, NOW + 6) == []


async def test_a_message_is_reported_when_all_its_events_are(bench: Bench) -> None:
    """`reported_ts` is the moment of the last acknowledgement."""
    await bench.add("m")
    sent, error = await happen(bench, "m", EventType.SENT, EventType.ERROR)

    await acknowledge(bench.store, [sent], NOW + 1)
    assert (await bench.get("m")).reported_ts is None
    await acknowledge(bench.store, [error], NOW + 2)
    assert (await bench.get("m")).reported_ts == NOW + 2


async def test_acknowledging_nothing_and_the_unknown(bench: Bench) -> None:
    """Events long gone change nothing."""
    await bench.sent("m")

    await acknowledge(bench.store, [], NOW)
    await acknowledge(bench.store, [10**9], NOW)

    assert await told_of(bench.store) == ["m sent"]


async def test_one_node_has_a_tenant_until_it_gives_it_back(bench: Bench) -> None:
    """Others see that it is in good hands, and that they have to look again soon."""
    await bench.sent("m")
    assert await take(bench.store, A)

    theirs = await look(bench.store, owner=B)
    assert (theirs.due, theirs.is_elsewhere) == ((), True)
    assert await take(bench.store, B) is None
    await bench.store.contacts.release("acme", B)
    assert await take(bench.store, B) is None

    await bench.store.contacts.release("acme", A)
    assert await due(bench.store, owner=B) == ["acme"]
    assert await take(bench.store, B)


async def test_a_node_that_dies_has_its_tenants_until_its_lease_is_over(bench: Bench) -> None:
    await bench.sent("m")
    await take(bench.store, A)

    assert await due(bench.store, NOW + 29, B) == []
    assert await due(bench.store, NOW + 30, B) == ["acme"]
    assert await take(bench.store, B, NOW + 30)
    assert await bench.store.contacts.renew(["acme"], A, NOW + 60) == set()


async def test_a_node_that_comes_back_has_its_tenants_at_once(bench: Bench) -> None:
    await bench.sent("m")
    await take(bench.store, A)

    assert await due(bench.store, owner=A) == ["acme"]
    assert await take(bench.store, A)


async def test_a_lease_that_is_renewed_goes_on(bench: Bench) -> None:
    await bench.sent("m")
    await take(bench.store, A)

    assert await bench.store.contacts.renew(["acme", "nobody"], A, NOW + 60) == {"acme"}
    assert await take(bench.store, B, NOW + 59) is None


async def test_a_node_that_leaves_gives_everything_back(bench: Bench) -> None:
    await bench.sent("m")
    await take(bench.store, A)

    await bench.store.contacts.leave(A)

    assert await take(bench.store, B)


async def test_an_answer_counts_though_the_lease_was_lost(bench: Bench) -> None:
    """The application has the events; but what it said of itself is for who has the tenant now to record."""
    await bench.sent("m")
    contact = await take(bench.store, A)
    assert contact
    other = await take(bench.store, B, NOW + 31)
    [event] = await due_of(bench.store)

    late = taken(NOW + 32, told=[event.event_id], beat_at=NOW + 999)
    assert await bench.store.contacts.accepted(contact, A, late, pause_after) is None
    assert await pending_of(bench.store) == 0
    after = await bench.store.contacts.accepted(
        other or contact, B, taken(NOW + 33, lease_until=NOW + 63), pause_after
    )
    assert after
    assert after.beat_at == NOW + 33 + INTERVAL


async def test_two_nodes_that_take_at_once_share(postgres_url: str) -> None:
    """Each tenant is taken once, however many nodes want it."""
    async with open_bench(postgres_url) as one, open_store(postgres_url) as other:
        names = [f"t{number}" for number in range(30)]
        for name in names:
            await one.account(f"{name}-main", name)
        stores = [(one.store, A), (other, B)]
        for turn in range(5):
            orders = (names, names[::-1])
            got = await asyncio.gather(
                *(
                    store.contacts.take(order, [], owner, NOW, NOW + 30)
                    for (store, owner), order in zip(stores, orders, strict=True)
                )
            )
            ids = [each.tenant_id for some in got for each in some]
            assert len(ids) == len(set(ids)), turn
            for store, owner in stores:
                await store.contacts.leave(owner)


async def test_what_an_application_did_not_take_waits_until_its_time(bench: Bench) -> None:
    """For this tenant alone, whichever node would tell it; how it went is written down."""
    await bench.sent("m")
    contact = await take(bench.store)
    assert contact
    await bench.store.contacts.failed(contact, A, "it answered 500", NOW, NOW + 10)

    assert (await look(bench.store, NOW + 9, B)).next_at == NOW + 10
    assert await due(bench.store, NOW + 9, B) == []
    assert await take(bench.store, B, NOW + 9) is None
    [candidate] = (await look(bench.store, NOW + 10, B)).due
    assert candidate.is_failing
    again = await take(bench.store, B, NOW + 10)
    assert again
    assert again.failures == 1
    [state] = [each for each in await bench.store.reports.sync_states() if each.tenant_id == "acme"]
    assert (state.failures, state.last_error, state.next_try_ts) == (1, "it answered 500", NOW + 10)


async def test_what_was_refused_waits_with_all_that_happens_to_its_message(bench: Bench) -> None:
    """In order, and longer each time; what happens to other messages is told meanwhile."""
    await bench.add("m", "other")
    [first] = await happen(bench, "m", EventType.DEFERRED)
    await acknowledge(bench.store, [], NOW, refused=[first])
    await happen(bench, "m", EventType.SENT)
    await happen(bench, "other", EventType.SENT)

    assert await told_of(bench.store) == ["other sent"]
    assert (await look(bench.store)).next_at == NOW + 10
    contact = await take(bench.store)
    assert contact
    assert await bench.store.contacts.regroup(contact, NOW + 9) == NOW + 10
    assert await told_of(bench.store) == ["other sent"]
    assert await bench.store.contacts.regroup(contact, NOW + 10) is None
    assert await told_of(bench.store) == ["m deferred", "m sent", "other sent"]

    await acknowledge(bench.store, [], NOW + 10, refused=[first], owner=A)
    contact = await take(bench.store, now=NOW + 10)
    assert contact
    assert contact.again_ts == NOW + 30


async def refuse_many(bench: Bench, count: int) -> None:
    """Let the application refuse so many messages, which are due again 10 s later."""
    names = [f"m{number}" for number in range(count)]
    await bench.add(*names)
    events = [event for name in names for event in await happen(bench, name, EventType.SENT)]
    await acknowledge(bench.store, [], NOW, refused=events)


async def test_what_was_refused_comes_again_some_at_a_time(bench: Bench) -> None:
    """What is new need not wait until an application has refused thousands once more."""
    await refuse_many(bench, 2 * SOME + 1)
    await bench.add("new")
    await happen(bench, "new", EventType.SENT)
    contact = await take(bench.store, now=NOW + 10)
    assert contact

    assert await bench.store.contacts.regroup(contact, NOW + 10) == NOW + 10
    due_again = await told_of(bench.store, limit=3 * SOME)
    assert (len(due_again), due_again[-1]) == (SOME + 1, "new sent")
    assert await bench.store.contacts.regroup(contact, NOW + 10) == NOW + 10
    assert await bench.store.contacts.regroup(contact, NOW + 10) is None
    assert len(await told_of(bench.store, limit=3 * SOME)) == 2 * SOME + 2


async def test_all_that_was_refused_comes_again_when_somebody_wants_it(bench: Bench) -> None:
    await refuse_many(bench, 2 * SOME + 1)
    await bench.store.contacts.hurry("acme", NOW + 1, lifts_dnd=False)
    contact = await take(bench.store, now=NOW + 1)
    assert contact

    assert await bench.store.contacts.regroup(contact, NOW + 1) is None
    assert len(await told_of(bench.store, limit=3 * SOME)) == 2 * SOME + 1


async def test_a_hurry_is_not_forgotten_by_who_has_not_seen_it(bench: Bench) -> None:
    """It comes after a node has taken the tenant, and before that looks what was refused."""
    await refuse_many(bench, 1)
    contact = await take(bench.store)
    assert contact
    await bench.store.contacts.hurry("acme", NOW + 1, lifts_dnd=False)

    again_ts = await bench.store.contacts.regroup(contact, NOW + 1)
    assert again_ts == 0
    await bench.store.contacts.regroup(replace(contact, again_ts=again_ts), NOW + 1)
    assert await told_of(bench.store) == ["m0 sent"]


async def test_news_of_what_was_refused_makes_nobody_look_in_vain(bench: Bench) -> None:
    """Once it is seen to belong to what waits, it is not due: or it would be taken again and again."""
    await bench.add("m")
    [event] = await happen(bench, "m", EventType.DEFERRED)
    await acknowledge(bench.store, [], NOW, refused=[event])
    await happen(bench, "m", EventType.SENT)

    assert await due(bench.store) == ["acme"]
    contact = await take(bench.store)
    assert contact
    await bench.store.contacts.regroup(contact, NOW)
    await bench.store.contacts.release("acme", A)
    assert await due(bench.store) == []
    assert await pending_of(bench.store) == 2


async def test_an_empty_post_is_due_an_interval_after_a_tenant_is_there(bench: Bench) -> None:
    """And an interval after each post."""
    await bench.store.contacts.schedule(NOW, INTERVAL, has_fallback=True)

    assert (await look(bench.store)).next_at == NOW + INTERVAL
    assert await due(bench.store, NOW + INTERVAL - 1) == []
    assert "acme" in await due(bench.store, NOW + INTERVAL)
    contact = await take(bench.store, now=NOW + INTERVAL)
    assert contact
    await bench.store.contacts.accepted(contact, A, taken(NOW + INTERVAL), pause_after)
    assert "acme" not in await due(bench.store, NOW + 2 * INTERVAL - 1)
    assert "acme" in await due(bench.store, NOW + 2 * INTERVAL)


@pytest.mark.parametrize("change", ["active = 0", "client_base_url = NULL"])
async def test_who_gets_no_empty_posts_is_left_out_until_that_changes(bench: Bench, change: str) -> None:
    """Neither inactive tenants nor those that cannot be told."""
    contacts = bench.store.contacts
    await bench.execute("UPDATE tenants SET client_base_url = 'https://acme.test', active = 1")
    await contacts.schedule(NOW, INTERVAL, has_fallback=False)
    await bench.execute(f"UPDATE tenants SET {change} WHERE id = 'acme'")

    found = await look(bench.store, NOW + INTERVAL, has_fallback=False)
    assert "acme" in found.retired
    assert "acme" not in [each.tenant_id for each in found.due]
    await contacts.take([], found.retired, A, NOW + INTERVAL, NOW + INTERVAL + 30)
    assert "acme" not in (await look(bench.store, NOW + INTERVAL, has_fallback=False)).retired

    await bench.execute("UPDATE tenants SET client_base_url = 'https://acme.test', active = 1")
    await contacts.schedule(NOW + INTERVAL, INTERVAL, has_fallback=False)
    found = await look(bench.store, NOW + 2 * INTERVAL, has_fallback=False)
    assert "acme" in [each.tenant_id for each in found.due]


async def test_a_shorter_interval_holds_at_once(bench: Bench) -> None:
    """Also for what a clock that was ahead has scheduled; but not where the application wants no post."""
    contacts = bench.store.contacts
    await contacts.schedule(NOW, 10 * INTERVAL, has_fallback=True)
    await contacts.schedule(NOW, INTERVAL, has_fallback=True)
    assert "acme" in await due(bench.store, NOW + INTERVAL)

    contact = await take(bench.store)
    assert contact
    quiet = taken(beat_at=NOW + 9999, dnd_until=NOW + 9999)
    await contacts.accepted(contact, A, quiet, pause_after)
    await contacts.schedule(NOW, INTERVAL, has_fallback=True)
    assert "acme" not in await due(bench.store, NOW + 9998)


@pytest.mark.parametrize(("lifts_dnd", "is_due"), [(True, True), (False, False)])
async def test_do_not_disturb_is_lifted_by_whom_it_concerns(
    bench: Bench, lifts_dnd: bool, is_due: bool
) -> None:
    """Others make what there is to tell go at once, but no empty post."""
    contact = await take(bench.store)
    assert contact
    quiet = taken(beat_at=NOW + 9999, dnd_until=NOW + 9999)
    await bench.store.contacts.accepted(contact, A, quiet, pause_after)

    await bench.store.contacts.hurry("acme", NOW + 1, lifts_dnd=lifts_dnd)

    assert (await due(bench.store, NOW + 1) == ["acme"]) is is_due


async def test_hurry_ends_what_was_waited_for(bench: Bench) -> None:
    """Of one tenant, or of all: the pause after a failure and after a refusal."""
    await bench.add("m")
    [event] = await happen(bench, "m", EventType.SENT)
    for hurried in ("acme", None):
        await acknowledge(bench.store, [], NOW, refused=[event], owner=A)
        contact = await take(bench.store)
        assert contact
        await bench.store.contacts.failed(contact, A, "down", NOW, NOW + 10)
        assert await due(bench.store, NOW + 1) == []

        await bench.store.contacts.hurry(hurried, NOW + 1, lifts_dnd=False)

        assert await due(bench.store, NOW + 1) == ["acme"]
        contact = await take(bench.store, now=NOW + 1)
        assert contact
        await bench.store.contacts.regroup(contact, NOW + 1)
        assert await told_of(bench.store) == ["m sent"]


async def test_a_hurry_during_a_post_leads_to_another(bench: Bench) -> None:
    """Whether that post is taken or not: it may have begun before what is waited for."""
    for outcome in ("taken", "failed"):
        contact = await take(bench.store)
        assert contact
        await bench.store.contacts.hurry("acme", NOW + 1, lifts_dnd=True)
        if outcome == "taken":
            await bench.store.contacts.accepted(contact, A, taken(NOW + 2), pause_after)
        else:
            await bench.store.contacts.failed(contact, A, "down", NOW + 2, NOW + 12)
        assert await due(bench.store, NOW + 2) == ["acme"], outcome
        contact = await take(bench.store, now=NOW + 2)
        assert contact
        await bench.store.contacts.accepted(contact, A, taken(NOW + 3), pause_after)
        assert await due(bench.store, NOW + 3) == [], outcome


async def test_an_empty_post_planned_during_a_post_shortens_no_pause(bench: Bench) -> None:
    """Nobody asked for it, as nobody asks for the first one of a new tenant whose application hangs."""
    await bench.sent("m")
    contact = await take(bench.store)
    assert contact
    assert contact.beat_at is None
    await bench.store.contacts.schedule(NOW + 1, INTERVAL, has_fallback=True)

    await bench.store.contacts.failed(contact, A, "down", NOW + 30, NOW + 40)

    assert await due(bench.store, NOW + 39) == []
    assert await due(bench.store, NOW + 40) == ["acme"]


async def test_who_has_submitted_lately_is_known(bench: Bench) -> None:
    """By its own messages alone."""
    await bench.add("m")
    seen = await bench.store.contacts.newest()
    lane = await bench.account("theirs", "beta")
    await bench.add("theirs", tenant_id="beta", account_id="theirs", lane=lane)

    assert await bench.store.contacts.has_submitted("acme", seen) is False
    assert await bench.store.contacts.has_submitted("beta", seen) is True
    assert await bench.store.contacts.has_submitted("acme", 0) is True


async def test_a_tenant_that_an_older_version_has_added_is_told(bench: Bench) -> None:
    """Its nodes make no such row, and serve beside those of this version while they are replaced."""
    await bench.sent("m")
    await bench.execute("DELETE FROM sync_state")
    assert await due(bench.store) == []

    await bench.store.contacts.schedule(NOW, INTERVAL, has_fallback=True)

    assert await due(bench.store) == ["acme"]
    contact = await take(bench.store)
    assert contact
    assert contact.beat_at == NOW + INTERVAL


async def test_nobody_waits_for_what_a_wrong_clock_has_put_off(bench: Bench) -> None:
    """A failure and a refusal, both a day ahead."""
    day = 86_400.0
    await bench.sent("m")
    [event] = await due_of(bench.store)
    await acknowledge(bench.store, [], NOW + day, refused=[event.event_id])
    contact = await take(bench.store, now=NOW + day)
    assert contact
    await bench.store.contacts.failed(contact, A, "it answered 500", NOW + day, NOW + day + 10)
    assert await due(bench.store) == []

    await bench.store.contacts.schedule(NOW, INTERVAL, has_fallback=True)

    assert await due(bench.store) == ["acme"]
    contact = await take(bench.store)
    assert contact
    await bench.store.contacts.regroup(contact, NOW)
    assert await told_of(bench.store) == ["m sent"]


@pytest.mark.parametrize("beat_at", [NOW, NOW + 2 * INTERVAL])
async def test_what_an_answer_asks_for_outweighs_what_was_planned_meanwhile(
    bench: Bench, beat_at: float
) -> None:
    """The first post to a new tenant: it may have more to submit, or want to be left alone."""
    contact = await take(bench.store)
    assert contact
    assert contact.beat_at is None
    await bench.store.contacts.schedule(NOW, INTERVAL, has_fallback=True)

    await bench.store.contacts.accepted(contact, A, taken(beat_at=beat_at), pause_after)

    again = await take(bench.store)
    assert again
    assert again.beat_at == beat_at
