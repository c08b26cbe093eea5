"""A message may begin along with the end of another's content (RFC 2920, 3.1), if it is such a message."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import pytest

from mail_proxy.model.verdicts import Bounced
from mail_proxy.smtp.agent import MOST_RIDING
from mail_proxy.smtp.framing import wire_pieces
from tests.support.delivery import HASTY
from tests.support.row_sender import plain_or_tls, row, taken, verdict_of
from tests.support.row_server import Act, RowServer, at


async def test_the_next_message_begins_along_with_the_end_of_the_content_before() -> None:
    """A server that answers nothing before it has heard of the next message is not waited for in vain."""
    mum = {("taken", "a"), ("MAIL", "b"), ("RCPT", "ann")}
    server = RowServer(
        does=lambda step: Act.MUM if (step.verb, step.who) in mum and server.accepted else None
    )
    async with row(server, timeouts=HASTY) as sender:
        assert await sender.send("a", "b") == [taken("a"), taken("b")]
    assert (server.rode, server.connections) == (["b"], 1)


@plain_or_tls
async def test_in_a_row_each_begins_with_the_end_of_the_one_before(tls: ssl.SSLContext | None) -> None:
    server = RowServer(tls=tls)
    async with row(server) as sender:
        assert await sender.send(*"abcdef") == [taken(name) for name in "abcdef"]
        assert sender.agent.open_connections == 1
    assert (server.accepted, server.rode, server.connections) == ([*"abcdef"], [*"bcdef"], 1)


async def test_a_row_over_several_connections_delivers_each_once() -> None:
    names = [f"m{number}" for number in range(40)]
    server = RowServer()
    async with row(server, limit=3) as sender:
        assert await sender.send(*names) == [taken(name) for name in names]
    assert sorted(server.accepted) == sorted(names)
    assert server.connections == 3
    assert len(server.rode) > len(names) / 2


LARGE = b"Subject: large\r\n\r\n" + b".one\r\n" * 10 + b"0123456789abcdef" * 4 * 16_000 + b"\r\n.\r\n"


@plain_or_tls
async def test_large_contents_arrive_whole(tls: ssl.SSLContext | None) -> None:
    server = RowServer(tls=tls)
    async with row(server) as sender:
        sends = [asyncio.create_task(sender.deliver(name, content=LARGE)) for name in "abc"]
        assert [verdict_of(await each) for each in sends] == [taken(name) for name in "abc"]
    wire = b"".join(wire_pieces(LARGE))
    assert {name: content + b"\r\n.\r\n" for name, content in server.contents.items()} == dict.fromkeys(
        "abc", wire
    )
    assert server.connections == 1


async def test_a_server_without_pipelining_hears_of_a_message_when_the_one_before_has_ended() -> None:
    server = RowServer(offers=())
    async with row(server) as sender:
        assert await sender.send("a", "b") == [taken("a"), taken("b")]
    assert (server.rode, server.connections) == ([], 1)


@pytest.mark.parametrize(("count", "rode"), [(MOST_RIDING, ["b"]), (MOST_RIDING + 1, [])])
async def test_a_message_to_many_does_not_ride(count: int, rode: list[str]) -> None:
    server = RowServer()
    async with row(server) as sender:
        to = [f"to{number}" for number in range(count)]
        sends = [*sender.begin("a"), asyncio.create_task(sender.deliver("b", *to))]
        _, second = [await each for each in sends]
    assert list(second.verdicts.values()) == [taken("b")] * count
    assert server.rode == rode


@pytest.mark.parametrize(
    ("content", "needs_smtputf8", "code"),
    [
        (b"x" * 1001, False, "5.3.4"),
        (b"Subject: hello\r\n\r\n", True, "5.6.7"),
        (b"\xc3\xa9", False, "5.6.3"),
    ],
)
async def test_a_message_that_the_server_cannot_take_does_not_ride(
    content: bytes, needs_smtputf8: bool, code: str
) -> None:
    server = RowServer(offers=("PIPELINING", "SIZE 1000"))
    async with row(server) as sender:
        second = sender.deliver("b", content=content, needs_smtputf8=needs_smtputf8)
        sends = [*sender.begin("a"), asyncio.create_task(second), *sender.begin("c", "d")]
        verdicts = [verdict_of(await each) for each in sends]
    assert (verdicts[0], *verdicts[2:]) == (taken("a"), taken("c"), taken("d"))
    assert isinstance(verdicts[1], Bounced)
    assert verdicts[1].code == code
    assert (server.accepted, server.rode, server.connections) == ([*"acd"], ["d"], 1)


async def test_a_message_for_other_settings_does_not_ride() -> None:
    server = RowServer()
    async with row(server) as sender:
        changed = replace(sender.account, tls_verify=False)
        sends = [*sender.begin("a"), asyncio.create_task(sender.deliver("b", account=changed))]
        assert [verdict_of(await each) for each in sends] == [taken("a"), taken("b")]
    assert (server.rode, server.connections) == ([], 2)


@pytest.mark.parametrize("why", ["changed", "ttl"])
async def test_a_message_does_not_stay_on_a_connection_that_has_had_its_time(why: str) -> None:
    held = asyncio.Event()
    server = RowServer(does=at("dot", "a", held))
    async with row(server) as sender:
        sender.account = replace(sender.account, ttl=5)
        sends = sender.begin("a", "b")
        await server.until(lambda: server.heard("dot", "a") == 1)
        if why == "changed":
            await sender.agent.close_account("acme", "main")
        else:
            sender.clock.advance(5)
        held.set()
        assert [verdict_of(await each) for each in sends] == [taken("a"), taken("b")]
    assert (server.accepted, server.rode, server.connections) == ([*"ab"], ["b"], 2)
