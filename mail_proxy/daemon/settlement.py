"""From what the server said to what becomes of the message: one pure function, the policy of an attempt.

Each recipient's outcome is recorded, then the message moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from mail_proxy.model.accounts import OnUnknown
from mail_proxy.model.messages import EventType, Recipient, RecipientStatus, Status
from mail_proxy.model.queue import Claimed, NewEvent, Settlement
from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope, Verdict
from mail_proxy.smtp.backoff import retry_at


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`delays` are seconds after the first, second… failed attempt; see `smtp.backoff`."""

    delays: Sequence[float]
    max_retries: int
    rng: Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one attempt that ended at `now`.

    `account_ready` is when an account that is at fault itself will be tried again. Times are Unix seconds.
    """

    outcome: Outcome
    now: float
    on_unknown: OnUnknown = OnUnknown.RETRY
    account_ready: float | None = None


@dataclass(frozen=True, slots=True)
class _Next:
    """What the recipients that were put off have before them."""

    retries: int
    due: float | None
    is_exhausted: bool
    is_unknown: bool


def settle(claimed: Claimed, attempt: Attempt, policy: RetryPolicy) -> Settlement:
    """Decide the message's new state and the events that tell it."""
    verdicts = attempt.outcome.verdicts
    following = _following(claimed, attempt, policy)
    recipients = tuple(
        _after(each, verdicts.get(each.address), is_exhausted=following.is_exhausted)
        for each in claimed.recipients
    )
    status = _status(recipients)
    tried = [each for each in recipients if each.address in verdicts]
    failures = [each for each in recipients if each.status is RecipientStatus.ERROR]
    put_off = [each for each in tried if each.status is RecipientStatus.DEFERRED]
    sent_now = any(each.status is RecipientStatus.SENT for each in tried)
    return Settlement(
        seq=claimed.seq,
        tenant_id=claimed.tenant_id,
        status=status,
        recipients=recipients,
        retry_count=following.retries,
        events=tuple(_events(recipients, verdicts, attempt.now, following)),
        deferred_ts=following.due if status is Status.DEFERRED else None,
        sent_ts=attempt.now if sent_now else None,
        error_ts=attempt.now if status is Status.ERROR else None,
        error=_words(failures) if status is Status.ERROR else None,
        last_error=_words(put_off or failures) or None,
        # A doubt about an earlier attempt stays until the message is sent: it must not be replaced.
        is_unknown=following.is_unknown or (claimed.is_unknown and status is not Status.SENT),
        is_limited=claimed.is_limited,
        may_be_sent=sent_now or following.is_unknown,
    )


def _following(claimed: Claimed, attempt: Attempt, policy: RetryPolicy) -> _Next:
    """Waiting for an account that is itself at fault costs a message no retry."""
    deferred = [each for each in attempt.outcome.verdicts.values() if isinstance(each, Deferred)]
    if not deferred:
        return _Next(claimed.retry_count, None, is_exhausted=False, is_unknown=False)
    is_unknown = any(_is_unknown(each) for each in deferred)
    if attempt.account_ready is not None and all(each.scope is Scope.ACCOUNT for each in deferred):
        return _Next(claimed.retry_count, attempt.account_ready, is_exhausted=False, is_unknown=False)
    retries = claimed.retry_count + 1
    if is_unknown and attempt.on_unknown is OnUnknown.HOLD:
        return _Next(retries, None, is_exhausted=False, is_unknown=True)
    due = retry_at(attempt.now, retries, policy.delays, policy.max_retries, policy.rng)
    return _Next(retries, due, is_exhausted=due is None, is_unknown=is_unknown)


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


def _status(recipients: Sequence[Recipient]) -> Status:
    if any(each.status.is_open for each in recipients):
        return Status.DEFERRED
    if any(each.status is RecipientStatus.SENT for each in recipients):
        return Status.SENT
    return Status.ERROR


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
            data["recipients"] = [_told(each) for each in group]
        yield NewEvent(event_type=event_type, event_ts=now, description=words, event_data=data or None)


_TOLD_AS = {
    RecipientStatus.SENT: EventType.SENT,
    RecipientStatus.ERROR: EventType.ERROR,
    RecipientStatus.DEFERRED: EventType.DEFERRED,
}


def _told(recipient: Recipient) -> Mapping[str, object]:
    return {
        "address": recipient.address,
        "status": recipient.status.value,
        "code": recipient.code,
        "reply": recipient.reply,
    }


def _is_unknown(verdict: Verdict) -> bool:
    return isinstance(verdict, Deferred) and verdict.unknown


def _words(recipients: Sequence[Recipient]) -> str:
    """The server's own words, each said once."""
    return "; ".join(dict.fromkeys(each.reply or "" for each in recipients))
