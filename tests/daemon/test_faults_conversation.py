"""Servers that take some, part with their clients, are slow, or misuse what they offer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from mail_proxy.model.messages import EventType
from tests.support.delivery import HASTY, PATIENT
from tests.support.dispatching import Dispatching, dispatching
from tests.support.faults import set_timeouts, speak_to, trouble
from tests.support.faulty_server import Act, FaultyServer, Step

PIPELINED = pytest.mark.parametrize("offers", [("PIPELINING",), ()], ids=["pipelining", "one-by-one"])


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[Dispatching]:
    async with dispatching(sqlite_url) as made:
        yield made


@pytest.fixture
async def either_rig(database_url: str) -> AsyncIterator[Dispatching]:
    """The same on both engines."""
    async with dispatching(database_url) as made:
        yield made


# Half-accepted recipients

ANN, BOB, CYD = "ann@example.net", "bob@example.net", "cyd@example.net"


@PIPELINED
async def test_only_who_was_refused_for_now_is_tried_again_and_all_outcomes_are_told(
    either_rig: Dispatching, offers: tuple[str, ...]
) -> None:
    rig = either_rig
    refusals = {"bob": "550 5.1.1 no such user", "cyd": "451 4.7.1 greylisted"}
    async with FaultyServer(offers=offers, refusals=refusals).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1", to=[ANN, BOB, CYD])
        await rig.work()
        assert [each.recipients for each in server.accepted] == [(ANN,)]
        assert await rig.happened("m1") == ["queued", "sending", "sent", "error", "deferred"]
        told = {event.event_type: event.event_data or {} for event in await rig.events("m1")}
        assert told[EventType.SENT]["recipients"] == [outcome(ANN, "sent", "2.0.0", "250 2.0.0 queued as 1")]
        assert told[EventType.ERROR]["recipients"] == [
            outcome(BOB, "error", "5.1.1", "550 5.1.1 no such user")
        ]
        assert told[EventType.DEFERRED]["recipients"] == [
            outcome(CYD, "deferred", "4.7.1", "451 4.7.1 greylisted")
        ]

        server.heal()
        server.named.clear()
        rig.time.advance(60)
        await rig.work()
        assert server.named == [CYD]
        assert [each.recipients for each in server.accepted] == [(ANN,), (CYD,)]
        assert await rig.status("m1") == "sent"
        assert (await rig.happened("m1"))[5:] == ["sending", "sent"]
        assert await trouble(rig) is None


def outcome(address: str, status: str, code: str, reply: str) -> dict[str, str]:
    return {"address": address, "status": status, "code": code, "reply": reply}


@PIPELINED
@pytest.mark.parametrize("count", [1, 99, 100, 101, 1000])
async def test_more_recipients_than_a_mail_may_have_all_get_it(
    rig: Dispatching, count: int, offers: tuple[str, ...]
) -> None:
    """In as many mails as that takes, one right after the other: RFC 5321, 4.5.3.1.10. None costs a retry."""
    everybody = [f"p{number}@example.net" for number in range(count)]
    async with FaultyServer(offers=offers, most_recipients=100).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1", to=everybody)
        await rig.work(times=-(-count // 100))
        assert [address for each in server.accepted for address in each.recipients] == everybody
    message = await rig.message("m1")
    assert (message.status.value, message.retry_count) == ("sent", 0)


async def test_a_server_that_takes_no_recipient_at_all_is_not_asked_for_ever(rig: Dispatching) -> None:
    """That there are too many is then a refusal for now, like others."""
    async with FaultyServer(most_recipients=0).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1", to=[ANN, BOB])
        await rig.work(times=3)
        assert server.named == [ANN, BOB]
    assert (await rig.message("m1")).retry_count == 1


@PIPELINED
async def test_who_was_refused_for_good_before_the_connection_broke_is_not_tried_again(
    rig: Dispatching, offers: tuple[str, ...]
) -> None:
    """What was said of one holds, whatever becomes of the rest."""
    server = FaultyServer(offers=offers, refusals={"bob": "550 5.1.1 no such user"}, at={Step.DATA: Act.DROP})
    async with server.running():
        await speak_to(rig, server)
        await rig.queue("m1", to=[BOB, ANN])
        await rig.work()
        assert (await rig.happened("m1"))[-2:] == ["error", "deferred"]
        server.heal()
        server.named.clear()
        rig.time.advance(60)
        await rig.work()
    assert server.named == [ANN]
    assert [each.recipients for each in server.accepted] == [(ANN,)]


@PIPELINED
async def test_nothing_is_sent_when_all_recipients_are_refused(
    rig: Dispatching, offers: tuple[str, ...]
) -> None:
    """Nor does the connection suffer: the next message goes over it."""
    async with FaultyServer(offers=offers, refusals={"bob": "550 5.1.1 no such user"}).running() as server:
        await speak_to(rig, server, max_concurrent=1)
        await rig.queue("m1", to=[BOB])
        await rig.queue("m2", to=[ANN])
        await rig.work()
    assert [await rig.status(each) for each in ("m1", "m2")] == ["error", "sent"]
    assert [each.recipients for each in server.accepted] == [(ANN,)]
    assert server.connections == 1


# Servers that part with their clients


@dataclass(frozen=True, slots=True)
class Parting:
    name: str
    farewell: str


PARTINGS = [
    Parting("421", "421 4.7.0 enough for one connection"),
    Parting("close", ""),
]


@PIPELINED
@pytest.mark.parametrize("parting", PARTINGS, ids=lambda parting: parting.name)
@pytest.mark.parametrize("max_concurrent", [1, 10])
async def test_a_server_that_closes_after_five_mails_gets_all_twenty_once(
    rig: Dispatching, parting: Parting, max_concurrent: int, offers: tuple[str, ...]
) -> None:
    """It is no failure: of no message, and not of the account."""
    names = [f"m{number}" for number in range(20)]
    server = FaultyServer(offers=offers, mails_per_connection=5, farewell=parting.farewell)
    async with server.running():
        await speak_to(rig, server, max_concurrent=max_concurrent)
        await rig.queue(*names)
        for _ in range(5):
            await rig.work()
        assert [await rig.happened(each) for each in names] == [["queued", "sending", "sent"]] * 20
        assert await trouble(rig) is None
    assert len(server.accepted) == 20
    assert len({each.content for each in server.accepted}) == 20
    if max_concurrent == 1:
        assert server.connections == 4


async def test_a_connection_that_the_server_has_enough_of_is_left_though_it_stays_open(
    rig: Dispatching,
) -> None:
    """It would say the same to each message that follows, until the connection's time is over.

    A message that had begun before the one before it had ended goes over another connection at once; after
    that none begins so early.
    """
    names = [f"m{number}" for number in range(20)]
    server = FaultyServer(mails_per_connection=5, farewell="451 4.7.0 too many messages in this session")
    async with server.running():
        await speak_to(rig, server, max_concurrent=1)
        await rig.queue(*names)
        await rig.work(5)
        told = [(await rig.happened(each)).count("deferred") for each in names]
        assert sum(told) == 2
        rig.time.advance(60)
        await rig.work()
        assert [await rig.status(each) for each in names] == ["sent"] * 20
        assert await trouble(rig) is None
    assert len(server.accepted) == 20


async def test_a_server_that_says_so_at_last_and_closes_has_the_mail(either_rig: Dispatching) -> None:
    """The reply counts, not what becomes of the connection."""
    rig = either_rig
    async with FaultyServer(mails_per_connection=1, farewell="").running() as server:
        await speak_to(rig, server, max_concurrent=1)
        await rig.queue("m1", "m2", "m3")
        await rig.work(3)
        assert [await rig.status(each) for each in ("m1", "m2", "m3")] == ["sent"] * 3
    assert (len(server.accepted), server.connections) == (3, 3)


@pytest.mark.parametrize("act", [Act.DROP, Act.HANG], ids=["drop", "hang"])
async def test_a_mail_that_was_taken_unheard_is_told_as_possibly_doubled_and_comes_with_the_same_id(
    either_rig: Dispatching, act: Act
) -> None:
    """The one hole that SMTP leaves, and it is not hidden."""
    rig = either_rig
    async with FaultyServer(at={Step.TAKEN: act}).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1")
        set_timeouts(rig, HASTY if act is Act.HANG else PATIENT)
        await rig.work()
        assert (await rig.last("m1", EventType.DEFERRED))["possible_duplicate"] is True
        server.heal()
        set_timeouts(rig, PATIENT)
        rig.time.advance(60)
        await rig.work()
        message_id = (await rig.message("m1")).message_id.encode()
        assert await rig.status("m1") == "sent"
    assert len(server.accepted) == 2
    assert all(message_id in each.content for each in server.accepted)


# Slow servers


async def test_a_server_that_takes_the_content_too_slowly_has_not_got_the_dot(rig: Dispatching) -> None:
    """Each piece has its time; that some bytes go is not enough."""
    async with FaultyServer(at={Step.CONTENT: Act.READ_SLOWLY}).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1", body="0123456789abcdef" * 40_000)
        set_timeouts(rig, HASTY)
        await rig.work()
        told = await rig.last("m1", EventType.DEFERRED)
        assert told["reason"] == "timed out (sending the message)"
        assert "possible_duplicate" not in told
        server.heal()
        set_timeouts(rig, PATIENT)
        rig.time.advance(60)
        await rig.work()
        assert await rig.status("m1") == "sent"
    assert len(server.accepted) == 1


async def test_a_server_that_hangs_holds_only_its_own_connections(sqlite_url: str) -> None:
    """As long as it may hang, here much longer than the test: the others' mail goes meanwhile."""
    stuck = FaultyServer(at={Step.MAIL: Act.HANG})
    async with dispatching(sqlite_url) as rig, stuck.running(), FaultyServer().running() as good:
        await speak_to(rig, stuck)
        await speak_to(rig, good, "good")
        await rig.queue(*(f"stuck{number}" for number in range(30)))
        others = [f"m{number}" for number in range(30)]
        await rig.queue(*others, account_id="good")
        async with asyncio.timeout(20):
            while len(good.accepted) < 30:
                await rig.dispatcher.step()
                await asyncio.sleep(0.01)
        assert stuck.connections == 10
        assert stuck.accepted == []
        stuck.heal()
        await stuck.hang_up()
        await rig.work()
        assert [await rig.status(each) for each in others] == ["sent"] * 30


