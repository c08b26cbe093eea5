"""Lists of messages: every combination of filters, page by page, against the same filter said in Python."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mail_proxy.model.messages import END_OF_TIME, Message, MessageFilter, Place, Status
from tests.support.stores import NOW, Bench

MESSAGES = 90
TENANTS = {"acme": ("main", "other"), "beta": ("main",), "gamma": ("main", "last")}
BATCHES = (None, "june", "july")
PARKED = ("'pending', parked_for = 'account'", "'pending', parked_for = 'limit'")
SEED = 20


@pytest.fixture
async def filled(bench: Bench) -> Bench:
    """Messages of all kinds, several of one moment, queued by nodes whose clocks differ."""
    chance = random.Random(SEED)
    lanes = {
        (tenant_id, account_id): bench.lane
        if (tenant_id, account_id) == ("acme", "main")
        else await bench.account(account_id, tenant_id)
        for tenant_id, accounts in TENANTS.items()
        for account_id in accounts
    }
    for number in range(MESSAGES):
        (tenant_id, account_id), lane = chance.choice(list(lanes.items()))
        await bench.add(
            f"m{number}",
            now=NOW + number // 3 + chance.choice((0, 0, 5)),
            tenant_id=tenant_id,
            account_id=account_id,
            lane=lane,
            batch_code=chance.choice(BATCHES),
        )
        state = chance.choice([*(f"'{status}'" for status in Status), *PARKED])
        await bench.execute(f"UPDATE messages SET status = {state} WHERE id = 'm{number}'")
    return bench


def filters() -> Iterator[MessageFilter]:
    """Each value of each filter with each of the others."""
    for tenant_id, (status, active_only), account_id, batch_code, (since, until) in itertools.product(
        (None, "acme", "gamma", "nobody"),
        itertools.product((None, *Status), (False, True)),
        (None, "main", "last", "none"),
        (None, "june", "none"),
        ((0.0, END_OF_TIME), (NOW + 10, NOW + 30)),
    ):
        yield MessageFilter(
            tenant_id=tenant_id,
            status=status,
            active_only=active_only,
            account_id=account_id,
            batch_code=batch_code,
            since=since,
            until=until,
        )


def expected(which: MessageFilter, everything: list[Message]) -> list[str]:
    """The ids that a list of all messages, newest first, comes down to."""
    return [
        message.id
        for message in everything
        if which.tenant_id in (None, message.tenant_id)
        and which.status in (None, message.status)
        and (message.status.is_waiting or not which.active_only)
        and which.account_id in (None, message.account_id)
        and which.batch_code in (None, message.batch_code)
        and which.since <= message.created_at < which.until
    ]


async def everything(bench: Bench) -> list[Message]:
    rows = await bench.rows("SELECT seq FROM messages")
    found = await bench.store.messages.some([row["seq"] for row in rows])
    return sorted(found, key=lambda message: (message.created_at, message.seq), reverse=True)


async def page(bench: Bench, which: MessageFilter) -> tuple[list[str], Place | None]:
    """The ids of one page, and where the next begins."""
    places = await bench.store.messages.places(which)
    found = await bench.store.messages.some([place.seq for place in places])
    assert len(found) == len(places) <= which.limit
    return [message.id for message in found], places[-1] if len(places) == which.limit else None


async def all_pages(bench: Bench, which: MessageFilter) -> list[str]:
    ids: list[str] = []
    following = which.after
    while True:
        found, following = await page(bench, replace(which, after=following))
        ids += found
        if following is None:
            return ids


async def test_every_combination_of_filters_lists_what_it_says(filled: Bench) -> None:
    """All of it at once, newest first by the time of queueing."""
    whole = await everything(filled)
    wrong = [which for which in filters() if (await page(filled, which))[0] != expected(which, whole)]

    assert wrong == []
    assert len([which for which in filters() if expected(which, whole)]) > 200


@pytest.mark.parametrize("limit", [1, 3, 10])
async def test_small_pages_come_to_the_whole(filled: Bench, limit: int) -> None:
    """Nothing is skipped and nothing comes twice, also where many branches meet on a page."""
    whole = await everything(filled)
    chosen = random.Random(limit).sample(list(filters()), 25)
    plain = [MessageFilter(), MessageFilter(tenant_id="acme"), MessageFilter(batch_code="june")]
    wrong = [
        which
        for which in (replace(each, limit=limit) for each in [*plain, *chosen])
        if await all_pages(filled, which) != expected(which, whole)
    ]

    assert wrong == []


@pytest.mark.parametrize("which", [MessageFilter(), MessageFilter(tenant_id="acme", status=Status.PENDING)])
async def test_what_arrives_or_is_replaced_meanwhile_moves_nothing(
    filled: Bench, which: MessageFilter
) -> None:
    """A page goes on where the last one ended; a message that is submitted anew keeps its place."""
    await filled.execute("UPDATE messages SET status = 'pending' WHERE status = 'error'")
    whole = expected(which, await everything(filled))
    ids: list[str] = []
    following: Place | None = None
    while True:
        found, following = await page(filled, replace(which, limit=3, after=following))
        ids += found
        if following is None:
            break
        await filled.add(f"new{len(ids)}", now=NOW + 1000)
        pending = [each for each in await everything(filled) if each.status is Status.PENDING]
        again = pending[len(ids) % len(pending)]
        if (again.tenant_id, again.account_id) == ("acme", "main"):
            await filled.add(again.id, now=NOW + 2000, batch_code=again.batch_code)

    assert ids == whole


async def test_a_list_of_all_tenants_goes_far_into_one_of_them(bench: Bench) -> None:
    """The newest messages are all one account's among very many: its branch is read on and on."""
    for number in range(100):
        await bench.account("main", f"t{number:02}")
    lane = await bench.account("second")
    await bench.add("oldest", now=NOW - 1)
    await bench.add(*(f"m{number:03}" for number in range(200)), account_id="second", lane=lane)
    await bench.execute(
        "INSERT INTO messages (pk, tenant_id, id, account_id, lane, status, priority, recipients,"
        " message_id, is_pec, size, created_at, updated_at)"
        " SELECT 'pk' || id, id, 'old', 'main', 1, 'sent', 2, '[]', '<x>', 0, 1, 5.0, 5.0 FROM tenants"
    )

    found, following = await page(bench, MessageFilter(limit=201))
    rest, end = await page(bench, MessageFilter(limit=200, after=following))

    assert found == [f"m{number:03}" for number in reversed(range(200))] + ["oldest"]
    assert (set(rest), len(rest), end) == ({"old"}, 101, None)
