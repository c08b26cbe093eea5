"""The delivery agent against real sockets: what is sent, to whom, and what each recipient's verdict is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

import pytest

from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope
from mail_proxy.smtp.agent import Envelope
from tests.support.delivery import CONTENT, Gate, deliver, envelope, running_agent
from tests.support.scripted_server import ScriptedServer, Step
from tests.support.smtp_server import SmtpServer, Stage, account_for


async def test_a_message_arrives_as_it_is_and_each_recipient_is_delivered() -> None:
    gate = Gate()
    async with SmtpServer().running() as server:
        outcome = await deliver(server, envelope("ann", "bob"), gate=gate)
    (mail,) = server.received
    assert (mail.mail_from, mail.rcpt_tos) == ("me@here.test", ("ann@there.test", "bob@there.test"))
    assert mail.content == CONTENT
    delivered = Delivered(code="2.0.0", reply="250 2.0.0 queued as 1")
    assert outcome.verdicts == {"ann@there.test": delivered, "bob@there.test": delivered}
    assert gate.passed == 1


async def test_refused_recipients_do_not_keep_the_others_from_their_mail() -> None:
    async with SmtpServer().running() as server:
        outcome = await deliver(server, envelope("ann", "nouser", "grey", "bob"))
    assert server.received[0].rcpt_tos == ("ann@there.test", "bob@there.test")
    delivered = Delivered(code="2.0.0", reply="250 2.0.0 queued as 1")
    assert outcome.verdicts == {
        "ann@there.test": delivered,
        "nouser@there.test": Bounced(code="5.1.1", reply="550 5.1.1 no such user"),
        "grey@there.test": Deferred(code="4.7.1", reply="451 4.7.1 greylisted, try later"),
        "bob@there.test": delivered,
    }


async def test_when_all_recipients_are_refused_the_final_step_is_never_reached() -> None:
    gate = Gate()
    async with SmtpServer().running() as server:
        outcome = await deliver(server, envelope("nouser", "full"), gate=gate)
    assert [type(verdict) for verdict in outcome.verdicts.values()] == [Bounced, Bounced]
    assert gate.passed == 0
    assert "RSET" in server.commands


async def test_recipients_after_too_many_are_left_for_the_next_time() -> None:
    async with SmtpServer().running() as server:
        outcome = await deliver(server, envelope("ann", "toomany", "bob", "eve"))
    assert server.received[0].rcpt_tos == ("ann@there.test",)
    assert "RCPT bob@there.test" not in server.commands
    later = Deferred(code="4.5.3", reply="452 4.5.3 too many recipients", scope=Scope.TRANSACTION)
    assert [outcome.verdicts[f"{who}@there.test"] for who in ("toomany", "bob", "eve")] == [later] * 3


async def test_a_recipient_named_twice_gets_one_copy() -> None:
    async with SmtpServer().running() as server:
        outcome = await deliver(server, envelope("ann", "ann"))
    assert server.received[0].rcpt_tos == ("ann@there.test",)
    assert list(outcome.verdicts) == ["ann@there.test"]


async def test_an_empty_return_path_is_said_as_such() -> None:
    async with SmtpServer().running() as server:
        outcome = await deliver(server, envelope("ann", sender=""))
    assert isinstance(outcome.verdicts["ann@there.test"], Delivered)
    assert server.received[0].mail_from == ""


async def test_without_recipients_there_is_nothing_to_say() -> None:
    async with SmtpServer().running() as server:
        assert await deliver(server, envelope()) == Outcome(tells_of_server=False)
    assert server.connections == 0


async def test_a_server_that_knows_no_ehlo_is_spoken_to_without_extensions() -> None:
    steps: list[Step] = [
        ("", "220 hello"),
        ("EHLO client.test", "502 what?"),
        ("HELO client.test", "250 hello"),
        ("MAIL FROM:<me@here.test>", "250 ok"),
        ("RCPT TO:<ann@there.test>", "250 ok"),
        ("DATA", "354 go"),
        (".", "250 taken"),
    ]
    async with ScriptedServer(steps).running() as server:
        outcome = await deliver(server, envelope("ann"))
    assert outcome.verdicts["ann@there.test"] == Delivered(code="250", reply="250 taken")
    assert server.lines[2] == "MAIL FROM:<me@here.test>"


@pytest.mark.parametrize(
    ("content", "arrives"),
    [
        (b"A: b\r\n\r\n.\r\n..\r\n.x\r\n", b"A: b\r\n\r\n.\r\n..\r\n.x\r\n"),
        (b".dot first\r\n", b".dot first\r\n"),
        (b"A: b\r\n\r\nno end", b"A: b\r\n\r\nno end\r\n"),
        (b"A: b\r\n\r\nx\n.\nMAIL FROM:<evil>\r\n", b"A: b\r\n\r\nx\r\n.\r\nMAIL FROM:<evil>\r\n"),
        (b"A: b\r\n\r\nx\n.\r\ny\r.\rz\r\n", b"A: b\r\n\r\nx\r\n.\r\ny\r\n.\r\nz\r\n"),
        (b"", b"\r\n"),
    ],
)
async def test_no_content_can_end_the_message_early(content: bytes, arrives: bytes) -> None:
    async with SmtpServer().running() as server:
        await deliver(server, envelope("ann"), content)
    assert [mail.content for mail in server.received] == [arrives]


@pytest.mark.parametrize("tls", [None, "starttls", "ssl"])
async def test_a_message_of_many_pieces_arrives_whole(tls: Literal["starttls", "ssl"] | None) -> None:
    content = b"Subject: long\r\n\r\n" + b".some line of text, and a little more of it\r\n" * 100_000
    async with SmtpServer(tls=tls, pipelining=True).running() as server:
        await deliver(server, envelope("ann"), content)
    assert server.received[0].content == content


async def test_size_and_body_and_smtputf8_are_announced_when_they_apply() -> None:
    mail = "Subject: città\r\n\r\nsì\r\n".encode()
    to = Envelope(sender="me@here.test", recipients=("ann@there.test", "andré@there.test"))
    async with SmtpServer().running() as server:
        await deliver(server, envelope("ann"))
        await deliver(server, to, mail)
    plain, international = server.received
    assert plain.mail_options == (f"SIZE={len(CONTENT)}",)
    assert international.mail_options == (f"SIZE={len(mail)}", "BODY=8BITMIME", "SMTPUTF8")
    assert international.rcpt_tos == ("ann@there.test", "andré@there.test")
    assert international.content == mail


async def test_an_international_domain_needs_no_extension() -> None:
    to = Envelope(sender="me@here.test", recipients=("ann@bücher.test",))
    async with SmtpServer(hidden=frozenset({"SMTPUTF8"})).running() as server:
        outcome = await deliver(server, to)
    assert server.received[0].rcpt_tos == ("ann@xn--bcher-kva.test",)
    assert isinstance(outcome.verdicts["ann@bücher.test"], Delivered)


@pytest.mark.parametrize(
    ("server", "to", "content", "code", "reply"),
    [
        (
            SmtpServer(size_limit=20),
            envelope("ann"),
            CONTENT,
            "5.3.4",
            f"the message has {len(CONTENT)} bytes, the server takes at most 20",
        ),
        (
            SmtpServer(hidden=frozenset({"SMTPUTF8"})),
            envelope("andré"),
            CONTENT,
            "5.6.7",
            "the message has internationalised addresses, and the server does not offer SMTPUTF8",
        ),
        (
            SmtpServer(hidden=frozenset({"8BITMIME"})),
            envelope("ann"),
            "Subject: hello\r\n\r\nsì\r\n".encode(),
            "5.6.3",
            "the message has 8-bit content, and the server does not offer 8BITMIME",
        ),
    ],
)
async def test_what_the_server_cannot_take_fails_at_once_unsent(
    server: SmtpServer, to: Envelope, content: bytes, code: str, reply: str
) -> None:
    async with server.running():
        outcome = await deliver(server, to, content)
    (verdict,) = outcome.verdicts.values()
    assert verdict == Bounced(code=code, reply=reply, scope=Scope.MESSAGE)
    assert not any(command.startswith("MAIL") for command in server.commands)


@pytest.mark.parametrize(
    "address",
    ["no-at-sign", "a b@there.test", "a@b> SIZE=1", "a@there.test\r\nDATA", "\udc80@there.test", ""],
)
async def test_an_address_that_no_command_can_carry_bounces_alone(address: str) -> None:
    to = Envelope(sender="me@here.test", recipients=(address, "ann@there.test"))
    async with SmtpServer().running() as server:
        outcome = await deliver(server, to)
    refused = outcome.verdicts[address]
    assert isinstance(refused, Bounced)
    assert refused.code == "5.1.3"
    assert isinstance(outcome.verdicts["ann@there.test"], Delivered)
    assert server.received[0].rcpt_tos == ("ann@there.test",)


async def test_an_impossible_return_path_fails_the_message() -> None:
    async with SmtpServer().running() as server:
        outcome = await deliver(server, envelope("ann", sender="me@here\r\n.test"))
    verdict = outcome.verdicts["ann@there.test"]
    assert isinstance(verdict, Bounced)
    assert (verdict.code, verdict.scope) == ("5.1.7", Scope.MESSAGE)
    assert (server.connections, outcome.tells_of_server) == (0, False)


async def test_what_cannot_be_said_on_a_kept_connection_tells_nothing_of_the_server() -> None:
    """It said what it takes when the connection was opened, and may be gone since."""
    async with SmtpServer(size_limit=60).running() as server, running_agent() as agent:
        contents = [b"long\r\n" * 20, CONTENT, b"long\r\n" * 20]
        outcomes = [
            await agent.deliver(account_for(server), envelope("ann"), each, final=Gate()) for each in contents
        ]
    assert [type(each.verdicts["ann@there.test"]) for each in outcomes] == [Bounced, Delivered, Bounced]
    assert server.connections == 1
    assert [each.tells_of_server for each in outcomes] == [True, True, False]


async def test_what_the_final_step_raises_comes_out_and_nothing_is_sent() -> None:
    """The server waits for a content by then, so that only closing the connection ends it."""

    class LeaseLostError(Exception):
        pass

    async with SmtpServer().running() as server, running_agent() as agent:
        lost = Gate(LeaseLostError())
        with pytest.raises(LeaseLostError):
            await agent.deliver(account_for(server), envelope("ann"), CONTENT, final=lost)
        await server.wait_closed()
        assert (lost.passed, lost.pieces, server.received) == (1, 0, [])
        outcome = await agent.deliver(account_for(server), envelope("bob"), CONTENT, final=Gate())
        assert isinstance(outcome.verdicts["bob@there.test"], Delivered)
    assert server.received[0].rcpt_tos == ("bob@there.test",)
    assert server.connections == 2


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.EHLO, Stage.RCPT, Stage.DATA, Stage.ACCEPTED])
async def test_a_cancelled_delivery_leaves_no_connection(stage: Stage) -> None:
    gate = asyncio.Event()
    async with SmtpServer(at={stage: gate}).running() as server, running_agent() as agent:
        task = asyncio.create_task(agent.deliver(account_for(server), envelope("ann"), CONTENT, final=Gate()))
        await server.wait_at(stage)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        await server.wait_closed()
        assert agent.open_connections == 0
