"""A bar on standard error for what takes its time; nothing where nobody looks at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from mail_proxy_cli.scope import Scope

if TYPE_CHECKING:
    from rich.console import Console

Advance = Callable[[int], None]
"""To be told how many more are done."""


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Advance]:
    """Show how far it has come for the length of the block; without a total, how many are done."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts = TextColumn("{task.completed}") if total is None else MofNCompleteColumn()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        counts,
        TimeRemainingColumn(),
        console=error_console(),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def busy(label: str) -> Iterator[None]:
    """Show that something is under way, of which nobody knows how far it has come."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.text import Text

    with error_console().status(Text(label)):
        yield


def error_console() -> Console:
    """Standard error as a terminal, with colours unless this run is to have none."""
    from rich.console import Console

    context = click.get_current_context(silent=True)
    scope = None if context is None else context.obj
    color = scope.invocation.color if isinstance(scope, Scope) else None
    return Console(stderr=True, no_color=None if color is None else not color)
