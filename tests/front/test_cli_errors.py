"""What goes wrong is one line on standard error, and a number."""

from __future__ import annotations

import errno
import inspect
import shlex
import signal
import subprocess

import click
import pytest

from mail_proxy import errors
from mail_proxy.errors import Fault, InvalidInput, MailProxyError, NotFound, NotRunning, StartFailed
from mail_proxy_cli.errors import EXIT_CODES, describe, report
from mail_proxy_cli.opening import wait_for
from tests.support.cli import PROGRAM, TIMEOUT, Cli, QuickCli
from tests.support.terminal import Terminal


def subclasses(kind: type[MailProxyError]) -> set[type[MailProxyError]]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_failure_that_is_foreseen_has_an_exit_code() -> None:
    """The table has an entry for each class of the tree."""
    ours = {kind for kind in subclasses(MailProxyError) if kind.__module__ == errors.__name__}
    assert ours == set(EXIT_CODES)
    assert set(EXIT_CODES.values()) <= {1, 2}


def _interrupted() -> click.Abort:
    abort = click.Abort()
    abort.__cause__ = KeyboardInterrupt()
    return abort


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (NotFound("account", "mian", ["main"]), "no account 'mian'; did you mean 'main'?", 2),
        (InvalidInput.of([Fault(("host",), "is required"), Fault((), "no")]), "host: is required; no", 2),
        (NotRunning("'a' is not running"), "'a' is not running", 1),
        (MailProxyError("two\nlines \x1b[31mred"), "two lines \\x1b[31mred", 1),
        (click.UsageError("What."), "What.", 2),
        (click.ClickException("no"), "no", 1),
        (click.Abort(), "nothing was done", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (_interrupted(), "interrupted", 130),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "", 1),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied", 1),
        (OSError(errno.ENOSPC, "No space left", "/x"), "the disk is full (writing /x): free some space", 1),
        (OSError(errno.ENOSPC, "No space left"), "the disk is full: free some space", 1),
        (TimeoutError(), "TimeoutError", 1),
        (ZeroDivisionError("by\nzero"), "unexpected: ZeroDivisionError: by zero (run it with --debug", 1),
    ],
)
def test_one_line_and_a_number(error: BaseException, line: str, code: int) -> None:
    """Whatever it is, what is wrong is said without a line break or a control character."""
    said, number = describe(error)
    assert said.startswith(line)
    assert number == code
    assert said.isprintable()


def test_the_failure_inside_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks fail in groups; the one that was foreseen is told."""
    group = BaseExceptionGroup("", [ValueError("x"), BaseExceptionGroup("", [NotRunning("not running")])])
    assert report(group, debug=False) == 1
    assert capsys.readouterr().err == "Error: not running\n"


def test_the_last_words_of_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    """They follow the line."""
    report(StartFailed("'a' did not start", "one\ntwo"), debug=False)
    assert capsys.readouterr().err == "Error: 'a' did not start\none\ntwo\n"


def test_a_traceback_is_obeyed_by_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What went wrong may be about a text from anywhere."""
    report(ValueError("\x1b]0;title\x07 \x9b31m\n\u202ereversed"), debug=True)
    told = capsys.readouterr().err
    assert told.startswith("ValueError: \\x1b]0;title\\x07 \\x9b31m\n\\u202ereversed\nError: unexpected:")
    assert told.replace("\n", "").isprintable()


def test_debug_may_be_in_the_configuration(quick: QuickCli) -> None:
    """As every setting may."""
    instance = quick.instance("a")
    instance.database.write_text("no database")
    assert "Traceback" not in quick("a", "stats").err
    instance.config_file.write_text("debug = true\n")
    assert "Traceback" in quick("a", "stats").err


