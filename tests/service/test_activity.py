"""Watching: what is told of the queue, the rates, the accounts and the newest failures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from mail_proxy.model.activity import SPAN, AccountActivity, Activity, LimitUse, Order, Outcome
from mail_proxy.model.messages import Status
from mail_proxy.model.queue import Claimed, NodeInfo, Settlement
from mail_proxy.services import activity as watching
from mail_proxy.services.activity import SETTLED
from mail_proxy.services.views import activity_view
from mail_proxy.store.circuit import FIRST_REST
from mail_proxy.store.database import Call, Work
from tests.support.services import Desk, message, open_desk
from tests.support.stores import (
    OWNER,
    as_deferred,
    as_error,
    as_sent,
    begin_final,
    record_outcome,
    statement,
)

Ending = Callable[[Claimed, float], Settlement]


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Desk]:
    """Services with tenant `acme` and its account `main`, on either engine."""
    async with open_desk(database_url) as opened:
        yield opened


async def add_account(desk: Desk, account_id: str, tenant_id: str = "acme", **fields: object) -> None:
    await desk.services.accounts.create(tenant_id, {"id": account_id, "host": "sandbox", **fields})


async def queue(desk: Desk, *ids: str, account_id: str = "main", tenant_id: str = "acme") -> None:
    await desk.submit(*(message(each, account_id=account_id) for each in ids), tenant_id=tenant_id)


async def finish(
    desk: Desk, *ids: str, ending: Ending = as_sent, account_id: str = "main", tenant_id: str = "acme"
) -> None:
    """Queue messages and let each come to this."""
    await queue(desk, *ids, account_id=account_id, tenant_id=tenant_id)
    now, store = desk.clock.now(), desk.runtime.store
    lane = (await store.accounts.get(tenant_id, account_id)).lane
    for claimed in (await store.queue.claim(lane, len(ids), OWNER, now, now + 30)).messages:
        assert await begin_final(store, claimed, OWNER, now, "handing over")
        assert await record_outcome(store, ending(claimed, now), OWNER, now)


async def execute(desk: Desk, sql: str) -> None:
    def work() -> Work[None]:
        yield Call(statement(sql), {})

    await desk.runtime.store.database.write(work)


async def look(desk: Desk, order: Order = Order.WAITING, most: int = 100) -> Activity:
    """Look for the first time."""
    return await desk.services.activity.watch().look(order, most)


def put_off(claimed: Claimed, now: float) -> Settlement:
    return as_deferred(claimed, now + 60, now)


def totals(activity: Activity) -> dict[str, int]:
    return {outcome.value: sum(counts) for outcome, counts in activity.seconds.items()}


def of(activity: Activity, account_id: str = "main", tenant_id: str = "acme") -> AccountActivity:
    [found] = [
        each for each in activity.accounts if (each.tenant_id, each.account_id) == (tenant_id, account_id)
    ]
    return found


def names(activity: Activity) -> list[str]:
    return [each.account_id for each in activity.accounts]


async def test_what_became_of_messages(office: Desk) -> None:
    """Each outcome is counted in its second and for its account, a failure told with its words."""
    await finish(office, "a", "b")
    office.clock.advance(3)
    await finish(office, "c", ending=put_off)
    await finish(office, "d", ending=as_error)

    seen = await look(office)

    assert totals(seen) == {"sent": 2, "deferred": 1, "failed": 1}
    assert [seen.seconds[outcome][-4:] for outcome in Outcome] == [(2, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 1)]
    assert {outcome.value: count for outcome, count in of(seen).done.items()} == totals(seen)
    [failure] = seen.failures
    assert (failure.tenant_id, failure.account_id, failure.id, failure.text, failure.ts) == (
        "acme",
        "main",
        "d",
        "550 no",
        office.clock.now(),
    )


async def test_the_queue_and_who_waits_for_how_long(office: Desk) -> None:
    """By status for all, by account for each, with the oldest that has still to leave."""
    await add_account(office, "other")
    await finish(office, "deferred", ending=put_off)
    office.clock.advance(20)
    await queue(office, "p1", "p2", account_id="other")

    seen = await look(office)

    assert dict(seen.queue) == {Status.PENDING: 2, Status.DEFERRED: 1, Status.SENDING: 0}
    assert [dict(of(seen, each).waiting) for each in ("main", "other")] == [
        {Status.DEFERRED: 1},
        {Status.PENDING: 2},
    ]
    since = [state.waits_since for each in ("main", "other") if (state := of(seen, each).state)]
    assert since == [office.clock.now() - 20, office.clock.now()]


async def test_each_look_goes_on_from_the_last(office: Desk) -> None:
    """What happens between looks is counted once, however often one looks, and how slowly it comes."""
    watch = office.services.activity.watch()
    await finish(office, "a")
    assert totals(await watch.look())["sent"] == 1
    assert totals(await watch.look())["sent"] == 1
    for name in ("b", "c", "d"):
        await finish(office, name)
        office.clock.advance(SETTLED)
        seen = await watch.look()
    await finish(office, "e", ending=as_error)
    assert totals(seen)["sent"] == 4

    assert totals(await watch.look()) == {"sent": 4, "deferred": 0, "failed": 1}
    office.clock.advance(SETTLED + 1)
    seen = await watch.look()
    assert totals(seen) == {"sent": 4, "deferred": 0, "failed": 1}
    assert [each.id for each in seen.failures] == ["e"]


async def test_what_is_committed_late_is_seen(office: Desk) -> None:
    """Of two nodes the one that has taken the lower number may commit last."""
    watch = office.services.activity.watch()
    await finish(office, "late", "early")
    await execute(
        office,
        "UPDATE events SET event_id = 1000 + event_id WHERE event_id = (SELECT MAX(event_id) FROM events)",
    )
    await execute(
        office, "UPDATE events SET event_type = 'queued' WHERE event_type = 'sent' AND event_id < 1000"
    )
    assert totals(await watch.look())["sent"] == 1

    await execute(
        office,
        "UPDATE events SET event_type = 'sent' WHERE event_id ="
        " (SELECT MAX(event_id) FROM events WHERE event_type = 'queued')",
    )
    assert totals(await watch.look())["sent"] == 2


async def test_what_happened_long_ago_is_forgotten(office: Desk) -> None:
    """Counts are of the last minutes; failures stay until there are newer ones."""
    watch = office.services.activity.watch()
    await finish(office, "a")
    await finish(office, "b", ending=as_error)
    await watch.look()
    office.clock.advance(SPAN + 60)

    for seen in (await watch.look(), await look(office)):
        assert totals(seen) == {"sent": 0, "deferred": 0, "failed": 0}
        assert not of(seen).done
        assert [each.id for each in seen.failures] == ["b"]
        assert seen.since == office.clock.now() - SPAN


async def test_of_very_much_only_the_newest_is_read(office: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is told since when the counts hold, also when a watcher has slept meanwhile."""
    monkeypatch.setattr(watching, "MOST_EVENTS", 6)
    watch = office.services.activity.watch()
    await finish(office, "a")
    seen = await watch.look()
    assert (totals(seen)["sent"], seen.since) == (1, office.clock.now() - SPAN)
    for name in ("b", "c", "d", "e"):
        office.clock.advance(10)
        await finish(office, name)

    for seen in (await watch.look(), await look(office)):
        assert (totals(seen)["sent"], seen.since) == (2, office.clock.now() - 10)


