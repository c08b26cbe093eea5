"""What providers say of their limits, a recipient's own, and the end of the retries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mail_proxy.model.messages import EventType
from tests.support.dispatching import Dispatching, dispatching
from tests.support.faults import speak_to, trouble
from tests.support.faulty_server import FaultyServer, Step

ANN, BOB = "ann@example.net", "bob@example.net"


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[Dispatching]:
    async with dispatching(sqlite_url) as made:
        yield made


@pytest.fixture
async def either_rig(database_url: str) -> AsyncIterator[Dispatching]:
    """The same on both engines."""
    async with dispatching(database_url) as made:
        yield made


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Step.DOT, "550 5.4.5 Daily user sending limit exceeded"),
        (Step.DOT, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; no"),
        (Step.MAIL, "454 Throttling failure: Daily message quota exceeded."),
        (Step.MAIL, "530 5.7.0 Authentication required"),
    ],
    ids=["gmail", "exchange", "ses", "login-wanted"],
)
async def test_an_account_that_has_used_up_its_quota_rests_and_no_message_fails(
    either_rig: Dispatching, step: Step, said: str
) -> None:
    """However long that takes: half a day here, in which one message now and then tries."""
    rig = either_rig
    async with FaultyServer(at={step: said}).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1", "m2", "m3")
        for _ in range(12):
            rig.time.advance(3600)
            await rig.work(2)
        assert [await rig.status(each) for each in ("m1", "m2", "m3")] == ["deferred"] * 3
        assert await trouble(rig) == said
        assert (await rig.last("m1", EventType.DEFERRED))["retry_count"] == 0
        assert server.accepted == []

        server.heal()
        for _ in range(3):
            rig.time.advance(900)
            await rig.work()
        assert [await rig.status(each) for each in ("m1", "m2", "m3")] == ["sent"] * 3
        assert await trouble(rig) is None
    assert len(server.accepted) == 3


async def test_a_full_mailbox_ends_its_own_message_and_troubles_nobody(rig: Dispatching) -> None:
    async with FaultyServer(refusals={"bob": "552 5.2.2 over quota"}).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1", to=[BOB])
        await rig.queue("m2", to=[ANN])
        await rig.work()
        assert (await rig.message("m1")).error == "552 5.2.2 over quota"
        assert await rig.status("m2") == "sent"
        assert await trouble(rig) is None


@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DOT], ids=str)
async def test_a_message_is_tried_six_times_and_then_an_error_with_the_last_words(
    rig: Dispatching, step: Step
) -> None:
    """After 1, 5 and 15 minutes, 1 and 2 hours."""
    async with FaultyServer().running() as server:
        await speak_to(rig, server)
        await rig.queue("m1")
        waits: list[float] = []
        while len(waits) < 6:
            server.at = {step: f"451 4.3.0 not now, {len(waits)}"}
            await rig.work()
            message = await rig.message("m1")
            if message.deferred_ts is None:
                break
            waits.append(message.deferred_ts - rig.clock.now())
            rig.time.advance(waits[-1])
        assert waits == [60, 300, 900, 3600, 7200]
        assert (message.status.value, message.error) == ("error", "451 4.3.0 not now, 5")
        assert (await rig.happened("m1"))[-1] == "error"
    assert server.accepted == []
