"""From an exception to one line on standard error and an exit code."""

from __future__ import annotations

import errno
import sys
import traceback

import click

from mail_proxy.errors import (
    AlreadyRunning,
    Conflict,
    DatabaseError,
    DatabaseUnavailable,
    DatabaseUnusable,
    Forbidden,
    InstanceError,
    InvalidConfig,
    InvalidInput,
    KeyMismatch,
    MailProxyError,
    NotFound,
    NotRunning,
    StartFailed,
    TooLarge,
    TooManyAttempts,
    Unauthorized,
)
from mail_proxy_cli.nodes import UnknownName, near
from mail_proxy_cli.output import one_line

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130

EXIT_CODES: dict[type[MailProxyError], int] = {
    MailProxyError: FAILED,
    InvalidInput: USAGE,
    InvalidConfig: USAGE,
    Unauthorized: FAILED,
    TooManyAttempts: FAILED,
    Forbidden: FAILED,
    NotFound: USAGE,
    Conflict: FAILED,
    TooLarge: FAILED,
    DatabaseError: FAILED,
    DatabaseUnavailable: FAILED,
    DatabaseUnusable: FAILED,
    KeyMismatch: FAILED,
    InstanceError: FAILED,
    AlreadyRunning: FAILED,
    NotRunning: FAILED,
    StartFailed: FAILED,
}


def report(error: BaseException, *, debug: bool) -> int:
    """Tell the user what went wrong and return the exit code; with `debug`, where it went wrong too."""
    if isinstance(error, BaseExceptionGroup):
        error = first(error)
    if debug and not isinstance(error, click.ClickException | click.Abort):
        print_traceback(error)
    line, code = describe(error)
    if line:
        _say(f"Error: {line}" if code != INTERRUPTED else line)
    if isinstance(error, StartFailed) and error.log_tail:
        _say(error.log_tail)
    return code


def describe(error: BaseException) -> tuple[str, int]:
    """Put an exception into one line, with the exit code that goes with it."""
    match error:
        case click.ClickException():
            said = _describe_usage(error), error.exit_code
        case KeyboardInterrupt():
            said = "interrupted", INTERRUPTED
        case click.Abort():
            by_signal = isinstance(error.__cause__ or error.__context__, KeyboardInterrupt)
            said = ("interrupted", INTERRUPTED) if by_signal else ("nothing was done", FAILED)
        case BrokenPipeError():
            said = "", FAILED
        case MailProxyError():
            said = one_line(str(error)), _exit_code(error)
        case OSError():
            said = _describe_os_error(error), FAILED
        case _:
            said = f"unexpected: {name_and_words(error)} (run it with --debug for the whole story)", FAILED
    return said


def name_and_words(error: BaseException) -> str:
    """What an exception of whatever kind says, on one line; those of a session may fail even at that."""
    try:
        words = str(error)
    except Exception as another:  # noqa: BLE001 - it is the session's own code
        words = f"what it says cannot be told ({type(another).__name__})"
    return one_line(f"{type(error).__name__}: {words}")


def _exit_code(error: MailProxyError) -> int:
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def _describe_usage(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        error = _unknown_option(error)
    text = one_line(error.format_message())
    if isinstance(error, click.UsageError) and not isinstance(error, UnknownName) and error.ctx is not None:
        return f"{text.rstrip('.')} (help: {error.ctx.command_path} --help)"
    return text


def _unknown_option(error: click.NoSuchOption) -> click.UsageError:
    """Name the options most like it, as is done with all names."""
    ctx, name = error.ctx, error.option_name
    if ctx is None:
        return error
    options = {
        spelled.lstrip("-"): spelled
        for each in ctx.command.get_params(ctx)
        if not getattr(each, "hidden", False)
        for spelled in (*each.opts, *each.secondary_opts)
        if spelled.startswith("--")
    }
    found = [options[each] for each in near(name.lstrip("-"), options)]
    return UnknownName("option", name, found, ctx, hint=f" (help: {ctx.command_path} --help)")


def _describe_os_error(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        where = f" (writing {error.filename})" if error.filename else ""
        return f"the disk is full{where}: free some space and try again"
    reason = error.strerror or str(error) or type(error).__name__
    return one_line(f"{error.filename}: {reason}" if error.filename else reason)


def print_traceback(error: BaseException) -> None:
    """Tell where it went wrong; what stands there may come from anywhere."""
    lines = "".join(traceback.format_exception(error)).rstrip("\n").split("\n")
    _say("\n".join(line if line.isprintable() else one_line(line) for line in lines))


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception of a group that says most: one of ours if there is one."""
    leaves: list[BaseException] = []
    for inner in group.exceptions:
        leaves.append(first(inner) if isinstance(inner, BaseExceptionGroup) else inner)
    return next((leaf for leaf in leaves if isinstance(leaf, MailProxyError)), leaves[0])


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:  # nobody listens any more
        sys.stderr = None  # keeps the interpreter from trying again at exit
