"""A server refuses the first or the one that rides behind it: each has its own verdict."""

from __future__ import annotations

import asyncio

import pytest

from mail_proxy.model.verdicts import Bounced, Deferred, Scope, Verdict
from tests.support.row_sender import row, taken, verdict_of
from tests.support.row_server import Act, Answer, At, RowServer, at


@pytest.mark.parametrize(
    ("reply", "verdict", "connections"),
    [
        ("554 5.7.1 spam", Bounced(code="5.7.1", reply="554 5.7.1 spam", scope=Scope.MESSAGE), 1),
        ("451 4.7.1 later", Deferred(code="4.7.1", reply="451 4.7.1 later", scope=Scope.MESSAGE), 1),
        ("452 4.3.1 full", Deferred(code="4.3.1", reply="452 4.3.1 full", scope=Scope.CONNECTION), 2),
        ("421 4.3.2 closing", Deferred(code="4.3.2", reply="421 4.3.2 closing", scope=Scope.CONNECTION), 2),
    ],
)
async def test_a_refusal_of_the_first_is_its_own(reply: str, verdict: Verdict, connections: int) -> None:
    server = RowServer(does=at("dot", "a", reply))
    async with row(server) as sender:
        assert await sender.send("a", "b", "c") == [verdict, taken("b"), taken("c")]
    assert (server.accepted, server.connections) == ([*"bc"], connections)
    assert server.rode[0] == "b"


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("reply", "kind"), [("550 5.7.1 no", Bounced), ("451 4.7.1 later", Deferred)], ids=["no", "later"]
)
async def test_a_refusal_of_the_second_is_its_own_and_the_third_goes_on(
    verb: str, reply: str, kind: type[Verdict]
) -> None:
    server = RowServer(does=at(verb, "bob" if verb == "RCPT" else "b", reply))
    async with row(server) as sender:
        sends = sender.begin("a")
        sends += [asyncio.create_task(sender.deliver("b", "bob")), *sender.begin("c", "d")]
        first, second, *others = [verdict_of(await each) for each in sends]
    assert [first, *others] == [taken("a"), taken("c"), taken("d")]
    assert isinstance(second, kind)
    assert second.reply == reply
    assert (server.accepted, server.connections) == ([*"acd"], 1)
    assert server.rode == ["b", "d"]


@pytest.mark.parametrize("reply", ["421 4.7.0 enough", "554 5.5.0 SMTP synchronization error"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_server_that_has_enough_of_the_connection_gets_the_second_over_another(
    verb: str, reply: str
) -> None:
    server = RowServer(
        does=lambda step: reply if (step.verb, step.connection, step.mail) == (verb, 1, 2) else None
    )
    async with row(server) as sender:
        assert await sender.send("a", "b") == [taken("a"), taken("b")]
        rode = list(server.rode)
        assert await sender.send("c", "d") == [taken("c"), taken("d")]
    assert (server.accepted, server.connections) == ([*"abcd"], 2)
    assert (rode, server.rode) == (["b"], ["b"] if "synchronization" in reply else ["b", "d"])


async def test_each_recipient_of_a_message_that_rides_has_its_own_verdict() -> None:
    refusals = {"nouser": "550 5.1.1 no such user", "grey": "451 4.7.1 greylisted"}
    server = RowServer(does=lambda step: refusals.get(step.who) if step.verb == "RCPT" else None)
    async with row(server) as sender:
        sends = [*sender.begin("a"), asyncio.create_task(sender.deliver("b", "nouser", "ann", "grey"))]
        _, second = [await each for each in sends]
    assert second.verdicts == {
        "nouser@there.test": Bounced(code="5.1.1", reply="550 5.1.1 no such user"),
        "ann@there.test": taken("b"),
        "grey@there.test": Deferred(code="4.7.1", reply="451 4.7.1 greylisted"),
    }
    assert (server.accepted, server.rode, server.connections) == ([*"ab"], ["b"], 1)


async def test_a_message_that_rides_to_nobody_gets_no_content() -> None:
    """The server waits for one all the same."""
    replies = {("RCPT", "bob"): "550 5.1.1 no", ("DATA", "b"): "354 go"}
    server = RowServer(does=lambda step: replies.get((step.verb, step.who)))
    async with row(server) as sender:
        sends = [*sender.begin("a"), asyncio.create_task(sender.deliver("b", "bob")), *sender.begin("c")]
        verdicts = [verdict_of(await each) for each in sends]
    assert verdicts == [taken("a"), Bounced(code="5.1.1", reply="550 5.1.1 no"), taken("c")]
    assert (server.accepted, server.connections) == ([*"ac"], 2)


REFUSED = Bounced(code="5.1.1", reply="550 5.1.1 no such user")


@pytest.mark.parametrize(
    ("to", "verdicts"),
    [
        (["ann"], [taken("b")]),
        (["nouser"], [REFUSED]),
        (["nouser", "ann"], [REFUSED, taken("b")]),
        (["ann", "nouser"], [taken("b"), REFUSED]),
        (["nouser", "nobody"], [REFUSED, REFUSED]),
        (["nouser", "ann", "nobody", "bob"], [REFUSED, taken("b"), REFUSED, taken("b")]),
    ],
)
async def test_a_reply_that_the_first_got_twice_is_not_taken_for_the_seconds(
    to: list[str], verdicts: list[Verdict]
) -> None:
    """It would be given the replies to one recipient for those to the next."""

    def does(step: At) -> Answer:
        if (step.verb, step.who) == ("taken", "a"):
            return Act.TWICE
        return "550 5.1.1 no such user" if step.verb == "RCPT" and step.who.startswith("no") else None

    server = RowServer(does=does)
    async with row(server) as sender:
        sends = [*sender.begin("a"), asyncio.create_task(sender.deliver("b", *to))]
        first, second = [await each for each in sends]
        assert await sender.send("c") == [taken("c")]
    assert verdict_of(first) == taken("a")
    assert [second.verdicts[f"{each}@there.test"] for each in to] == verdicts
    assert server.accepted == (["a", "b", "c"] if taken("b") in verdicts else ["a", "c"])
