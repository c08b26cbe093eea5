"""No server, a handshake that does not end, STARTTLS stripped, certificates that are not valid."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest

from mail_proxy.model.accounts import TlsMode
from mail_proxy.model.messages import EventType
from tests.support.certificates import Authority
from tests.support.delivery import HASTY
from tests.support.dispatching import Dispatching, dispatching
from tests.support.faults import set_timeouts, speak_to, trouble
from tests.support.faulty_server import HOST, Act, FaultyServer, Step


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[Dispatching]:
    async with dispatching(sqlite_url) as made:
        yield made


async def test_a_refused_connection_is_deferred_and_three_let_the_account_rest(rig: Dispatching) -> None:
    async with FaultyServer().running() as gone, FaultyServer().running() as good:
        await speak_to(rig, gone)
        await speak_to(rig, good, "good")
        port = gone.port
        await gone.stop_listening()
        await rig.queue("m1", "m2", "m3")
        await rig.queue("other", account_id="good")
        await rig.work()
        assert await rig.status("other") == "sent"
        reasons = [(await rig.last(each, EventType.DEFERRED))["reason"] for each in ("m1", "m2", "m3")]
        assert all(str(each).startswith(f"cannot connect: 127.0.0.1:{port}: ") for each in reasons)
        assert await trouble(rig) is not None


HANDSHAKES = [
    pytest.param(mode, act, id=f"{name}-{act.name.lower()}")
    for name, mode in (("implicit", TlsMode.SSL), ("starttls", TlsMode.STARTTLS))
    for act in (Act.HANG, Act.DROP)
]


@pytest.mark.parametrize(("mode", "act"), HANDSHAKES)
async def test_a_handshake_that_does_not_end_is_the_connections(
    rig: Dispatching, mode: TlsMode, act: Act
) -> None:
    authority = Authority()
    step = Step.HANDSHAKE if mode is TlsMode.STARTTLS else Step.BANNER
    server = FaultyServer(at={step: act}, offers=("STARTTLS",), tls=authority.server_context(HOST))
    async with server.running():
        await speak_to(rig, server, tls=mode, tls_ca=authority.pem)
        await rig.queue("m1")
        if act is Act.HANG:
            set_timeouts(rig, HASTY)
        await rig.work()
        told = await rig.last("m1", EventType.DEFERRED)
        lost = "cannot connect" if mode is TlsMode.SSL else "connection lost"
        assert str(told["reason"]).startswith("timed out" if act is Act.HANG else lost)
        assert told["retry_count"] == 1
        assert await trouble(rig) is None


async def test_a_server_whose_starttls_was_stripped_gets_neither_mail_nor_password(rig: Dispatching) -> None:
    """There is no fall-back to a plain connection; it is the account's trouble, and costs no retry."""
    authority = Authority()
    async with FaultyServer(offers=("PIPELINING", "AUTH PLAIN")).running() as server:
        await speak_to(rig, server, tls=TlsMode.STARTTLS, tls_ca=authority.pem, user="shop", password="s3")
        await rig.queue("m1")
        await rig.work()
        told = await rig.last("m1", EventType.DEFERRED)
        words = "the server does not offer STARTTLS, which the account requires"
        assert (told["reason"], told["retry_count"]) == (words, 0)
        assert await trouble(rig) == words
    assert (server.accepted, server.logins) == ([], 0)


def bad_certificate(fault: str, authority: Authority) -> ssl.SSLContext:
    match fault:
        case "unknown-issuer":
            return Authority().server_context(HOST)
        case "self-signed":
            return Authority().own_context()
        case "expired":
            return authority.server_context(HOST, is_expired=True)
        case _:
            return authority.server_context("mx.example.net")


@pytest.mark.parametrize("mode", [TlsMode.SSL, TlsMode.STARTTLS], ids=["implicit", "starttls"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("unknown-issuer", "unable to get local issuer certificate"),
        ("self-signed", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("wrong-name", "certificate is not valid for '127.0.0.1'"),
    ],
)
async def test_a_certificate_that_is_not_valid_is_the_accounts_trouble(
    rig: Dispatching, mode: TlsMode, fault: str, words: str
) -> None:
    """It gets no mail; once the certificate is right, it gets all of it."""
    authority = Authority()
    context = bad_certificate(fault, authority)
    is_implicit = mode is TlsMode.SSL
    server = FaultyServer(offers=("STARTTLS",), tls=context, is_implicit=is_implicit)
    async with server.running(), FaultyServer().running() as good:
        await speak_to(rig, server, tls=mode, tls_ca=authority.pem)
        await speak_to(rig, good, "good")
        await rig.queue("m1", "m2")
        await rig.queue("other", account_id="good")
        await rig.work()
        assert await rig.status("other") == "sent"
        told = await rig.last("m1", EventType.DEFERRED)
        assert str(told["reason"]).startswith("certificate not accepted: ")
        assert words in str(told["reason"])
        assert told["retry_count"] == 0
        assert words in (await trouble(rig) or "")
        assert server.accepted == []

        authority.certify(context, HOST)
        for _ in range(3):
            rig.time.advance(60)
            await rig.work()
        assert [await rig.status(each) for each in ("m1", "m2")] == ["sent", "sent"]
    assert len(server.accepted) == 2


@pytest.mark.parametrize("offered", ["AUTH CRAM-MD5", "AUTH CRAM-MD5 PLAIN"])
async def test_a_challenge_that_is_not_base64_is_no_trouble_of_the_account_itself(
    rig: Dispatching, offered: str
) -> None:
    """As any answer that is not SMTP: the first two cost a retry, and the login is not said otherwise."""
    server = FaultyServer(at={Step.AUTH: "334 <what?>"}, offers=(offered,))
    async with server.running():
        await speak_to(rig, server, user="shop", password="secret", max_concurrent=1)
        await rig.queue("m1", "m2")
        await rig.work()
        told = [await rig.last(each, EventType.DEFERRED) for each in ("m1", "m2")]
        words = "the server's answer is not SMTP (AUTH): 334 <what?>"
        assert [(each["reason"], each["retry_count"]) for each in told] == [(words, 1)] * 2
        assert (await trouble(rig), server.logins) == (None, 2)

        server.heal()
        rig.time.advance(60)
        await rig.work()
        assert [await rig.status(each) for each in ("m1", "m2")] == ["sent", "sent"]
