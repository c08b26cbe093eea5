"""Which words mean what, and what is said about words that mean nothing."""

from __future__ import annotations

import sys

import click
import pytest

from mail_proxy_cli import registry
from mail_proxy_cli.nodes import Command, Group, load
from tests.support.cli import Cli, QuickCli

ENTRIES = [*registry.GLOBAL, *registry.INSTANCE, *registry.TENANT]

HEAVY = (
    "aiosmtplib",
    "aiosqlite",
    "asyncio",
    "asyncpg",
    "cryptography",
    "httpx2",
    "prompt_toolkit",
    "psutil",
    "pydantic",
    "rich",
    "sqlite3",
    "starlette",
    "uvicorn",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> QuickCli:
    """An instance 'myserver' with a tenant 'acme'; these tests change nothing in it."""
    cli = QuickCli(tmp_path_factory.mktemp("shop"))
    cli.instance("myserver")
    cli.ok("myserver", "tenants", "add", "acme")
    return cli


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.target)
def test_every_entry_of_the_table_is_a_command(entry: registry.Entry) -> None:
    """Its line of help is the first line of the command's own, and its example calls it."""
    command = load(entry)
    assert isinstance(command, Command | Group)
    assert (command.help or "").splitlines()[0] == entry.help
    assert f" {entry.name}" in entry.example


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.target)
def test_every_command_and_option_has_help(entry: registry.Entry) -> None:
    """Nothing is left for the reader to guess."""
    command = load(entry)
    nested = list(command.commands.values()) if isinstance(command, click.Group) else []
    for each in [command, *nested]:
        assert each.help, each.name
        options = [param for param in each.params if isinstance(param, click.Option)]
        missing = [param.name for param in options if not param.help and not param.hidden]
        assert not missing, each.name


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), ["Servers:", "mail-proxy start myserver", "This shell:", "--version"]),
        ((), ["INSTANCE TENANT …", "accounts", "send", "tenants"]),
        (("myserver",), ["Overview:", "Tenants:", "mail-proxy myserver token"]),
        (("myserver", "acme"), ["Mail:", "mail-proxy myserver acme send hello.eml --wait", "Accounts:"]),
        (("myserver", "acme", "accounts"), ["list", "add", "update", "delete"]),
        (("myserver", "acme", "send"), ["--wait", "Example:", "mail-proxy myserver acme send hello.eml"]),
        (("start",), ["--foreground", "Example:", "mail-proxy start myserver"]),
    ],
)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_at_every_level(shop: QuickCli, words: tuple[str, ...], shown: list[str], option: str) -> None:
    """Commands are grouped by purpose, each with an example."""
    text = shop.ok(*words, option)
    assert [part for part in shown if part not in text] == []


