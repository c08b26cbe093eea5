"""What a shell offers after Tab, from the real data."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

import click
import pytest

from mail_proxy.store import names
from mail_proxy_cli.complete import tenants
from mail_proxy_cli.scope import Invocation, Scope
from tests.support.cli import TIMEOUT, Cli, QuickCli
from tests.support.stores import open_bench

EML = "From: a@b.test\nTo: c@d.test\nSubject: s\n\nx\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """An instance 'myserver' with tenant 'acme', account 'main', message 'order-1' in batch 'spring'."""
    quick = QuickCli(tmp_path_factory.mktemp("completion"))
    quick.instance("myserver")
    quick.instance("other")
    quick.ok("myserver", "tenants", "add", "acme")
    quick.ok("myserver", "acme", "accounts", "add", "main", "--host", "sandbox")
    quick.ok("myserver", "acme", "send", "-", "--id", "order-1", "--batch", "spring", stdin=EML)
    return Cli(quick.root, quick.environ)


def offered(cli: Cli, *words: str, **environ: str) -> list[str]:
    """Ask the program as the script of bash does; the last word is what is being typed."""
    line = " ".join(["mail-proxy", *words])
    done = cli(env={"_MAIL_PROXY_COMPLETE": "bash", "COMP_LINE": line, **environ})
    assert (done.code, done.err) == (0, "")
    return [offer.removeprefix("=") for offer in done.out.split()]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("st",), ["start", "stop", "status"]),
        (("my",), ["myserver"]),
        (("stop", ""), ["myserver", "other"]),
        (("stop", "--f"), ["--force"]),
        (("use", "o"), ["other"]),
        (("use", "myserver/a"), ["myserver/acme"]),
        (("myserver", "ten"), ["tenants"]),
        (("myserver", "acm"), ["acme"]),
        (("myserver", "tenants", ""), ["list", "show", "add", "update", "delete", "api-key"]),
        (("myserver", "tenants", "show", "a"), ["acme"]),
        (("myserver", "reports", ""), ["list", "replay"]),
        (("myserver", "reports", "list", "--tenant", "a"), ["acme"]),
        (("myserver", "reports", "replay", "--tenant", "a"), ["acme"]),
        (("myserver", "--tenant", "acme", "reports", "re"), ["replay"]),
        (("myserver", "acme", "m"), ["messages"]),
        (("myserver", "acme", "accounts", "show", ""), ["main"]),
        (("myserver", "acme", "accounts", "add", "x", "--tls", "s"), ["starttls", "ssl"]),
        (("myserver", "acme", "messages", "events", ""), ["order-1"]),
        (("myserver", "acme", "messages", "show", "ord"), ["order-1"]),
        (("myserver", "acme", "messages", "show", "zzz"), []),
        (("myserver", "acme", "messages", "ex"), ["explain"]),
        (("myserver", "acme", "messages", "explain", "ord"), ["order-1"]),
        (("myserver", "acme", "messages", "retry", "x", "ord"), ["order-1"]),
        (("myserver", "acme", "messages", "delete", "--yes", ""), ["order-1"]),
        (("myserver", "acme", "messages", "list", "--batch", ""), ["spring"]),
        (("myserver", "acme", "messages", "list", "--account", ""), ["main"]),
        (("myserver", "nobody", "accounts", "show", ""), []),
        (("nowhere", "acme", ""), []),
        (("completion", "z"), ["zsh"]),
    ],
)
def test_words(shop: Cli, words: tuple[str, ...], found: list[str]) -> None:
    """Commands, options, and the names of what is there."""
    assert offered(shop, *words) == found


def test_files(shop: Cli) -> None:
    """For `send` the shell offers its own."""
    assert offered(shop, "myserver", "acme", "send", "") == ["file"]


def test_with_a_context(shop: Cli) -> None:
    """What may be left out is left out here too."""
    context = {"MAIL_PROXY_INSTANCE": "myserver", "MAIL_PROXY_TENANT": "acme"}
    assert offered(shop, "acc", **context) == ["accounts"]
    assert offered(shop, "accounts", "show", "", **context) == ["main"]
    assert offered(shop, "myserver", "acc", **context) == ["accounts"]
    assert offered(shop, "ac", **context) == ["activate", "accounts", "acme"]
    assert offered(shop, "li", **context) == ["list"]


def test_with_a_tenant_named_by_the_option(shop: Cli) -> None:
    """Only what a tenant has may follow."""
    assert offered(shop, "--tenant", "acme", "") == ["myserver", "other"]
    assert offered(shop, "--tenant", "acme", "myserver", "tok") == []
    assert offered(shop, "myserver", "--tenant=acme", "acc") == ["accounts"]
    assert offered(shop, "--tenant", "acme", "acc", MAIL_PROXY_INSTANCE="myserver") == ["accounts"]


async def test_names_of_an_instance_on_postgres(
    quick: QuickCli, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from the database that the instance uses."""
    monkeypatch.setattr(names, "PATIENCE", 20.0)
    invocation = Invocation.of({"GMP_DATABASE_URL": postgres_url})
    scope = Scope(invocation=invocation, named_instance=quick.instance("pg"))
    async with open_bench(postgres_url):
        found = await asyncio.to_thread(
            tenants, click.Context(click.Command("mail-proxy"), obj=scope), None, "ac"
        )
    assert [item.value for item in found] == ["acme"]


@pytest.mark.parametrize("damage", ["database", "config_file"])
def test_nothing_is_said_when_something_is_wrong(cli: Cli, damage: str) -> None:
    """A Tab gives no error, whatever the state of the instance."""
    instance = cli.instance("a")
    getattr(instance, damage).write_bytes(b"\xff garbage")
    assert offered(cli, "a", "x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(cli: Cli, shell: str) -> None:
    """Each asks this program, and its shell can read it."""
    script = cli.ok("completion", shell)
    assert f"_MAIL_PROXY_COMPLETE={shell} " in script
    program = shutil.which(shell)
    if program is not None:
        checked = subprocess.run(
            [program, "-n"], input=script, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_an_unknown_shell(quick: QuickCli) -> None:
    """Those that are known are named."""
    done = quick("completion", "tcsh")
    assert done.code == 2
    assert "'bash', 'zsh', 'fish'" in done.err
