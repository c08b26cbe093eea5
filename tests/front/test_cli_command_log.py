"""``command-log list|export|purge``: what was asked of the API, shown, kept elsewhere and let go of."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import pytest

from mail_proxy.model.commands import Command
from mail_proxy_cli.output import when
from tests.support.api import open_api
from tests.support.cli import Cli, QuickCli
from tests.support.command_log import exported
from tests.support.stores import open_store
from tests.support.terminal import Terminal

LONG_AGO = 1_600_000_000

LOGGED = (
    Command(ts=LONG_AGO, endpoint="PUT /account/{id}", path="/account/main", tenant_id="acme", status=200),
    Command(
        ts=LONG_AGO + 60, endpoint="POST /commands/run-now", path="/run-now?of=beta",
        tenant_id="beta", payload='{"force":true,"name":"Zoë"}', status=404, client="10.0.0.7",
    ),
    Command(ts=LONG_AGO + 120, endpoint="DELETE /account/{id}", path="/account/main", tenant_id="acme"),
)  # fmt: skip


@pytest.fixture
async def log(quick: QuickCli, database_url: str) -> QuickCli:
    """Instance 'myserver' on either engine, whose log holds `LOGGED`."""
    quick.environ["GMP_DATABASE_URL" if "://" in database_url else "GMP_DB_PATH"] = database_url
    quick.instance("myserver")
    async with open_store(database_url) as store:
        for command in LOGGED:
            await store.commands.add(command)
    return quick


def times(cli: Cli, *words: str) -> list[int]:
    """When what is listed was asked, in seconds after the first."""
    listed = cli("myserver", "command-log", "list", "--json", *words).json()
    return [row["ts"] - LONG_AGO for row in listed]


def test_list(log: QuickCli) -> None:
    """The newest first; what was not answered has no status."""
    done = log("myserver", "command-log", "list")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "time                 status  tenant  endpoint                path              client",
        f"{when(LONG_AGO + 120)}       -  acme    DELETE /account/{{id}}    /account/main     -",
        f"{when(LONG_AGO + 60)}     404  beta    POST /commands/run-now  /run-now?of=beta  10.0.0.7",
        f"{when(LONG_AGO)}     200  acme    PUT /account/{{id}}       /account/main     -",
    ]


def test_list_as_json(log: QuickCli) -> None:
    """With the API's names."""
    [entry] = log("myserver", "command-log", "list", "--tenant", "beta", "--json").json()
    assert isinstance(entry.pop("command_id"), int)
    assert entry == {
        "ts": LONG_AGO + 60,
        "endpoint": "POST /commands/run-now",
        "path": "/run-now?of=beta",
        "tenant_id": "beta",
        "payload": {"force": True, "name": "Zoë"},
        "status": 404,
        "client": "10.0.0.7",
    }


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), [120, 60, 0]),
        (("--tenant", "acme"), [120, 0]),
        (("--tenant", "nobody"), []),
        (("--since", str(LONG_AGO + 60)), [120, 60]),
        (("--until", str(LONG_AGO + 60)), [0]),
        (("--endpoint", "/account/{id}"), [120, 0]),
        (("--endpoint", "PUT /account/{id}"), [0]),
        (("--endpoint", "PUT /account/{id}", "--since", "-1d"), []),
        (("--limit", "2"), [120, 60]),
        (("--limit", "3"), [120, 60, 0]),
    ],
)
def test_list_of_some(log: QuickCli, words: tuple[str, ...], found: list[int]) -> None:
    """A tenant need not be there any more."""
    assert times(log, *words) == found


def test_a_list_that_was_cut_says_so(log: QuickCli) -> None:
    words = ("myserver", "command-log", "list", "--limit")
    assert log(*words, "3").err == ""
    assert log(*words, "2").err == "these are the newest 2, there are more: --limit N shows as many\n"


def test_an_empty_list_is_said_in_words(log: QuickCli) -> None:
    done = log("myserver", "command-log", "list", "--since", "-1d")
    assert (done.code, done.out, done.err) == (0, "", "nothing was asked\n")


async def test_export_gives_the_lines_that_the_api_gives(log: QuickCli, database_url: str) -> None:
    """The oldest first, to standard output, or to a file that is its owner's alone."""
    async with open_api(database_url, with_key=False) as api:
        lines = await exported(api)
    assert [line["ts"] for line in lines] == [each.ts for each in LOGGED]
    done = log("myserver", "command-log", "export")
    assert (done.code, done.err) == (0, "")
    assert [json.loads(line) for line in done.out.splitlines()] == lines

    path = log.root / "commands.jsonl"
    done = log("myserver", "command-log", "export", path)
    assert (done.code, done.out, done.err) == (0, "", f"wrote 3 commands to {path}\n")
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_export_of_some(log: QuickCli) -> None:
    out = log.ok("myserver", "command-log", "export", "-", "--tenant", "acme", "--until", str(LONG_AGO + 60))
    assert [json.loads(line)["ts"] for line in out.splitlines()] == [LONG_AGO]


