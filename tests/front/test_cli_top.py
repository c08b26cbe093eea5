"""``top``: the picture on a real terminal, and what a pipe gets of it."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import psutil
import pytest

from tests.support.cli import PROGRAM, Cli, QuickCli
from tests.support.postgres import PostgresServer
from tests.support.terminal import Terminal

EML = "From: shop@example.org\nTo: ann@example.net\nSubject: s\n\nbody\n"
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def furnish(quick: QuickCli) -> None:
    """Tenant acme with an account, tenant beta with none."""
    quick.ok("myserver", "tenants", "add", "acme", "--base-url", "https://app.example.org")
    quick.ok("myserver", "tenants", "add", "beta", "--base-url", "https://app.example.org")
    quick.ok("myserver", "acme", "accounts", "add", "main", "--host", "sandbox", "--limit-minute", "40")


def send(quick: QuickCli, *ids: str) -> None:
    for each in ids:
        quick.ok("myserver", "acme", "send", "-", "--id", each, stdin=EML)


def fail(quick: QuickCli, *ids: str) -> None:
    """Let messages fail without a server: by losing their account."""
    quick.ok("myserver", "acme", "accounts", "add", "old", "--host", "sandbox")
    for each in ids:
        quick.ok("myserver", "acme", "send", "-", "--id", each, "--account", "old", stdin=EML)
    quick.ok("myserver", "acme", "accounts", "delete", "old", "--force")


@pytest.fixture
def shop(quick: QuickCli, database_url: str) -> QuickCli:
    """Instance 'myserver' on either engine, stopped: one message waits, one has failed."""
    if "://" in database_url:
        quick.environ["GMP_DATABASE_URL"] = database_url
    return opened(quick)


@pytest.fixture
def corner_shop(quick: QuickCli) -> QuickCli:
    """The same, for what the database has no part in."""
    return opened(quick)


def opened(quick: QuickCli) -> QuickCli:
    quick.instance("myserver")
    furnish(quick)
    send(quick, "order-1")
    fail(quick, "order-2")
    return quick


@contextmanager
def with_modes(cli: Cli) -> Iterator[Terminal]:
    """Run ``top`` from a shell, which then shows the exit code and the modes of the terminal."""
    line = f"trap : INT TERM; {shlex.join(PROGRAM)} myserver top; echo code $?; stty -a"
    with Terminal(cli, program=("sh", "-c", line), NO_COLOR="1") as terminal:
        yield terminal


@pytest.mark.parametrize("words", [(), ("--once",)])
def test_a_pipe_gets_one_plain_picture(shop: QuickCli, words: tuple[str, ...]) -> None:
    """Without a server, on either engine; nothing that only a terminal understands, and no keys."""
    lines = shop.ok("myserver", "top", *words).splitlines()

    assert lines[0].startswith("myserver  not running")
    assert lines[2] == "queue     1 pending   0 deferred   0 sending"
    assert [line.split()[0] for line in lines[5:8]] == ["sent", "deferred", "failed"]
    assert [line.split() for line in lines[9:12]] == [
        ["account", "waiting", "deferred", "sent", "failed", "oldest", "limits", "circuit"],
        ["acme/main", "1", "0", "0", "0", "0s", "0/40", "a", "minute", "closed"],
        ["acme/old", "0", "0", "0", "1", "-", "-", "deleted"],
    ]
    assert lines[14].split("  ")[1:] == ["acme/old", "order-2", "account deleted"]
    assert len(lines) == 15
    assert not [line for line in lines if "\x1b" in line]


def test_as_json(shop: QuickCli) -> None:
    """The server, and what is seen, with stable keys."""
    view = shop("myserver", "top", "--json").json()

    assert (view["name"], view["state"], view["tenant_id"]) == ("myserver", "stopped", None)
    assert view["queue"] == {"pending": 1, "deferred": 0, "sending": 0}
    assert [each["account_id"] for each in view["accounts"]] == ["main", "old"]
    assert [each["id"] for each in view["errors"]] == ["order-2"]


@pytest.mark.parametrize("words", [("top", "--tenant", "beta"), ("--tenant", "beta", "top")])
def test_one_tenant(shop: QuickCli, words: tuple[str, ...]) -> None:
    """Its own, and nothing of the others."""
    view = shop("myserver", *words, "--json").json()
    assert (view["tenant_id"], view["accounts"], view["errors"]) == ("beta", [], [])
    assert sum(view["queue"].values()) == 0

    printed = shop.ok("myserver", *words)
    assert "tenant    beta\n" in printed
    assert "acme" not in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--tenant", "bet"), "no tenant 'bet'; did you mean 'beta'?"),
        (("--interval", "0"), "0.0 is not in the range 0.1<=x<=3600"),
    ],
)
def test_wrong_words(shop: QuickCli, words: tuple[str, ...], told: str) -> None:
    """They are told, in a line."""
    done = shop("myserver", "top", *words)

    assert (done.code, told in done.err, done.out) == (2, True, "")


def test_watching_a_server_send(cli: Cli, quick: QuickCli) -> None:
    """Numbers move; keys sort, pause and quit; the picture follows the terminal's size."""
    cli.ok("start", "myserver")
    furnish(quick)
    with Terminal(cli, "myserver", "top", "--interval", "0.1", columns=120, rows=24) as terminal:
        terminal.wait_for("0/40 a minute")
        terminal.wait_for("q quit   p pause   s sort: waiting")
        assert terminal.lines[0].startswith("myserver  running, up ")
        send(quick, "order-1", "order-2")
        terminal.wait_for("2/40 a minute")
        terminal.until(lambda: terminal.lines[5].split()[-2:] == ["2", "2"], "the rate of what was sent")
        terminal.type("s")
        terminal.wait_for("s sort: sent")
        terminal.type("p")
        terminal.wait_for("p go on (paused)")
        send(quick, "order-3")
        terminal.resize(60, 15)
        headings = "account    waiting  deferred  sent  failed  limits  circuit"
        terminal.until(
            lambda: len(terminal.lines) == 15 and terminal.lines[9] == headings, "the narrow picture"
        )
        assert terminal.lines[10].split()[3] == "2"
        terminal.press("up")
        terminal.type("xp")
        terminal.until(lambda: terminal.lines[10].split()[3] == "3", "what came meanwhile")
        terminal.resize(200, 50)
        terminal.wait_for("last 14m")
        assert max(map(len, terminal.lines)) <= 200
        terminal.type("q")
        assert terminal.end() == 0
    assert terminal.output.count(ENTER) == terminal.output.count(LEAVE) == 1
    assert terminal.output.rindex(LEAVE) > terminal.output.rindex("last 14m")


