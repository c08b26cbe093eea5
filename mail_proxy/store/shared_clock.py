"""The time of the database, which is the same for all nodes on it: measured now and then, counted on between.

A node's own clock may be wrong, or be set while the node runs: neither moves this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mail_proxy.clock import Clock, SystemClock, steady_seconds
from mail_proxy.store.database import Call, Database, Work
from mail_proxy.store.queries import load

SQL = load("clock")

ROUNDS = 5
"""Questions to a measurement at most: any may have to wait for a busy moment."""

EXACT = 0.002
"""Seconds of doubt with which nobody needs to ask again."""

DRIFT = 100e-6
"""Seconds by which two clocks may part in a second, until they are compared again."""

MOST_DOUBT = 1.0
"""Seconds beyond which an answer says nothing: this process was stopped while it was on its way."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The database's clock was `ahead` of the steady one, give or take `doubt`, when that said `at`."""

    at: float
    ahead: float
    doubt: float

    def doubt_at(self, moment: float) -> float:
        """What the doubt has grown to since."""
        return self.doubt + abs(moment - self.at) * DRIFT


class SharedClock:
    """See `Clock`. Make it with `measured`; who keeps it for long lets it `measure` every few seconds.

    `steady` counts seconds from anywhere, also while the machine sleeps.
    """

    def __init__(self, database: Database, first: Measurement, steady: Callable[[], float]) -> None:
        self._database = database
        self._known = first
        self._steady = steady

    @classmethod
    async def measured(
        cls, database: Database, *, steady: Callable[[], float] = steady_seconds
    ) -> SharedClock:
        """Raises `DatabaseError`."""
        return cls(database, await database.read(_compare, steady), steady)

    def now(self) -> float:
        return self._steady() + self._known.ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def measure(self) -> None:
        """Compare with the database's clock again; raises `DatabaseError`, and then keeps to what it knew.

        A measurement is believed when it is more exact than the one before has aged to be, or refutes it.
        """
        fresh = await self._database.read(_compare, self._steady)
        aged = self._known.doubt_at(fresh.at)
        refutes = abs(fresh.ahead - self._known.ahead) > fresh.doubt + aged
        if fresh.doubt <= aged or (refutes and fresh.doubt <= MOST_DOUBT):
            self._known = fresh


def _compare(steady: Callable[[], float]) -> Work[Measurement]:
    """Ask a few times; the answer that was under way for the shortest time says it best."""
    answers = []
    for _ in range(ROUNDS):
        asked = steady()
        row = (yield Call(SQL["time"], {}))[0]
        answered = steady()
        middle = (asked + answered) / 2
        answers.append(Measurement(answered, row["seconds"] - middle, (answered - asked) / 2))
        if answers[-1].doubt <= EXACT:
            break
    return min(answers, key=lambda each: each.doubt)


async def checked_now(clock: Clock) -> float:
    """Read a clock that was compared just now, if it is one that has to be; raises `DatabaseError`."""
    if isinstance(clock, SharedClock):
        await clock.measure()
    return clock.now()


async def clock_of(database: Database) -> Clock:
    """Give the clock that all who work on a database share; that of a file is its machine's."""
    return SystemClock() if database.dialect == "sqlite" else await SharedClock.measured(database)
