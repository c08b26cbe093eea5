"""TLS and login: what is required is never done without, and a password goes nowhere in clear."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import trustme

from mail_proxy import errors
from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.model.verdicts import Deferred, Delivered, Scope, Verdict
from mail_proxy.smtp.dial import may_say_password
from tests.support.delivery import CONTENT, HASTY, PATIENT, Gate, envelope, running_agent
from tests.support.scripted_server import DROP, HANG, Fault, ScriptedServer, Step
from tests.support.smtp_server import Action, SmtpServer, Stage, account_for

Tls = Literal["starttls", "ssl"]
BOTH = pytest.mark.parametrize("tls", ["starttls", "ssl"])
MARKER = "-----BEGIN CERTIFICATE-----"
USERS = {"ann": "s3cret€"}


async def verdict_for(account: Account, *, hasty: bool = False) -> Verdict:
    """Deliver one message to one recipient."""
    async with running_agent(HASTY if hasty else PATIENT) as agent:
        outcome = await agent.deliver(account, envelope("bob"), CONTENT, final=Gate())
    return outcome.verdicts["bob@there.test"]


def assert_account_is_at_fault(verdict: Verdict, words: str) -> None:
    assert isinstance(verdict, Deferred)
    assert verdict.scope is Scope.ACCOUNT
    assert words in verdict.reply


@BOTH
@pytest.mark.parametrize("pipelining", [False, True], ids=["one by one", "pipelined"])
async def test_a_trusted_server_gets_login_and_mail_over_tls(tls: Tls, *, pipelining: bool) -> None:
    async with SmtpServer(tls=tls, users=USERS, pipelining=pipelining).running() as server:
        verdict = await verdict_for(replace(account_for(server), user="ann", password="s3cret€"))
    assert isinstance(verdict, Delivered)
    assert (server.received[0].tls, server.received[0].user) == (True, "ann")


@BOTH
async def test_the_authorities_may_be_in_a_file(tls: Tls, tmp_path: Path) -> None:
    async with SmtpServer(tls=tls).running() as server:
        bundle = tmp_path / "authorities.pem"
        bundle.write_text(f"# nostra autorità\n{server.ca_pem}")
        verdict = await verdict_for(replace(account_for(server), tls_ca=str(bundle)))
    assert isinstance(verdict, Delivered)


@BOTH
@pytest.mark.parametrize("authorities", [None, trustme.CA().cert_pem.bytes().decode()])
async def test_a_certificate_of_a_stranger_is_refused(tls: Tls, authorities: str | None) -> None:
    async with SmtpServer(tls=tls).running() as server:
        verdict = await verdict_for(replace(account_for(server), tls_ca=authorities))
    assert_account_is_at_fault(verdict, "certificate not accepted")
    assert server.received == []


@BOTH
async def test_a_certificate_for_another_name_is_refused(tls: Tls) -> None:
    async with SmtpServer(tls=tls, certificate_names=["elsewhere.test"]).running() as server:
        verdict = await verdict_for(account_for(server))
    assert_account_is_at_fault(verdict, "certificate not accepted")
    assert server.received == []


@BOTH
async def test_an_account_may_do_without_verification(tls: Tls) -> None:
    async with SmtpServer(tls=tls, certificate_names=["elsewhere.test"]).running() as server:
        verdict = await verdict_for(replace(account_for(server), tls_ca=None, tls_verify=False))
    assert isinstance(verdict, Delivered)
    assert server.received[0].tls


async def test_without_starttls_a_server_gets_neither_login_nor_mail() -> None:
    async with SmtpServer(users=USERS).running() as server:
        account = replace(account_for(server), tls=TlsMode.STARTTLS, user="ann", password="s3cret€")
        verdict = await verdict_for(account)
    assert_account_is_at_fault(verdict, "does not offer STARTTLS")
    assert server.commands == ["EHLO client.test"]


async def test_port_and_use_tls_alone_ask_for_starttls() -> None:
    async with SmtpServer().running() as server:
        verdict = await verdict_for(replace(account_for(server), tls=None, use_tls=True))
    assert_account_is_at_fault(verdict, "does not offer STARTTLS")


async def test_tls_spoken_to_a_server_that_does_not_is_the_accounts_fault() -> None:
    async with SmtpServer().running() as server:
        verdict = await verdict_for(replace(account_for(server), tls=TlsMode.SSL))
    assert_account_is_at_fault(verdict, "TLS failed")


@pytest.mark.parametrize(
    ("action", "scope", "words"),
    [
        (DROP, Scope.CONNECTION, "connection lost (STARTTLS)"),
        (HANG, Scope.CONNECTION, "timed out (STARTTLS)"),
        ("454 4.7.0 TLS not available", Scope.ACCOUNT, "454 4.7.0 TLS not available"),
        ("220 2.0.0 go on, but I will not", Scope.ACCOUNT, "TLS failed: WRONG_VERSION_NUMBER"),
        ("421 4.3.2 closing", Scope.CONNECTION, "421 4.3.2 closing"),
    ],
)
async def test_starttls_that_fails_is_told(action: Action, scope: Scope, words: str) -> None:
    async with SmtpServer(tls="starttls", at={Stage.STARTTLS: action}).running() as server:
        verdict = await verdict_for(account_for(server), hasty=action is HANG)
    assert isinstance(verdict, Deferred)
    assert (verdict.reply, verdict.scope) == (words, scope)


@pytest.mark.parametrize(
    ("tls", "steps"),
    [
        (TlsMode.SSL, []),
        (
            TlsMode.STARTTLS,
            [("", "220 hello"), ("EHLO", "250-mx.test\r\n250 STARTTLS"), ("STARTTLS", "220 go")],
        ),
    ],
)
@pytest.mark.parametrize("fault", [DROP, HANG])
async def test_a_handshake_that_comes_to_nothing_is_no_fault_of_the_account(
    tls: TlsMode, steps: list[Step], fault: Fault
) -> None:
    async with ScriptedServer([*steps, ("+", fault)]).running() as server:
        verdict = await verdict_for(replace(account_for(server), tls=tls), hasty=fault is HANG)
    assert isinstance(verdict, Deferred)
    assert (verdict.scope, verdict.unknown) == (Scope.CONNECTION, False)


async def test_what_is_said_in_clear_before_tls_counts_for_nothing() -> None:
    async with ScriptedServer(
        [
            ("", "220 hello"),
            ("EHLO", "250-mx.test\r\n250 STARTTLS"),
            ("STARTTLS", "220 go\r\n250-mx.test\r\n250 AUTH PLAIN"),
        ]
    ).running() as server:
        account = replace(account_for(server), tls=TlsMode.STARTTLS, user="ann", password="s3cret€")
        verdict = await verdict_for(account)
    assert isinstance(verdict, Deferred)
    assert verdict.reply.endswith("(STARTTLS): it said more than it was asked")
    assert not any(line.startswith("AUTH") for line in server.lines)


@pytest.mark.parametrize(
    ("authorities", "words"),
    [
        ("/nowhere/authorities.pem", "tls_ca: /nowhere/authorities.pem is not a file"),
        ("/dev/zero", "tls_ca: /dev/zero is not a file"),
        (errors.__file__, "tls_ca: it holds no certificate that can be read"),
        (f"{MARKER}\nnonsense\n{MARKER.replace('BEGIN', 'END')}", "tls_ca: it holds no certificate"),
    ],
)
@BOTH
async def test_authorities_that_cannot_be_read_are_the_accounts_fault(
    tls: Tls, authorities: str, words: str
) -> None:
    async with SmtpServer(tls=tls).running() as server:
        verdict = await verdict_for(replace(account_for(server), tls_ca=authorities))
    assert_account_is_at_fault(verdict, words)


@pytest.mark.parametrize("password", ["wrong", "", None])
async def test_a_refused_login_is_the_accounts_fault_and_tried_once(password: str | None) -> None:
    async with SmtpServer(users=USERS).running() as server:
        verdict = await verdict_for(replace(account_for(server), user="ann", password=password))
    assert_account_is_at_fault(verdict, "535 5.7.8")
    assert server.logins == 1


@pytest.mark.parametrize(
    ("action", "scope"),
    [
        ("454 4.7.0 try later", Scope.ACCOUNT),
        ("534 5.7.9 application password wanted", Scope.ACCOUNT),
        ("421 4.7.0 slow down", Scope.CONNECTION),
        (DROP, Scope.CONNECTION),
        (HANG, Scope.CONNECTION),
    ],
)
async def test_a_login_that_fails_otherwise_is_told(action: Action, scope: Scope) -> None:
    async with SmtpServer(users=USERS, at={Stage.AUTH: action}).running() as server:
        verdict = await verdict_for(
            replace(account_for(server), user="ann", password="x"), hasty=action is HANG
        )
    assert isinstance(verdict, Deferred)
    assert verdict.scope is scope
    assert not verdict.unknown


async def test_a_server_that_wants_a_login_that_the_account_has_not_is_told() -> None:
    async with SmtpServer(users=USERS).running() as server:
        verdict = await verdict_for(account_for(server))
    assert_account_is_at_fault(verdict, "530 5.7.0 authentication required")


async def test_a_server_without_login_is_the_accounts_fault() -> None:
    async with SmtpServer().running() as server:
        verdict = await verdict_for(replace(account_for(server), user="ann", password="s3cret€"))
    assert_account_is_at_fault(verdict, "the server offers no login that can be used")


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PLAIN = f"AUTH PLAIN {base64_of(chr(0) + 'ann' + chr(0) + 's3cret€')}"
CHALLENGE = "<1896.697170952@mx.test>"
DIGEST = hmac.new("s3cret€".encode(), CHALLENGE.encode(), "md5").hexdigest()
ANSWER = base64_of(f"ann {DIGEST}")


@pytest.mark.parametrize(
    ("offered", "exchange"),
    [
        ("PLAIN LOGIN", [(PLAIN, "235 ok")]),
        ("LOGIN", [(f"AUTH LOGIN {base64_of('ann')}", "334 UGFzc3dvcmQ6"), (base64_of("s3cret€"), "235 ok")]),
        ("PLAIN CRAM-MD5", [("AUTH CRAM-MD5", f"334 {base64_of(CHALLENGE)}"), (ANSWER, "235 ok")]),
        (
            "PLAIN CRAM-MD5",
            [
                ("AUTH CRAM-MD5", f"334 {base64_of(CHALLENGE)}"),
                (ANSWER, "535 no plain text here"),
                (PLAIN, "235 ok"),
            ],
        ),
        ("PLAIN CRAM-MD5", [("AUTH CRAM-MD5", "504 not today"), (PLAIN, "235 ok")]),
        ("XOAUTH2 PLAIN", [(PLAIN, "235 ok")]),
    ],
)
async def test_the_login_is_said_in_a_way_that_the_server_offers(offered: str, exchange: list[Step]) -> None:
    steps: list[Step] = [
        ("", "220 hello"),
        ("EHLO", f"250-mx.test\r\n250 AUTH {offered}"),
        *exchange,
        ("MAIL", "250 ok"),
        ("RCPT", "250 ok"),
        ("DATA", "354 go"),
        (".", "250 ok"),
    ]
    async with ScriptedServer(steps).running() as server:
        verdict = await verdict_for(replace(account_for(server), user="ann", password="s3cret€"))
    assert isinstance(verdict, Delivered)


NO_CHALLENGES = {
    "not base64": "334 <1896.697170952@mx.test>",
    "cut off": f"334 {base64_of(CHALLENGE)[:-3]}",
    "not ASCII": "334 \udcff\udcfe",
    "in lines": f"334-{base64_of(CHALLENGE)}\r\n334 {base64_of(CHALLENGE)}",
}


@pytest.mark.parametrize("challenge", NO_CHALLENGES.values(), ids=NO_CHALLENGES)
@pytest.mark.parametrize("offered", ["CRAM-MD5", "CRAM-MD5 PLAIN"])
async def test_a_challenge_that_is_none_is_the_connections_fault_as_any_garbage(
    offered: str, challenge: str
) -> None:
    """Nobody has refused the password; and what were said next would be taken for the answer."""
    steps: list[Step] = [
        ("", "220 hello"),
        ("EHLO", f"250-mx.test\r\n250 AUTH {offered}"),
        ("AUTH CRAM-MD5", challenge),
        ("AUTH PLAIN", "535 wrong"),
    ]
    async with ScriptedServer(steps).running() as server:
        verdict = await verdict_for(replace(account_for(server), user="ann", password="s3cret€"))
    assert isinstance(verdict, Deferred)
    assert verdict.reply.startswith("the server's answer is not SMTP (AUTH): 334 ")
    assert (verdict.scope, verdict.unknown) == (Scope.CONNECTION, False)
    assert not any(line.startswith("AUTH PLAIN") for line in server.lines)


async def test_a_server_that_wants_more_after_the_answer_to_its_challenge_is_told_no_password() -> None:
    """It would take the next login for what it wants to hear."""
    steps: list[Step] = [
        ("", "220 hello"),
        ("EHLO", "250-mx.test\r\n250 AUTH CRAM-MD5 PLAIN"),
        ("AUTH CRAM-MD5", f"334 {base64_of(CHALLENGE)}"),
        (ANSWER, f"334 {base64_of(CHALLENGE)}"),
        ("AUTH PLAIN", "535 wrong"),
    ]
    async with ScriptedServer(steps).running() as server:
        verdict = await verdict_for(replace(account_for(server), user="ann", password="s3cret€"))
    assert isinstance(verdict, Deferred)
    assert verdict.scope is Scope.CONNECTION
    assert not any(line.startswith("AUTH PLAIN") for line in server.lines)


@pytest.mark.parametrize(
    ("tls", "peer", "encrypted", "allowed"),
    [
        (TlsMode.STARTTLS, "192.0.2.1", True, True),
        (None, "192.0.2.1", False, False),
        (TlsMode.STARTTLS, "2001:db8::1", False, False),
        (None, "10.0.0.1", False, False),
        (None, "127.0.0.1", False, True),
        (None, "127.9.9.9", False, True),
        (None, "::1", False, True),
        (TlsMode.NONE, "192.0.2.1", False, True),
    ],
)
def test_in_clear_a_password_goes_to_loopback_or_where_the_account_says_so(
    tls: TlsMode | None, peer: str, encrypted: bool, allowed: bool
) -> None:
    account = Account(tenant_id="acme", id="main", host="mx.test", port=25, tls=tls)
    assert may_say_password(account, peer, is_encrypted=encrypted) is allowed
