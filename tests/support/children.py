"""Processes that must not outlive the tests that started them."""

from __future__ import annotations

import shutil
import signal
import sys


def tethered(command: list[str], signal_name: str = "KILL") -> list[str]:
    """Wrap a command so that the kernel ends it with its parent, however that ends (Linux, util-linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name, *command] if setpriv else command


def clean_up_when_terminated() -> None:
    """Let SIGTERM end a script as an exception does, so that what it started and wrote goes with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
