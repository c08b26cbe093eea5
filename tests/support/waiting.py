"""Waiting for what another process does: looked at again and again, with patience for slow machines."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0
POLL = 0.02


def until(holds: Callable[[], object], what: str) -> None:
    """Return once it holds; `what` is said when it never does."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(POLL)