async def test_one_tenant(office: Desk) -> None:
    """Nothing of the others is told."""
    await office.services.tenants.create({"id": "beta"})
    await add_account(office, "main", "beta")
    await finish(office, "a", ending=as_error)
    await queue(office, "b")
    await finish(office, "c", "d", tenant_id="beta")
    await trip(office, "acme")

    seen = await office.services.activity.watch("beta").look()

    assert totals(seen) == {"sent": 2, "deferred": 0, "failed": 0}
    assert [each.tenant_id for each in seen.accounts] == ["beta"]
    assert (sum(seen.queue.values()), seen.accounts_total, seen.failures) == (0, 1, ())


async def trip(desk: Desk, tenant_id: str = "acme", account_id: str = "main") -> None:
    store = desk.runtime.store
    account = await store.accounts.get(tenant_id, account_id)
    await store.circuits.trip(account, "421 no", desk.clock.now())


async def test_the_circuit_of_an_account(office: Desk) -> None:
    """Closed, or until when it rests, and why."""
    await add_account(office, "ill")
    await trip(office, account_id="ill")

    seen = await look(office)

    states = [state for each in ("main", "ill") if (state := of(seen, each).state)]
    assert [(state.resting_until, state.last_error) for state in states] == [
        (None, None),
        (office.clock.now() + FIRST_REST, "421 no"),
    ]


