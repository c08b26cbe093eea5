"""``messages explain|retry|delete``: what a person sees of messages that wait, and does about them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator

import pytest

from mail_proxy_cli.messages import messages
from mail_proxy_cli.nodes import Command
from mail_proxy_cli.output import when
from tests.support.cli import Cli, QuickCli

EML = "From: shop@example.org\nTo: ann@example.net\nSubject: s\n\nbody\n"
STOPPED = "in the queue only, for 'myserver' is not running: mail-proxy start myserver\n"


@pytest.fixture
def acme(quick: QuickCli, database_url: str) -> QuickCli:
    """A program whose context is tenant acme with an account, on either engine; order-2 is of a batch."""
    return prepared(quick, database_url)


def prepared(cli: QuickCli, database_url: str) -> QuickCli:
    if "://" in database_url:
        cli.environ["GMP_DATABASE_URL"] = database_url
    cli.instance("myserver")
    cli.ok("myserver", "tenants", "add", "acme")
    cli.environ |= {"MAIL_PROXY_INSTANCE": "myserver", "MAIL_PROXY_TENANT": "acme"}
    cli.ok("accounts", "add", "main", "--host", "sandbox")
    cli.ok("send", "-", "--id", "order-1", stdin=EML)
    cli.ok("send", "-", "--id", "order-2", "--batch", "spring", stdin=EML)
    return cli


def status(cli: Cli, message_id: str) -> str:
    return str(cli("messages", "show", message_id, "--json").json()["status"])


def ids(cli: Cli) -> list[str]:
    return [row["id"] for row in cli("messages", "list", "--json").json()]


def test_explain_while_no_server_runs(acme: QuickCli) -> None:
    """A line for each thing to know."""
    assert acme.ok("messages", "explain", "order-2").splitlines() == [
        "status    pending",
        "why       no server is running that could send it",
        "ahead     1 message of account 'main'",
        "attempts  0 failed, 6 left",
    ]


def test_explain_several_reasons(acme: QuickCli) -> None:
    """The decisive one, and the others with their times."""
    acme.ok("messages", "retry", "order-1", "--at", "+2h")
    lines = dict(line.split(maxsplit=1) for line in acme.ok("messages", "explain", "order-1").splitlines())
    assert lines["status"] == "deferred"
    assert lines["why"] == "no server is running that could send it"
    assert lines["and"].startswith("it is scheduled for later [since ")
    assert lines["and"].endswith("(in 1h 59m)]")


def test_explain_as_json(acme: QuickCli) -> None:
    """Every field there is, with whole seconds."""
    acme.ok("messages", "retry", "order-1", "--at", "2051222400")
    view = acme("messages", "explain", "order-1", "--json").json()
    since = view["reasons"][1].pop("since")
    assert time.time() - 60 <= since <= time.time()
    assert view == {
        "id": "order-1",
        "tenant_id": "acme",
        "account_id": "main",
        "status": "deferred",
        "reason": "no_running_server",
        "since": None,
        "until": None,
        "reasons": [
            {"reason": "no_running_server", "since": None, "until": None, "detail": None},
            {"reason": "scheduled", "until": 2051222400, "detail": None},
        ],
        "ahead": None,
        "more_ahead": False,
        "retry_count": 0,
        "attempts_left": 6,
        "last_error": None,
        "account": {"circuit": "closed", "resting_until": None, "ill_since": None, "last_error": None},
        "limits": [],
        "sender": None,
    }


def test_retry_at_another_time_and_now(acme: QuickCli) -> None:
    """It says when each is due, and that somebody has to be there to send it."""
    later = acme("messages", "retry", "order-1", "order-2", "--at", "2051222400")
    due = when(2051222400)
    assert (later.code, later.err) == (0, STOPPED)
    assert later.out == f"message 'order-1' is due {due}\nmessage 'order-2' is due {due}\n"
    assert [status(acme, each) for each in ("order-1", "order-2")] == ["deferred", "deferred"]

    now = acme("messages", "retry", "order-1")
    assert (now.code, now.out, now.err) == (0, "message 'order-1' is due now\n", STOPPED)
    assert [status(acme, each) for each in ("order-1", "order-2")] == ["pending", "deferred"]


@pytest.mark.parametrize("options", [("--yes",), ("-y",), ("--force",), ("-f",)])
def test_delete(acme: QuickCli, options: tuple[str, ...]) -> None:
    """What waited is cancelled."""
    done = acme("messages", "delete", "order-1", "order-2", *options)
    assert (done.code, done.err) == (0, "")
    assert done.out == "message 'order-1' was deleted\nmessage 'order-2' was deleted\n"
    assert ids(acme) == []


def test_delete_asks_and_without_a_terminal_refuses(acme: QuickCli) -> None:
    done = acme("messages", "delete", "order-1")
    assert (done.code, done.out) == (2, "")
    assert "Delete message 'order-1' of tenant 'acme'? There is no terminal to ask on: give --yes" in done.err
    assert ids(acme) == ["order-2", "order-1"]


@pytest.mark.parametrize("words", [("explain",), ("retry",), ("delete", "--yes")])
def test_a_message_that_there_is_not(acme: QuickCli, words: tuple[str, ...]) -> None:
    """Wrong usage: one line and exit code 2."""
    done = acme("messages", *words, "nope")
    assert (done.code, done.out, done.err) == (2, "", "Error: no message 'nope'\n")


@pytest.mark.parametrize(
    "words", [("show",), ("events",), ("receipts",), ("explain",), ("retry",), ("delete", "--yes")]
)
def test_an_unknown_message_is_told_with_its_like(acme: QuickCli, words: tuple[str, ...]) -> None:
    """Of the newest; not with what only begins as all ids do."""
    said = "Error: no message 'oder-1'; did you mean 'order-1'?\n"
    assert acme("messages", *words, "oder-1").err == said
    assert acme("messages", *words, "or-9999").err == "Error: no message 'or-9999'\n"


@pytest.mark.parametrize(("words", "did"), [(("retry",), "is due now"), (("delete", "--yes"), "was deleted")])
def test_one_of_several_that_there_is_not(acme: QuickCli, words: tuple[str, ...], did: str) -> None:
    """It does not stop the others, and makes the exit code 1; an id given twice counts once."""
    done = acme("messages", *words, "order-1", "nope", "order-1")
    assert (done.code, done.out) == (1, f"message 'order-1' {did}\n")
    assert done.err.startswith("Error: no message 'nope'\n")


@pytest.mark.parametrize("words", [("retry",), ("delete",), ("explain",), ("explain", "a", "b")])
def test_wrong_usage(acme: QuickCli, words: tuple[str, ...]) -> None:
    done = acme("messages", *words)
    assert (done.code, len(done.err.splitlines())) == (2, 1)


@pytest.mark.parametrize("name", ["explain", "retry", "delete"])
def test_the_example_of_the_help_does_what_it_shows(acme: QuickCli, name: str) -> None:
    command = messages.commands[name]
    assert isinstance(command, Command)
    assert command.example is not None
    program, *words = shlex.split(command.example)
    assert program == "mail-proxy"
    assert command.example in acme.ok("messages", name, "--help")
    assert acme(*words).code == 0


@pytest.fixture
def served(cli: Cli, sqlite_url: str) -> Iterator[Cli]:
    """A running server whose polls are rare: only the bell wakes it."""
    there = QuickCli(cli.root, cli.environ)
    prepared(there, "")
    cli.environ |= there.environ | {"GMP_SEND_LOOP_INTERVAL": "600"}
    cli.ok("messages", "delete", "order-1", "order-2", "--yes")
    cli.ok("tenants", "update", "acme", "--base-url", "https://nowhere.test")
    cli.ok("start", "myserver", "--port", "0")
    yield cli
    cli.end_servers()


def test_a_running_server_hears_of_it_at_once(served: Cli) -> None:
    """What was scheduled is sent; then it is not tried again, nor deleted while nobody was told of it."""
    served.ok("send", "-", "--id", "order-3", "--at", "+1d", stdin=EML)
    assert "it is scheduled for later" in served.ok("messages", "explain", "order-3")
    done = served("messages", "retry", "order-3")
    assert (done.out, done.err) == ("message 'order-3' is due now\n", "")
    began = time.monotonic()
    while status(served, "order-3") != "sent":
        assert time.monotonic() - began < 30
    assert "it was sent" in served.ok("messages", "explain", "order-3")
    again = served("messages", "retry", "order-3")
    assert (again.code, again.err) == (1, "Error: message 'order-3' was sent already\n")
    kept = served("messages", "delete", "order-3", "--yes")
    assert (kept.code, kept.err) == (1, "Error: message 'order-3' stays: sent and not yet reported\n")
    assert served.ok("messages", "delete", "order-3", "--force") == "message 'order-3' was deleted\n"
