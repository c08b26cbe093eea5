"""The cleaner: lets go of what has had its time, now and then, and in small steps, so that nobody waits."""

from __future__ import annotations

from mail_proxy.clock import Clock
from mail_proxy.daemon.outage import Outage
from mail_proxy.errors import DatabaseError
from mail_proxy.services.removal import RemovalService

EVERY = 3600.0
"""Seconds between two cleanings."""

AGAIN = 60.0
"""Seconds after which a cleaning that failed is tried again."""


class Cleaner:
    def __init__(self, removal: RemovalService, clock: Clock) -> None:
        self._removal = removal
        self._clock = clock
        self._outage = Outage("cleaning")

    async def run(self) -> None:
        """Clean at once and then every hour, for ever."""
        while True:
            try:
                await self.step()
            except DatabaseError as error:
                self._outage.met(error)
                await self._clock.sleep(AGAIN)
            else:
                self._outage.over()
                await self._clock.sleep(EVERY)

    async def step(self) -> None:
        """Give up what nobody takes; remove messages past the retention, and commands past theirs."""
        await self._removal.give_up()
        await self._removal.cleanup()
        await self._removal.forget_commands()
