"""A real database that is away whenever the test says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar, cast

from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.store.database import Database, Work
from mail_proxy.store.outcomes import Batch

P = ParamSpec("P")
T = TypeVar("T")


PATIENCE = 60.0


class FlakyDatabase:
    """Passes everything on, but for units of work in `away` (by name, as often as the number says).

    Of those in `unheard` the connection breaks when they have been committed, before that is said.
    `done` counts what was run, `refused` what was not, `transactions` those that wrote.
    """

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.away: dict[str, float] = {}
        self.unheard: dict[str, int] = {}
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.transactions = 0
        self._changed = asyncio.Condition()

    @property
    def dialect(self) -> str:
        return self._inner.dialect

    async def read(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._refuse(_names(work, args))
        result = await self._inner.read(work, *args, **kwargs)
        await self._count(self.done, _names(work, args))
        return result

    async def snapshot(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._refuse(_names(work, args))
        result = await self._inner.snapshot(work, *args, **kwargs)
        await self._count(self.done, _names(work, args))
        return result

    async def write(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._refuse(_names(work, args))
        result = await self._inner.write(work, *args, **kwargs)
        self.transactions += 1
        await self._count(self.done, _names(work, args))
        for name in _names(work, args):
            if self.unheard.get(name, 0) > 0:
                self.unheard[name] -= 1
                raise DatabaseUnavailable(f"the test's database was lost after {name}")
        return result

    async def until_done(self, work: str, count: int = 1) -> None:
        """Wait until this work was run so often (a minute at most)."""
        await self._until(self.done, work, count)

    async def until_refused(self, work: str, count: int = 1) -> None:
        """Wait until this work was refused so often (a minute at most)."""
        await self._until(self.refused, work, count)

    async def migrate(self, took: Callable[[str], None] | None = None) -> int:
        return await self._inner.migrate(took)

    async def notify(self, text: str) -> None:
        await self._inner.notify(text)

    async def listen(self, heard: Callable[[str], None]) -> None:
        await self._inner.listen(heard)

    async def close(self) -> None:
        await self._inner.close()

    async def _until(self, counter: Counter[str], work: str, count: int) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: counter[work] >= count)

    async def _refuse(self, names: Counter[str]) -> None:
        for name in names:
            if self.away.get(name, 0) > 0:
                self.away[name] -= 1
                await self._count(self.refused, names)
                raise DatabaseUnavailable(f"the test's database is away for {name}")

    async def _count(self, counter: Counter[str], names: Counter[str]) -> None:
        async with self._changed:
            counter.update(names)
            self._changed.notify_all()


def _names(work: Callable[..., object], args: Sequence[object]) -> Counter[str]:
    """What is done; of what is recorded in groups, how much of each kind."""
    name = work.__name__.lstrip("_")
    if name != "record":
        return Counter([name])
    begins, settlements, _ = cast("Batch", args[0]).take()
    return Counter({"begin_final": len(begins), "settle": len(settlements)}) + Counter()
