"""A real database that is away whenever the test says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.store.database import Database, Work

P = ParamSpec("P")
T = TypeVar("T")


class FlakyDatabase:
    """Passes everything on, but for units of work in `away` (by name, as often as the number says).

    `done` counts what was run, `held` makes a unit wait for an event before it is run.
    """

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.away: dict[str, float] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.done: Counter[str] = Counter()

    @property
    def dialect(self) -> str:
        return self._inner.dialect

    async def read(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._pass(work)
        return await self._inner.read(work, *args, **kwargs)

    async def write(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._pass(work)
        return await self._inner.write(work, *args, **kwargs)

    async def migrate(self) -> int:
        return await self._inner.migrate()

    async def notify(self, text: str) -> None:
        await self._inner.notify(text)

    async def listen(self, heard: Callable[[str], None]) -> None:
        await self._inner.listen(heard)

    async def close(self) -> None:
        await self._inner.close()

    async def _pass(self, work: Callable[..., object]) -> None:
        name = work.__name__.lstrip("_")
        self.done[name] += 1
        if name in self.held:
            await self.held[name].wait()
        if self.away.get(name, 0) > 0:
            self.away[name] -= 1
            raise DatabaseUnavailable(f"the test's database is away for {name}")
