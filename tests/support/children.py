"""Processes that must not outlive the tests that started them."""

from __future__ import annotations

import shutil


def tethered(command: list[str], signal_name: str = "KILL") -> list[str]:
    """Wrap a command so that the kernel ends it with its parent, however that ends (Linux, util-linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name, *command] if setpriv else command
