"""Why a message waits: each reason with the message really in that state."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mail_proxy.errors import NotFound
from mail_proxy.model.accounts import Circuit
from mail_proxy.model.explanations import Explanation, Reason
from mail_proxy.model.messages import Status
from mail_proxy.model.queue import NodeInfo
from mail_proxy.services.explanation import MOST_AHEAD
from mail_proxy.services.instance import NODE_TIMEOUT
from mail_proxy.store.parking import HEADS
from tests.support.dispatching import OWNER, TENANT, Dispatching
from tests.support.scripted_server import Fault
from tests.support.smtp_server import SmtpServer, Stage

BARRED = "535 5.7.8 not you"
HOUR = 3600.0


@pytest.fixture(autouse=True)
async def alive(rig: Dispatching) -> None:
    """The dispatcher's node is known to live."""
    await seen(rig)


async def seen(rig: Dispatching) -> None:
    now = rig.clock.now()
    node = NodeInfo(node_id=OWNER, name="first", pid=1, version="1", started_at=now, seen_at=now)
    await rig.store.nodes.seen(node, forget_before=now - HOUR)


async def explain(rig: Dispatching, message_id: str = "m1") -> Explanation:
    return await rig.runtime.services.explanation.explain(TENANT, message_id)


def reasons(explanation: Explanation) -> Sequence[Reason]:
    return [cause.reason for cause in explanation.causes]


async def limit(rig: Dispatching, per_minute: int) -> None:
    await rig.execute(f"UPDATE accounts SET limit_per_minute = {per_minute}")


async def test_in_line(rig: Dispatching) -> None:
    """Nothing keeps it: it is told how many go before it, by priority and age."""
    await rig.queue("low", priority=3)
    await rig.queue("m1", "m2")
    await rig.queue("urgent", priority=0)
    queued_at = rig.clock.now()
    rig.time.advance(5)

    found = {each: await explain(rig, each) for each in ("urgent", "m1", "m2", "low")}

    assert [each.ahead for each in found.values()] == [0, 1, 2, 3]
    assert {tuple(reasons(each)) for each in found.values()} == {(Reason.IN_LINE,)}
    assert found["m1"].causes[0].since == queued_at
    assert (found["m1"].message.retry_count, found["m1"].attempts_left) == (0, 6)


async def test_of_very_many_ahead_not_all_are_counted(rig: Dispatching) -> None:
    await rig.queue("first")
    await rig.execute(
        "INSERT INTO messages (pk, tenant_id, id, account_id, lane, status, priority, recipients,"
        " message_id, is_pec, size, created_at, updated_at)"
        " SELECT 'pk-' || a.n || '-' || b.n, tenant_id, 'x' || a.n || '-' || b.n, account_id, lane, status,"
        " 1, recipients, message_id, is_pec, size, created_at, updated_at FROM messages"
        f" CROSS JOIN ({numbers(40)}) AS a CROSS JOIN ({numbers(30)}) AS b"
    )

    found = await explain(rig, "first")

    assert (found.ahead, found.is_more_ahead) == (MOST_AHEAD, True)


def numbers(count: int) -> str:
    return " UNION ALL ".join(f"SELECT {number} AS n" for number in range(count))


async def test_scheduled(rig: Dispatching) -> None:
    """Until its time, which a person may have set again; then it is in line since that."""
    now = rig.clock.now()
    await rig.queue("m1", deferred_ts=int(now + HOUR))
    [cause] = (await explain(rig)).causes
    assert (cause.reason, cause.since, cause.until) == (Reason.SCHEDULED, now, int(now + HOUR))

    await rig.runtime.services.rescheduling.retry(TENANT, "m1", now + 2 * HOUR)
    [cause] = (await explain(rig)).causes
    assert (cause.reason, cause.until) == (Reason.SCHEDULED, now + 2 * HOUR)

    rig.time.advance(2 * HOUR + 1)
    await rig.store.queue.promote(rig.clock.now())
    await seen(rig)
    [cause] = (await explain(rig)).causes
    assert (cause.reason, cause.since) == (Reason.IN_LINE, now + 2 * HOUR)


async def test_to_be_tried_again(rig: Dispatching, server: SmtpServer) -> None:
    """With the server's own words, how often it was tried and how often it will be."""
    await rig.queue("m1", to=["grey@example.net"])
    await rig.work()

    found = await explain(rig)

    [cause] = found.causes
    assert (cause.reason, cause.since, cause.until) == (
        Reason.RETRY,
        rig.clock.now(),
        rig.clock.now() + 60,
    )
    assert cause.detail == found.message.last_error
    assert "greylisted" in str(cause.detail)
    assert (found.message.retry_count, found.attempts_left, found.ahead) == (1, 5, None)


