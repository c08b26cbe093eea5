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
from mail_proxy.metrics import Metrics
from mail_proxy.model.accounts import Account
from mail_proxy.model.messages import EventType, Status
from mail_proxy.model.queue import Claimed, Settlement
from mail_proxy.model.verdicts import Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of an attempt; `has_recovered` tells that the account was ill and has worked."""

    outcome: Outcome
    has_recovered: bool = False


class Recorder:
    """`told` is called whenever events were recorded that applications may want to hear of."""

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: Metrics,
        journal: Journal,
        leases: Leases,
        told: Callable[[], None],
        rng: Random,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._journal = journal
        self._leases = leases
        self._told = told
        self._rng = rng

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._policy = RetryPolicy(
            delays=config.retry_delays,
            max_retries=config.max_retries,
            max_account_wait=config.max_account_wait,
            rng=self._rng,
        )
        self._level = logging.INFO if config.log_delivery_activity else logging.DEBUG

    async def record(self, claimed: Claimed, account: Account, lane: Lane, attempted: Attempted) -> bool:
        """Record an outcome; return whether there is a new moment to wait for."""
        now = self._clock.now()
        attempt = Attempt(
            outcome=attempted.outcome,
            now=now,
            on_unknown=account.on_unknown,
            rests_until=lane.rest.until if lane.rest is not None and lane.rest.holds(now) else None,
        )
        settlement = settle(claimed, attempt, self._policy)
        if await self._journal.settle(settlement):
            self._leases.drop(claimed.seq)
            self._count(claimed, settlement)
            self._told()
        else:
            text = "an outcome came too late: another server has taken message %d over"
            log.warning(text, claimed.seq, extra=about(claimed))
        if claimed.is_limited and not settlement.may_be_sent:
            lane.limited_until = 0.0  # its slot is free
            return True
        return settlement.deferred_ts is not None

    def _count(self, claimed: Claimed, settlement: Settlement) -> None:
        counters = {
            EventType.SENT: self._metrics.sent,
            EventType.ERROR: self._metrics.error,
            EventType.DEFERRED: self._metrics.deferred,
        }
        if settlement.status is Status.SENT and settlement.sent_ts is not None:
            self._metrics.delivered(settlement.sent_ts - claimed.created_at)
        for event in settlement.events:
            if event.event_type in counters:
                counters[event.event_type](claimed.tenant_id, claimed.account_id)
                if log.isEnabledFor(self._level):
                    log.log(self._level, "%s: %s", event.event_type, event.description, extra=about(claimed))


def about(claimed: Claimed) -> dict[str, object]:
    """The fields that every log line about a message carries."""
    return {
        "tenant": claimed.tenant_id,
        "account": claimed.account_id,
        "message_id": claimed.id,
        "pk": claimed.pk,
    }
