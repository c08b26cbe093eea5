"""``config show|set|unset``: every setting, where it comes from, and what a change of it means."""

from __future__ import annotations

import pytest

from mail_proxy.config import SETTINGS, load_config
from mail_proxy_cli.configuration import config
from mail_proxy_cli.scope import Invocation, Scope
from tests.support.cli import Cli, Json, QuickCli
from tests.support.waiting import until

TOKEN = "a-token-that-nobody-may-see"


@pytest.fixture
def shop(quick: QuickCli) -> QuickCli:
    """Instance 'myserver', of which nothing is set; no command here needs its database."""
    quick.instance("myserver")
    quick.environ["MAIL_PROXY_INSTANCE"] = "myserver"
    return quick


def kept(cli: Cli) -> str:
    return (cli.home / "myserver" / "config.toml").read_text("utf-8")


def shown(cli: Cli, key: str) -> Json:
    [row] = cli("config", "show", key, "--json").json()
    return row


def test_every_setting_is_shown(shop: QuickCli) -> None:
    """With its value, its source and what it does; no database is made for that."""
    heading, *lines = shop.ok("config", "show").splitlines()
    assert heading.split() == ["key", "value", "source", "what", "it", "does"]
    assert [line.split()[0] for line in lines] == list(SETTINGS)
    for line, declared in zip(lines, SETTINGS.values(), strict=True):
        assert declared.doc in line
    assert "smtp_connect_timeout               30                    default  " in "\n".join(lines)
    assert not (shop.home / "myserver" / "mail_service.db").exists()


def test_each_source_is_named(shop: QuickCli) -> None:
    """The environment comes before the file, that before the default."""
    shop.ok("config", "set", "max_retries", "8")
    sources = {"max_retries": "config.toml", "log_level": "environment GMP_LOG_LEVEL", "port": "default"}
    shop.environ["GMP_LOG_LEVEL"] = "debug"
    rows = shop("config", "show", *sources, "--json").json()
    assert {row["key"]: row["source"] for row in rows} == sources
    assert [row["value"] for row in rows] == [8, "DEBUG", 8000]


def test_as_json(shop: QuickCli) -> None:
    """Typed as in config.toml; a list stays a list."""
    assert shown(shop, "retry_delays") == {
        "key": "retry_delays",
        "value": [60, 300, 900, 3600, 7200],
        "source": "default",
        "default": [60, 300, 900, 3600, 7200],
        "unit": "seconds",
        "allowed": "one or more numbers, separated by commas, of seconds from 0.01",
        "environment": "GMP_RETRY_DELAYS",
        "needs_restart": False,
        "doc": "Waits before each further attempt; the last one repeats.",
    }
    assert [row["key"] for row in shop("config", "show", "--json").json()] == list(SETTINGS)


def test_secrets_are_not_shown(shop: QuickCli) -> None:
    """Nor is the password of a database's URL."""
    shop.environ |= {"GMP_API_TOKEN": TOKEN, "GMP_DATABASE_URL": f"postgresql://gmp:{TOKEN}@db.example/mail"}
    for words in ((), ("--json",)):
        out = shop.ok("config", "show", *words)
        assert TOKEN not in out
        assert "postgresql://gmp:***@db.example/mail" in out
    assert (shown(shop, "api_token")["value"], shown(shop, "client_sync_token")["value"]) == ("***", None)


@pytest.mark.parametrize(
    ("key", "value", "line", "told"),
    [
        ("max_retries", "8", "max_retries = 8", "max_retries is now 8"),
        ("test_mode", "on", "test_mode = true", "test_mode is now true"),
        ("retry_delays", "60, 300", "retry_delays = [60, 300]", "retry_delays is now 60,300"),
        ("default_priority", "high", "default_priority = 1", "default_priority is now 1"),
        ("log_level", "debug", 'log_level = "DEBUG"', "log_level is now DEBUG"),
        ("client_sync_user", "Zoë", 'client_sync_user = "Zoë"', "client_sync_user is now Zoë"),
    ],
)
def test_set(shop: QuickCli, key: str, value: str, line: str, told: str) -> None:
    """What is kept is what a start reads; comments of the file stay."""
    (shop.home / "myserver" / "config.toml").write_text("# ours\ndebug = false  # why\n")
    done = shop("config", "set", key, value)
    assert (done.code, done.out, done.err) == (0, f"{told}\n", "")
    assert kept(shop) == f"# ours\ndebug = false  # why\n{line}\n"
    assert load_config(shop.home / "myserver", {}).source(key) == "config.toml"


