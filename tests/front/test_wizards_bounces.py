"""``config bounce``: as a dialogue on a real terminal before an IMAP server, and by options."""

from __future__ import annotations

import asyncio
import re

import pytest

from mail_proxy.config import load_config
from mail_proxy.instance import Instance
from mail_proxy.model.instance_settings import InstanceSettings
from mail_proxy.runtime import open_services
from tests.support.cli import Cli, QuickCli
from tests.support.imap_server import ImapServer
from tests.support.terminal import Terminal

BOUNCE = ("a", "config", "bounce")
REFUSED = "{tag} NO [AUTHENTICATIONFAILED] who are you?"


@pytest.fixture
def a(cli: Cli) -> Cli:
    """An instance 'a'."""
    cli.instance("a")
    return cli


async def settings(cli: Cli) -> InstanceSettings:
    instance = Instance("a", cli.home / "a")
    config = load_config(instance.directory, cli.environ)
    async with open_services(config, instance, environ=cli.environ) as runtime:
        return await runtime.services.instance_settings.get()


def type_mailbox(terminal: Terminal, port: int) -> None:
    """Answer all up to the offer of a login, with a user whom the server refuses."""
    terminal.reply("collect bounces? [Y/n]: ", "")
    terminal.reply("IMAP server: ", "127.0.0.1")
    terminal.reply("port [993]: ", str(port))
    terminal.reply("TLS from the beginning? [Y/n]: ", "n")
    terminal.reply("user: ", "stranger")
    terminal.reply("password: ", "wrong")
    terminal.reply("folder [INBOX]: ", "Bounces")
    terminal.reply("seconds between two looks [60]: ", "0")
    terminal.wait_for("must be greater than or equal to 1")
    terminal.reply("seconds between two looks [60]: ", "30")
    terminal.reply("sender): ", "bounces")
    terminal.wait_for("'bounces' is not an e-mail address")
    terminal.reply("sender): ", "bounces+{token}@acme.test")


async def test_a_mailbox_whose_login_is_refused_first(a: Cli) -> None:
    """Wrong answers are mended, the login is tried, and what is in force is proposed the next time."""
    answers = {"LOGIN": REFUSED}

    def walk(server: ImapServer) -> None:
        with Terminal(a, *BOUNCE, columns=60) as terminal:
            type_mailbox(terminal, server.port)
            terminal.reply("try the login now? [Y/n]: ", "")
            terminal.wait_for("IMAP login: refused")
            del answers["LOGIN"]
            terminal.reply("what now [login]: ", "")
            terminal.reply("user [stranger]: ", "bot")
            terminal.reply("password [as before]: ", "hunter2")
            terminal.wait_for("IMAP login: works")
            terminal.reply("[yes]: ", "")
            assert terminal.end() == 0
            assert "bounces are collected from bot" in terminal.screen
            assert "hunter2" not in terminal.output
        with Terminal(a, *BOUNCE, TERM="dumb") as again:
            again.reply("collect bounces? [Y/n]: ", "")
            again.reply("IMAP server [127.0.0.1]: ", "")
            again.reply(f"port [{server.port}]: ", "")
            again.reply("TLS from the beginning? [y/N]: ", "")
            again.reply("user [bot]: ", "")
            again.reply("password (empty: as it is): ", "")
            again.reply("folder [Bounces]: ", "")
            again.reply("seconds between two looks [30]: ", "")
            again.reply("sender): ", "-")
            again.reply("try the login now? [Y/n]: ", "")
            again.reply("[yes]: ", "")
            assert again.end() == 0

    async with ImapServer(answers).running() as server:
        await asyncio.to_thread(walk, server)
    kept = await settings(a)
    assert kept.bounce_enabled
    assert (kept.bounce_imap_port, kept.bounce_imap_ssl) == (server.port, False)
    assert (kept.bounce_imap_user, kept.bounce_imap_password) == ("bot", "hunter2")
    assert (kept.bounce_imap_folder, kept.bounce_poll_interval) == ("Bounces", 30)
    assert kept.bounce_return_path is None


async def test_leaving_leaves_no_trace(a: Cli) -> None:
    """Ctrl+C after all the answers, and a no: nothing is kept."""

    def walk() -> None:
        with Terminal(a, *BOUNCE) as terminal:
            type_mailbox(terminal, 993)
            terminal.reply("try the login now? [Y/n]: ", "n")
            terminal.until(lambda: "[yes]: " in terminal.line_to_cursor, "the last question")
            terminal.press("ctrl-c")
            assert terminal.end() == 130
        with Terminal(a, *BOUNCE) as terminal:
            terminal.reply("collect bounces? [Y/n]: ", "n")
            terminal.reply("[yes]: ", "no")
            assert terminal.end() == 1

    await asyncio.to_thread(walk)
    assert await settings(a) == InstanceSettings(name="a")


async def test_by_options(a: Cli) -> None:
    """What is named changes, and nothing else; options switch it on, unless they say otherwise."""
    quick = QuickCli(a.root, a.environ)
    missing = quick(*BOUNCE, "--interval", "5")
    assert missing.code == 2
    assert "--host: is required" in missing.err
    assert quick(*BOUNCE).code == 2
    assert quick(*BOUNCE, "--password", "x", "--password-stdin", stdin="y\n").code == 2
    told = quick.ok(
        *BOUNCE, "--host", "imap.acme.test", "--user", "bot", "--password-stdin", stdin="hunter2\n"
    )
    assert told == "bounces are collected from bot at imap.acme.test:993, folder INBOX\n"
    quick.ok(*BOUNCE, "--folder", "Back", "--return-path", "bounces@acme.test", "--interval", "5")
    kept = await settings(a)
    assert (kept.bounce_enabled, kept.bounce_imap_password) == (True, "hunter2")
    assert (kept.bounce_imap_folder, kept.bounce_poll_interval) == ("Back", 5)
    assert kept.bounce_return_path == "bounces@acme.test"
    shown = quick(*BOUNCE, "--json").json()
    assert (shown["bounce_imap_host"], shown["bounce_imap_password"]) == ("imap.acme.test", "***")
    assert re.search(r"^bounce_imap_folder +Back$", quick.ok(*BOUNCE, "--show"), re.MULTILINE)
    assert "hunter2" not in quick.ok(*BOUNCE, "--show")
    assert quick(*BOUNCE, "--show", "--folder", "Other").code == 2
    moved = quick(*BOUNCE, "--no-ssl")
    assert moved.code == 2
    assert "--password: must be given again when bounce_imap_ssl changes" in moved.err
    assert quick.ok(*BOUNCE, "--disable", "--return-path", "") == "bounces are not collected\n"
    kept = await settings(a)
    assert (kept.bounce_enabled, kept.bounce_imap_user, kept.bounce_return_path) == (False, "bot", None)
