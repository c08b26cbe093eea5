"""What happens to messages, written down in groups: what waits while one is committed goes into the next.

A content leaves only when its begin is on record; an outcome is stored until it is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from mail_proxy.clock import Clock
from mail_proxy.daemon.outage import Outage
from mail_proxy.errors import DatabaseError
from mail_proxy.model.queue import Begin, Settlement
from mail_proxy.store.outcomes import Outcomes

log = logging.getLogger(__name__)

TRY_AGAIN = 2.0
"""Seconds after which an outcome that could not be stored is stored again."""

LAST_CHANCE = 5.0
"""Seconds for what waits to be written when the process ends."""

GROUP = 250
"""Entries at most in one transaction, so that none waits long for the others."""

AT_ONCE = 2
"""Transactions at once: while one is committed, the next gathers."""


@dataclass(slots=True, eq=False)
class _Entry:
    """Something to be recorded; `stored` is told whether the lease was still ours."""

    what: Begin | Settlement
    stored: asyncio.Future[bool]


class _Group:
    """The entries of one transaction: those that wait when it begins."""

    def __init__(self, waiting: deque[_Entry], clock: Clock) -> None:
        self._waiting = waiting
        self._clock = clock
        self._taken_at = 0.0
        self.entries: list[_Entry] = []
        self.is_taken = False

    def take(self) -> tuple[list[Begin], list[Settlement], float]:
        """See `Batch`."""
        if not self.is_taken:
            self.is_taken = True
            self.entries = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            self._taken_at = self._clock.now()
        begins = [entry.what for entry in self.entries if isinstance(entry.what, Begin)]
        settlements = [entry.what for entry in self.entries if isinstance(entry.what, Settlement)]
        return begins, settlements, self._taken_at


class Journal:
    """`owner` is the node whose leases these are."""

    def __init__(self, outcomes: Outcomes, clock: Clock, owner: str) -> None:
        self._outcomes = outcomes
        self._clock = clock
        self._owner = owner
        self._waiting: deque[_Entry] = deque()
        self._next = _Group(self._waiting, clock)
        self._next.is_taken = True
        self._writers: set[asyncio.Task[None]] = set()
        self._outage = Outage("recording outcomes")

    async def begin(self, begin: Begin) -> bool:
        """Record that a content is about to be transmitted; False when it must not be.

        Raises `DatabaseError`.
        """
        return await self._write_down(begin)

    async def settle(self, settlement: Settlement) -> bool:
        """Record an outcome, however long that takes; False when another node has the message now.

        Whoever stops waiting does not stop the recording.
        """
        return await self._write_down(settlement)

    async def idle(self) -> None:
        """Wait until nothing waits to be written."""
        while self._writers:
            await asyncio.wait(self._writers)

    async def end(self) -> None:
        """Finish what can be finished now: at the end of the process."""
        try:
            async with asyncio.timeout(LAST_CHANCE):
                await self.idle()
        except TimeoutError:
            late = list(self._writers)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _write_down(self, what: Begin | Settlement) -> asyncio.Future[bool]:
        entry = _Entry(what, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._write_next()
        return entry.stored

    def _write_next(self) -> None:
        """Begin a transaction for what waits, unless one will take it along."""
        if self._waiting and self._next.is_taken and len(self._writers) < AT_ONCE:
            self._next = _Group(self._waiting, self._clock)
            writer = asyncio.create_task(self._write(self._next), name="journal")
            self._writers.add(writer)
            writer.add_done_callback(self._written)

    def _written(self, writer: asyncio.Task[None]) -> None:
        self._writers.discard(writer)
        if not writer.cancelled():
            self._write_next()

    async def _write(self, group: _Group) -> None:
        try:
            recorded = await self._outcomes.record(group, self._owner)
        except DatabaseError as error:
            group.take()  # if the transaction did not even begin
            await self._put_off(group.entries, error)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it, and nobody else
            group.take()
            await self._write_apart(group.entries, error)
        else:
            self._outage.over()
            for entry in group.entries:
                among = recorded.begun if isinstance(entry.what, Begin) else recorded.settled
                _tell(entry, entry.what.seq in among)

    async def _write_apart(self, entries: list[_Entry], error: Exception) -> None:
        """Find whose fault it is that a group cannot be written: the others are not to suffer from it."""
        if len(entries) == 1:
            _tell(entries[0], error)
            return
        for entry in entries:
            await self._write(_Group(deque([entry]), self._clock))

    async def _put_off(self, entries: list[_Entry], error: DatabaseError) -> None:
        """Let nothing be transmitted while the database is away; outcomes wait until it is back."""
        outcomes = []
        for entry in entries:
            if isinstance(entry.what, Begin):
                _tell(entry, error)
            else:
                outcomes.append(entry)
        if outcomes:
            self._outage.met(error)
            self._waiting.extendleft(reversed(outcomes))
            await self._clock.sleep(TRY_AGAIN)


def _tell(entry: _Entry, result: bool | Exception) -> None:
    if entry.stored.done():
        return  # whoever asked is gone
    if isinstance(result, Exception):
        entry.stored.set_exception(result)
    else:
        entry.stored.set_result(result)
