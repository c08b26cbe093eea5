"""Recording what came of an attempt: settled, written down, then told and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.daemon.journal import Journal
from mail_proxy.daemon.lanes import Lane
from mail_proxy.daemon.leases import Leases
from mail_proxy.daemon.settlement import Attempt, RetryPolicy, settle
from mail_proxy.errors import DatabaseError
from mail_proxy.metrics import Metrics
from mail_proxy.model.accounts import Account
from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import Claimed, Settlement
from mail_proxy.model.verdicts import Outcome
from mail_proxy.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of an attempt; `is_news` tells that the account has begun to fail, or to work again."""

    outcome: Outcome
    is_news: bool = False


class Recorder:
    """`told` is called whenever events were recorded that applications may want to hear of."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        journal: Journal,
        leases: Leases,
        told: Callable[[], None],
        rng: Random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._journal = journal
        self._leases = leases
        self._told = told
        self._rng = rng

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._policy = RetryPolicy(delays=config.retry_delays, max_retries=config.max_retries, rng=self._rng)
        self._level = logging.INFO if config.log_delivery_activity else logging.DEBUG

    async def record(self, claimed: Claimed, account: Account, lane: Lane, attempted: Attempted) -> bool:
        """Record an outcome; return whether there is a new moment to wait for."""
        now = self._clock.now()
        attempt = Attempt(
            outcome=attempted.outcome,
            now=now,
            on_unknown=account.on_unknown,
            account_ready=lane.resting_until if lane.is_resting(now) else None,
        )
        settlement = settle(claimed, attempt, self._policy)
        if await self._journal.settle(settlement):
            self._leases.drop(claimed.seq)
            self._count(claimed, settlement)
            self._told()
        else:
            text = "an outcome came too late: another server has taken message %d over"
            log.warning(text, claimed.seq, extra=about(claimed))
        if attempted.is_news:
            await self._tell_account(account, lane, settlement)
        return settlement.deferred_ts is not None or bool(lane.rest)

    async def _tell_account(self, account: Account, lane: Lane, settlement: Settlement) -> None:
        name, trouble = f"{account.tenant_id}/{account.id}", settlement.last_error if lane.rest else None
        if lane.rest:
            log.warning("account %s rests for %.0f s: %s", name, lane.rest, trouble)
        else:
            log.info("account %s works again", name)
        try:
            await self._store.accounts.set_last_error(account.lane, trouble)
        except DatabaseError as error:
            log.warning("cannot note how account %s fares: %s", name, error)

    def _count(self, claimed: Claimed, settlement: Settlement) -> None:
        counters = {
            EventType.SENT: self._metrics.sent,
            EventType.ERROR: self._metrics.error,
            EventType.DEFERRED: self._metrics.deferred,
        }
        for event in settlement.events:
            if event.event_type in counters:
                counters[event.event_type](claimed.tenant_id, claimed.account_id)
                log.log(self._level, "%s: %s", event.event_type, event.description, extra=about(claimed))


def about(claimed: Claimed) -> dict[str, object]:
    """The fields that every log line about a message carries."""
    return {
        "tenant": claimed.tenant_id,
        "account": claimed.account_id,
        "message_id": claimed.id,
        "pk": claimed.pk,
    }