@pytest.mark.parametrize("words", [("--help",), ("myserver", "--help"), ("myserver", "acme", "--help")])
def test_help_imports_nothing_heavy(shop: QuickCli, words: tuple[str, ...]) -> None:
    """Completion and help run the program on each key: they must answer at once."""
    done = Cli(shop.root)(*words, env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "mail_proxy_cli.grammar" in imported
    assert imported & set(HEAVY) == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mysever", "info"), "no instance 'mysever'; did you mean 'myserver'?"),
        (("strat", "x"), "no command 'strat'; did you mean 'start' or 'status'?"),
        (("xyzzy",), "no command or instance 'xyzzy'"),
        (("myserver", "acmee", "info"), "no tenant 'acmee'; did you mean 'acme'?"),
        (("myserver", "acmee"), "no tenant 'acmee'; did you mean 'acme'?"),
        (("myserver", "zzz", "info"), "no tenant 'zzz' in instance 'myserver'"),
        (("myserver", "tennants", "list"), "no command 'tennants'; did you mean 'tenants'?"),
        (("myserver", "tenants", "lst"), "no command 'lst'; did you mean 'list'?"),
        (("myserver", "acme", "acounts"), "no command 'acounts'; did you mean 'accounts'?"),
        (("myserver", "acme", "accounts", "shw"), "no command 'shw'; did you mean 'show'?"),
        (("stop", "mysever"), "no instance 'mysever'; did you mean 'myserver'?"),
        (("myserver", "tenants", "show", "acne"), "no tenant 'acne'; did you mean 'acme'?"),
        (("tenants", "list"), "'tenants' needs an instance: mail-proxy <instance> tenants"),
        (("send", "x.eml"), "'send' needs a tenant: mail-proxy <instance> <tenant> send"),
        (("myserver", "accounts", "list"), "'accounts' is a tenant's command: mail-proxy myserver <tenant>"),
        (("myserver", "stop"), "'stop' comes before the name: mail-proxy stop myserver"),
        (("myserver", "--tenant", "acme", "report"), "no command 'report'; did you mean 'reports'?"),
        (("--tenant", "acme", "myserver", "tenants", "list"), "no command 'tenants'"),
        (("myserver", "acounts", "list"), "no command 'acounts'; did you mean 'accounts'?"),
        (("myserver", "acme", "stats"), "'stats' is an instance's command: mail-proxy myserver stats"),
        (
            ("myserver", "acme", "top"),
            "'top' is an instance's command: mail-proxy myserver --tenant acme top",
        ),
        (("myserver", "acme", "status"), "'status' comes before the name: mail-proxy status myserver"),
        (("start", "--prot", "1"), "no option '--prot'; did you mean '--port'?"),
        (("myserver", "acme", "send", "--jsn", "x"), "no option '--jsn'; did you mean '--json'?"),
        (("list", "--verbose"), "no option '--verbose' (help: mail-proxy list --help)"),
    ],
)
def test_a_word_that_means_nothing(shop: QuickCli, words: tuple[str, ...], said: str) -> None:
    """One line names the nearest, and the exit code is that of wrong usage."""
    done = shop(*words)
    assert done.code == 2
    assert done.err.startswith("Error: ")
    assert len(done.err.splitlines()) == 1
    assert said in done.err
    assert done.out == ""


@pytest.mark.parametrize("word", ["list", "tenants", "config", "accounts", "db", "send", "doctor"])
def test_commands_are_no_names(shop: QuickCli, word: str) -> None:
    """Neither an instance nor a tenant may be called like a command, be it one that is still to come."""
    for words in (("start", word), ("myserver", "tenants", "add", word)):
        done = shop(*words)
        assert (done.code, done.err) == (2, done.err)
        assert "is a command" in done.err


def test_the_contract_commands_are_reserved() -> None:
    """Every word of the contract's tree is known to the table."""
    contract = {
        "list",
        "ls",
        "start",
        "serve",
        "stop",
        "restart",
        "status",
        "delete",
        "demo",
        "use",
        "current",
    }
    contract |= {"completion", "generate-key", "doctor", "info", "stats", "token", "connect", "logs", "top"}
    contract |= {"run-now", "config", "suspend", "activate", "db", "rotate-key", "reports", "tenants"}
    contract |= {"command-log", "accounts", "storages", "messages", "send"}
    assert contract <= registry.RESERVED


@pytest.mark.parametrize("words", [("myserver", "--tenant", "acme"), ("--tenant", "acme", "myserver")])
def test_a_tenant_by_option(shop: QuickCli, words: tuple[str, ...]) -> None:
    """--tenant reaches a tenant whatever its id."""
    assert shop(*words, "accounts", "list", "--json").json() == []
    assert shop(*words, "info", "--json").json()["id"] == "acme"


@pytest.mark.parametrize(
    "words", [("--no-color", "list"), ("list", "--no-color"), ("--debug", "myserver", "acme", "info")]
)
def test_global_options_stand_anywhere(shop: QuickCli, words: tuple[str, ...]) -> None:
    """Before the words or after them."""
    assert shop(*words).code == 0


def test_the_program_without_words_shows_how_to_use_it(cli: Cli) -> None:
    """That is help, and wrong usage."""
    done = cli()
    assert done.code == 2
    assert "Servers:" in done.err


def test_version(cli: Cli) -> None:
    """It is the package's."""
    from mail_proxy import __version__

    assert cli.ok("--version") == f"mail-proxy {__version__}\n"


def test_python_runs_the_same_program() -> None:
    """The package has one entry, under both names."""
    assert load(registry.by_name(registry.GLOBAL)["ls"]) is load(registry.by_name(registry.GLOBAL)["list"])
    assert "mail_proxy_cli.instances" in sys.modules
