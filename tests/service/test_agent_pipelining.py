"""Groups of commands to servers that take them (RFC 2920): each recipient still gets its own verdict."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope, Verdict
from mail_proxy.smtp.agent import GROUP, DeliveryAgent, Envelope
from mail_proxy.smtp.transport import Timeouts
from tests.support.delivery import CONTENT, HASTY, PATIENT, Gate, deliver, envelope, running_agent
from tests.support.scripted_server import DRIP, DROP, HANG, LATE, SILENT, WHILE, Fault, ScriptedServer, Step
from tests.support.smtp_server import account_for

GREETED: list[Step] = [("", "220 hello"), ("EHLO", "250-mx.test\r\n250 PIPELINING")]
MAIL, RCPT, DATA = ("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")
TAKEN = (".", "250 2.0.0 taken")
RESET = ("RSET", "250 ok")
DELIVERED = Delivered(code="2.0.0", reply="250 2.0.0 taken")


def verdicts_of(outcome: Outcome, to: Envelope) -> list[Verdict]:
    """The verdicts in the order of the recipients."""
    return [outcome.verdicts[address] for address in to.recipients]


async def send(agent: DeliveryAgent, server: ScriptedServer, *local_parts: str) -> list[Verdict]:
    to = envelope(*local_parts)
    return verdicts_of(await agent.deliver(account_for(server), to, CONTENT, final=Gate()), to)


async def test_all_commands_of_a_mail_go_out_before_the_first_reply() -> None:
    together = "250 ok\r\n250 ok\r\n250 ok\r\n354 go"
    steps: list[Step] = [("MAIL", SILENT), ("RCPT", SILENT), ("RCPT", SILENT), ("DATA", together), TAKEN]
    async with ScriptedServer([*GREETED, *steps]).running() as server:
        outcome = await deliver(server, envelope("ann", "bob"))
    assert list(outcome.verdicts.values()) == [DELIVERED, DELIVERED]
    assert server.contents == [CONTENT + b".\r\n"]


async def test_a_server_that_does_not_offer_it_hears_one_command_at_a_time() -> None:
    steps: list[Step] = [("", "220 hello"), ("EHLO", "250 mx.test"), ("MAIL", SILENT), ("RCPT", HANG)]
    async with ScriptedServer(steps).running() as server:
        outcome = await deliver(server, envelope("ann"), timeouts=HASTY)
    assert server.lines[1:] == ["MAIL FROM:<me@here.test>"]
    assert outcome.verdicts["ann@there.test"] == Deferred(reply="timed out (MAIL)", scope=Scope.CONNECTION)


async def test_replies_may_take_their_time_each() -> None:
    """The time-out is for one reply, not for those to a whole group."""
    late: list[Step] = [("MAIL", LATE), ("RCPT", LATE), ("RCPT", LATE), DATA, TAKEN]
    for_each = 2.5 * WHILE
    async with ScriptedServer([*GREETED, *late]).running() as server:
        outcome = await deliver(server, envelope("ann", "bob"), timeouts=Timeouts(command=for_each))
    assert list(outcome.verdicts.values()) == [DELIVERED, DELIVERED]


async def test_the_verdict_on_a_refused_sender_is_the_one_given_to_mail() -> None:
    refused: list[Step] = [
        ("MAIL", "550 5.7.1 not you"),
        ("RCPT", "503 5.5.1 MAIL first"),
        ("RCPT", "503 5.5.1 MAIL first"),
        ("DATA", "503 5.5.1 MAIL first"),
        RESET,
    ]
    async with (
        ScriptedServer([*GREETED, *refused, MAIL, RCPT, DATA, TAKEN]).running() as server,
        running_agent() as agent,
    ):
        verdicts = await send(agent, server, "ann", "bob")
        assert await send(agent, server, "eve") == [DELIVERED]
    assert verdicts == [Bounced(code="5.7.1", reply="550 5.7.1 not you", scope=Scope.MESSAGE)] * 2
    assert server.connections == 1


@pytest.mark.parametrize("then", [DROP, HANG, "what?", "421 4.7.0 and good bye"])
async def test_a_refused_sender_stays_refused_whatever_happens_next(then: str | Fault) -> None:
    steps: list[Step] = [*GREETED, ("MAIL", "550 5.7.1 not you"), ("RCPT", then)]
    async with ScriptedServer(steps).running() as server:
        outcome = await deliver(server, envelope("ann"), timeouts=HASTY)
    assert outcome.verdicts["ann@there.test"] == Bounced(
        code="5.7.1", reply="550 5.7.1 not you", scope=Scope.MESSAGE
    )


async def test_refused_recipients_keep_their_own_verdicts_and_the_others_get_their_mail() -> None:
    steps: list[Step] = [
        MAIL,
        RCPT,
        ("RCPT", "550 5.1.1 no such user"),
        ("RCPT", "451 4.7.1 greylisted"),
        RCPT,
        DATA,
        TAKEN,
    ]
    async with ScriptedServer([*GREETED, *steps]).running() as server:
        to = envelope("ann", "nouser", "grey", "bob")
        outcome = await deliver(server, to)
    assert verdicts_of(outcome, to) == [
        DELIVERED,
        Bounced(code="5.1.1", reply="550 5.1.1 no such user"),
        Deferred(code="4.7.1", reply="451 4.7.1 greylisted"),
        DELIVERED,
    ]


@pytest.mark.parametrize("reply", ["503 5.5.1 RCPT first", "554 5.5.1 no valid recipients"])
async def test_when_all_recipients_are_refused_the_next_mail_goes_over_the_same_connection(
    reply: str,
) -> None:
    refused: list[Step] = [MAIL, ("RCPT", "550 5.1.1 no"), ("DATA", reply), RESET]
    async with (
        ScriptedServer([*GREETED, *refused, MAIL, RCPT, DATA, TAKEN]).running() as server,
        running_agent() as agent,
    ):
        assert await send(agent, server, "ann") == [Bounced(code="5.1.1", reply="550 5.1.1 no")]
        assert await send(agent, server, "bob") == [DELIVERED]
    assert server.connections == 1


@pytest.mark.parametrize(
    "refused",
    [
        [MAIL, ("RCPT", "550 5.1.1 no"), DATA, (".", "250 an empty mail, thank you")],
        [("MAIL", "550 5.1.1 no"), RCPT, DATA, (".", "250 a mail from nobody, thank you")],
    ],
)
async def test_a_server_that_waits_for_a_mail_to_nobody_gets_none(refused: list[Step]) -> None:
    gate = Gate()
    async with ScriptedServer([*GREETED, *refused]).running() as server:
        outcome = await deliver(server, envelope("ann"), gate=gate)
    assert isinstance(outcome.verdicts["ann@there.test"], Bounced)
    assert (gate.passed, server.contents) == (0, [])


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("451 4.3.0 later", Deferred(code="4.3.0", reply="451 4.3.0 later", scope=Scope.MESSAGE)),
        ("554 5.7.1 no", Bounced(code="5.7.1", reply="554 5.7.1 no", scope=Scope.MESSAGE)),
    ],
)
async def test_a_refusal_of_data_is_for_those_who_were_accepted(answer: str, verdict: Verdict) -> None:
    steps: list[Step] = [MAIL, ("RCPT", "550 5.1.1 no"), RCPT, ("DATA", answer), RESET]
    async with ScriptedServer([*GREETED, *steps]).running() as server:
        outcome = await deliver(server, envelope("nouser", "ann"))
    refused = Bounced(code="5.1.1", reply="550 5.1.1 no")
    assert verdicts_of(outcome, envelope("nouser", "ann")) == [refused, verdict]


TROUBLES = [
    (DROP, "connection lost"),
    (HANG, "timed out"),
    (DRIP, "timed out"),
    ("421 4.3.2 closing", "421 4.3.2 closing"),
    ("what?", "the server's answer is not SMTP"),
    ("250-yes\r\n550 no", "the server's answer is not SMTP"),
    ("250-and\r\n" * 10_000, "the server's answer is not SMTP"),
    ("250 " + "x" * 100_000, "the server's answer is not SMTP"),
    ("2" * 100_000, "the server's answer is not SMTP"),
]


def patience(words: str) -> Timeouts:
    """Short where the time-out is what is waited for."""
    return HASTY if words == "timed out" else PATIENT


@pytest.mark.parametrize(("trouble", "words"), TROUBLES)
@pytest.mark.parametrize("known", [0, 1, 2])
async def test_trouble_amid_a_group_defers_those_of_whom_nothing_is_known(
    trouble: str | Fault, words: str, known: int
) -> None:
    """They may all be tried again: the content was not begun."""
    steps: list[Step] = [MAIL, ("RCPT", "550 5.1.1 no"), RCPT, DATA]
    steps[known : known + 1] = [(steps[known][0], trouble)]
    gate = Gate()
    async with ScriptedServer([*GREETED, *steps]).running() as server:
        outcome = await deliver(server, envelope("nouser", "ann"), timeouts=patience(words), gate=gate)
    nouser, ann = verdicts_of(outcome, envelope("nouser", "ann"))
    assert isinstance(ann, Deferred)
    assert (ann.scope, ann.unknown) == (Scope.CONNECTION, False)
    assert ann.reply.startswith(words)
    assert nouser == (Bounced(code="5.1.1", reply="550 5.1.1 no") if known == 2 else ann)
    assert gate.passed == 0


@pytest.mark.parametrize(("trouble", "words"), [*TROUBLES, ("250 2.0.0 what content?", "the server's")])
async def test_trouble_at_data_defers_all_and_nothing_is_sent(trouble: str | Fault, words: str) -> None:
    gate = Gate()
    async with ScriptedServer([*GREETED, MAIL, RCPT, ("DATA", trouble)]).running() as server:
        outcome = await deliver(server, envelope("ann"), timeouts=patience(words), gate=gate)
    (verdict,) = outcome.verdicts.values()
    assert isinstance(verdict, Deferred)
    assert not verdict.unknown
    assert verdict.reply.startswith(words)
    assert gate.passed == 0


@pytest.mark.parametrize(("trouble", "words"), TROUBLES)
async def test_trouble_after_the_dot_leaves_unknown_what_no_reply_tells(
    trouble: str | Fault, words: str
) -> None:
    async with ScriptedServer([*GREETED, MAIL, RCPT, DATA, (".", trouble)]).running() as server:
        outcome = await deliver(server, envelope("ann"), timeouts=patience(words))
    (verdict,) = outcome.verdicts.values()
    assert isinstance(verdict, Deferred)
    assert verdict.reply.startswith(words)
    assert verdict.unknown is not words.startswith("421")


async def test_lines_may_end_in_a_line_feed_alone() -> None:
    steps: list[Step] = [MAIL, ("RCPT", "250-so\n250 ok"), DATA, (".", "250-2.0.0 so\n250 2.0.0 ok")]
    async with ScriptedServer([*GREETED, *steps]).running() as server:
        outcome = await deliver(server, envelope("ann"))
    assert list(outcome.verdicts.values()) == [Delivered(code="2.0.0", reply="250 2.0.0 so ok")]


@pytest.mark.parametrize("trouble", [DROP, "421 4.4.2 idle too long"])
@pytest.mark.parametrize("known", [0, 1, 2, 3])
async def test_a_kept_connection_that_is_closed_before_the_content_costs_nothing(
    trouble: str | Fault, known: int
) -> None:
    """What the old connection said of a recipient holds; the others go on over a new one."""
    second: list[Step] = [MAIL, ("RCPT", "550 5.1.1 no"), RCPT, DATA]
    second[known : known + 1] = [(second[known][0], trouble)]
    async with (
        ScriptedServer([*GREETED, MAIL, RCPT, DATA, TAKEN, *second]).running() as server,
        running_agent() as agent,
    ):
        assert await send(agent, server, "ann") == [DELIVERED]
        verdicts = (
            await send(agent, server, "nouser", "bob") if known > 1 else await send(agent, server, "bob")
        )
    assert verdicts[-1] == DELIVERED
    assert server.connections == 2


async def test_a_farewell_between_the_go_ahead_and_the_content_is_heard() -> None:
    steps: list[Step] = [MAIL, RCPT, ("DATA", "354 go\r\n421 4.3.2 closing"), TAKEN]
    gate = Gate()
    async with ScriptedServer([*GREETED, *steps]).running() as server:
        outcome = await deliver(server, envelope("ann"), gate=gate)
    assert outcome.verdicts["ann@there.test"] == Deferred(
        code="4.3.2", reply="421 4.3.2 closing", scope=Scope.CONNECTION
    )
    assert (gate.passed, gate.pieces, server.contents) == (1, 0, [])


def crowd(count: int, length: int = 10) -> Envelope:
    return Envelope(
        sender="me@here.test",
        recipients=tuple(f"{number:0{length}}@there.test" for number in range(count)),
    )


async def test_too_many_recipients_at_once_are_asked_about_in_groups() -> None:
    """Those whom the server has no room for wait for the next time, and are not even named."""
    accepted, count = 60, 3 * GROUP
    first = [MAIL, *[RCPT] * accepted, *[("RCPT", "452 4.5.3 too many recipients")] * (GROUP - accepted - 1)]
    async with ScriptedServer([*GREETED, *first, DATA, TAKEN]).running() as server:
        outcome = await deliver(server, crowd(count))
    verdicts = verdicts_of(outcome, crowd(count))
    assert verdicts[:accepted] == [DELIVERED] * accepted
    later = Deferred(code="4.5.3", reply="452 4.5.3 too many recipients", scope=Scope.TRANSACTION)
    assert Counter(verdicts[accepted:]) == {later: count - accepted}
    assert sum(line.startswith("RCPT") for line in server.lines) == GROUP - 1


async def test_long_lists_do_not_choke_a_server_that_reads_no_further_until_it_is_heard() -> None:
    """Its replies are read while the commands are written: neither waits for the other for ever."""
    count = GROUP
    wordy: Step = ("RCPT", "250 " + "welcome " * 100)
    async with ScriptedServer([*GREETED, MAIL, *[wordy] * count, DATA, TAKEN], buffer=1).running() as server:
        async with asyncio.timeout(60):
            outcome = await deliver(server, crowd(count, length=60))
    assert list(outcome.verdicts.values()) == [DELIVERED] * count


async def test_when_the_final_step_fails_the_server_gets_no_content() -> None:
    gate = Gate(RuntimeError("suspended"))
    async with ScriptedServer([*GREETED, MAIL, RCPT, DATA, TAKEN]).running() as server:
        with pytest.raises(RuntimeError, match="suspended"):
            await deliver(server, envelope("ann"), gate=gate)
    assert (gate.passed, gate.pieces, server.contents) == (1, 0, [])


LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 4 * 20_000 + b"\r\n"


@pytest.mark.parametrize(("content", "lost_at"), [(CONTENT, 1), (LARGE, 1), (LARGE, 2), (LARGE, -1)])
async def test_a_message_whose_lease_was_lost_never_gets_its_final_dot(content: bytes, lost_at: int) -> None:
    """The process slept, and another node may be sending the message by now."""
    held = Gate()
    async with ScriptedServer([*GREETED, MAIL, RCPT, DATA, TAKEN]).running() as server:
        await deliver(server, envelope("ann"), content, gate=held)
    lost = Gate(lost_at=lost_at if lost_at > 0 else held.pieces)
    async with ScriptedServer([*GREETED, MAIL, RCPT, DATA, TAKEN]).running() as server:
        outcome = await deliver(server, envelope("ann"), content, gate=lost)
    assert outcome.verdicts["ann@there.test"] == Deferred(
        reply="the lease ran out while this server slept, and the message was not sent",
        scope=Scope.NODE,
    )
    assert server.contents == []


async def test_a_server_that_will_not_be_spoken_to_before_its_reply_is_not() -> None:
    """The mail that it refused for that is not refused for good, and the next ones are sent by themselves."""
    refused = (".", "554 5.5.0 Error: improper use of SMTP command pipelining")
    async with (
        ScriptedServer([*GREETED, MAIL, RCPT, DATA, refused, ("QUIT", "221 bye")]).running() as server,
        running_agent() as agent,
    ):
        account = replace(account_for(server), max_concurrent=1)
        outcomes = await asyncio.gather(
            *(agent.deliver(account, envelope(name), CONTENT, final=Gate()) for name in ("ann", "bob", "cyd"))
        )
    verdicts = [verdict for outcome in outcomes for verdict in outcome.verdicts.values()]
    assert [(type(each), each.scope) for each in verdicts if isinstance(each, Deferred)] == [
        (Deferred, Scope.CONNECTION)
    ] * 3
    assert [line.split(" ")[0] for line in server.lines] == [
        *("EHLO", "MAIL", "RCPT", "DATA", "MAIL"),
        *("EHLO", "MAIL", "RCPT", "DATA", "QUIT"),
        *("EHLO", "MAIL", "RCPT", "DATA", "QUIT"),
    ]
