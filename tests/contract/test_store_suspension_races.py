"""Suspensions while everything else goes on, on two nodes: in the end every flag says what is suspended."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from mail_proxy.errors import Conflict
from mail_proxy.model.queue import Claimed
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.store import Store
from tests.support.stores import (
    NOW,
    OWNER,
    Bench,
    as_deferred,
    as_sent,
    begin_final,
    open_store,
    record_outcome,
)

BATCHES = ("one", "two", EVERYTHING)
ROUNDS = 30
MESSAGES = 9
WRONG = """
SELECT m.id FROM messages m WHERE m.is_held <> CASE WHEN m.status IN ('pending', 'deferred') AND EXISTS
    (SELECT 1 FROM suspensions s WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
    THEN 1 ELSE 0 END"""


async def mark(store: Store) -> None:
    for marking in await store.suspensions.markings():
        left = marking
        while left.status is not None:
            left = await store.suspensions.mark(left, NOW)


async def change_its_mind(store: Store, dice: Random) -> None:
    """Suspend or activate something, and see to the flags, as a node does."""
    batch_code = dice.choice(BATCHES)
    with suppress(Conflict):
        if dice.random() < 0.6:
            await store.suspensions.suspend("acme", batch_code, NOW)
        else:
            await store.suspensions.activate("acme", batch_code)
    await mark(store)


async def come_back(store: Store, claimed: Claimed, dice: Random) -> None:
    """Be put off, or given back."""
    if dice.random() < 0.5:
        await record_outcome(store, as_deferred(claimed, NOW + 5), OWNER, NOW)
    else:
        await store.queue.release([claimed.seq], OWNER, NOW)


async def leave(store: Store, lane: int) -> None:
    """Send what may be sent."""
    await store.queue.promote(NOW + 10)
    for claimed in (await store.queue.claim(lane, MESSAGES, OWNER, NOW, NOW + 30)).messages:
        assert await begin_final(store, claimed, OWNER, NOW, "handing over")
        await record_outcome(store, as_sent(claimed), OWNER, NOW)


async def test_flags_agree_with_what_is_suspended_whatever_comes_back_meanwhile(bench: Bench) -> None:
    """And once nothing is suspended everything leaves: no message stays behind, none is sent twice."""
    dice = Random(0)
    async with open_store(bench.url) as other:
        for number in range(ROUNDS):
            await bench.store.suspensions.activate("acme", EVERYTHING)
            await mark(bench.store)
            await leave(bench.store, bench.lane)
            for index, batch_code in enumerate((None, "one", "two") * (MESSAGES // 3)):
                await bench.add(f"m{number}-{index}", batch_code=batch_code)
            for _ in range(dice.randrange(3)):
                await change_its_mind(other, dice)
            claimed = await bench.claim(MESSAGES)
            await asyncio.gather(
                change_its_mind(other, dice),
                change_its_mind(bench.store, dice),
                *(come_back(bench.store, each, dice) for each in claimed),
            )
            assert await bench.rows(WRONG) == [], number
    await bench.store.suspensions.activate("acme", EVERYTHING)
    await mark(bench.store)
    await leave(bench.store, bench.lane)

    assert {row["status"] for row in await bench.rows("SELECT status FROM messages")} == {"sent"}
    (told,) = await bench.rows("SELECT COUNT(*) AS n FROM events WHERE event_type = 'sent'")
    assert told["n"] == ROUNDS * MESSAGES