def test_export_replaces_no_file_unasked(log: QuickCli) -> None:
    """Nor does it leave anything behind where it may not write."""
    path = log.root / "there"
    path.write_text("mine")
    done = log("myserver", "command-log", "export", path)
    assert (done.code, path.read_text()) == (2, "mine")
    assert f"Replace {path}? There is no terminal to ask on: give --force" in done.err
    assert log("myserver", "command-log", "export", path, "--force").code == 0
    assert len(path.read_text().splitlines()) == 3

    done = log("myserver", "command-log", "export", log.root / "nowhere" / "file")
    assert (done.code, done.err) == (
        1,
        f"Error: cannot write {log.root}/nowhere/file: No such file or directory\n",
    )
    assert log("myserver", "command-log", "export", log.root).code == 2


async def test_export_through_a_link_and_a_pipe(log: QuickCli) -> None:
    """A link goes on to lead to the file; what is no file is written as it is."""
    log.ok("myserver", "command-log", "export", log.root / "file")
    link = log.root / "link"
    link.symlink_to(log.root / "file")
    log.ok("myserver", "command-log", "export", link, "--force", "--tenant", "beta")
    assert (link.is_symlink(), len((log.root / "file").read_text().splitlines())) == (True, 1)

    os.mkfifo(log.root / "pipe")
    reading = asyncio.create_task(asyncio.to_thread((log.root / "pipe").read_text, "utf-8"))
    await asyncio.to_thread(log.ok, "myserver", "command-log", "export", log.root / "pipe")
    assert len((await reading).splitlines()) == 3


def test_purge(log: QuickCli) -> None:
    """What is older than a time, or everything; of what is to go it says how much, and asks."""
    done = log("myserver", "command-log", "purge", "--before", str(LONG_AGO + 60))
    assert (done.code, done.out) == (2, "")
    assert f"Delete 1 command from before {when(LONG_AGO + 60)} from the log of 'myserver'?" in done.err
    assert len(times(log)) == 3

    purge = ("myserver", "command-log", "purge", "--force")
    assert log.ok(*purge, "--before", str(LONG_AGO + 60)) == "1 command was deleted\n"
    assert times(log) == [120, 60]
    assert log.ok(*purge, "--all") == "2 commands were deleted\n"
    assert times(log) == []
    done = log("myserver", "command-log", "purge", "--all")
    assert (done.code, done.out) == (0, "0 commands were deleted\n")  # nothing to ask about


@pytest.mark.parametrize(
    "words",
    [
        ("purge",),
        ("purge", "--all", "--before", "-1d"),
        ("purge", "--before", "yesterday"),
        ("list", "--limit", "0"),
        ("list", "x"),
        ("export", "a", "b"),
    ],
)
def test_wrong_usage(quick: QuickCli, words: tuple[str, ...]) -> None:
    quick.instance("myserver")
    done = quick("myserver", "command-log", *words)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)


async def test_on_a_terminal(sqlite_url: str, cli: Cli) -> None:
    """It asks; it takes a no; while it writes and deletes it shows how far that has come."""
    cli.environ["GMP_DB_PATH"] = sqlite_url
    cli.instance("myserver")
    async with open_store(sqlite_url) as store:
        for command in LOGGED:
            await store.commands.add(command)
    await asyncio.to_thread(_on_a_terminal, cli, cli.root / "commands.jsonl")


def _on_a_terminal(cli: Cli, path: Path) -> None:
    with Terminal(cli, "myserver", "command-log", "purge", "--all") as terminal:
        terminal.answer("Delete 3 commands from the log of 'myserver'?", "n")
        assert (terminal.end(), "nothing was done" in terminal.screen) == (1, True)
    with Terminal(cli, "myserver", "command-log", "export", str(path)) as terminal:
        assert (terminal.end(), f"wrote 3 commands to {path}" in terminal.screen) == (0, True)
        assert "3/3" in terminal.output
        assert "3/3" not in terminal.screen
    with Terminal(cli, "myserver", "command-log", "purge", "--all") as terminal:
        terminal.answer("Delete 3 commands from the log of 'myserver'?", "y")
        assert (terminal.end(), "3 commands were deleted" in terminal.screen) == (0, True)
