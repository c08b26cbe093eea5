"""``accounts add`` as a dialogue, on a real terminal, before real servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mail_proxy.services.inputs import AccountInput, checked
from mail_proxy_cli.wizards.providers import OWN, PROVIDERS, Provider
from tests.support.cli import Cli, QuickCli
from tests.support.scripted_server import HANG
from tests.support.smtp_server import SmtpServer, Stage
from tests.support.terminal import Terminal

ADD = ("a", "acme", "accounts", "add")
USERS = {"bot@acme.test": "hunter2"}


@pytest.fixture
def a(cli: Cli) -> Cli:
    """An instance 'a' with a tenant 'acme'."""
    cli.instance("a")
    QuickCli(cli.root, cli.environ).ok("a", "tenants", "add", "acme", "--name", "Acme")
    return cli


def accounts(cli: Cli) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = QuickCli(cli.root, cli.environ)(
        "a", "acme", "accounts", "list", "--json"
    ).json()
    return listed


def go_to_login(terminal: Terminal, port: int) -> None:
    """Choose Gmail, but another server; answer all up to the offer of a login, with a wrong password."""
    terminal.reply("provider [own]: ", "gmail")
    terminal.reply("id [main]: ", "")
    terminal.reply("SMTP server [smtp.gmail.com]: ", "localhost")
    terminal.reply("port [587]: ", str(port))
    terminal.reply("encryption [starttls]: ", "")
    terminal.reply("address: ", "bot@acme.test")
    terminal.reply("app password: ", "wrong")
    terminal.reply("none): ", "")
    terminal.reply("other limits? [y/N]: ", "")


async def test_a_login_that_is_refused_and_mended(a: Cli) -> None:
    """A certificate that nobody knows, then a wrong password: each told, mended, and tried again."""

    def walk(server: SmtpServer) -> None:
        (a.root / "ca.pem").write_text(server.ca_pem)
        (a.root / "none.pem").write_text("no certificate\n")
        with Terminal(a, *ADD, columns=120, rows=60) as terminal:
            go_to_login(terminal, server.port)
            terminal.reply("try the login now? [Y/n]: ", "perhaps")
            terminal.wait_for("yes or no?")
            terminal.reply("try the login now? [Y/n]: ", "yes")
            terminal.wait_for("SMTP login: certificate not accepted")
            terminal.reply("what now [change]: ", "trust")
            terminal.reply("(PEM): ", "nowhere.pem")
            terminal.wait_for("nowhere.pem: no such file")
            terminal.reply("(PEM): ", "none.pem")
            terminal.wait_for("none.pem: it holds no certificate")
            terminal.reply("(PEM): ", "ca.pem")
            terminal.wait_for("SMTP login: 535")
            terminal.reply("what now [login]: ", "")
            terminal.reply("address [bot@acme.test]: ", "")
            terminal.reply("app password [as before]: ", "hunter2")
            terminal.wait_for("SMTP login: works (starttls")
            assert accounts(a) == []
            terminal.reply("[yes]: ", "")
            assert terminal.end() == 0
            assert "send hello.eml --wait" in terminal.screen
            assert "hunter2" not in terminal.output

    async with SmtpServer(tls="starttls", users=USERS).running() as server:
        await asyncio.to_thread(walk, server)
        [account] = await asyncio.to_thread(accounts, a)
    assert (account["host"], account["port"], account["tls"]) == ("localhost", server.port, "starttls")
    assert (account["user"], account["from_address"]) == ("bot@acme.test", "bot@acme.test")
    assert account["tls_ca"] == server.ca_pem
    assert account["limit_per_day"] == 500
    assert server.logins == 2
    assert server.received == []


async def test_answers_are_changed_after_a_refusal(a: Cli) -> None:
    """What was answered is proposed; any certificate is taken with a warning, or it is kept as it is."""

    def walk(server: SmtpServer) -> None:
        with Terminal(a, *ADD, "main", columns=60) as terminal:
            terminal.reply("provider [own]: ", "")
            terminal.reply("SMTP server: ", "local host")
            terminal.wait_for("must be a host name or an address")
            terminal.reply("SMTP server: ", "localhost")
            terminal.reply("port [587]: ", "70000")
            terminal.wait_for("less than or equal to 65535")
            terminal.reply("port [587]: ", str(server.port))
            terminal.reply("encryption [starttls]: ", "")
            terminal.reply("user (empty: no login): ", "bot@acme.test")
            terminal.reply("password: ", "wrong")
            terminal.reply("none): ", "bot at acme")
            terminal.wait_for("bot at acme")
            terminal.reply("none): ", "-")
            terminal.reply("other limits? [y/N]: ", "y")
            terminal.reply("messages a minute", "10")
            terminal.reply("messages an hour", "")
            terminal.reply("messages a day", "")
            terminal.reply("try the login now? [Y/n]: ", "")
            terminal.reply("what now [change]: ", "unv")
            terminal.wait_for("Anybody in between can now pass for the server")
            terminal.reply("what now [login]: ", "change")
            terminal.reply("provider [own]: ", "")
            terminal.reply("SMTP server [localhost]: ", "")
            terminal.reply(f"port [{server.port}]: ", "")
            terminal.reply("encryption [starttls]: ", "")
            terminal.reply("user [bot@acme.test] (- for no login): ", "")
            terminal.reply("password [as before]: ", "wrong again")
            terminal.reply("none): ", "")
            terminal.reply("other limits? [y/N]: ", "")
            terminal.reply("try the login now? [Y/n]: ", "")
            terminal.reply("what now [login]: ", "again")
            terminal.reply("what now [login]: ", "keep")
            terminal.reply("[yes]: ", "")
            assert terminal.end() == 0

    async with SmtpServer(tls="starttls", users=USERS).running() as server:
        await asyncio.to_thread(walk, server)
        [account] = await asyncio.to_thread(accounts, a)
    assert account["tls_verify"] is False
    assert account["from_address"] is None
    assert server.logins == 3


async def test_leaving_leaves_no_trace(a: Cli) -> None:
    """Ctrl+C while the login is tried, Ctrl+D at a secret, 'leave' after a refusal: no account."""

    def walk(server: SmtpServer) -> None:
        with Terminal(a, *ADD) as terminal:
            go_to_login(terminal, server.port)
            terminal.reply("try the login now? [Y/n]: ", "")
            terminal.reply("what now [change]: ", "leave")
            assert terminal.end() == 1
            assert "nothing was done" in terminal.screen
        server.at[Stage.EHLO] = HANG
        with Terminal(a, *ADD) as terminal:
            go_to_login(terminal, server.port)
            terminal.reply("try the login now? [Y/n]: ", "")
            terminal.until(lambda: Stage.EHLO in server.reached, "the login to hang")
            terminal.press("ctrl-c")
            assert terminal.end() == 130
            assert "Traceback" not in terminal.screen

    async with SmtpServer(tls="starttls", users=USERS).running() as server:
        await asyncio.to_thread(walk, server)
    with Terminal(a, *ADD, "main") as terminal:
        terminal.reply("provider [own]: ", "legalmail")
        terminal.reply("SMTP server [sendm.cert.legalmail.it]: ", "")
        terminal.reply("port [465]: ", "")
        terminal.reply("encryption [ssl]: ", "")
        terminal.reply("user ID: ", "M123")
        terminal.until(lambda: "password: " in terminal.line_to_cursor, "the secret")
        terminal.press("ctrl-d")
        assert terminal.end() == 130
    assert accounts(a) == []


def test_certified_mail_has_a_mailbox(a: Cli) -> None:
    """A provider of PEC: where its receipts arrive is asked, the same login is proposed."""
    with Terminal(a, *ADD, columns=60) as terminal:
        terminal.type("ar")
        terminal.until(lambda: terminal.line_to_cursor.endswith("provider [own]: ar"), "what was typed")
        terminal.press("tab")
        terminal.until(lambda: terminal.line_to_cursor.endswith("aruba-pec"), "what Tab completes")
        terminal.press("enter")
        for question, answer in (
            ("id [main]: ", "pec"),
            ("SMTP server [smtps.pec.aruba.it]: ", ""),
            ("port [465]: ", ""),
            ("encryption [ssl]: ", ""),
            ("PEC address: ", "acme@pec.test"),
            ("password: ", "hunter2"),
            ("from address [acme@pec.test] (- for none): ", ""),
            ("other limits? [y/N]: ", ""),
            ("IMAP server [imaps.pec.aruba.it]: ", ""),
            ("IMAP port [993]: ", ""),
            ("IMAP user [acme@pec.test]: ", ""),
            ("IMAP password (empty: the same): ", ""),
            ("try the login now? [Y/n]: ", "n"),
            ("[yes]: ", ""),
        ):
            terminal.reply(question, answer)
        assert terminal.end() == 0
    [account] = accounts(a)
    assert (account["imap_host"], account["imap_user"]) == ("imaps.pec.aruba.it", "acme@pec.test")
    assert account["is_pec_account"] is True


def test_the_sandbox_on_a_dumb_terminal(a: Cli) -> None:
    """It has no server to ask about; and a dumb terminal is told in plain text."""
    with Terminal(a, *ADD, TERM="dumb") as terminal:
        terminal.reply("provider [own]: ", "s")
        terminal.wait_for("did you mean ses or sendgrid or sandbox?")
        terminal.reply("provider [own]: ", "sandbox")
        terminal.reply("id [main]: ", "")
        terminal.reply("from address (empty: none): ", "shop@acme.test")
        terminal.reply("[yes]: ", "")
        assert terminal.end() == 0
        assert "\x1b" not in terminal.output
    [account] = accounts(a)
    assert (account["id"], account["host"], account["from_address"]) == ("main", "sandbox", "shop@acme.test")


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_what_is_proposed_for_a_provider_is_valid(provider: Provider) -> None:
    """By the rules of the services; and what the host's name leaves open is one of its regions."""
    host = provider.host.format(region=provider.regions[0]) if provider.regions else provider.host
    fields = {
        "id": "main",
        "host": host or "mail.example.com",
        "port": provider.port,
        "tls": provider.tls,
        "limit_per_minute": provider.limit_per_minute,
        "limit_per_day": provider.limit_per_day,
        "max_concurrent": provider.max_concurrent,
        "imap_host": provider.imap_host or None,
    }
    assert checked(AccountInput, fields, ["id", "host"]).port == {"starttls": 587, "ssl": 465}[provider.tls]
    assert "{" not in host
    assert provider.is_pec == (provider is PROVIDERS["pec"] or bool(provider.imap_host))


def test_the_usual_provider_is_none_in_particular() -> None:
    assert PROVIDERS[OWN].host == ""
