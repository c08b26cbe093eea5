"""The leases of this node: renewed while what they are on is in hand, given back when it is not begun."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from mail_proxy.clock import Clock
from mail_proxy.errors import DatabaseError
from mail_proxy.store.queue import Queue

log = logging.getLogger(__name__)

LEASE = 30.0
"""Seconds for which a claim holds unless renewed."""

MARGIN = 1.0
"""Seconds before its end at which a lease is no longer built upon."""

RENEW_EVERY = 8.0
RENEW_AGAIN = 2.0
"""Seconds after which a renewal that failed is tried again, so that several tries fit into a lease."""


async def keep_renewed(clock: Clock, renew: Callable[[], Awaitable[None]]) -> None:
    """Call `renew`, which may raise `DatabaseError`, now and then, for ever."""
    pause = RENEW_EVERY
    while True:
        await clock.sleep(pause)
        try:
            await renew()
            pause = RENEW_EVERY
        except DatabaseError as error:
            log.warning("cannot renew leases: %s", error)
            pause = RENEW_AGAIN


class Leases:
    """`owner` is the node that holds them. What it works on is in hand, from `take` to `drop`."""

    def __init__(self, queue: Queue, clock: Clock, owner: str) -> None:
        self._queue = queue
        self._clock = clock
        self.owner = owner
        self._until: dict[int, float] = {}
        self._left: set[int] = set()

    def __contains__(self, seq: int) -> bool:
        return seq in self._until

    def take(self, seq: int, until: float) -> None:
        """Have a message in hand, claimed until then."""
        self._until[seq] = until
        self._left.discard(seq)

    def drop(self, seq: int) -> None:
        self._until.pop(seq, None)

    def holds(self, seq: int) -> bool:
        """Tell, without asking the database, whether nobody else can have the message yet.

        A process that was stopped, on a machine that slept, finds here that its time has passed.
        """
        return self._clock.now() < self._until.get(seq, 0.0) - MARGIN

    async def keep(self) -> None:
        """Renew for ever."""
        await keep_renewed(self._clock, self.renew)

    async def renew(self) -> None:
        """Renew what is in hand, even what has run out, unless another node has taken it over."""
        if not self._until:
            return
        until = self._clock.now() + LEASE
        asked = dict(self._until)
        renewed = await self._queue.renew(sorted(asked), self.owner, until)
        for seq, held_until in asked.items():
            if self._until.get(seq) == held_until:  # else it was claimed anew meanwhile
                self._until[seq] = until if seq in renewed else 0.0

    def leave(self, seq: int) -> None:
        """Have a message given back with `give_back_left`: now the database is away."""
        self._left.add(seq)

    async def give_back_left(self) -> int:
        """Give back what could not be given back before; return how many that were."""
        left, self._left = sorted(self._left), set()
        await self.give_back(left)
        return len(left)

    async def give_back(self, seqs: Sequence[int]) -> None:
        """Let what was claimed and not begun return to its place in the queue at once.

        If the database is away, that is left to be done.
        """
        if not seqs:
            return
        try:
            await self._queue.release(seqs, self.owner, self._clock.now())
        except DatabaseError as error:
            log.warning("cannot give claimed messages back yet: %s", error)
            self._left.update(seqs)
