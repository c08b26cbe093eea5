"""Keeping the clock of a node true, and telling of clocks that differ or were set."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from mail_proxy.clock import Clock, steady_seconds
from mail_proxy.errors import DatabaseError
from mail_proxy.store.shared_clock import SharedClock

log = logging.getLogger(__name__)

MEASURE_EVERY = 5.0
"""Seconds between comparisons with the database's clock, so that a step of that is soon followed by all."""

WORTH_TELLING = 5.0
"""Seconds by which a clock may be wrong, or be set, without a word."""


class Timekeeper:
    """`clock` is what this node goes by, `own` its machine's clock, `steady` one that nobody sets."""

    def __init__(
        self,
        clock: Clock,
        *,
        own: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady_seconds,
    ) -> None:
        self._clock = clock
        self._own = own
        self._steady = steady
        self._ahead = clock.now() - steady()
        self._told_difference = 0.0

    async def keep(self) -> None:
        """Look after the clock for ever."""
        while True:
            await self.step()
            await asyncio.sleep(MEASURE_EVERY)

    async def step(self) -> None:
        """Measure, if the clock is the database's, and tell what is new about it."""
        if isinstance(self._clock, SharedClock):
            with contextlib.suppress(DatabaseError):  # said by those who work with it; the clock counts on
                await self._clock.measure()
            self._tell_difference()
        self._tell_step()

    def _tell_difference(self) -> None:
        difference = self._own() - self._clock.now()
        if abs(difference - self._told_difference) < WORTH_TELLING:
            return
        if abs(difference) < WORTH_TELLING:
            log.info("this machine's clock agrees with the database's again")
            self._told_difference = 0.0
            return
        log.warning(
            "this machine's clock is %.0f s %s the database's: messages go by the database's time, "
            "the log by the machine's",
            abs(difference),
            "ahead of" if difference > 0 else "behind",
        )
        self._told_difference = difference

    def _tell_step(self) -> None:
        ahead = self._clock.now() - self._steady()
        step, self._ahead = ahead - self._ahead, ahead
        if abs(step) >= WORTH_TELLING:
            log.warning(
                "the clock was set %s by %.0f s: what is due at a time goes by the new one",
                "forwards" if step > 0 else "back",
                abs(step),
            )
