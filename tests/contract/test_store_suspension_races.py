"""Suspensions while everything else goes on, on two nodes: in the end every flag says what is suspended."""

from __future__ import annotations

import asyncio
from random import Random

from mail_proxy.errors import Conflict
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.store import Store
from tests.support.stores import NOW, OTHER, OWNER, Bench, as_deferred, as_sent, open_store

BATCHES = ("one", "two", EVERYTHING)
ROUNDS = 40
MESSAGES = 60
WRONG = """
SELECT m.id FROM messages m WHERE m.is_held <> CASE WHEN m.status IN ('pending', 'deferred') AND EXISTS
    (SELECT 1 FROM suspensions s WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
    THEN 1 ELSE 0 END"""


async def mark(store: Store) -> None:
    for marking in await store.suspensions.markings():
        left = marking
        while left.status is not None:
            left = await store.suspensions.mark(left, NOW)


async def change_its_mind(store: Store, seed: int) -> None:
    """Suspend and activate, and see to the flags each time, as a node does."""
    dice = Random(seed)
    for _ in range(ROUNDS):
        batch_code = dice.choice(BATCHES)
        if dice.random() < 0.5:
            await store.suspensions.suspend("acme", batch_code, NOW)
        else:
            try:
                await store.suspensions.activate("acme", batch_code)
            except Conflict:
                continue
        await mark(store)


async def dispatch(store: Store, lane: int, owner: str, seed: int) -> None:
    """Claim, and then send, put off, or give back."""
    dice = Random(seed)
    for _ in range(ROUNDS):
        await store.queue.promote(NOW + 10)
        for claimed in await store.queue.claim(lane, 4, owner, NOW, NOW + 30):
            if dice.random() < 0.3:
                await store.queue.settle(as_deferred(claimed, NOW + 5), owner, NOW)
            elif await store.queue.begin_final(claimed, owner, NOW, "handing over"):
                await store.queue.settle(as_sent(claimed), owner, NOW)
            else:
                await store.queue.release([claimed.seq], owner, NOW)


async def test_flags_agree_with_what_is_suspended_after_everything_at_once(bench: Bench) -> None:
    """And once nothing is suspended, everything leaves: no message stays behind, none is sent twice."""
    for number in range(MESSAGES):
        await bench.add(f"m{number}", batch_code=(None, "one", "two")[number % 3])
    async with open_store(bench.url) as other:
        await asyncio.gather(
            change_its_mind(bench.store, 1),
            change_its_mind(other, 2),
            dispatch(bench.store, bench.lane, OWNER, 3),
            dispatch(other, bench.lane, OTHER, 4),
        )
    await mark(bench.store)
    assert await bench.rows(WRONG) == []

    await bench.store.suspensions.activate("acme", EVERYTHING)
    await mark(bench.store)
    await bench.store.queue.promote(NOW + 10)
    for claimed in await bench.claim(MESSAGES):
        await bench.store.queue.begin_final(claimed, OWNER, NOW, "handing over")
        await bench.store.queue.settle(as_sent(claimed), OWNER, NOW)
    assert {row["status"] for row in await bench.rows("SELECT status FROM messages")} == {"sent"}
    (told,) = await bench.rows("SELECT COUNT(*) AS n FROM events WHERE event_type = 'sent'")
    assert told["n"] == MESSAGES
