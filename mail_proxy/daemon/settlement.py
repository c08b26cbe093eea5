"""From what the server said to what becomes of the message: one pure function, the policy of an attempt.

Each recipient's outcome is recorded, then the message moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from mail_proxy.model.accounts import OnUnknown
from mail_proxy.model.messages import EventType, Recipient, RecipientStatus, Status, status_of
from mail_proxy.model.queue import Claimed, NewEvent, Parking, Settlement
from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope, Verdict
from mail_proxy.smtp.backoff import retry_at


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`delays` are seconds after the first, second… failed attempt; see `smtp.backoff`.

    `max_account_wait` is how many seconds a message waits for its account.
    """

    delays: Sequence[float]
    max_retries: int
    max_account_wait: float
    rng: Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one attempt that ended at `now`.

    `rests_until` is when an account that rests by now will be tried again. Times are Unix seconds.
    """

    outcome: Outcome
    now: float
    on_unknown: OnUnknown = OnUnknown.RETRY
    rests_until: float | None = None


@dataclass(frozen=True, slots=True)
class _Next:
    """What the recipients that were put off have before them; `parked_since`: they wait for their account."""

    retries: int
    due: float | None
    is_exhausted: bool = False
    is_unknown: bool = False
    parked_since: float | None = None


def settle(claimed: Claimed, attempt: Attempt, policy: RetryPolicy) -> Settlement:
    """Decide the message's new state and the events that tell it."""
    verdicts = attempt.outcome.verdicts
    is_complete = len(verdicts) == len(claimed.recipients)
    if is_complete and all(type(each) is Delivered for each in verdicts.values()):
        return _sent(claimed, verdicts, attempt.now)
    following = _following(claimed, attempt, policy)
    if following.is_exhausted and following.parked_since is not None:
        verdicts = _given_up(verdicts, policy.max_account_wait)
    recipients = tuple(
        _after(each, verdicts.get(each.address), is_exhausted=following.is_exhausted)
        for each in claimed.recipients
    )
    status = status_of(recipients)
    is_parked = status is Status.DEFERRED and following.parked_since is not None
    tried = [each for each in recipients if each.address in verdicts]
    failures = [each for each in recipients if each.status is RecipientStatus.ERROR]
    put_off = [each for each in tried if each.status is RecipientStatus.DEFERRED]
    sent_now = any(each.status is RecipientStatus.SENT for each in tried)
    events = _events(recipients, verdicts, attempt.now, following)
    if is_parked and claimed.parked_for is Parking.ACCOUNT:  # that it waits for its account is told once
        events = (event for event in events if event.event_type is not EventType.DEFERRED)
    return Settlement(
        seq=claimed.seq,
        tenant_id=claimed.tenant_id,
        status=Status.PENDING if is_parked else status,
        recipients=recipients,
        retry_count=following.retries,
        events=tuple(events),
        deferred_ts=following.due if status is Status.DEFERRED else None,
        sent_ts=attempt.now if sent_now else None,
        error_ts=attempt.now if status is Status.ERROR else None,
        error=_words(failures) if status is Status.ERROR else None,
        last_error=_words(put_off or failures) or None,
        # A doubt about an earlier attempt stays until the message is sent: it must not be replaced.
        is_unknown=following.is_unknown or (claimed.is_unknown and status is not Status.SENT),
        is_limited=claimed.is_limited,
        may_be_sent=sent_now or following.is_unknown,
        parked_for=Parking.ACCOUNT if is_parked else None,
        parked_since=following.parked_since if is_parked else None,
    )


def _sent(claimed: Claimed, verdicts: Mapping[str, Verdict], now: float) -> Settlement:
    """Settle what nearly all messages come to, for half of what the general way costs."""
    recipients = tuple(
        Recipient(
            address=each.address,
            status=RecipientStatus.SENT,
            code=verdicts[each.address].code,
            reply=verdicts[each.address].reply,
        )
        for each in claimed.recipients
    )
    event = NewEvent(event_type=EventType.SENT, event_ts=now, description=_words(recipients))
    return Settlement(
        seq=claimed.seq,
        tenant_id=claimed.tenant_id,
        status=Status.SENT,
        recipients=recipients,
        retry_count=claimed.retry_count,
        events=(event,),
        sent_ts=now,
        is_limited=claimed.is_limited,
        may_be_sent=True,
    )


def waited_too_long(seconds: float, trouble: str) -> str:
    """Say why a message fails that has waited for its account for so long."""
    size, unit = (3600, "h") if seconds >= 3600 else (60, "min") if seconds >= 60 else (1, "s")
    return f"its account could not be used for {seconds / size:.3g} {unit}: {trouble}"