def test_unset(shop: QuickCli) -> None:
    shop.ok("config", "set", "max_retries", "8")
    shop.ok("config", "set", "port", "9000")
    done = shop("config", "unset", "max_retries", "debug", "port")
    assert (done.code, kept(shop)) == (0, "")
    assert done.out == "max_retries is now 5 (the default)\nport is now 8000 (the default)\n"
    assert done.err == f"debug was not set in {shop.home}/myserver/config.toml\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("set", "max_retries", "-1"), "max_retries: '-1' is not allowed: use a whole number from 0"),
        (("set", "max_retrys", "8"), "max_retrys: there is no such setting; did you mean max_retries?"),
        (("set", "GMP_PORT", "8"), "GMP_PORT: there is no such setting; did you mean port?"),
        (("unset", "prt"), "prt: there is no such setting; did you mean port?"),
        (("show", "prt"), "no setting 'prt'; did you mean 'port'?"),
        (("set", "port", "99999"), "port: '99999' is not allowed: use a whole number from 0 to 65535"),
        (("set", "port", ""), "port: '' is not allowed: use a whole number from 0 to 65535"),
        (("set", "test_mode", "maybe"), "test_mode: 'maybe' is not allowed: use true or false"),
        (
            ("set", "log_format", "xml"),
            "log_format: 'xml' is not allowed: use text, json",
        ),
    ],
)
def test_what_is_refused(shop: QuickCli, words: tuple[str, ...], error: str) -> None:
    """It names the key, the value and what is allowed; nothing is written."""
    shop.ok("config", "set", "max_retries", "8")
    done = shop("config", *words)
    assert (done.code, done.out, done.err) == (2, "", f"Error: {error}\n")
    assert kept(shop) == "max_retries = 8\n"


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("api_token", TOKEN, "GMP_API_TOKEN"),
        ("client_sync_password", TOKEN, "GMP_CLIENT_SYNC_PASSWORD"),
        ("database_url", f"postgresql://gmp:{TOKEN}@db.example/mail", "GMP_DATABASE_URL"),
    ],
)
def test_secrets_are_not_kept(shop: QuickCli, key: str, value: str, name: str) -> None:
    """It says where they belong, and does not repeat them."""
    done = shop("config", "set", key, value)
    assert (done.code, kept(shop)) == (2, "")
    assert done.err == (
        f"Error: {key}: a secret does not belong in config.toml: give it as {name} or {name}_FILE\n"
    )


def test_a_configuration_that_could_not_be_loaded_is_not_written(shop: QuickCli) -> None:
    """Be the fault in what is set, or in what was there already; what was there can be taken out."""
    shop.ok("config", "set", "db_path", "other.db")
    done = shop("config", "set", "database_url", "postgresql://gmp@db.example/mail")
    assert (done.code, kept(shop)) == (2, 'db_path = "other.db"\n')
    assert "db_path is given as well" in done.err

    (shop.home / "myserver" / "config.toml").write_text("prt = 1\n")
    done = shop("config", "set", "port", "9000")
    assert (done.code, kept(shop)) == (2, "prt = 1\n")
    assert "there is no such setting; did you mean port?" in done.err
    assert shop("config", "show").code == 2
    assert shop.ok("config", "unset", "prt") == "prt is gone\n"
    assert kept(shop) == ""


def test_a_setting_that_the_environment_overrides(shop: QuickCli) -> None:
    """It is kept, and said to be of no consequence."""
    shop.environ["GMP_PORT"] = "7000"
    done = shop("config", "set", "port", "9000")
    assert (done.code, done.out, kept(shop)) == (0, "port is now 7000\n", "port = 9000\n")
    assert done.err == "note: GMP_PORT is set in the environment and counts\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("show", "max_re"), ["max_retries"]),
        (("set", "log_"), ["log_level", "log_format", "log_delivery_activity"]),
        (("set", "test_mode", ""), ["true", "false"]),
        (("set", "log_level", "d"), ["DEBUG"]),
        (("set", "default_priority", "h"), ["high"]),
        (("unset", ""), ["max_retries"]),
    ],
)
def test_keys_and_choices_complete(shop: QuickCli, words: tuple[str, ...], offered: list[str]) -> None:
    """Of what can be unset, only what is set."""
    shop.ok("config", "set", "max_retries", "8")
    scope = Scope(invocation=Invocation.of(shop.environ)).at(shop.instance("myserver"))
    verb, *typed, last = words
    command = config.commands[verb]
    argument = command.params[len(typed)]
    context = command.make_context(verb, typed, obj=scope, resilient_parsing=True)
    assert [item.value for item in argument.shell_complete(context, last)] == offered


def test_a_running_server_follows(cli: Cli) -> None:
    """What can change does so at once; of the rest is said what it needs."""
    cli.instance("myserver")
    cli.ok("start", "myserver", "--port", "0")
    log = cli.home / "myserver" / "server.log"

    done = cli("myserver", "config", "set", "max_retries", "8")
    assert done.err == "the running server takes it from now on: max_retries\n"
    until(lambda: "configuration read anew" in log.read_text("utf-8"), "the new configuration")

    done = cli("myserver", "config", "set", "max_body_mb", "8")
    assert done.err == "after a restart only: max_body_mb (mail-proxy restart myserver)\n"
    until(lambda: "only a restart applies it: max_body_mb" in log.read_text("utf-8"), "the rest of it")

    done = cli("myserver", "config", "set", "port", "0")
    assert done.err == (
        "after a stop and a start only: port (mail-proxy stop myserver && mail-proxy start myserver)\n"
    )
    done = cli("myserver", "config", "set", "db_path", "other.db")
    assert done.err.splitlines() == [
        "after a restart only: db_path (mail-proxy restart myserver)",
        "until then it works on its former database, while commands use the new one",
    ]
