"""Trying a login at a mailbox: against a real server, and against what a hostile one may do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import replace

import pytest
import trustme

from mail_proxy.addresses import AddressPolicy
from mail_proxy.imap import trial
from mail_proxy.model.accounts import TlsMode
from mail_proxy.model.logins import LoginTrial, Mailbox
from mail_proxy.net import Resolver, resolve_by_system
from tests.support.dovecot import HOST, PASSWORD, USER, Dovecot
from tests.support.imap_server import DROP, HANG, ImapServer

SOON = 0.2
STEPS = [
    pytest.param("", "the greeting", id="greeting"),
    pytest.param("CAPABILITY", "the greeting", id="capability"),
    pytest.param("LOGIN", "the login", id="login"),
    pytest.param("EXAMINE", "opening the folder INBOX", id="folder"),
]


async def try_login(
    mailbox: Mailbox,
    *,
    allowed: Sequence[str] = (),
    step_wait: float = 5,
    wait: float = 10,
    resolve: Resolver = resolve_by_system,
) -> LoginTrial:
    policy = AddressPolicy.of(allowed)
    return await trial.try_login(mailbox, policy=policy, step_wait=step_wait, wait=wait, resolve=resolve)


def of_dovecot(dovecot: Dovecot) -> Mailbox:
    """Ann's mailbox, over TLS from the beginning."""
    return Mailbox(host=HOST, port=dovecot.tls_port, user=USER, password=PASSWORD, tls_ca=dovecot.ca_pem)


def of_script(server: ImapServer) -> Mailbox:
    return Mailbox(host=HOST, port=server.port, user="ann", password="p4ss", ssl=False)


async def test_a_login_over_tls(dovecot: Dovecot) -> None:
    found = await try_login(of_dovecot(dovecot))
    assert (found.error, found.tls) == (None, TlsMode.SSL)
    assert 0 < found.seconds < 10


async def test_a_connection_in_clear_goes_over_to_tls(dovecot: Dovecot) -> None:
    found = await try_login(replace(of_dovecot(dovecot), port=dovecot.port, ssl=False))
    assert (found.error, found.tls) == (None, TlsMode.STARTTLS)


@pytest.mark.parametrize("folder", ["INBOX", "Zurückgekommen"])
async def test_any_folder_can_be_opened(dovecot: Dovecot, folder: str) -> None:
    assert (await try_login(replace(of_dovecot(dovecot), folder=folder))).error is None


async def test_a_folder_that_is_not_there(dovecot: Dovecot) -> None:
    found = await try_login(replace(of_dovecot(dovecot), folder='Ge"burtstage'))
    assert found.error is not None
    assert found.error.startswith('refused (opening the folder Ge"burtstage): ')
    assert "exist" in found.error


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("bob@example.org", PASSWORD)])
async def test_a_login_that_is_refused(dovecot: Dovecot, user: str, password: str) -> None:
    found = await try_login(replace(of_dovecot(dovecot), user=user, password=password))
    assert found.error is not None
    assert found.error.startswith("refused (the login): ")
    assert "AUTHENTICATIONFAILED" in found.error


@pytest.mark.parametrize("uses_ssl", [True, False])
async def test_a_certificate_of_an_unknown_authority(dovecot: Dovecot, uses_ssl: bool) -> None:
    """Is not accepted, unless the account says so, however TLS begins."""
    port = dovecot.tls_port if uses_ssl else dovecot.port
    stranger = replace(of_dovecot(dovecot), tls_ca=None, ssl=uses_ssl, port=port)
    found = await try_login(stranger)
    assert found.error is not None
    assert found.error.startswith("certificate not accepted: ")
    assert (await try_login(replace(stranger, tls_verify=False))).error is None


async def test_a_certificate_of_another_name() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    async with ImapServer(tls=context).running() as server:
        mailbox = replace(of_script(server), ssl=True, tls_ca=authority.cert_pem.bytes().decode())
        found = await try_login(mailbox)
    assert found.error is not None
    assert found.error.startswith("certificate not accepted: IP address mismatch")
    assert server.lines == []


@pytest.mark.parametrize(
    ("tls_ca", "reason"),
    [("-----BEGIN nothing", "tls_ca: "), ("/nowhere/ca.pem", "tls_ca: /nowhere/ca.pem is not a file")],
)
async def test_authorities_that_cannot_be_read(dovecot: Dovecot, tls_ca: str, reason: str) -> None:
    found = await try_login(replace(of_dovecot(dovecot), tls_ca=tls_ca))
    assert found.error is not None
    assert found.error.startswith(reason)


async def test_the_folder_is_opened_without_changing_it() -> None:
    """Not even what is recent is forgotten; and the client takes its leave."""
    async with ImapServer().running() as server:
        found = await try_login(of_script(server))
    assert (found.error, found.tls) == (None, TlsMode.NONE)
    commands = [line.split()[1] for line in server.lines]
    assert commands == ["CAPABILITY", "LOGIN", "EXAMINE", "LOGOUT"]


@pytest.mark.parametrize(("command", "step"), STEPS)
async def test_a_server_that_hangs_is_given_up_at_that_step(command: str, step: str) -> None:
    async with ImapServer({command: HANG}).running() as server:
        found = await try_login(of_script(server), step_wait=SOON)
        assert found.error == f"timed out ({step})"
        await server.closed.wait()


@pytest.mark.parametrize(("command", "step"), STEPS)
async def test_all_steps_together_have_their_time(command: str, step: str) -> None:
    """And nothing goes on afterwards: the connection is closed at once, though the step had time left."""
    async with ImapServer({command: HANG}).running() as server:
        found = await try_login(of_script(server), step_wait=60, wait=SOON)
        assert found.error == f"timed out: it took more than {SOON} s in all"
        await server.closed.wait()


