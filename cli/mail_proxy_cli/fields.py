"""From options to the services' fields, and from their faults back to options."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence

import click

from mail_proxy.errors import InvalidInput
from mail_proxy_cli.registry import RESERVED
from mail_proxy_cli.terminal import given_back


def given(options: Mapping[str, object]) -> dict[str, object]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def one_id(argument: str | None, option: str | None) -> str | None:
    """The id, which may be given as an argument or as ``--id``."""
    if argument is not None and option is not None and argument != option:
        raise click.UsageError(f"the id is given twice: '{argument}' and --id '{option}'")
    return argument if argument is not None else option


def refuse_reserved(kind: str, name: str) -> None:
    """Keep the words of the command line from becoming ids."""
    if name in RESERVED:
        raise InvalidInput(f"'{name}' cannot be the id of a {kind}: it is a command")


def may_prompt() -> bool:
    """Tell whether a person is there to be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def read_secret_line(name: str = "password") -> str:
    """Read a secret from standard input: its first line; unseen, if somebody types it."""
    if sys.stdin.isatty():
        with given_back(dumb=True):
            return str(click.prompt(name, hide_input=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise click.UsageError(f"standard input holds no {name}")
    return line


@contextlib.contextmanager
def faults_as_options(options: Mapping[str, str]) -> Iterator[None]:
    """Name options in place of fields, in the faults that a service finds."""
    try:
        yield
    except InvalidInput as error:
        if not error.faults:
            raise
        said = [f"{_option(fault.loc, options)}: {fault.msg}" for fault in error.faults]
        raise click.UsageError("; ".join(said), click.get_current_context(silent=True)) from error


def _option(loc: Sequence[str | int], options: Mapping[str, str]) -> str:
    path = ".".join(str(part) for part in loc)
    return options.get(path, options.get(str(loc[0]) if loc else "", path))