async def test_its_account_rests(rig: Dispatching, server: SmtpServer) -> None:
    """Whether it has tried the account itself or stands behind; then one message tries it again."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue("m1", "m2")
    await rig.work()
    began = rig.clock.now()

    for message_id in ("m1", "m2"):
        found = await explain(rig, message_id)
        [cause] = found.causes
        assert (cause.reason, cause.since, cause.until) == (Reason.ACCOUNT, began, began + 30)
        assert "535" in str(cause.detail)
        assert found.condition is not None
        assert (found.condition.circuit, found.condition.ill_since) == (Circuit.OPEN, began)

    rig.time.advance(31)
    await seen(rig)
    [cause] = (await explain(rig)).causes
    assert (cause.reason, cause.until) == (Reason.ACCOUNT, None)


async def test_a_full_rate_limit(rig: Dispatching) -> None:
    """Which one, and when the message goes about: each in its turn."""
    await limit(rig, 1)
    await rig.queue("sent", "m1", "m2")
    await rig.work(2)
    began = rig.clock.now()

    first, second = await explain(rig), await explain(rig, "m2")

    assert reasons(first) == reasons(second) == [Reason.LIMIT]
    assert first.causes[0].detail == first.windows[0].limit == "account main: 1 a minute"
    assert first.windows[0].taken == 1
    assert first.windows[0].frees_at == pytest.approx(began + 60, abs=1)
    assert first.causes[0].until == pytest.approx(began + 60, abs=1)
    assert second.causes[0].until == pytest.approx(began + 120, abs=1)
    assert (first.ahead, second.ahead) == (0, 1)


async def test_a_full_rate_limit_far_back_in_line(rig: Dispatching) -> None:
    """What does not say yet that it waits does not go with the next slot either: the heads go before it."""
    await limit(rig, 1)
    await rig.queue("sent", *(f"m{number}" for number in range(HEADS + 5)))
    await rig.work(2)

    last = await explain(rig, f"m{HEADS + 4}")

    assert (last.message.status, last.ahead) == (Status.PENDING, HEADS + 4)
    assert last.causes[0].until == pytest.approx(rig.clock.now() + HEADS * 60, abs=2)


async def test_suspended(rig: Dispatching) -> None:
    """Which batch, and since when; all of the tenant is told in its place."""
    await rig.queue("m1", batch_code="spring")
    began = rig.clock.now()
    await rig.runtime.services.suspensions.suspend(TENANT, "spring")
    found = await explain(rig)
    [cause] = found.causes
    assert (cause.reason, cause.since, cause.detail) == (Reason.SUSPENDED, began, "spring")
    assert found.ahead is None

    await rig.runtime.services.suspensions.suspend(TENANT)
    assert [(each.reason, each.detail) for each in (await explain(rig)).causes] == [(Reason.SUSPENDED, None)]


async def test_held_because_its_outcome_is_unknown(rig: Dispatching, server: SmtpServer) -> None:
    server.at = {Stage.ACCEPTED: Fault.DROP}
    await rig.execute("UPDATE accounts SET on_unknown = 'hold'")
    await rig.queue("m1")
    await rig.work()
    began = rig.clock.now()

    found = await explain(rig)

    [cause] = found.causes
    assert (cause.reason, cause.since, cause.until) == (Reason.UNKNOWN_OUTCOME_HELD, began, None)
    assert cause.detail == found.message.last_error


async def test_its_tenant_is_not_active(rig: Dispatching) -> None:
    await rig.queue("m1")
    await rig.execute("UPDATE tenants SET active = 0")
    assert reasons(await explain(rig)) == [Reason.TENANT_INACTIVE]


async def test_the_instance_is_suspended(rig: Dispatching) -> None:
    await rig.queue("m1")
    await rig.runtime.services.instance.set_active(False)
    assert reasons(await explain(rig)) == [Reason.INSTANCE_SUSPENDED]


async def test_no_server_is_running(rig: Dispatching) -> None:
    """None took its leave, and none was heard of for half a minute."""
    await rig.queue("m1")
    rig.time.advance(NODE_TIMEOUT + 1)
    assert reasons(await explain(rig)) == [Reason.NO_RUNNING_SERVER]


async def test_its_account_was_deleted(rig: Dispatching) -> None:
    """While it was in hand: it comes back to a queue that is nobody's."""
    await rig.queue("m1")
    lane = (await rig.store.accounts.get(TENANT, "main")).lane
    claim = await rig.store.queue.claim(lane, 1, OWNER, rig.clock.now(), rig.clock.now() + 30)
    await rig.execute("DELETE FROM accounts")
    await rig.store.queue.release([claim.messages[0].seq], OWNER, rig.clock.now())

    found = await explain(rig)

    assert (reasons(found), found.condition) == ([Reason.ACCOUNT_GONE], None)


