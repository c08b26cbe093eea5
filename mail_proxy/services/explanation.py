"""Explanation: why a message waits, for what, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.model.explanations import Cause, Explanation, FullWindow, Reason
from mail_proxy.model.messages import Status
from mail_proxy.model.queue import Parking
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.services.instance import NODE_TIMEOUT, InstanceService
from mail_proxy.store import Store
from mail_proxy.store.explanation import Facts

MOST_AHEAD = 1000
"""Messages ahead of one that are counted; how many more there are is not worth the time."""


class ExplanationService:
    def __init__(self, store: Store, clock: Clock, config: Config, instance: InstanceService) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._instance = instance

    async def explain(self, tenant_id: str, message_id: str) -> Explanation:
        """Tell why a message waits, by all the reasons there are; or what became of it. Raises `NotFound`."""
        now = self._clock.now()
        facts = await self._store.explanations.facts(
            tenant_id, message_id, most_ahead=MOST_AHEAD + 1, alive_since=now - NODE_TIMEOUT
        )
        message = facts.message
        windows: Sequence[FullWindow] = ()
        if message.status in (Status.PENDING, Status.DEFERRED):
            ahead = facts.ahead if facts.is_in_line else 0
            windows = await self._store.explanations.full_windows(facts.lane, now, ahead)
            causes = _why_it_waits(
                facts,
                windows,
                now,
                is_active=await self._instance.is_active(),
                is_served=bool(await self._instance.nodes()),
            )
        elif message.status is Status.SENDING:
            causes = _who_sends_it(facts, is_served=bool(await self._instance.nodes()))
        else:
            causes = [_what_became_of_it(facts)]
        left = self._config.max_retries + 1 - message.retry_count
        return Explanation(
            message=message,
            causes=tuple(causes),
            ahead=min(facts.ahead, MOST_AHEAD) if facts.is_in_line else None,
            is_more_ahead=facts.is_in_line and facts.ahead > MOST_AHEAD,
            attempts_left=max(0, left) if message.status.is_waiting else None,
            condition=facts.condition,
            windows=tuple(windows),
            sender=facts.sender,
        )


def _why_it_waits(
    facts: Facts, windows: Sequence[FullWindow], now: float, *, is_active: bool, is_served: bool
) -> list[Cause]:
    """First what ends only when somebody does something, then what ends by itself, the last to end first."""
    endless = list(_what_somebody_must_end(facts, is_active=is_active, is_served=is_served))
    passing = sorted(_what_passes(facts, windows, now), key=lambda cause: -(cause.until or now))
    return [*endless, *passing] or [Cause(reason=Reason.IN_LINE, since=_in_line_since(facts, now))]


def _what_somebody_must_end(facts: Facts, *, is_active: bool, is_served: bool) -> Iterator[Cause]:
    message = facts.message
    if not facts.is_pending and message.deferred_ts is None:
        yield Cause(reason=Reason.UNKNOWN_OUTCOME_HELD, since=_put_at(facts), detail=message.last_error)
    for hold in facts.holds:
        batch = None if hold.batch_code == EVERYTHING else hold.batch_code
        yield Cause(reason=Reason.SUSPENDED, since=hold.since, detail=batch)
    if not facts.is_tenant_active:
        yield Cause(reason=Reason.TENANT_INACTIVE)
    if not is_active:
        yield Cause(reason=Reason.INSTANCE_SUSPENDED)
    if not is_served:
        yield Cause(reason=Reason.NO_RUNNING_SERVER)
    if facts.condition is None:
        yield Cause(reason=Reason.ACCOUNT_GONE)


def _what_passes(facts: Facts, windows: Sequence[FullWindow], now: float) -> Iterator[Cause]:
    """Its own time; and its account's rest and full rate limits, if they last longer than that."""
    message = facts.message
    due = None if facts.is_pending else message.deferred_ts
    if due is not None:
        yield Cause(
            reason=Reason.RETRY if facts.was_put_off else Reason.SCHEDULED,
            since=_put_at(facts),
            until=due,
            detail=message.last_error if facts.was_put_off else None,
        )
    elif not facts.is_pending:
        return
    for cause in _what_holds_its_account(facts, windows, now):
        if due is None or (cause.until is not None and cause.until > due):
            yield cause


def _what_holds_its_account(facts: Facts, windows: Sequence[FullWindow], now: float) -> Iterator[Cause]:
    condition = facts.condition
    if condition is not None and condition.rest is not None:
        yield Cause(
            reason=Reason.ACCOUNT,
            since=facts.parked_since if facts.parked_for is Parking.ACCOUNT else condition.ill_since,
            until=condition.rest.until if condition.rest.holds(now) else None,
            detail=condition.last_error,
        )
    is_parked = facts.parked_for is Parking.LIMIT
    for window in windows:
        yield Cause(
            reason=Reason.LIMIT,
            since=facts.parked_since if is_parked else None,
            until=max(window.turn_at, (facts.message.deferred_ts or 0.0) if is_parked else 0.0),
            detail=window.limit,
        )


def _who_sends_it(facts: Facts, *, is_served: bool) -> list[Cause]:
    sender, message = facts.sender, facts.message
    if sender is None or sender.is_alive:
        begun_at = None if sender is None else sender.begun_at
        return [Cause(reason=Reason.BEING_SENT, since=begun_at or message.updated_at)]
    lost = Cause(reason=Reason.SENDER_LOST, until=sender.lease_until)
    return [lost] if is_served else [Cause(reason=Reason.NO_RUNNING_SERVER), lost]


def _what_became_of_it(facts: Facts) -> Cause:
    message = facts.message
    match message.status:
        case Status.ERROR:
            return Cause(reason=Reason.DONE, since=message.error_ts, detail=message.error)
        case Status.BOUNCED:
            return Cause(reason=Reason.DONE, since=message.bounce_ts, detail=message.bounce_reason)
    return Cause(reason=Reason.DONE, since=message.sent_ts)


def _put_at(facts: Facts) -> float:
    return facts.message.created_at if facts.last_put is None else facts.last_put.at


def _in_line_since(facts: Facts, now: float) -> float:
    """Since it was queued, or since its time came."""
    came = facts.message.deferred_ts
    return came if came is not None and _put_at(facts) <= came <= now else _put_at(facts)
