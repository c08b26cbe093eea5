"""What each misfortune on the wire comes to: the right verdict, and nothing taken for sent that was not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Scope
from mail_proxy.smtp.transport import Timeouts
from tests.support.delivery import CONTENT, HASTY, PATIENT, Gate, deliver, envelope, running_agent
from tests.support.faulty_server import HOST, Act, FaultyServer
from tests.support.faulty_server import Step as FaultStep
from tests.support.scripted_server import DRIP, DROP, HANG, TRICKLE, Fault, ScriptedServer, Step
from tests.support.smtp_server import Action, SmtpServer, Stage, account_for

BOTH_WAYS = pytest.mark.parametrize("pipelining", [False, True], ids=["one by one", "pipelined"])


@BOTH_WAYS
@pytest.mark.parametrize(
    ("stage", "scope"),
    [
        (Stage.CONNECT, Scope.CONNECTION),
        (Stage.EHLO, Scope.CONNECTION),
        (Stage.MAIL, Scope.CONNECTION),
        (Stage.RCPT, Scope.CONNECTION),
        (Stage.DATA, Scope.CONNECTION),
        (Stage.DOT, Scope.CONNECTION),
        (Stage.ACCEPTED, Scope.CONNECTION),
    ],
)
@pytest.mark.parametrize("fault", [DROP, HANG])
async def test_silence_and_loss_are_deferred_and_unknown_only_after_the_dot(
    stage: Stage, scope: Scope, fault: Fault, *, pipelining: bool
) -> None:
    async with SmtpServer(at={stage: fault}, pipelining=pipelining).running() as server:
        outcome = await deliver(server, envelope("ann", "bob"), timeouts=HASTY if fault is HANG else PATIENT)
    for verdict in outcome.verdicts.values():
        assert isinstance(verdict, Deferred)
        assert verdict.scope is scope
        assert verdict.unknown is (stage in (Stage.DOT, Stage.ACCEPTED))
        assert verdict.reply.startswith("timed out" if fault is HANG else "connection lost")
    assert len(outcome.verdicts) == 2
    assert len(server.received) == (1 if stage is Stage.ACCEPTED else 0)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("stage", "reply", "verdict", "scope"),
    [
        (Stage.CONNECT, "554 5.7.1 go away", Deferred, Scope.CONNECTION),
        (Stage.CONNECT, "421 4.3.2 busy", Deferred, Scope.CONNECTION),
        (Stage.EHLO, "421 4.3.2 busy", Deferred, Scope.CONNECTION),
        (Stage.EHLO, "451 4.3.0 later", Deferred, Scope.CONNECTION),
        (Stage.MAIL, "451 4.3.0 later", Deferred, Scope.MESSAGE),
        (Stage.MAIL, "550 5.7.1 not you", Bounced, Scope.MESSAGE),
        (Stage.MAIL, "421 4.7.0 slow down", Deferred, Scope.CONNECTION),
        (Stage.RCPT, "450 4.2.1 later", Deferred, Scope.RECIPIENT),
        (Stage.RCPT, "550 5.1.1 no", Bounced, Scope.RECIPIENT),
        (Stage.RCPT, "421 4.7.0 slow down", Deferred, Scope.CONNECTION),
        (Stage.DATA, "451 4.3.0 later", Deferred, Scope.MESSAGE),
        (Stage.DATA, "554 5.7.1 no", Bounced, Scope.MESSAGE),
        (Stage.DATA, "421 4.3.2 closing", Deferred, Scope.CONNECTION),
        (Stage.DATA, "250 2.0.0 what content?", Deferred, Scope.CONNECTION),
        (Stage.DOT, "451 4.3.0 later", Deferred, Scope.MESSAGE),
        (Stage.DOT, "554 5.7.1 spam", Bounced, Scope.MESSAGE),
        (Stage.DOT, "421 4.3.2 closing", Deferred, Scope.CONNECTION),
    ],
)
async def test_a_refusal_at_any_stage_gets_its_verdict_in_the_servers_words(
    stage: Stage, reply: str, verdict: type[Bounced | Deferred], scope: Scope, *, pipelining: bool
) -> None:
    async with SmtpServer(at={stage: reply}, pipelining=pipelining).running() as server:
        outcome = await deliver(server, envelope("ann", "bob"))
    for told in outcome.verdicts.values():
        assert isinstance(told, verdict)
        assert told.scope is scope
        assert reply in told.reply
        assert getattr(told, "unknown", False) is False
    assert len(outcome.verdicts) == 2
    assert server.received == []


@BOTH_WAYS
async def test_what_is_known_of_some_recipients_survives_the_loss_of_the_connection(
    *, pipelining: bool
) -> None:
    actions: list[Action] = ["550 5.1.1 no such user", DROP]
    async with SmtpServer(at={Stage.RCPT: actions}, pipelining=pipelining).running() as server:
        outcome = await deliver(server, envelope("ann", "bob", "eve"))
    ann, bob, eve = outcome.verdicts.values()
    assert ann == Bounced(code="5.1.1", reply="550 5.1.1 no such user")
    assert isinstance(bob, Deferred)
    assert bob == eve


GREETED: list[Step] = [("", "220 hello"), ("EHLO", "250 mx.test")]
READY: list[Step] = [*GREETED, ("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")]


@pytest.mark.parametrize(
    ("steps", "scope", "unknown"),
    [
        ([("", "HTTP/1.1 400 Bad Request")], Scope.CONNECTION, False),
        ([("", "\x00\x01\x02")], Scope.CONNECTION, False),
        ([("", "99 bottles")], Scope.CONNECTION, False),
        ([("", "x" * 100_000)], Scope.CONNECTION, False),
        ([("", "220-more\r\n" * 10_000)], Scope.CONNECTION, False),
        ([*GREETED, ("MAIL", "what?")], Scope.CONNECTION, False),
        ([*GREETED, ("MAIL", "354 go")], Scope.CONNECTION, False),
        ([*GREETED, ("MAIL", "250 ok\r\n250 ok"), ("RCPT", "250 ok")], Scope.CONNECTION, False),
        (
            [*READY[:-1], ("DATA", "354 go\r\n250 taken, although I saw nothing")],
            Scope.CONNECTION,
            False,
        ),
        ([*READY, (".", "354 go on")], Scope.CONNECTION, True),
        ([*READY, (".", "thank you")], Scope.CONNECTION, True),
        ([*READY, ("+", DROP)], Scope.CONNECTION, True),
    ],
)
async def test_what_is_not_smtp_is_deferred(steps: list[Step], scope: Scope, unknown: bool) -> None:
    async with ScriptedServer(steps).running() as server:
        outcome = await deliver(server, envelope("ann"), timeouts=HASTY)
    (verdict,) = outcome.verdicts.values()
    assert isinstance(verdict, Deferred)
    assert (verdict.scope, verdict.unknown) == (scope, unknown)


@pytest.mark.parametrize("size", ["9" * 5000, "-1", "0", "\u0663", "1e3", "many"])
async def test_a_size_limit_that_is_no_number_is_no_limit(size: str) -> None:
    steps: list[Step] = [
        ("", "220 hi"),
        ("EHLO", f"250-hi\r\n250 SIZE {size}"),
        ("MAIL", "250 ok"),
        ("RCPT", "250 ok"),
        ("DATA", "354 go"),
        (".", "250 done"),
    ]
    async with ScriptedServer(steps).running() as server:
        outcome = await deliver(server, envelope("ann"))
    assert isinstance(outcome.verdicts["ann@there.test"], Delivered)


BIG = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 4 * 200_000 + b"\r\n"
"""More than the buffers of both ends of a connection hold."""


async def test_a_server_that_stops_reading_has_not_got_the_dot() -> None:
    async with ScriptedServer([*READY, ("+", HANG)]).running() as server:
        outcome = await deliver(server, envelope("ann"), BIG, timeouts=HASTY)
    assert outcome.verdicts["ann@there.test"] == Deferred(
        reply="timed out (sending the message)", scope=Scope.CONNECTION, unknown=False
    )


async def test_the_last_reply_has_its_own_time_from_when_all_was_sent() -> None:
    """Also when the end of the content had to wait for room, for which there is more."""
    content = b"Subject: big\r\n\r\n" + (b"0123456789abcdef" * 4 + b"\r\n") * 10_000
    async with FaultyServer(at={FaultStep.DOT: Act.HANG}).running() as server:
        account = Account(tenant_id="acme", id="main", host=HOST, port=server.port, tls=TlsMode.NONE)
        async with running_agent(Timeouts(data=60.0, final=0.4)) as agent, asyncio.timeout(20):
            outcome = await agent.deliver(account, envelope("ann"), content, final=Gate())
    assert outcome.verdicts["ann@there.test"] == Deferred(
        reply="timed out (waiting for the reply to the end of the message)",
        scope=Scope.CONNECTION,
        unknown=True,
    )


async def test_a_connection_lost_amid_the_content_has_not_got_the_dot() -> None:
    async with ScriptedServer([*READY, ("+", DROP)]).running() as server:
        outcome = await deliver(server, envelope("ann"), BIG)
    verdict = outcome.verdicts["ann@there.test"]
    assert isinstance(verdict, Deferred)
    assert not verdict.unknown


async def test_a_refusal_amid_the_content_counts_although_the_content_was_not_all_sent() -> None:
    steps: list[Step] = [*READY, ("+", "552 5.3.4 too big for me"), ("", HANG)]
    async with ScriptedServer(steps).running() as server:
        outcome = await deliver(server, envelope("ann"), BIG, timeouts=HASTY)
    assert outcome.verdicts["ann@there.test"] == Bounced(
        code="5.3.4", reply="552 5.3.4 too big for me", scope=Scope.MESSAGE
    )


async def test_a_closed_port_is_deferred() -> None:
    async with SmtpServer().running() as server:
        pass
    outcome = await deliver(server, envelope("ann"))
    verdict = outcome.verdicts["ann@there.test"]
    assert isinstance(verdict, Deferred)
    assert verdict.scope is Scope.CONNECTION
    assert verdict.reply.startswith(f"cannot connect: 127.0.0.1:{server.port}: ")


@pytest.mark.parametrize(
    ("stage", "steps"),
    [
        ("greeting", [("", DRIP)]),
        ("EHLO", [("", "220 hello"), ("EHLO", DRIP)]),
        ("MAIL", [*GREETED, ("MAIL", DRIP)]),
        ("DATA", [*READY[:-1], ("DATA", DRIP)]),
    ],
)
async def test_a_reply_in_drips_has_no_more_time_than_any_other(stage: str, steps: list[Step]) -> None:
    async with ScriptedServer(steps).running() as server:
        outcome = await deliver(server, envelope("ann"), timeouts=HASTY)
    assert outcome.verdicts["ann@there.test"] == Deferred(
        reply=f"timed out ({stage})", scope=Scope.CONNECTION
    )


async def test_a_bug_met_before_the_content_defers_the_message_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A port that no socket has, which no validation lets through, stands for all bugs."""
    async with SmtpServer().running() as server, running_agent() as agent:
        impossible = replace(account_for(server), port=70_000)
        outcome = await agent.deliver(impossible, envelope("ann"), CONTENT, final=Gate())
        assert outcome.verdicts["ann@there.test"] == Deferred(
            reply="internal error: OverflowError", scope=Scope.MESSAGE
        )
        assert not outcome.tells_of_server
        assert agent.open_connections == 0
        outcome = await agent.deliver(account_for(server), envelope("ann"), CONTENT, final=Gate())
        assert isinstance(outcome.verdicts["ann@there.test"], Delivered)
    (record,) = caplog.records
    assert record.exc_info is not None