# Pipelining offered, and misused


@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT], ids=str)
async def test_a_server_that_throws_pipelined_commands_away_is_deferred(rig: Dispatching, step: Step) -> None:
    async with FaultyServer(at={step: Act.ANSWER_LAST}).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1")
        set_timeouts(rig, HASTY)
        await rig.work()
        assert str((await rig.last("m1", EventType.DEFERRED))["reason"]).startswith("timed out")
        server.heal()
        set_timeouts(rig, PATIENT)
        rig.time.advance(60)
        await rig.work()
        assert await rig.status("m1") == "sent"
    assert len(server.accepted) == 1


async def test_a_server_that_wants_the_content_for_nobody_does_not_get_it(rig: Dispatching) -> None:
    """All recipients are refused, and yet it says 354: whoever it would be for, it was not meant for them."""
    server = FaultyServer(refusals={"bob": "550 5.1.1 no such user"}, takes_for_nobody=True)
    async with server.running():
        await speak_to(rig, server, max_concurrent=1)
        await rig.queue("m1", to=[BOB])
        await rig.queue("m2", to=[ANN])
        await rig.work(2)
        assert [await rig.status(each) for each in ("m1", "m2")] == ["error", "sent"]
    assert [b"Subject: m1" in each.content for each in server.accepted if each.recipients == ()] in (
        [],
        [False],
    )
    assert [each.recipients for each in server.accepted if each.recipients] == [(ANN,)]


async def test_a_refused_sender_is_not_hidden_by_what_follows(rig: Dispatching) -> None:
    """Recipients and DATA are refused because MAIL was: the words that count are those to MAIL."""
    async with FaultyServer(at={Step.MAIL: "550 5.7.1 not you"}).running() as server:
        await speak_to(rig, server)
        await rig.queue("m1", to=[ANN, BOB])
        await rig.work()
        message = await rig.message("m1")
        assert message.status.value == "error"
        assert {each.reply for each in message.recipients} == {"550 5.7.1 not you"}
    assert server.accepted == []