def _following(claimed: Claimed, attempt: Attempt, policy: RetryPolicy) -> _Next:
    """A retry is not for what was no fault of the message: its account's, ours, or too many recipients."""
    deferred = [each for each in attempt.outcome.verdicts.values() if isinstance(each, Deferred)]
    if not deferred:
        return _Next(claimed.retry_count, None)
    if _goes_on(attempt.outcome.verdicts):
        return _Next(claimed.retry_count, attempt.now)
    is_unknown = any(_is_unknown(each) for each in deferred)
    if not is_unknown and _is_accounts(deferred, is_resting=attempt.rests_until is not None):
        since = attempt.now
        if claimed.parked_for is Parking.ACCOUNT and claimed.parked_since is not None:
            since = claimed.parked_since
        return _Next(
            claimed.retry_count,
            attempt.now if attempt.rests_until is None else attempt.rests_until,
            is_exhausted=attempt.now - since >= policy.max_account_wait,
            parked_since=since,
        )
    retries = claimed.retry_count + 1
    if is_unknown and attempt.on_unknown is OnUnknown.HOLD:
        return _Next(retries, None, is_unknown=True)
    due = retry_at(attempt.now, retries, policy.delays, policy.max_retries, policy.rng)
    return _Next(retries, due, is_exhausted=due is None, is_unknown=is_unknown)


def _goes_on(verdicts: Mapping[str, Verdict]) -> bool:
    """Whether those left out have only to go anew: we could not go on, or the transaction was full.

    A full one (RFC 5321, 4.5.3.1.10) only if somebody has got it: a server that takes nobody would be asked
    for ever.
    """
    scopes = {each.scope for each in verdicts.values() if isinstance(each, Deferred)}
    is_taken = any(isinstance(each, Delivered) for each in verdicts.values())
    return Scope.NODE in scopes or (Scope.TRANSACTION in scopes and is_taken)


def _is_accounts(deferred: Sequence[Deferred], *, is_resting: bool) -> bool:
    """Whether it is the account that failed; that its server cannot be reached says so once it rests."""
    scopes = {each.scope for each in deferred}
    return scopes == {Scope.ACCOUNT} or (is_resting and scopes <= {Scope.ACCOUNT, Scope.CONNECTION})


def _given_up(verdicts: Mapping[str, Verdict], waited: float) -> Mapping[str, Verdict]:
    return {
        address: replace(each, reply=waited_too_long(waited, each.reply))
        if isinstance(each, Deferred)
        else each
        for address, each in verdicts.items()
    }


def _after(recipient: Recipient, verdict: Verdict | None, *, is_exhausted: bool) -> Recipient:
    match verdict:
        case None:
            return recipient
        case Delivered():
            status = RecipientStatus.SENT
        case Deferred():
            status = RecipientStatus.ERROR if is_exhausted else RecipientStatus.DEFERRED
        case Bounced():
            status = RecipientStatus.ERROR
    return replace(recipient, status=status, code=verdict.code, reply=verdict.reply)


def _events(
    recipients: Sequence[Recipient], verdicts: Mapping[str, Verdict], now: float, following: _Next
) -> Iterator[NewEvent]:
    """One event for each kind of outcome; when recipients fared differently, each tells whose it is."""
    is_partial = len({each.status for each in recipients}) > 1
    for status, event_type in _TOLD_AS.items():
        group = [each for each in recipients if each.status is status and each.address in verdicts]
        if not group:
            continue
        words = _words(group)
        data: dict[str, object] = {}
        if event_type is EventType.ERROR:
            data["error"] = words
        if event_type is EventType.DEFERRED:
            data |= {"reason": words, "deferred_ts": following.due, "retry_count": following.retries}
        if any(_is_unknown(verdicts[each.address]) for each in group):
            data["possible_duplicate"] = True
        if is_partial:
            data["recipients"] = [each.told() for each in group]
        yield NewEvent(event_type=event_type, event_ts=now, description=words, event_data=data or None)


_TOLD_AS = {
    RecipientStatus.SENT: EventType.SENT,
    RecipientStatus.ERROR: EventType.ERROR,
    RecipientStatus.DEFERRED: EventType.DEFERRED,
}


def _is_unknown(verdict: Verdict) -> bool:
    return isinstance(verdict, Deferred) and verdict.unknown


def _words(recipients: Sequence[Recipient]) -> str:
    """The server's own words, each said once."""
    return "; ".join(dict.fromkeys(each.reply or "" for each in recipients))
