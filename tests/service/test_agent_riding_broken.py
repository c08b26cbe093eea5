"""The connection ends, or fails, with a message on it and another that rides."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import pytest

from mail_proxy.model.verdicts import Deferred
from mail_proxy.smtp.lending import RIDE
from mail_proxy.smtp.pool import NO_RIDES
from tests.support.delivery import HASTY, PATIENT, Gate
from tests.support.row_sender import plain_or_tls, row, taken, verdict_of
from tests.support.row_server import Act, RowServer, at


@plain_or_tls
@pytest.mark.parametrize("end", [Act.FIN, Act.RST])
async def test_a_server_that_closes_after_a_mail_gets_the_next_over_another_connection(
    end: Act, tls: ssl.SSLContext | None
) -> None:
    """And for an hour none rides to it: an unread command makes the close a reset, which may cost a reply."""
    server = RowServer(tls=tls, does=lambda step: end if step.verb == "taken" and step.who == "a" else None)
    async with row(server) as sender:
        assert await sender.send("a", "b") == [taken("a"), taken("b")]
        assert (server.accepted, server.rode, server.connections) == (["a", "b"], ["b"], 2)
        assert await sender.send("c", "d") == [taken("c"), taken("d")]
        sender.clock.advance(NO_RIDES - 1)
        await sender.agent.cleanup()
        assert await sender.send("e", "f") == [taken("e"), taken("f")]
        assert server.rode == ["b"]
        sender.clock.advance(2)
        await sender.agent.cleanup()
        assert await sender.send("g", "h") == [taken("g"), taken("h")]
    assert server.rode == ["b", "h"]
    assert server.accepted == [*"abcdefgh"]


async def test_when_the_reply_is_lost_with_the_connection_only_the_first_is_in_doubt() -> None:
    server = RowServer(does=at("taken", "a", Act.DROP))
    async with row(server) as sender:
        first, *others = await sender.send("a", "b", "c")
    assert isinstance(first, Deferred)
    assert first.unknown
    assert others == [taken("b"), taken("c")]
    assert (server.accepted, server.rode) == ([*"abc"], ["b"])


@pytest.mark.parametrize("is_let_off", [False, True])
async def test_a_server_that_cannot_find_the_end_before_the_next_message_meets_none_again(
    is_let_off: bool,
) -> None:
    """It offers PIPELINING, and looks for the dot at the end of what has come."""
    server = RowServer(does=at("dot", "a", Act.HANG))
    async with row(server, timeouts=replace(PATIENT, final=0.6)) as sender:
        sends = sender.begin("a", "b")
        await server.until(lambda: server.heard("dot", "a") == 1)
        if is_let_off:
            sender.clock.advance(RIDE)
            await sender.agent.cleanup()
        first, second = [verdict_of(await each) for each in sends]
        assert isinstance(first, Deferred)
        assert first.unknown
        assert second == taken("b")
        assert await sender.send("c", "d") == [taken("c"), taken("d")]
    assert (server.accepted, server.rode) == ([*"bcd"], ["b"])


async def test_a_server_that_forgets_what_followed_the_dot_meets_none_again() -> None:
    server = RowServer(does=at("taken", "a", Act.SWALLOW))
    async with row(server, timeouts=HASTY) as sender:
        assert await sender.send("a", "b") == [taken("a"), taken("b")]
        assert await sender.send("c", "d") == [taken("c"), taken("d")]
    assert (server.accepted, server.rode, server.connections) == ([*"abcd"], ["b"], 2)


async def test_a_server_that_says_what_is_no_reply_along_with_one_meets_none_again() -> None:
    server = RowServer(does=at("taken", "a", "250 2.0.0 a is taken\r\nhello?"))
    async with row(server) as sender:
        assert await sender.send("a", "b") == [taken("a"), taken("b")]
        assert await sender.send("c", "d") == [taken("c"), taken("d")]
    assert (server.accepted, server.rode, server.connections) == ([*"abcd"], ["b"], 2)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_connection_that_ends_while_the_second_begins_costs_it_nothing(verb: str) -> None:
    gate = Gate()
    server = RowServer(
        does=lambda step: Act.DROP if (step.verb, step.connection, step.mail) == (verb, 1, 2) else None
    )
    async with row(server) as sender:
        first, *_ = sender.begin("a")
        second = asyncio.create_task(sender.deliver("b", gate=gate))
        assert [verdict_of(await first), verdict_of(await second)] == [taken("a"), taken("b")]
    assert (server.accepted, server.connections, gate.passed) == ([*"ab"], 2, 1)
