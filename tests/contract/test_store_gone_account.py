"""What waits for an account that goes: all of it fails, and nothing of an account that comes after it."""

from __future__ import annotations

import pytest

from mail_proxy.errors import Conflict
from mail_proxy.model.messages import Status
from tests.support.stores import NOW, Bench


async def waiting(bench: Bench) -> None:
    """One message ready, one held, one deferred, one sent."""
    await bench.sent("sent")
    await bench.add("ready")
    await bench.add("held", batch_code="june")
    await bench.execute("UPDATE messages SET is_held = 1 WHERE id = 'held'")
    await bench.add("later", deferred_ts=NOW + 1000)


async def statuses(bench: Bench) -> dict[str, Status]:
    rows = await bench.rows("SELECT id, status FROM messages")
    return {row["id"]: Status(row["status"]) for row in rows}


async def test_all_that_waits_fails_with_its_account(bench: Bench) -> None:
    """Ready, held or deferred; what was sent stays sent, what another account has stays pending."""
    await waiting(bench)
    lane = await bench.account("other")
    await bench.add("others", account_id="other", lane=lane)
    with pytest.raises(Conflict, match="3 queued"):
        await bench.store.accounts.delete("acme", "main", force=False)

    assert await bench.delete_account() == 3
    assert await statuses(bench) == {
        "sent": Status.SENT,
        "ready": Status.ERROR,
        "held": Status.ERROR,
        "later": Status.ERROR,
        "others": Status.PENDING,
    }


async def test_all_that_waits_in_a_lane_fails_when_its_account_is_gone_already(bench: Bench) -> None:
    """One that is ready leads to the others; a new account of the same name keeps its own."""
    await waiting(bench)
    await bench.execute("DELETE FROM accounts")
    lane = await bench.account("main")
    await bench.add("new", lane=lane)

    assert await bench.fail_left(bench.lane) == 3
    assert await bench.fail_left(bench.lane) == 0
    found = await statuses(bench)
    assert {name for name, status in found.items() if status is Status.ERROR} == {"ready", "held", "later"}
    assert found["new"] is Status.PENDING
