"""A message that rides does not go on, or waits for long: it leaves, and costs the others nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mail_proxy.model.verdicts import Deferred, Scope, Verdict
from mail_proxy.smtp.lending import RIDE
from mail_proxy.smtp.pool import NO_RIDES, CalledOff
from tests.support.delivery import Gate
from tests.support.row_sender import row, taken, verdict_of
from tests.support.row_server import RowServer, at


async def test_what_the_final_step_of_the_second_raises_is_its_own() -> None:
    gate = Gate(RuntimeError("suspended"))
    server = RowServer()
    async with row(server) as sender:
        sends = [*sender.begin("a"), asyncio.create_task(sender.deliver("b", gate=gate)), *sender.begin("c")]
        assert verdict_of(await sends[0]) == taken("a")
        with pytest.raises(RuntimeError, match="suspended"):
            await sends[1]
        assert verdict_of(await sends[2]) == taken("c")
    assert (server.accepted, gate.passed, gate.pieces) == ([*"ac"], 1, 0)


async def test_a_message_whose_lease_is_lost_while_it_rides_is_not_sent() -> None:
    gate = Gate(lost_at=1)
    server = RowServer()
    async with row(server) as sender:
        sends = [*sender.begin("a"), asyncio.create_task(sender.deliver("b", gate=gate)), *sender.begin("c")]
        first, second, third = [verdict_of(await each) for each in sends]
        assert (first, third) == (taken("a"), taken("c"))
        assert isinstance(second, Deferred)
        assert (second.scope, second.unknown) == (Scope.NODE, False)
        assert await sender.send("d", "e") == [taken("d"), taken("e")]
    assert (server.accepted, server.rode) == ([*"acde"], ["b", "e"])


async def test_a_message_that_is_cancelled_while_it_rides_leaves_no_trace() -> None:
    held = asyncio.Event()
    server = RowServer(does=at("dot", "a", held))
    async with row(server) as sender:
        first, second, third = sender.begin("a", "b", "c")
        await server.until(lambda: server.heard("dot", "a") == 1)
        second.cancel()
        held.set()
        assert [verdict_of(await first), verdict_of(await third)] == [taken("a"), taken("c")]
        assert second.cancelled()
        assert await sender.send("d", "e") == [taken("d"), taken("e")]
    assert (server.accepted, server.rode) == ([*"acde"], ["b", "e"])


async def test_a_message_that_is_cancelled_as_it_gets_the_connection_leaves_no_trace() -> None:
    server = RowServer()
    async with row(server) as sender:

        async def first() -> Verdict:
            verdict = verdict_of(await sender.deliver("a"))
            second.cancel()  # it has been told that the connection is its own, and has not yet run
            return verdict

        sends = [asyncio.create_task(first())]
        second, third = sender.begin("b", "c")
        assert await sends[0] == taken("a")
        assert verdict_of(await third) == taken("c")
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await sender.send("d", "e") == [taken("d"), taken("e")]
    assert (server.accepted, server.rode) == ([*"acde"], ["b", "e"])


async def test_a_message_that_is_cancelled_amid_its_end_does_not_take_the_second_along() -> None:
    held = asyncio.Event()
    server = RowServer(does=at("dot", "a", held))
    async with row(server) as sender:
        first, second = sender.begin("a", "b")
        await server.until(lambda: server.heard("dot", "a") == 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        held.set()
        assert verdict_of(await second) == taken("b")
    assert server.accepted == ["a", "b"]


async def test_a_message_is_let_off_a_connection_that_hangs_and_goes_over_the_next_that_is_free() -> None:
    """The reply to the first is still the first's, whenever it comes."""
    held, late = asyncio.Event(), asyncio.Event()
    events = {("dot", "a"): held, ("MAIL", "b"): late}
    server = RowServer(does=lambda step: events.get((step.verb, step.who)))
    async with row(server, limit=2) as sender:
        first, second, third = sender.begin("a", "b", "c")
        await server.until(lambda: server.heard("dot", "a") == 1)
        assert server.rode == ["c"]
        sender.clock.advance(RIDE - 0.1)
        await sender.agent.cleanup()
        sender.clock.advance(0.1)
        await sender.agent.cleanup()
        late.set()
        assert [verdict_of(await each) for each in (second, third)] == [taken("b"), taken("c")]
        held.set()
        assert verdict_of(await first) == taken("a")
        assert await sender.send(*"defg") == [taken(name) for name in "defg"]
    assert server.accepted[:3] == ["b", "c", "a"]
    assert Counter(server.accepted) == Counter("abcdefg")
    assert server.rode == ["c"]


