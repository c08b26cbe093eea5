"""Hints that there is work. Many rings are one, and a lost one costs only the back-up poll's time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from mail_proxy.errors import DatabaseError


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

    def add(self, wake: Wake) -> None:
        """Let `wake` hear every ring from now on."""
        self._wakes.append(wake)

    def ring_now(self, *, run_now: bool = False) -> None:
        for wake in self._wakes:
            wake.set(run_now=run_now)

    async def ring(self, *, run_now: bool = False) -> None:
        self.ring_now(run_now=run_now)


class SilentBell:
    """For whoever works where nobody listens."""

    async def ring(self, *, run_now: bool = False) -> None:  # noqa: ARG002 - the protocol's signature
        return


class DatabaseBell:
    """Rings for the other nodes on the database; what rings while one ring is on its way becomes one.

    `notify` hands a text to every node and may raise `DatabaseError`; `sender` is this process.
    """

    def __init__(self, notify: Callable[[str], Awaitable[None]], sender: str) -> None:
        self._notify = notify
        self._sender = sender
        self._line = asyncio.Lock()
        self._wanted: set[bool] = set()

    async def ring(self, *, run_now: bool = False) -> None:
        """Returns after this ring or a later one that stands for it, so nobody rings for all who follow."""
        self._wanted.add(run_now)
        async with self._line:
            if not self._wanted:
                return
            kind = "run-now" if True in self._wanted else "work"
            self._wanted.clear()
            with contextlib.suppress(DatabaseError):  # the others' back-up poll finds the work
                await self._notify(f"{self._sender} {kind}")

    def heard(self, text: str) -> bool | None:
        """Read what another node rang: whether a run was asked for; None for this process's own ring."""
        sender, _, kind = text.partition(" ")
        return None if sender == self._sender else kind == "run-now"


class Chime:
    """Several bells rung as one."""

    def __init__(self, *bells: Bell) -> None:
        self._bells = bells

    async def ring(self, *, run_now: bool = False) -> None:
        for bell in self._bells:
            await bell.ring(run_now=run_now)
