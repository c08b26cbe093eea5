"""``accounts test``: each step of a login is told, and a failure in the server's own words."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.cli import QuickCli, Result
from tests.support.dovecot import HOST, PASSWORD, USER, Dovecot
from tests.support.scripted_server import DROP
from tests.support.smtp_server import SmtpServer, Stage

SECRET = "p4ssw0rd-of-the-tests"


@pytest.fixture
def acme(quick: QuickCli) -> QuickCli:
    """Tenant acme of instance 'myserver'."""
    quick.instance("myserver")
    quick.ok("myserver", "tenants", "add", "acme")
    return quick


def add(cli: QuickCli, server: SmtpServer, *options: str) -> None:
    """Add account 'main' of this server, whose authority is known."""
    words = ["--host", server.host, "--port", str(server.port), "--user", "ann", "--password", SECRET]
    if server.tls:
        Path(cli.root / "ca.pem").write_text(server.ca_pem)
        words += ["--tls", server.tls, "--tls-ca", str(cli.root / "ca.pem")]
    else:
        words += ["--tls", "none"]
    cli.ok("myserver", "acme", "accounts", "add", "main", *words, *options)


async def tried(cli: QuickCli, server: SmtpServer, *options: str, as_json: bool = False) -> Result:
    """Add the account and try it, while the server runs."""

    def work() -> Result:
        add(cli, server, *options)
        return cli("myserver", "acme", "accounts", "test", "main", *(["--json"] if as_json else []))

    async with server.running():
        done = await asyncio.to_thread(work)
        await server.wait_closed()
    assert SECRET not in done.out + done.err
    return done


def told(done: Result) -> list[tuple[str, str]]:
    """The steps and how they went."""
    _, *lines = done.out.splitlines()
    return [(step, result) for _, _, step, result in (line.split(maxsplit=3) for line in lines)]


@pytest.mark.parametrize(
    ("tls", "steps"),
    [
        (None, ["connect", "greeting", "login", "NOOP"]),
        ("starttls", ["connect", "greeting", "TLS", "login", "NOOP"]),
        ("ssl", ["connect", "TLS", "greeting", "login", "NOOP"]),
    ],
)
async def test_a_login_that_works(acme: QuickCli, tls: str | None, steps: list[str]) -> None:
    """The steps in the order in which they are taken; nothing is sent."""
    server = SmtpServer(tls=tls, users={"ann": SECRET})  # type: ignore[arg-type]  # the three it knows
    done = await tried(acme, server)
    assert (done.code, done.err) == (0, "")
    assert told(done) == [(step, "ok") for step in steps]
    assert (server.logins, server.received) == (1, [])


async def test_a_wrong_password(acme: QuickCli) -> None:
    """The steps before it worked; what it says itself is told, with exit code 1."""
    done = await tried(acme, SmtpServer(tls="starttls", users={"ann": "another"}))
    *before, (step, said) = told(done)
    assert before == [("connect", "ok"), ("greeting", "ok"), ("TLS", "ok")]
    assert (done.code, step) == (1, "login")
    assert said.startswith("535 5.7.8")
    assert done.err == f"Error: smtp: {said}\n"


@pytest.mark.parametrize(
    ("stage", "steps"),
    [
        (Stage.CONNECT, ["connect", "greeting"]),
        (Stage.STARTTLS, ["connect", "greeting", "TLS"]),
        (Stage.NOOP, ["connect", "greeting", "TLS", "login", "NOOP"]),
    ],
)
async def test_a_server_that_hangs_up(acme: QuickCli, stage: Stage, steps: list[str]) -> None:
    """The last step that is told is the one that failed."""
    done = await tried(acme, SmtpServer(tls="starttls", users={"ann": SECRET}, at={stage: DROP}))
    assert done.code == 1
    assert [step for step, _ in told(done)] == steps
    assert [result for _, result in told(done)[:-1]] == ["ok"] * (len(steps) - 1)
    assert told(done)[-1][1] != "ok"


@pytest.mark.parametrize("tls", ["starttls", "ssl"])
async def test_a_certificate_that_nobody_known_has_signed(acme: QuickCli, tls: str) -> None:
    """It says what may help."""
    server = SmtpServer(tls=tls, users={"ann": SECRET})  # type: ignore[arg-type]  # as above
    async with server.running():
        words = ("--host", server.host, "--port", str(server.port), "--tls", tls)
        acme.ok("myserver", "acme", "accounts", "add", "main", *words)
        done = await asyncio.to_thread(acme, "myserver", "acme", "accounts", "test", "main")
        await server.wait_closed()
    step, result = told(done)[-1]
    assert (done.code, step) == (1, "certificate")
    assert result.startswith("certificate not accepted")
    assert done.err.endswith("(accounts update main --tls-ca FILE names who signs it)\n")


async def test_nobody_listens(acme: QuickCli) -> None:
    server = SmtpServer()
    async with server.running():
        add(acme, server)
    done = acme("myserver", "acme", "accounts", "test", "main")
    [(step, result)] = told(done)
    assert (done.code, step) == (1, "connect")
    assert result.startswith("cannot connect")


async def test_as_json(acme: QuickCli) -> None:
    """With the API's names, whether it works or not."""
    done = await tried(acme, SmtpServer(users={"ann": "another"}), as_json=True)
    assert done.code == 1
    view = json.loads(done.out)
    assert (set(view), view["imap"]) == ({"smtp", "imap"}, None)
    assert (view["smtp"]["ok"], view["smtp"]["tls"]) == (False, "none")
    assert view["smtp"]["error"].startswith("535")


def test_the_sandbox(acme: QuickCli) -> None:
    acme.ok("myserver", "acme", "accounts", "add", "main", "--host", "sandbox")
    done = acme("myserver", "acme", "accounts", "test", "main")
    assert (done.code, done.err) == (0, "")
    assert "sandbox  connect  ok, it keeps the mail and sends none" in done.out


def test_the_mailbox_too(acme: QuickCli, dovecot: Dovecot) -> None:
    """What IMAP says does not hide what SMTP says."""
    Path(acme.root / "ca.pem").write_text(dovecot.ca_pem)
    acme.ok(
        "myserver", "acme", "accounts", "add", "main", "--host", "sandbox",
        "--tls-ca", acme.root / "ca.pem", "--imap-host", HOST, "--imap-port", str(dovecot.tls_port),
        "--imap-user", USER, "--imap-password", PASSWORD,
    )  # fmt: skip
    done = acme("myserver", "acme", "accounts", "test", "main")
    assert done.code == 0
    server = f"imap {HOST}:{dovecot.tls_port}"
    steps = [line.removeprefix(server).split() for line in done.out.splitlines() if line.startswith(server)]
    assert steps == [[step, "ok"] for step in ("connect", "TLS", "greeting", "login", "folder")]

    acme.ok("myserver", "acme", "accounts", "update", "main", "--imap-password", "another")
    done = acme("myserver", "acme", "accounts", "test", "main")
    assert (done.code, "sandbox" in done.out) == (1, True)
    assert done.err.startswith("Error: imap: refused (the login)")
    assert PASSWORD not in done.out + done.err


def test_an_unknown_account(acme: QuickCli) -> None:
    acme.ok("myserver", "acme", "accounts", "add", "main", "--host", "sandbox")
    done = acme("myserver", "acme", "accounts", "test", "mian")
    assert (done.code, done.err) == (2, "Error: no account 'mian'; did you mean 'main'?\n")