async def test_behind_a_server_that_is_slow_to_take_messages_none_ride_for_long() -> None:
    """Each would be let off, and its connection lost."""
    held = asyncio.Event()
    server = RowServer(does=at("dot", "a", held))
    async with row(server) as sender:
        first, second = sender.begin("a", "b")
        await server.until(lambda: server.heard("dot", "a") == 1)
        sender.clock.advance(RIDE)
        await sender.agent.cleanup()
        held.set()
        assert [verdict_of(await first), verdict_of(await second)] == [taken("a"), taken("b")]
        connections = server.connections
        assert await sender.send("c", "d") == [taken("c"), taken("d")]
        assert (server.rode, server.connections) == (["b"], connections)
        sender.clock.advance(NO_RIDES)
        await sender.agent.cleanup()
        assert await sender.send("e", "f") == [taken("e"), taken("f")]
    assert server.rode == ["b", "f"]


async def test_a_message_that_was_let_off_waits_if_no_other_connection_may_be() -> None:
    held = asyncio.Event()
    server = RowServer(does=at("dot", "a", held))
    async with row(server) as sender:
        first, second, third = sender.begin("a", "b", "c")
        await server.until(lambda: server.heard("dot", "a") == 1)
        sender.clock.advance(RIDE)
        await sender.agent.cleanup()
        held.set()
        assert [verdict_of(await each) for each in (first, second, third)] == [*map(taken, "abc")]
    assert (server.accepted, server.connections) == ([*"abc"], 2)


async def test_a_message_that_is_called_off_comes_back_whatever_the_server_does() -> None:
    held, gate = asyncio.Event(), Gate()
    server = RowServer(does=at("dot", "a", held))
    async with row(server) as sender:
        (first,) = sender.begin("a")
        called_off = [asyncio.create_task(sender.deliver(name, gate=gate)) for name in "bc"]
        await server.until(lambda: server.heard("dot", "a") == 1)
        gate.is_off = True
        await sender.agent.cleanup()
        with pytest.raises(CalledOff):
            await called_off[1]
        assert not called_off[0].done()  # it has begun
        sender.clock.advance(RIDE)
        await sender.agent.cleanup()
        with pytest.raises(CalledOff):
            await called_off[0]
        held.set()
        assert verdict_of(await first) == taken("a")
        assert await sender.send("d", "e") == [taken("d"), taken("e")]
    assert (server.accepted, gate.passed) == ([*"ade"], 0)


async def test_those_called_off_while_they_wait_do_not_keep_the_turn_from_the_others() -> None:
    held, gate = asyncio.Event(), Gate()
    server = RowServer(does=at("MAIL", "a", held))
    async with row(server) as sender:
        (first,) = sender.begin("a")
        called_off = [asyncio.create_task(sender.deliver(name, gate=gate)) for name in "bcd"]
        (last,) = sender.begin("e")
        await server.until(lambda: server.heard("MAIL", "a") == 1)
        gate.is_off = True
        held.set()
        assert [verdict_of(await first), verdict_of(await last)] == [taken("a"), taken("e")]
        for each in called_off:
            with pytest.raises(CalledOff):
                await each
    assert (server.accepted, server.rode, server.heard("MAIL", "b")) == (["a", "e"], [], 0)
