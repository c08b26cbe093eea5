"""A clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio

PATIENCE = 60.0
"""Real seconds to wait for somebody to go to sleep, before the test fails."""


class ManualClock:
    """Time moves by `advance` alone; who sleeps wakes when his moment has come."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Event]] = []
        self._came = asyncio.Event()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        moment, woken = self._now + seconds, asyncio.Event()
        self._sleepers.append((moment, woken))
        self._came.set()
        try:
            await woken.wait()
        finally:
            self._sleepers.remove((moment, woken))

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake those who have slept long enough."""
        self._now += seconds
        for moment, woken in self._sleepers:
            if moment <= self._now:
                woken.set()

    async def until_asleep(self, seconds: float) -> None:
        """Wait until somebody sleeps who has `seconds` before him."""
        async with asyncio.timeout(PATIENCE):
            while not any(abs(moment - self._now - seconds) < 1e-6 for moment, _ in self._sleepers):
                self._came.clear()
                await self._came.wait()