async def test_being_sent(rig: Dispatching, server: SmtpServer) -> None:
    """By whom, and whether its content is under way."""
    envelope, dot = asyncio.Event(), asyncio.Event()
    server.at = {Stage.EHLO: [envelope], Stage.DOT: [dot]}
    await rig.queue("m1")
    claimed_at = rig.clock.now()
    await rig.dispatcher.step()
    await server.wait_at(Stage.EHLO)
    found = await explain(rig)
    [cause] = found.causes
    assert (cause.reason, cause.since) == (Reason.BEING_SENT, claimed_at)
    assert found.sender is not None
    assert (found.sender.name, found.sender.is_alive, found.sender.begun_at) == ("first", True, None)

    rig.time.advance(5)
    envelope.set()
    await server.wait_at(Stage.DOT)
    found = await explain(rig)
    [cause] = found.causes
    assert (cause.reason, cause.since) == (Reason.BEING_SENT, claimed_at + 5)
    assert found.sender is not None
    assert found.sender.begun_at == claimed_at + 5

    dot.set()
    await rig.dispatcher.idle()
    assert reasons(await explain(rig)) == [Reason.DONE]


async def test_whoever_sent_it_is_gone(rig: Dispatching) -> None:
    """It is taken over when its lease runs out, if a server is there to do it."""
    await rig.queue("m1")
    lane = (await rig.store.accounts.get(TENANT, "main")).lane
    until = rig.clock.now() + NODE_TIMEOUT + 10
    await rig.store.queue.claim(lane, 1, OWNER, rig.clock.now(), until)
    rig.time.advance(NODE_TIMEOUT + 1)
    found = await explain(rig)
    assert reasons(found) == [Reason.NO_RUNNING_SERVER, Reason.SENDER_LOST]
    assert found.causes[1].until == until

    now = rig.clock.now()
    other = NodeInfo(node_id="other", name="other", pid=2, version="1", started_at=now, seen_at=now)
    await rig.store.nodes.seen(other, forget_before=0.0)
    found = await explain(rig)
    assert reasons(found) == [Reason.SENDER_LOST]
    assert found.sender is not None
    assert (found.sender.name, found.sender.is_alive) == ("first", False)


async def test_what_was_parked_and_is_taken_over_is_back_in_line(rig: Dispatching) -> None:
    """A node died that had claimed it: nothing had been sent."""
    await limit(rig, 1)
    await rig.queue("sent", "m1")
    await rig.work(2)
    rig.time.advance(61)
    lane = (await rig.store.accounts.get(TENANT, "main")).lane
    claim = await rig.store.queue.claim(lane, 1, "other", rig.clock.now(), rig.clock.now() + 30)
    assert [message.id for message in claim.messages] == ["m1"]
    rig.time.advance(31)
    await rig.store.queue.take_over(rig.clock.now(), owner=OWNER)
    await seen(rig)

    assert reasons(await explain(rig)) == [Reason.IN_LINE]


@pytest.mark.parametrize(
    ("to", "detail"), [("ann@example.net", None), ("nouser@example.net", "no such user")]
)
async def test_done(rig: Dispatching, server: SmtpServer, to: str, detail: str | None) -> None:
    """What became of it, in the server's words if it failed."""
    await rig.queue("m1", to=[to])
    await rig.work()
    rig.time.advance(5)

    found = await explain(rig)

    [cause] = found.causes
    assert (cause.reason, cause.since) == (Reason.DONE, rig.clock.now() - 5)
    assert (cause.detail is None) == (detail is None)
    assert (detail or "") in (cause.detail or "")
    assert (found.ahead, found.attempts_left) == (None, None)


async def test_several_reasons_the_decisive_one_first(rig: Dispatching, server: SmtpServer) -> None:
    """What only a person ends decides; of what passes, the last to pass."""
    await limit(rig, 1)
    await rig.queue("sent", "m1")
    await rig.work()
    server.at = {Stage.CONNECT: BARRED}
    account = await rig.store.accounts.get(TENANT, "main")
    await rig.store.circuits.trip(account, BARRED, rig.clock.now())
    assert reasons(await explain(rig)) == [Reason.LIMIT, Reason.ACCOUNT]

    await rig.runtime.services.suspensions.suspend(TENANT)
    await rig.runtime.services.instance.set_active(False)
    assert reasons(await explain(rig)) == [
        Reason.SUSPENDED,
        Reason.INSTANCE_SUSPENDED,
        Reason.LIMIT,
        Reason.ACCOUNT,
    ]


async def test_a_rest_that_ends_before_its_time_comes_keeps_nothing(rig: Dispatching) -> None:
    """What ends later does."""
    account = await rig.store.accounts.get(TENANT, "main")
    await rig.store.circuits.trip(account, BARRED, rig.clock.now())
    await rig.queue("later", deferred_ts=int(rig.clock.now() + HOUR))
    await rig.queue("soon", deferred_ts=int(rig.clock.now() + 10))

    assert reasons(await explain(rig, "later")) == [Reason.SCHEDULED]
    assert reasons(await explain(rig, "soon")) == [Reason.ACCOUNT, Reason.SCHEDULED]


async def test_a_message_that_there_is_not(rig: Dispatching) -> None:
    """Nor is that of another tenant."""
    with pytest.raises(NotFound):
        await explain(rig, "nothing")
    await rig.queue("m1")
    with pytest.raises(NotFound):
        await rig.runtime.services.explanation.explain("other", "m1")
