"""The tasks that a loop has started: looked after while they run, and ended to the last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

CANCEL_AGAIN = 1.0
"""Seconds after which a task that was told to end is told again: `asyncio.wait_for` of Python 3.11 drops a
cancellation that comes together with its result."""


class Crew:
    """`failed` is called when a task fails; what it raised comes out of `check` and `idle`."""

    def __init__(self, failed: Callable[[], None]) -> None:
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def check(self) -> None:
        """Raise what the first task to fail raised."""
        if self._failure is not None:
            raise self._failure

    async def idle(self) -> None:
        """Wait until no task is left; raise what one raised."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self.check()

    async def end(self) -> None:
        """Cancel what is left, and wait until it has gone."""
        while left := set(self._tasks):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=CANCEL_AGAIN)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._failed()
