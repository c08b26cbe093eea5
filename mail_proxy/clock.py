"""Time, as something that can be handed in: tests move it, nothing in the product sleeps past it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

LAST_SECOND = 253_402_300_799
"""The end of the year 9999 in Unix seconds; what is later was not meant as seconds."""

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux leaves its monotonic clock standing while the machine is suspended, others do not."""


class Clock(Protocol):
    """Wall-clock time in Unix seconds (UTC), and waiting."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        import asyncio  # late: completion reads this module on each Tab, and never sleeps

        await asyncio.sleep(seconds)


def steady_seconds() -> float:
    """Seconds from anywhere, that go on while the machine is suspended and when its clock is set."""
    return time.clock_gettime(_STEADY)


def iso(ts: float) -> str:
    """Render Unix seconds as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
