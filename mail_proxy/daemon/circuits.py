"""The circuits of accounts: opened and closed by what attempts come to, and looked after while they are open.

Each change is told in the log once. The state itself is in the database (`store/circuit.py`), for all nodes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.daemon.lanes import Lane
from mail_proxy.daemon.leases import Leases
from mail_proxy.daemon.outage import Outage
from mail_proxy.daemon.settlement import waited_too_long
from mail_proxy.errors import DatabaseError
from mail_proxy.metrics import Metrics
from mail_proxy.model.accounts import Account
from mail_proxy.model.verdicts import Deferred, Outcome, Scope
from mail_proxy.store.circuit import Ailing, Circuits

log = logging.getLogger(__name__)

TEND_EVERY = 15.0
"""Seconds between looks at what waits for accounts that rest."""


class CircuitKeeper:
    """`told` is called whenever events were recorded that applications may want to hear of."""

    def __init__(
        self, circuits: Circuits, clock: Clock, leases: Leases, metrics: Metrics, told: Callable[[], None]
    ) -> None:
        self._circuits = circuits
        self._clock = clock
        self._leases = leases
        self._metrics = metrics
        self._told = told
        self._tending = Outage("looking after accounts that rest")

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._max_wait = config.max_account_wait

    async def trip(self, account: Account, lane: Lane, outcome: Outcome) -> None:
        """The account has failed: let it rest, and give back what waits for its turn."""
        now, reason = self._clock.now(), _words(outcome)
        try:
            tripped = await self._circuits.trip(account, reason, now)
            lane.rest = tripped.rest
            if tripped.rest is not None:
                await self._leases.give_back(lane.dismiss())
            if tripped.rest is None or not tripped.is_news:
                return
            log.warning("account %s rests for %.0f s: %s", _name(account), tripped.rest.seconds, reason)
            if await self._circuits.park(account.lane, now):
                self._told()
        except DatabaseError as error:
            log.warning("cannot note that account %s has failed: %s", _name(account), error)

    async def mend(self, account: Account, lane: Lane) -> None:
        """The account has worked: its circuit closes, unless it rests."""
        try:
            if await self._circuits.mend(account, self._clock.now()):
                lane.recover()
                log.info("account %s works again", _name(account))
        except DatabaseError as error:
            log.warning("cannot note that account %s works again: %s", _name(account), error)

    async def keep(self) -> None:
        """Look after what waits, for ever."""
        while True:
            await self._clock.sleep(TEND_EVERY)
            try:
                await self.tend()
                self._tending.over()
            except DatabaseError as error:
                self._tending.met(error)

    async def tend(self) -> None:
        """Let fail what has waited for its account for too long, and let the rest say that it waits."""
        now = self._clock.now()
        before = now - self._max_wait
        for ailing in await self._circuits.overdue(before, now):
            error = waited_too_long(self._max_wait, ailing.last_error)
            while failed := await self._circuits.give_up(ailing.lane, before, error, now):
                self._gave_up(ailing, failed, error)
        for ailing in await self._circuits.unparked(now):
            if await self._circuits.park(ailing.lane, now):
                self._told()

    def _gave_up(self, ailing: Ailing, count: int, error: str) -> None:
        name = f"{ailing.tenant_id}/{ailing.account_id}"
        log.warning("%d messages of account %s have failed: %s", count, name, error)
        self._metrics.error(ailing.tenant_id, ailing.account_id, count)
        self._told()


def _name(account: Account) -> str:
    return f"{account.tenant_id}/{account.id}"


def _words(outcome: Outcome) -> str:
    """What was said of the account, or else of the connection, each once."""
    deferred = [each for each in outcome.verdicts.values() if isinstance(each, Deferred)]
    said = [each.reply for each in deferred if each.scope is Scope.ACCOUNT]
    return "; ".join(dict.fromkeys(said or [each.reply for each in deferred]))
