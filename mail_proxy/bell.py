"""Hints that there is work. Many rings are one, and a lost one costs only the back-up poll's time."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Bell(Protocol):
    """Whoever queues work rings; ringing is best effort and never raises."""

    async def ring(self, *, run_now: bool = False) -> None:
        """Say that there is work; `run_now` when a person or an application asked for a run."""
        ...


class Wake:
    """One loop's ear."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._run_now = False

    def set(self, *, run_now: bool = False) -> None:
        self._run_now = self._run_now or run_now
        self._event.set()

    async def wait(self, seconds: float | None) -> bool:
        """Wait for a ring, at most `seconds`; return whether a run was asked for.

        What rings from here on counts for the next wait, so clear-then-look loses nothing.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        asked, self._run_now = self._run_now, False
        self._event.clear()
        return asked


class LocalBell:
    """Rings within this process."""

    def __init__(self) -> None:
        self._wakes: list[Wake] = []

    def listen(self) -> Wake:
        """Return an ear that hears every ring from now on."""
        wake = Wake()
        self._wakes.append(wake)
        return wake

    async def ring(self, *, run_now: bool = False) -> None:
        for wake in self._wakes:
            wake.set(run_now=run_now)


class SilentBell:
    """For whoever works where nobody listens."""

    async def ring(self, *, run_now: bool = False) -> None:  # noqa: ARG002 - the protocol's signature
        return


class Chime:
    """Several bells rung as one."""

    def __init__(self, *bells: Bell) -> None:
        self._bells = bells

    async def ring(self, *, run_now: bool = False) -> None:
        for bell in self._bells:
            await bell.ring(run_now=run_now)
