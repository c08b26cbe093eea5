"""How much memory the bodies of all requests may take together, on this node.

A body counts twice. While it is read, and until its turn comes, it takes its own size. When it has become
Python objects it takes several times that, so few of the large ones are worked on at a time, and few of those
that hold many values, however small they are. Small bodies of few values, which are nearly all, neither wait
nor count.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from starlette.exceptions import HTTPException
from starlette.types import Scope

from mail_proxy.api.headers import field

SMALL = 64 * 1024
"""Bytes up to which a body does not count."""

READ_AT_A_TIME = 4
"""How many of the largest bodies may be in memory as they came; one tenant's token has half of that."""

TURNS = 16
"""How many bodies of many values may be worked on at a time; one tenant's token has half of that."""

PATIENCE = 30.0
"""Seconds to wait for a place, before the body is read and again before it is worked on."""

RETRY_AFTER = 10
"""Seconds after which to ask again when there was none."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    holder: str | None
    size: int
    comes: asyncio.Future[None]


class Budget:
    """Bytes that are lent in the order of asking; `share` is the most that one tenant may hold of them."""

    def __init__(self, size: int, share: int, patience: float) -> None:
        self._free = size
        self._share = share
        self._patience = patience
        self._held: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()

    async def take(self, holder: str | None, size: int) -> None:
        """Take so many bytes; `holder` None may have all. HTTPException 503 tells that none came free."""
        if not self._waiting and self.take_at_once(holder, size):
            return
        place = _Waiting(holder, size, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        self._serve()  # those before may be waiting for their own share
        try:
            async with asyncio.timeout(self._patience):
                await place.comes
        except BaseException as error:
            self._leave(place)
            if isinstance(error, TimeoutError):
                raise busy() from None
            raise

    def take_at_once(self, holder: str | None, size: int) -> bool:
        """Take so many bytes before everybody who waits, if there are as many."""
        if size > self._free or not self._is_within_share(holder, size):
            return False
        self._free -= size
        if holder is not None:
            self._held[holder] += size
        return True

    def give_back(self, holder: str | None, size: int) -> None:
        self._free += size
        if holder is not None:
            self._held[holder] -= size
            if not self._held[holder]:
                del self._held[holder]
        self._serve()

    def _is_within_share(self, holder: str | None, size: int) -> bool:
        return holder is None or self._held[holder] + size <= self._share

    def _serve(self) -> None:
        """Let in who is next. Who has used up its own share holds nobody else up."""
        asked, self._waiting = self._waiting, deque()
        while asked:
            place = asked.popleft()
            if place.comes.done():
                continue
            if self.take_at_once(place.holder, place.size):
                place.comes.set_result(None)
                continue
            self._waiting.append(place)
            if self._is_within_share(place.holder, place.size):
                break
        self._waiting += asked

    def _leave(self, place: _Waiting) -> None:
        """Stop waiting; what had just come is given back."""
        if place.comes.done() and not place.comes.cancelled():
            self.give_back(place.holder, place.size)
        else:
            place.comes.cancel()
            self._serve()


def is_small(scope: Scope) -> bool:
    """Tell whether a request says that its body is one that does not count."""
    declared = field(scope, b"content-length") or ""
    return declared.isdecimal() and len(declared) <= len(str(SMALL)) and int(declared) <= SMALL


class Bodies:
    """The budgets of a node whose largest body has `largest` bytes; `patience` is in seconds."""

    def __init__(self, largest: int, *, patience: float = PATIENCE) -> None:
        size = READ_AT_A_TIME * largest
        self.read = Budget(size, size // 2, patience)
        self.work = Budget(largest, largest, patience)
        self.turns = Budget(TURNS, TURNS // 2, patience)

    def lease(self, holder: str | None) -> Lease:
        return Lease(self, holder)


class Lease:
    """What one request holds of the budgets, given back at its end, however it ends."""

    __slots__ = ("_bodies", "_holder", "_read", "_turns", "_work")

    def __init__(self, bodies: Bodies, holder: str | None) -> None:
        self._bodies = bodies
        self._holder = holder
        self._read = self._work = self._turns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._read:
            self._bodies.read.give_back(self._holder, self._read)
        if self._work:
            self._bodies.work.give_back(self._holder, self._work)
        if self._turns:
            self._bodies.turns.give_back(self._holder, self._turns)

    async def hold(self, size: int) -> None:
        """Hold so many bytes in all; raise HTTPException 503 when they do not come free.

        Who holds some already does not wait for more: two that did could wait for each other.
        """
        if size <= max(self._read, SMALL):
            return
        if not self._read:
            await self._bodies.read.take(self._holder, size)
        elif not self._bodies.read.take_at_once(self._holder, size - self._read):
            raise busy()
        self._read = size

    async def begin_work(self) -> None:
        """Change what is held for a place among the bodies that are worked on."""
        if self._read:
            await self._bodies.work.take(self._holder, self._read)
            self._work = self._read
            self._read = 0
            self._bodies.read.give_back(self._holder, self._work)
        await self._bodies.turns.take(self._holder, 1)
        self._turns = 1


def busy() -> HTTPException:
    """Answer that the server has too many large bodies at once."""
    headers = {"Retry-After": str(RETRY_AFTER)}
    return HTTPException(503, "too many large requests at once: try again later", headers)