@pytest.mark.parametrize(("how", "code"), [("q", 0), ("ctrl-c", 130), ("SIGTERM", 143)])
def test_the_terminal_is_given_back(corner_shop: QuickCli, how: str, code: int) -> None:
    """However it ends: the screen, the cursor, and lines that are typed as usual."""
    with with_modes(corner_shop) as terminal:
        terminal.wait_for("acme/main")
        match how:
            case "q":
                terminal.type("q")
            case "ctrl-c":
                terminal.press("ctrl-c")
            case _:
                os.kill(only_child(terminal), signal.SIGTERM)
        terminal.wait_for(f"code {code}")
        terminal.wait_for("icanon")
        terminal.end()
    shown = terminal.output.split(LEAVE)
    assert len(shown) == 2
    assert "\x1b[?25h" in shown[0].rsplit("\x1b[?25l", 1)[1] + shown[1]
    assert " icanon " in shown[1]
    assert " echo " in shown[1]
    assert "\x1b[3" not in shown[0]
    assert ("interrupted" in shown[1]) is (how == "ctrl-c")


def only_child(terminal: Terminal) -> int:
    """The process that the terminal's shell waits for."""
    [child] = psutil.Process(terminal.child.pid).children()
    return int(child.pid)


def test_it_stops_and_goes_on_as_other_programs(corner_shop: QuickCli) -> None:
    """Ctrl+Z gives the terminal back to the shell, and fg takes it again."""
    with Terminal(corner_shop, program=("bash", "--norc", "--noprofile", "-i")) as terminal:
        terminal.enter(shlex.join([*PROGRAM, "myserver", "top"]))
        terminal.wait_for("acme/main")
        terminal.press("ctrl-z")
        terminal.wait_for("Stopped")
        assert terminal.output.count(LEAVE) == 1
        terminal.enter("fg")
        terminal.until(lambda: terminal.output.count(ENTER) == 2, "the screen to be taken again")
        terminal.until(lambda: terminal.lines[-1].startswith("q quit"), "the picture")
        terminal.type("q")
        terminal.until(lambda: terminal.output.count(LEAVE) == 2, "the end")


def test_a_terminal_that_cannot_be_drawn_on(corner_shop: QuickCli) -> None:
    """It gets plain pictures, one below the other, and understands the keys."""
    with Terminal(corner_shop, "myserver", "top", "--interval", "0.1", TERM="dumb") as terminal:
        terminal.until(lambda: terminal.output.count("myserver  not running") > 2, "some pictures")
        terminal.type("q")
        assert terminal.end() == 0
    assert "\x1b" not in terminal.output


async def test_a_database_that_goes_away(
    quick: QuickCli, postgres_url: str, postgres_server: PostgresServer
) -> None:
    """It is told, with what was seen last; when it is back, all is well."""
    quick.environ["GMP_DATABASE_URL"] = postgres_url
    quick.instance("myserver")
    furnish(quick)
    name = postgres_url.rsplit("/", 1)[1]
    administrator = await asyncpg.connect(postgres_server.dsn)

    async def allow(word: str) -> None:
        await administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {word}')

    def watch(terminal: Terminal, text: str) -> asyncio.Future[None]:
        return asyncio.ensure_future(asyncio.to_thread(terminal.wait_for, text))

    try:
        with Terminal(quick, "myserver", "top", "--interval", "0.1", columns=150) as terminal:
            await watch(terminal, "acme/main")
            await allow("false")
            await administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            await watch(terminal, "what follows was seen at")
            await watch(terminal, "acme/main")
            await allow("true")
            await asyncio.to_thread(terminal.wait_until_gone, "what follows was seen at")
            terminal.type("q")
            assert await asyncio.to_thread(terminal.end) == 0
    finally:
        await allow("true")
        await administrator.close()
