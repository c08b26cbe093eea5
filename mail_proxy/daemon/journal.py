"""What happens to messages, written down in groups: what waits while one is committed goes into the next.

A content leaves only when its begin is on record; an outcome is stored until it is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from mail_proxy.clock import Clock
from mail_proxy.daemon.outage import Outage
from mail_proxy.errors import DatabaseError
from mail_proxy.model.queue import Begin, Recorded, Settlement
from mail_proxy.store.outcomes import Outcomes

log = logging.getLogger(__name__)

TRY_AGAIN = 2.0
"""Seconds after which an outcome that could not be stored is stored again."""

LAST_CHANCE = 5.0
"""Seconds for what waits to be written when the process ends."""

GROUP = 250
"""Entries at most in one transaction, so that none waits long for the others."""


@dataclass(slots=True, eq=False)
class _Entry:
    """Something to be recorded; `stored` is told whether the lease was still ours."""

    what: Begin | Settlement
    stored: asyncio.Future[bool]


class Journal:
    """`owner` is the node whose leases these are."""

    def __init__(self, outcomes: Outcomes, clock: Clock, owner: str) -> None:
        self._outcomes = outcomes
        self._clock = clock
        self._owner = owner
        self._waiting: deque[_Entry] = deque()
        self._writer: asyncio.Task[None] | None = None
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
        while self._writer is not None:
            await asyncio.shield(self._writer)

    async def end(self) -> None:
        """Finish what can be finished now: at the end of the process."""
        if self._writer is not None:
            _, late = await asyncio.wait([self._writer], timeout=LAST_CHANCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _write_down(self, what: Begin | Settlement) -> asyncio.Future[bool]:
        entry = _Entry(what, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="journal")
        return entry.stored

    async def _write(self) -> None:
        try:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
                await self._write_group(group)
        finally:
            self._writer = None

    async def _write_group(self, group: Sequence[_Entry]) -> None:
        try:
            recorded = await self._record(group)
        except DatabaseError as error:
            await self._put_off(group, error)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it, and nobody else
            if len(group) == 1:
                _tell(group[0], error)
                return
            for entry in group:
                await self._write_group([entry])
        else:
            self._outage.over()
            for entry in group:
                among = recorded.begun if isinstance(entry.what, Begin) else recorded.settled
                _tell(entry, entry.what.seq in among)

    async def _record(self, group: Sequence[_Entry]) -> Recorded:
        begins = [entry.what for entry in group if isinstance(entry.what, Begin)]
        settlements = [entry.what for entry in group if isinstance(entry.what, Settlement)]
        return await self._outcomes.record(begins, settlements, self._owner, self._clock.now())

    async def _put_off(self, group: Sequence[_Entry], error: DatabaseError) -> None:
        """Let nothing be transmitted while the database is away; outcomes wait until it is back."""
        outcomes = []
        for entry in group:
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
