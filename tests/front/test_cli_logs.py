"""``logs``: the end of the server's log, and what comes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cli import Cli, QuickCli
from tests.support.terminal import Terminal

INFO = "2026-01-31T12:00:00.250Z INFO mail_proxy.daemon.server stopped"
WARNING = "2026-01-31T12:00:01.250Z WARNING mail_proxy.daemon.app the ERROR is in the eye"
ERROR = '{"time": "2026-01-31T12:00:02.250Z", "level": "ERROR", "logger": "mail_proxy", "event": "no"}'


@pytest.fixture
def log(quick: QuickCli) -> Path:
    """The log of instance 'myserver', which is not there yet."""
    return quick.instance("myserver").log_file


def numbered(*numbers: int) -> str:
    return "".join(f"line {number}\n" for number in numbers)


def test_the_last_lines(quick: QuickCli, log: Path) -> None:
    """50 by default; older files as far as need be."""
    log.with_name("server.log.1").write_text(numbered(*range(40)))
    log.write_text(numbered(*range(40, 60)))
    assert quick.ok("myserver", "logs") == numbered(*range(10, 60))
    assert quick.ok("myserver", "logs", "-n", "3") == numbered(57, 58, 59)
    assert quick.ok("myserver", "logs", "--lines", "1000") == numbered(*range(60))
    assert quick.ok("myserver", "logs", "-n", "0") == ""


def test_no_log_yet(quick: QuickCli, log: Path) -> None:
    done = quick("myserver", "logs")
    assert (done.code, done.out, done.err) == (0, "", f"there is no {log} yet\n")


def test_what_a_terminal_would_obey_is_spelled_out(quick: QuickCli, log: Path) -> None:
    """What an interpreter in trouble prints may hold anything, even what is no text."""
    log.write_bytes("a\x1b[31mb\rc\x00d\u202ee\n  Zoë\n".encode() + b"\xff\xfe\nhalf")
    assert quick.ok("myserver", "logs").splitlines() == [
        r"a\x1b[31mb c\x00d\u202ee",
        "  Zoë",
        "\ufffd\ufffd",
        "half",
    ]


@pytest.mark.parametrize("words", [(), ("--follow",)])
def test_what_is_no_file_is_not_waited_for(quick: QuickCli, log: Path, words: tuple[str, ...]) -> None:
    """A pipe that nobody writes into, a device without an end."""
    os.mkfifo(log)
    done = quick("myserver", "logs", *words)
    assert (done.code, done.out, done.err) == (1, "", f"Error: {log}: not a file\n")
    log.unlink()
    log.symlink_to("/dev/zero")
    assert quick("myserver", "logs", *words).code == 1


def test_lines_without_end_come_in_pieces(quick: QuickCli, log: Path) -> None:
    """Neither is memory filled by one, nor does one look for its beginning through a whole disk."""
    with log.open("wb") as file:
        file.truncate(2**40)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    piece, _piece_and_end, last = quick.ok("myserver", "logs", "-n", "3").splitlines()
    assert set(piece) == set("\\x0")
    assert last == "last"


def test_no_colours_in_a_pipe(quick: QuickCli, log: Path) -> None:
    log.write_text(f"{INFO}\n{WARNING}\n{ERROR}\n")
    assert quick.ok("myserver", "logs").splitlines() == [INFO, WARNING, ERROR]


@pytest.mark.parametrize("words", [("-n", "-1"), ("-n", "x"), ("x",)])
def test_wrong_usage(quick: QuickCli, log: Path, words: tuple[str, ...]) -> None:
    done = quick("myserver", "logs", *words)
    assert (done.code, len(done.err.splitlines()), log.exists()) == (2, 1, False)


def test_on_a_terminal_it_follows_until_ctrl_c(cli: Cli) -> None:
    """Before there is a log, and through its rotation; levels have colours; it ends quietly."""
    log = cli.instance("myserver").log_file
    with Terminal(cli, "myserver", "logs", "-f", columns=250) as terminal:
        terminal.wait_for("yet: waiting for it")
        log.write_text(f"{INFO}\n{WARNING}\n")
        terminal.wait_for("in the eye")
        log.rename(log.with_name("server.log.1"))
        log.write_text(f"{ERROR}\n")
        terminal.wait_for('"level": "ERROR"')
        terminal.press("ctrl-c")
        assert terminal.end() == 130
        assert f"\x1b[33m{WARNING}\x1b[0m" in terminal.output
        assert f"\x1b[31m{ERROR}\x1b[0m" in terminal.output
        assert INFO in terminal.output.splitlines()
        assert terminal.lines[-1] == "^C"
    with Terminal(cli, "myserver", "logs", columns=250, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
        assert "\x1b[3" not in terminal.output
        assert [line for line in terminal.lines if line.startswith("2026")] == [INFO, WARNING]
