"""Where the program begins: words in, exit code out."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from mail_proxy_cli.errors import FAILED, OK, report
from mail_proxy_cli.grammar import root
from mail_proxy_cli.scope import Invocation, Scope
from mail_proxy_cli.shells import COMPLETE_VARIABLE, answer


def main() -> NoReturn:
    """Run ``mail-proxy`` with the arguments of the process."""
    _open_closed_streams()
    os.umask(0o077)  # whatever is written here is the user's own business (contract: security.md, Files)
    for stream in (sys.stdout, sys.stderr):
        # An address or a subject that the locale cannot show must not end the command.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # absent when replaced
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # the reader has gone: "mail-proxy … | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or FAILED
    sys.exit(code)


def _open_closed_streams() -> None:
    """Give the standard streams that are closed ("mail-proxy … >&-") nothing to read, nowhere to write.

    Else the next file that is opened, such as the database, would be in their place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: theirs
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; failures are told on standard error."""
    invocation = Invocation.of(os.environ)
    if shell := os.environ.get(COMPLETE_VARIABLE):
        return complete(shell, invocation)
    try:
        result = root.main(
            list(arguments), "mail-proxy", standalone_mode=False, obj=Scope(invocation=invocation)
        )
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the edge: nothing may pass as a traceback
        return report(error, debug=invocation.debug)
    return result if isinstance(result, int) else OK


def complete(shell: str, invocation: Invocation) -> int:
    """Print what a shell may offer after Tab; whatever is wrong, that is nothing."""
    with contextlib.suppress(Exception):
        click.echo(answer(shell, invocation.environ, root, Scope(invocation=invocation)), nl=False)
    return OK