async def test_the_use_of_limits(office: Desk) -> None:
    """In each window what was sent within it, and what is being sent."""
    await add_account(office, "slow", limit_per_minute=3, limit_per_hour=10, limit_per_day=100)
    send = partial(finish, office, account_id="slow")
    for seconds, name in ((7200, "day"), (120, "hour"), (0, "minute")):
        await send(name)
        office.clock.advance(seconds)
    store, now = office.runtime.store, office.clock.now()
    await queue(office, "now", account_id="slow")
    await store.queue.claim((await store.accounts.get("acme", "slow")).lane, 1, OWNER, now, now + 30)

    state = of(await look(office), "slow").state

    assert state is not None
    assert state.limits == (
        LimitUse(seconds=60, limit=3, used=2),
        LimitUse(seconds=3600, limit=10, used=3),
        LimitUse(seconds=86400, limit=100, used=4),
    )


async def test_a_deleted_account_is_told_of_for_a_while(office: Desk) -> None:
    """What has failed with it is counted; it has no circuit."""
    await queue(office, "a")
    await office.services.accounts.delete("acme", "main", force=True)

    seen = await look(office)

    assert (of(seen).state, dict(of(seen).done)) == (None, {Outcome.FAILED: 1})
    assert [each.text for each in seen.failures] == ["account deleted"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.WAITING, ["many", "few", "failing", "fast", "idle", "main", "resting"]),
        (Order.SENT, ["fast", "many", "few", "failing", "idle", "main", "resting"]),
        (Order.FAILED, ["failing", "many", "few", "fast", "idle", "main", "resting"]),
        (Order.NAME, ["failing", "fast", "few", "idle", "main", "many", "resting"]),
    ],
)
async def test_the_order_of_accounts(sqlite_url: str, order: Order, expected: list[str]) -> None:
    """By what was asked for, then by what waits or was sent, then by name."""
    async with open_desk(sqlite_url) as desk:
        for account_id in expected:
            if account_id != "main":
                await add_account(desk, account_id)
        await queue(desk, "1", "2", account_id="many")
        await queue(desk, "3", account_id="few")
        await finish(desk, "4", account_id="fast")
        await finish(desk, "5", account_id="failing", ending=as_error)
        await trip(desk, account_id="resting")
        if order is Order.WAITING:
            expected = ["many", "few", "fast", "failing", "idle", "main", "resting"]

        assert names(await look(desk, order)) == expected


async def test_of_many_accounts_those_with_news_are_chosen(office: Desk) -> None:
    """However far down the alphabet they are; how many there are in all is told."""
    for number in range(8):
        await add_account(office, f"a{number}")
    await add_account(office, "z")
    await queue(office, "m", account_id="z")

    seen = await look(office, most=3)

    assert (names(seen), seen.accounts_total) == (["z", "a0", "a1"], 10)


async def test_nodes_and_suspension(office: Desk) -> None:
    """Who lives on this database, and whether anything is dispatched."""
    assert ((await look(office)).nodes, (await look(office)).is_active) == ((), True)
    now = office.clock.now()
    node = NodeInfo(node_id="n", name="a@host", pid=1, version="1", started_at=now, seen_at=now)
    await office.runtime.store.nodes.seen(node, forget_before=0)
    await office.services.instance.set_active(False)

    seen = await look(office)

    assert (seen.nodes, seen.is_active) == ((node,), False)


async def test_as_json(office: Desk) -> None:
    """Rates by minutes, accounts with what a person would see; nothing that JSON does not know."""
    await add_account(office, "slow", limit_per_minute=1)
    await finish(office, "a", account_id="slow")
    office.clock.advance(61)
    await finish(office, "b", ending=as_error, account_id="slow")
    await trip(office, account_id="slow")
    await queue(office, "c", account_id="slow")
    office.clock.advance(5)
    now = int(office.clock.now())

    view = json.loads(json.dumps(activity_view(await look(office, most=1))))

    assert view == {
        "ts": now,
        "active": True,
        "nodes": [],
        "queue": {"pending": 1, "deferred": 0, "sending": 0},
        "since": now - SPAN,
        "rates": {
            "sent": [0] * 13 + [1, 0],
            "deferred": [0] * 15,
            "failed": [0] * 14 + [1],
        },
        "accounts_total": 2,
        "accounts": [
            {
                "tenant_id": "acme",
                "account_id": "slow",
                "pending": 1,
                "deferred": 0,
                "sending": 0,
                "sent": 1,
                "failed": 1,
                "deferrals": 0,
                "circuit": "open",
                "resting_until": now - 5 + int(FIRST_REST),
                "last_error": "421 no",
                "limits": [{"seconds": 60, "limit": 1, "used": 0}],
                "oldest_seconds": 5,
            }
        ],
        "errors": [
            {
                "event_ts": now - 5,
                "tenant_id": "acme",
                "account_id": "slow",
                "id": "b",
                "error": "550 no",
            }
        ],
    }
