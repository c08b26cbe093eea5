"""A message may begin along with the end of another's content (RFC 2920, 3.1), each with its own verdict.

With one connection to have, `a` gets it, and what is sent at the same time waits for it: `b` rides.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from random import Random

import pytest

from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope, Verdict
from mail_proxy.smtp.agent import MOST_RIDING, DeliveryAgent, Envelope
from mail_proxy.smtp.framing import wire_pieces
from mail_proxy.smtp.lending import RIDE
from mail_proxy.smtp.pool import NO_RIDES, CalledOff
from mail_proxy.smtp.transport import Timeouts
from tests.support.certificates import Authority
from tests.support.clock import ManualClock
from tests.support.delivery import HASTY, PATIENT, Gate
from tests.support.row_server import HOST, Act, Answer, At, RowServer

AUTHORITY = Authority()


class Row:
    """An agent, and an account on the server; what is sent has its name for a sender."""

    def __init__(self, server: RowServer, limit: int, timeouts: Timeouts) -> None:
        self.clock = ManualClock()
        self.account = Account(tenant_id="acme", id="main", host=HOST, port=server.port, tls=TlsMode.NONE)
        if server.tls is not None:
            self.account = replace(self.account, tls=TlsMode.SSL, tls_ca=AUTHORITY.pem)
        self.agent = DeliveryAgent(
            timeouts=timeouts,
            max_concurrent_per_account=limit,
            sandbox_dir=None,
            clock=self.clock,
            hostname="client.test",
        )

    async def deliver(
        self,
        name: str,
        *to: str,
        content: bytes = b"Subject: hello\r\n\r\nGood day.\r\n",
        gate: Gate | None = None,
        account: Account | None = None,
        needs_smtputf8: bool = False,
    ) -> Outcome:
        envelope = Envelope(
            sender=f"{name}@here.test",
            recipients=tuple(f"{each}@there.test" for each in to or ["ann"]),
            needs_smtputf8=needs_smtputf8,
        )
        return await self.agent.deliver(account or self.account, envelope, content, final=gate or Gate())

    def begin(self, *names: str) -> list[asyncio.Task[Outcome]]:
        """Send them at the same time, the first before the second."""
        return [asyncio.create_task(self.deliver(name), name=name) for name in names]

    async def send(self, *names: str) -> list[Verdict]:
        return [verdict_of(await each) for each in self.begin(*names)]


def verdict_of(outcome: Outcome) -> Verdict:
    (verdict,) = outcome.verdicts.values()
    return verdict


def taken(name: str) -> Delivered:
    return Delivered(code="2.0.0", reply=f"250 2.0.0 {name} is taken")


@asynccontextmanager
async def row(server: RowServer, *, limit: int = 1, timeouts: Timeouts = PATIENT) -> AsyncIterator[Row]:
    """At the end nothing is left: all connections are given back, and can be closed."""
    async with server.running():
        made = Row(server, limit, timeouts)
        try:
            async with asyncio.timeout(60):
                yield made
            assert made.agent.open_connections <= limit
        finally:
            await made.agent.close()
        assert made.agent.open_connections == 0
        await server.until(lambda: server.open_connections == 0)


def at(verb: str, who: str, answer: Answer) -> Callable[[At], Answer]:
    """Do this at the step about this person, as often as it comes; else what should be done."""
    return lambda step: answer if (step.verb, step.who) == (verb, who) else None


async def test_the_next_message_begins_along_with_the_end_of_the_content_before() -> None:
    """A server that answers nothing before it has heard of the next message is not waited for in vain."""
    mum = {("taken", "a"), ("MAIL", "b"), ("RCPT", "ann")}
    server = RowServer(
        does=lambda step: Act.MUM if (step.verb, step.who) in mum and server.accepted else None
    )
    async with row(server, timeouts=HASTY) as sender:
        assert await sender.send("a", "b") == [taken("a"), taken("b")]
    assert (server.rode, server.connections) == (["b"], 1)


@pytest.mark.parametrize("tls", [None, AUTHORITY.server_context(HOST)], ids=["plain", "TLS"])
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


@pytest.mark.parametrize("tls", [None, AUTHORITY.server_context(HOST)], ids=["plain", "TLS"])
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


# The connection ends


@pytest.mark.parametrize("tls", [None, AUTHORITY.server_context(HOST)], ids=["plain", "TLS"])
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


# The first is refused


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


# The second is refused


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


# The second does not go on


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
        assert (second.scope, second.unknown) == (Scope.MESSAGE, False)
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


# The second waits for long


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
        assert server.rode == ["c", "c"]
        held.set()
        assert verdict_of(await first) == taken("a")
        assert await sender.send(*"defg") == [taken(name) for name in "defg"]
    assert server.accepted[:3] == ["b", "c", "a"]
    assert Counter(server.accepted) == Counter("abcdefg")


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


# No ride


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


# All at once

REFUSALS = ["451 4.7.1 later", "554 5.7.1 no", "452 4.3.1 full", "421 4.3.2 closing"]


class Troubles:
    """What can go wrong, at random; `refused` are those whom the server has said no to, and what it said."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.refused: set[tuple[str, str]] = set()

    def __call__(self, step: At) -> Answer:
        if self._rng.random() > 0.04 or step.verb == "NOOP":
            return None
        acts: list[Answer] = [*REFUSALS, Act.DROP]
        if step.verb == "taken":
            acts = [Act.DROP, Act.FIN, Act.RST, Act.TWICE, Act.SWALLOW]
        answer = self._rng.choice(acts)
        if isinstance(answer, str):
            self.refused.add((step.who, answer))
        return answer


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_no_message_is_lost_and_none_comes_twice(seed: int, limit: int) -> None:
    """What the server has taken is reported as delivered or in doubt, and nothing else is delivered.

    What it has refused was refused itself.
    """
    rng = Random(seed)
    troubles = Troubles(rng)
    server = RowServer(does=troubles)
    timeouts = Timeouts(connect=5.0, command=0.3, data=5.0, final=5.0)
    async with row(server, limit=limit, timeouts=timeouts) as sender:

        async def send(name: str) -> Verdict | None:
            await asyncio.sleep(rng.random() * 0.2)
            gate = Gate(RuntimeError("suspended") if rng.random() < 0.03 else None)
            with suppress(RuntimeError):
                return verdict_of(await sender.deliver(name, name, gate=gate))
            return None

        sends = {name: asyncio.create_task(send(name)) for name in (f"m{number}" for number in range(300))}
        while not all(each.done() for each in sends.values()):
            sender.clock.advance(rng.choice([0, 0, RIDE, NO_RIDES]))
            await sender.agent.cleanup()
            if rng.random() < 0.1:
                await sender.agent.close_account("acme", "main")
            if rng.random() < 0.3:
                rng.choice([*sends.values()]).cancel()
            assert sender.agent.open_connections <= limit
            await asyncio.wait(sends.values(), timeout=0.005)
        outcomes = {name: each for name, each in sends.items() if not each.cancelled()}
        verdicts = {name: each.result() for name, each in outcomes.items()}
        server.does = lambda _: None
        after = [f"z{number}" for number in range(2 * limit)]
        assert await sender.send(*after) == [taken(name) for name in after]
    times = Counter(server.accepted)
    assert max(times.values()) == 1
    delivered = {name for name, each in verdicts.items() if isinstance(each, Delivered)}
    doubtful = {name for name, each in verdicts.items() if isinstance(each, Deferred) and each.unknown}
    assert delivered <= times.keys()
    assert times.keys() - set(after) <= delivered | doubtful | (sends.keys() - verdicts.keys())
    bounced = {(name, each.reply) for name, each in verdicts.items() if isinstance(each, Bounced)}
    assert bounced <= troubles.refused
    assert server.rode