@pytest.mark.parametrize(("step_wait", "wait"), [(SOON, 10), (60, SOON)])
async def test_a_handshake_that_hangs_is_given_up(step_wait: float, wait: float) -> None:
    async with ImapServer({"": HANG}).running() as server:
        found = await try_login(replace(of_script(server), ssl=True), step_wait=step_wait, wait=wait)
        assert str(found.error).startswith("timed out")
        await server.closed.wait()


@pytest.mark.parametrize(("command", "step"), STEPS)
async def test_a_server_that_hangs_up(command: str, step: str) -> None:
    async with ImapServer({command: DROP}).running() as server:
        found = await try_login(of_script(server))
    assert str(found.error).startswith((f"connection lost ({step})", f"broken off ({step})"))


@pytest.mark.parametrize(
    "answers",
    [
        {"": "HTTP/1.1 400 Bad Request"},
        {"": "* BYE go away"},
        {"": "\0\1\2"},
        {"": ""},
        {"CAPABILITY": "{tag} BAD what"},
        {"CAPABILITY": "* CAPABILITY SOMETHING\r\n{tag} OK done"},
        {"CAPABILITY": "* CAPABILITY IMAP4rev1\r\nzz99 OK done"},
        {"LOGIN": "{tag} NO \x1b[31m no"},
        {"LOGIN": "+ go on"},
        {"LOGIN": "nonsense p4ss"},
        {"LOGIN": "zz99 OK p4ss"},
        {"LOGIN": "* X {{" + "9" * 5000 + "}}"},
        {"EXAMINE": "* 0 EXISTS ((((\r\n* FLAGS (\r\n{tag} OK [UIDVALIDITY x] opened"},
    ],
)
async def test_garbage_is_an_error_in_one_line(answers: dict[str, str]) -> None:
    async with ImapServer(answers).running() as server:
        found = await try_login(of_script(server), step_wait=SOON)
    assert found.error
    assert found.error.isprintable()
    assert "p4ss" not in found.error


@pytest.mark.parametrize(
    "answers",
    [
        {"LOGIN": "* X {{99999999999}}"},
        {"LOGIN": "* X {{1048577}}\r\n" + "x" * 2_000_000},
        {"LOGIN": "* X y\r\n" * 300_000},
        {"LOGIN": "* X " + "y" * 900_000 + "\r\n* X " + "y" * 900_000},
    ],
)
async def test_what_a_server_says_is_bounded(answers: dict[str, str]) -> None:
    """Before it is in memory."""
    async with ImapServer(answers).running() as server:
        found = await try_login(of_script(server))
    assert found.error == "the server said more than 1048576 bytes"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        pytest.param(
            {"CAPABILITY": "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n{tag} OK done"},
            "the server offers no login",
            id="disabled",
        ),
        pytest.param({"": "* PREAUTH welcome, ann"}, "refused (the login)", id="preauth"),
        pytest.param(
            {
                "CAPABILITY": "* CAPABILITY IMAP4rev1 STARTTLS\r\n{tag} OK done",
                "STARTTLS": "{tag} NO not now",
            },
            "refused (STARTTLS)",
            id="starttls refused",
        ),
    ],
)
async def test_a_password_is_not_said_to_who_does_not_want_it(answers: dict[str, str], reason: str) -> None:
    async with ImapServer(answers).running() as server:
        found = await try_login(of_script(server))
    assert str(found.error).startswith(reason)
    assert server.lines
    assert not any("p4ss" in line for line in server.lines)


async def test_a_server_without_sasl_takes_ascii_alone() -> None:
    async with ImapServer().running() as server:
        found = await try_login(replace(of_script(server), password="pässword"))
    assert "ASCII" in str(found.error)


@pytest.mark.parametrize("missing", ["user", "password"])
async def test_a_login_needs_both(missing: str) -> None:
    async with ImapServer().running() as server:
        mailbox = of_script(server)
        without = replace(mailbox, user=None) if missing == "user" else replace(mailbox, password=None)
        found = await try_login(without)
    assert found.error == "there is no user name or no password to log in with"
    assert server.lines == []


async def test_a_port_where_nobody_listens() -> None:
    async with ImapServer().running() as server:
        mailbox = of_script(server)
    assert (await try_login(mailbox)).error == "cannot connect: Connection refused"


async def test_a_name_that_does_not_resolve() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    found = await try_login(Mailbox(host="nowhere.example", user="a", password="b"), resolve=resolve)
    assert found.error == "cannot connect: nowhere.example: Name or service not known"


async def test_a_name_that_is_none() -> None:
    found = await try_login(Mailbox(host="a" * 70 + ".example", user="a", password="b"))
    assert found.error is not None
    assert found.error.startswith("cannot connect: aaa")


async def test_the_next_address_is_tried() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.2", HOST]

    async with ImapServer().running() as server:
        assert (
            await try_login(replace(of_script(server), host="mail.example"), resolve=resolve)
        ).error is None


async def test_a_tenants_host_must_be_a_public_address() -> None:
    """By the address connected to, unless the configuration permits it; which one it is is not told."""

    async def resolve(host: str, port: int) -> list[str]:
        return [HOST]

    async with ImapServer().running() as server:
        theirs = replace(of_script(server), host="innocent.example", by_tenant=True)
        found = await try_login(theirs, resolve=resolve)
        assert found.error is not None
        assert found.error.startswith("innocent.example is not a public address")
        assert HOST not in found.error
        assert server.lines == []
        assert (await try_login(theirs, resolve=resolve, allowed=["127.0.0.0/8"])).error is None
