"""What ends without an attempt ends alike, whatever the reason, and each recipient shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mail_proxy.model.accounts import LimitBehavior
from mail_proxy.model.messages import EventType, Recipient, RecipientStatus, Status
from mail_proxy.store import rows as shape
from tests.support.stores import NOW, OWNER, Bench

Ending = Callable[[Bench], Awaitable[None]]

LATER = NOW + 100

TAKEN = Recipient(address="ann@example.net", status=RecipientStatus.SENT, code="250", reply="250 ok")
REFUSED = Recipient(address="cid@example.net", status=RecipientStatus.ERROR, code="550", reply="550 who?")
PUT_OFF = Recipient(address="bob@example.net", status=RecipientStatus.DEFERRED, code="450", reply="450 wait")
UNTRIED = Recipient(address="dan@example.net")


async def reject(bench: Bench) -> None:
    """A rate limit is used up, and what is over it is not to wait."""
    await bench.execute(
        f"INSERT INTO send_log (seq, tenant_id, lane, sent_at) VALUES (0, 'acme', {bench.lane}, {NOW})"
    )
    await bench.store.accounts.change(
        "acme", "main", lambda old: replace(old, limit_per_day=1, limit_behavior=LimitBehavior.REJECT), NOW
    )
    claim = await bench.store.queue.claim(bench.lane, 10, OWNER, LATER, LATER + 30)
    assert (claim.messages, claim.rejected) == ((), 1)


async def delete(bench: Bench) -> None:
    """The account is deleted by force."""
    assert await bench.delete_account(now=LATER) == 1


async def give_up(bench: Bench) -> None:
    """The account could not be used for too long."""
    account = await bench.store.accounts.get("acme", "main")
    await bench.store.circuits.trip(account, "535 not you", NOW)
    assert await bench.store.circuits.give_up(bench.lane, NOW, "waited too long", LATER) == 1


WAYS = pytest.mark.parametrize(
    ("end", "reason"),
    [(reject, "rate_limit_exceeded"), (delete, "account deleted"), (give_up, "waited too long")],
)


async def waiting(bench: Bench, *recipients: Recipient) -> None:
    """A message whose recipients have fared so."""
    await bench.add("m", recipients=tuple(each.address for each in recipients))
    await bench.execute(f"UPDATE messages SET recipients = '{shape.recipients_text(recipients)}'")


def failed(recipient: Recipient, reason: str) -> Recipient:
    """Without a code, which would be a server's."""
    return Recipient(address=recipient.address, status=RecipientStatus.ERROR, reply=reason)


@WAYS
async def test_what_nobody_has_got_is_an_error(bench: Bench, end: Ending, reason: str) -> None:
    """Each recipient shows the reason, but for one that a server has refused; one event tells it."""
    await waiting(bench, REFUSED, PUT_OFF, UNTRIED)
    await end(bench)

    message = await bench.get("m")
    assert (message.status, message.error, message.error_ts, message.last_error) == (
        Status.ERROR, reason, LATER, reason,
    )  # fmt: skip
    assert message.recipients == (REFUSED, failed(PUT_OFF, reason), failed(UNTRIED, reason))
    [_, event] = await bench.events("m")
    assert (event.event_type, event.event_ts, event.description) == (EventType.ERROR, LATER, reason)
    assert event.event_data == {"error": reason}


@WAYS
async def test_what_somebody_has_got_counts_as_sent(bench: Bench, end: Ending, reason: str) -> None:
    """Whoever reads that it failed would send it to all of them again; the event names those without it."""
    await waiting(bench, TAKEN, REFUSED, PUT_OFF, UNTRIED)
    await end(bench)

    message = await bench.get("m")
    assert (message.status, message.error, message.error_ts, message.last_error) == (
        Status.SENT, None, None, reason,
    )  # fmt: skip
    assert message.recipients == (TAKEN, REFUSED, failed(PUT_OFF, reason), failed(UNTRIED, reason))
    [_, event] = await bench.events("m")
    assert (event.event_type, event.description) == (EventType.ERROR, reason)
    assert event.event_data == {
        "error": reason,
        "recipients": [
            {"address": each.address, "status": "error", "code": None, "reply": reason}
            for each in (PUT_OFF, UNTRIED)
        ],
    }


@WAYS
async def test_what_has_failed_waits_for_nothing_any_more(bench: Bench, end: Ending, reason: str) -> None:
    """Neither for a moment nor for its account."""
    await waiting(bench, PUT_OFF)
    await bench.execute(
        f"UPDATE messages SET parked_for = 'account', parked_since = {NOW}, deferred_ts = {LATER + 9}"
    )
    await end(bench)

    [row] = await bench.rows(
        "SELECT deferred_ts, parked_for, parked_since, is_held, lease_owner, last_error FROM messages"
    )
    columns = ("deferred_ts", "parked_for", "parked_since", "is_held", "lease_owner", "last_error")
    assert [row[column] for column in columns] == [None, None, None, 0, None, reason]
    assert await bench.store.queue.promote(LATER + 9) == 0