@pytest.mark.parametrize(("words", "env"), [(("--debug",), {}), ((), {"GMP_DEBUG": "1"})])
def test_debug_shows_where(quick: QuickCli, words: tuple[str, ...], env: dict[str, str]) -> None:
    """The whole story, for who asks for it."""
    quick.instance("a").database.mkdir()
    assert "Traceback" not in quick("a", "info").err
    done = quick(*words, "a", "info", env=env)
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("config.toml", 2),
        ("mail_service.db", 1),
        ("encryption.key", 1),
        ("token", 1),
    ],
)
def test_damaged_files(quick: QuickCli, damage: str, code: int) -> None:
    """Each is named in one line."""
    instance = quick.instance("a")
    quick.ok("a", "info")
    for leftover in instance.directory.glob("mail_service.db-*"):
        leftover.unlink()
    (instance.directory / damage).write_bytes(b"\xff\xfe garbage " * 100)
    done = quick("a", "info")
    assert (done.code, len(done.err.splitlines())) == (code, 1)
    assert str(instance.directory) in done.err


@pytest.mark.parametrize("name", ["config.toml", "token", "mail_service.db"])
def test_files_that_cannot_be_opened(quick: QuickCli, name: str) -> None:
    """What the system says of a file is told, with its name."""
    path = quick.instance("a").directory / name
    path.unlink(missing_ok=True)
    path.symlink_to(path)
    done = quick("a", "info")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert str(path) in done.err


def test_the_reader_goes_away(cli: Cli) -> None:
    """A closed pipe is no reason for a traceback."""
    command = [*PROGRAM, "--help"]
    with subprocess.Popen(
        command, env=cli.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("words", "closed"),
    [
        ("tenants list", ">&-"),
        ("tenants list --json", "<&- >&- 2>&-"),
        ("connect", "<&-"),
        ("connect", ">&-"),
        ("tenants add", "<&-"),
        ("acme send -", "<&-"),
    ],
)
def test_closed_standard_streams(quick: QuickCli, words: str, closed: str) -> None:
    """There is nothing to read from them, and nowhere to write: that is all."""
    quick.instance("a")
    quick.ok("a", "tenants", "add", "acme")
    command = f"exec {shlex.join(PROGRAM)} a {words} {closed}"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=quick.environ, timeout=TIMEOUT, check=False
    )
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == {"tenants add": 2, "acme send -": 1}.get(words, 0)


def test_an_interrupt(cli: Cli) -> None:
    """Ctrl+C while waiting ends with 130 and one line."""
    cli.instance("a")
    command = [*PROGRAM, "a", "default", "send", "-"]
    with subprocess.Popen(
        command, env=cli.environ, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        database = cli.home / "a" / "mail_service.db"
        while not database.with_name("mail_service.db-wal").exists():
            pass
        process.send_signal(signal.SIGINT)
        try:
            _out, err = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    assert (process.returncode, err.strip()) == (130, "interrupted")


INTERRUPTING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "mail_proxy_cli.grammar":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""


def test_an_interruption_while_the_program_is_read_ends_it_quietly(cli: Cli) -> None:
    """Ctrl+C in the first tenth of a second, too, leaves no traceback."""
    (cli.root / "sitecustomize.py").write_text(INTERRUPTING)
    done = cli("list", env={"PYTHONPATH": f"{cli.root}:{cli.environ['PYTHONPATH']}"})
    assert (done.code, done.out, done.err) == (130, "", "")


@pytest.mark.parametrize("key", ["ctrl-c", "ctrl-d"])
def test_who_leaves_a_question_reads_so_on_a_line_of_its_own(cli: Cli, key: str) -> None:
    """The answer stands below the question, and nothing was deleted."""
    directory = cli.instance("a").directory
    with Terminal(cli, "delete", "a", columns=200) as terminal:
        terminal.wait_for("[y/N]:")
        terminal.press(key)
        code, said = (130, "interrupted") if key == "ctrl-c" else (1, "Error: nothing was done")
        assert (terminal.end(), terminal.lines[-1]) == (code, said)
    assert directory.exists()


async def test_work_that_cannot_begin_leaves_no_warning() -> None:
    """Ctrl+C, too, may come before it begins; what is told is that, and nothing else."""

    async def work() -> None: ...

    waiting = work()
    with pytest.raises(RuntimeError, match="running event loop"):
        wait_for(waiting)
    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED
