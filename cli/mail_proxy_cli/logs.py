"""``logs``: what the server has written into its log."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from itertools import chain

import click

from mail_proxy_cli import tail
from mail_proxy_cli.errors import INTERRUPTED, OK
from mail_proxy_cli.nodes import command
from mail_proxy_cli.output import one_line
from mail_proxy_cli.scope import Scope, pass_scope

LINES = 50

COLORS = {"DEBUG": "bright_black", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bright_red"}

_LEVEL = re.compile(r'\S+ ([A-Z]+) |\{.{0,60}"level": "([A-Z]+)"')
"""Where a line of text, or of JSON, tells its level."""


@command("logs")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl+C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=LINES, show_default=True, help="The last so many lines."
)
@pass_scope
def logs(scope: Scope, *, follow: bool, lines: int) -> int:
    """Show the last lines of the server's log.

    It is the log of this machine's server. One that runs in the foreground ('serve') has none: it writes to
    standard error.
    """
    path = scope.instance.log_file
    files = tail.open_at_last(path, lines)
    color = scope.invocation.color and sys.stdout.isatty()
    if not files:
        click.echo(f"there is no {path} yet" + (": waiting for it" if follow else ""), err=True)
    try:
        _echo(chain.from_iterable(map(tail.rest_of, files[:-1])), color=color)
        if not follow:
            _echo(chain.from_iterable(map(tail.rest_of, files[-1:])), color=color)
            return OK
        sys.stdout.flush()
        _echo(tail.follow(path, files[-1] if files else None), color=color)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        for file in files:
            file.close()
    return OK


def _echo(lines: Iterable[bytes], *, color: bool) -> None:
    for line in lines:
        text = one_line(line.decode("utf-8", "replace").rstrip("\r\n"))
        click.echo(_colored(text) if color else text, color=color)


def _colored(line: str) -> str:
    match = _LEVEL.match(line)
    shade = COLORS.get(match[1] or match[2]) if match else None
    return line if shade is None else click.style(line, fg=shade)