async def test_a_bug_met_once_the_content_was_begun_leaves_the_outcome_unknown() -> None:
    class Puzzled(Gate):
        def holds(self) -> bool:
            raise ZeroDivisionError

    async with SmtpServer().running() as server, running_agent() as agent:
        outcome = await agent.deliver(account_for(server), envelope("ann"), CONTENT, final=Puzzled())
        await server.wait_closed()
    assert outcome.verdicts["ann@there.test"] == Deferred(
        reply="internal error: ZeroDivisionError", scope=Scope.MESSAGE, unknown=True
    )
    assert not outcome.tells_of_server
    assert server.received == []


@pytest.mark.parametrize(
    "steps",
    [
        [("", TRICKLE)],
        [("", "220 hello"), ("EHLO", TRICKLE)],
        [("", "220 hello"), ("EHLO", "250-mx.test\r\n250 PIPELINING"), ("MAIL", TRICKLE)],
    ],
    ids=["greeting", "EHLO", "MAIL"],
)
async def test_a_reply_that_trickles_line_by_line_costs_no_more_than_its_length(
    steps: Sequence[Step],
) -> None:
    """Read anew with each line, one of 32 KB would cost seconds: a few such servers would stop all others."""
    async with ScriptedServer(steps).running() as server:
        began = time.process_time()
        outcome = await deliver(server, envelope("ann"))
        spent = time.process_time() - began
    [verdict] = outcome.verdicts.values()
    assert isinstance(verdict, Deferred)
    assert verdict.reply.endswith("a reply without end")
    assert spent < 3


async def test_a_server_that_greets_and_takes_its_leave_in_one_breath_is_busy() -> None:
    async with ScriptedServer([("", "220 hello\r\n421 4.3.2 too many connections")]).running() as server:
        outcome = await deliver(server, envelope("ann"), timeouts=HASTY)
    [verdict] = outcome.verdicts.values()
    assert (verdict.code, verdict.reply) == ("4.3.2", "421 4.3.2 too many connections")
