"""The terminal under ``top``: where it draws, and which keys are pressed."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

Draw = Callable[[int, int | None], Sequence[Text]]
"""Draws for so many columns and rows; None is as many rows as are needed."""

PIPE = (120, 24)
"""Columns and rows where there is no terminal to ask."""


class Screen(Protocol):
    """Where pictures are shown. `taken` is the time it is in use: whatever happens, it is given back."""

    @property
    def rows(self) -> int: ...

    @contextmanager
    def taken(self) -> Iterator[None]: ...

    def show(self, draw: Draw, *, is_new: bool) -> None:
        """Show a picture; `is_new` when it is of something else than the last, and not only drawn again."""
        ...


class FullScreen:
    """The alternate screen of a terminal, drawn anew for each picture."""

    def __init__(self, *, color: bool) -> None:
        self._console = Console(no_color=not color, highlight=False)
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @property
    def rows(self) -> int:
        return self._console.height

    @contextmanager
    def taken(self) -> Iterator[None]:
        with self._live:
            yield

    def show(self, draw: Draw, *, is_new: bool) -> None:  # noqa: ARG002 - one picture replaces another
        self._live.update(Group(*draw(self._console.width, self._console.height)), refresh=True)


class Paper:
    """Plain text, one picture below the other: for terminals that cannot be drawn on."""

    @property
    def rows(self) -> int:
        return shutil.get_terminal_size(PIPE).lines

    @contextmanager
    def taken(self) -> Iterator[None]:
        yield

    def show(self, draw: Draw, *, is_new: bool) -> None:
        if is_new:
            echo_plain(draw)
            click.echo()


def echo_plain(draw: Draw) -> None:
    """Print one picture, whole, without colours."""
    for line in draw(shutil.get_terminal_size(PIPE).columns, None):
        click.echo(line.plain.rstrip())


@contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call `pressed` with each key, without waiting for Enter, while this lasts; needs a running loop.

    A key is a character; those that send more, such as arrows, are none. Without a terminal there are none.
    """
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            typed = os.read(descriptor, 64)
        except OSError:
            typed = b""
        if not typed:  # the terminal is gone
            loop.remove_reader(descriptor)
        elif not typed.startswith(b"\x1b"):
            for key in typed.decode("utf-8", "replace"):
                pressed(key)

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
