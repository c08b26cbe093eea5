"""The terminal, given back as it was to those who use it next."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from types import FrameType

ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What ends a program at once, so that it leaves the terminal as it was while a key was awaited."""

SHOW_CURSOR = b"\x1b[?25h"
NO_BRACKETED_PASTE = b"\x1b[?2004l"


@contextlib.contextmanager
def given_back(*, dumb: bool) -> Iterator[None]:
    """Give the terminal back when a signal ends the program while this lasts."""
    if not sys.stdin.isatty() or threading.current_thread() is not threading.main_thread():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def end(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(OSError, termios.error):  # it may be gone
            if not dumb:
                os.write(descriptor, NO_BRACKETED_PASTE + SHOW_CURSOR)
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    ours = [number for number in ENDS if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
