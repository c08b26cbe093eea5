"""The leases of this node: renewed as long as a message is in hand, given back when it is not begun."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mail_proxy.clock import Clock
from mail_proxy.errors import DatabaseError
from mail_proxy.store.queue import Queue

log = logging.getLogger(__name__)

LEASE = 30.0
"""Seconds for which a claim holds unless renewed."""

RENEW_EVERY = 8.0
RENEW_AGAIN = 2.0
"""Seconds after which a renewal that failed is tried again, so that several tries fit into a lease."""


class Leases:
    """`owner` is the node that holds them; `in_hand` are the places in the queue of what it works on."""

    def __init__(self, queue: Queue, clock: Clock, owner: str) -> None:
        self._queue = queue
        self._clock = clock
        self.owner = owner
        self.in_hand: set[int] = set()

    async def keep(self) -> None:
        """Renew for ever."""
        pause = RENEW_EVERY
        while True:
            await self._clock.sleep(pause)
            try:
                await self.renew()
                pause = RENEW_EVERY
            except DatabaseError as error:
                log.warning("cannot renew leases: %s", error)
                pause = RENEW_AGAIN

    async def renew(self) -> None:
        """Renew what is in hand, even what has run out, unless another node has taken it over."""
        if self.in_hand:
            await self._queue.renew(sorted(self.in_hand), self.owner, self._clock.now() + LEASE)

    async def give_back(self, seqs: Sequence[int]) -> None:
        """Let what was claimed and not begun return to its place in the queue at once."""
        if not seqs:
            return
        try:
            await self._queue.release(seqs, self.owner, self._clock.now())
        except DatabaseError as error:
            log.warning("cannot give claimed messages back, their leases will run out: %s", error)
