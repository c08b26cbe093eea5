"""The program on a real terminal: a pseudo-terminal to type on, and the screen that a person would see."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import pexpect
import pyte

from tests.support.cli import PROGRAM, TIMEOUT, Cli

LOOK = 0.02
"""Seconds for which more is awaited before one looks at the screen."""

WHERE = "\x1b[6n"
"""The program asks where the cursor is."""

KEYS = {
    "enter": "\r",
    "tab": "\t",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "ctrl-a": "\x01",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
    "ctrl-r": "\x12",
    "ctrl-u": "\x15",
    "ctrl-z": "\x1a",
    "backspace": "\x7f",
    "escape": "\x1b",
}


class Terminal:
    """Runs ``mail-proxy WORDS…`` on a terminal of `columns` by `rows`::

        with Terminal(cli, "myserver", "tenants", "add") as terminal:
            terminal.answer("id:", "acme")
            assert terminal.end() == 0

    `program` is another program to run in its place. What is awaited and does not come is an AssertionError
    that shows the screen.
    """

    def __init__(
        self,
        cli: Cli,
        *words: str,
        columns: int = 100,
        rows: int = 40,
        program: Sequence[str] = PROGRAM,
        **environ: str,
    ) -> None:
        command, *rest = program
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self._stream = pyte.Stream(self._screen)
        self.output = ""
        """All that came, as it came: colours and movements, too."""
        self.child: pexpect.spawn[str] = pexpect.spawn(
            command,
            [*rest, *words],
            env={**cli.environ, "TERM": "xterm-256color", **environ},
            cwd=str(cli.root),
            encoding="utf-8",
            codec_errors="replace",
            timeout=TIMEOUT,
            dimensions=(rows, columns),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.close(force=True)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without the spaces at the ends of lines, and empty lines at the end."""
        self._read()
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().splitlines()

    @property
    def screen(self) -> str:
        return "\n".join(self.lines)

    @property
    def cells(self) -> list[list[pyte.screens.Char]]:
        """The characters of each of the `lines`, with their looks."""
        count = len(self.lines)
        return [[self._screen.buffer[y][x] for x in range(self._screen.columns)] for y in range(count)]

    @property
    def transcript(self) -> list[str]:
        """All lines down to the cursor's, with those that have scrolled away."""
        self._read()
        gone = [
            "".join(line[x].data for x in range(self._screen.columns)) for line in self._screen.history.top
        ]
        return [line.rstrip() for line in (*gone, *self._screen.display[: self._screen.cursor.y + 1])]

    def type(self, text: str) -> None:
        """Type text, without Enter."""
        self.child.send(text)

    def press(self, *keys: str) -> None:
        """Press keys that `KEYS` names."""
        for key in keys:
            self.child.send(KEYS[key])

    def enter(self, text: str) -> None:
        """Type a line."""
        self.child.send(text + KEYS["enter"])

    def answer(self, question: str, answer: str) -> None:
        """Wait until the line of the cursor holds the question, then type the answer."""
        self.until(lambda: question in self.current_line, f"the question {question!r}")
        before = self._place
        self.enter(answer)
        self.until(lambda: self._place != before or not self.is_alive, f"what follows {question!r}")

    def reply(self, question: str, answer: str) -> None:
        """Wait until the cursor stands behind the question, then type the answer over what stands there."""
        self.until(lambda: question in self.line_to_cursor, f"the question {question!r}")
        self.press("ctrl-u")
        before = self._place
        self.enter(answer)
        self.until(lambda: self._place != before or not self.is_alive, f"what follows {question!r}")

    @property
    def _place(self) -> tuple[int, int]:
        """On which line the cursor is, and how many have scrolled away."""
        self._read()
        return self._screen.cursor.y, len(self._screen.history.top)

    @property
    def current_line(self) -> str:
        """The line that the cursor is on, with the one above it: a long question is broken."""
        self._read()
        row = self._screen.cursor.y
        above = self._screen.display[row - 1].rstrip() if row else ""
        return above + self._screen.display[row]

    @property
    def line_to_cursor(self) -> str:
        """The line that the cursor is on, up to it."""
        self._read()
        return str(self._screen.display[self._screen.cursor.y][: self._screen.cursor.x])

    def wait_for(self, text: str, timeout: float = TIMEOUT) -> None:
        """Wait until the screen shows the text."""
        self.until(lambda: text in self.screen, repr(text), timeout)

    def wait_until_gone(self, text: str, timeout: float = TIMEOUT) -> None:
        """Wait until the screen shows the text no more."""
        self.until(lambda: text not in self.screen, f"{text!r} to go", timeout)

    def until(self, holds: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
        """Wait until something holds."""
        end = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"waited for {what}; the screen:\n{self.screen}")
            self._read()

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal narrower or wider."""
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    @property
    def is_alive(self) -> bool:
        return bool(self.child.isalive())

    def end(self, timeout: float = TIMEOUT) -> int:
        """Wait for the program's end; its exit code, 128 and the signal for one that a signal ended."""
        end = time.monotonic() + timeout
        while self._read():
            if time.monotonic() > end:
                raise AssertionError(f"it does not end; the screen:\n{self.screen}")
        self.child.close()
        if self.child.signalstatus is not None:
            return 128 + int(self.child.signalstatus)
        return int(self.child.exitstatus or 0)

    def _read(self) -> bool:
        """Take in what has come; return whether more may come."""
        with contextlib.suppress(pexpect.TIMEOUT):
            try:
                came = self.child.read_nonblocking(65536, timeout=LOOK)
            except (pexpect.EOF, OSError, ValueError):
                return False
            self.output += came
            shown, *others = came.split(WHERE)
            self._stream.feed(shown)
            for each in others:
                self._tell_where()
                self._stream.feed(each)
        return True

    def _tell_where(self) -> None:
        """Tell where the cursor is when asked, as terminals do: prompt-toolkit asks."""
        with contextlib.suppress(OSError):
            cursor = self._screen.cursor
            os.write(self.child.fileno(), f"\x1b[{cursor.y + 1};{cursor.x + 1}R".encode())
