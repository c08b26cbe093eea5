"""Watching: what the instance is doing now, looked at again and again at little cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mail_proxy.clock import Clock
from mail_proxy.model.activity import SPAN, AccountActivity, Activity, Failure, Order, Outcome
from mail_proxy.model.messages import Status
from mail_proxy.model.queue import Waiting
from mail_proxy.services.instance import InstanceService
from mail_proxy.store import Store
from mail_proxy.store.activity import Account, Count
from mail_proxy.store.shared_clock import checked_now

MOST_EVENTS = 50_000
"""Events that one look reads at most; what happened before them is not known."""

SETTLED = 2.0
"""Seconds after which no event appears any more among others: nodes do not commit in the order of ids."""

FAILURES = 50


class ActivityService:
    def __init__(self, store: Store, clock: Clock, instance: InstanceService) -> None:
        self._store = store
        self._clock = clock
        self._instance = instance

    def watch(self, tenant_id: str | None = None) -> Watch:
        """Begin to watch one tenant, or all."""
        return Watch(self._store, self._clock, self._instance, tenant_id)


class Watch:
    """Remembers what it has seen, so that each look but the first reads only what is new."""

    def __init__(self, store: Store, clock: Clock, instance: InstanceService, tenant_id: str | None) -> None:
        self._store = store
        self._clock = clock
        self._instance = instance
        self._tenant_id = tenant_id
        self._last_settled = 0
        self._settled = _Tally()
        self._known_since = 0.0
        self._failures: dict[int, Failure] = {}

    async def look(self, order: Order = Order.WAITING, most: int = 100) -> Activity:
        """See how things are now, with at most so many accounts. Raises `DatabaseError`."""
        now = await checked_now(self._clock)
        tally = await self._catch_up(now)
        waiting = await self._instance.waiting(self._tenant_id)
        total, accounts = await self._accounts(waiting, tally, now, order, most)
        return Activity(
            ts=now,
            is_active=await self._instance.is_active(),
            nodes=tuple(await self._instance.nodes()),
            queue=_queue(waiting),
            since=max(self._known_since, now - SPAN),
            seconds={outcome: tally.seconds(outcome, now) for outcome in Outcome},
            accounts_total=total,
            accounts=accounts,
            failures=tuple(sorted(self._failures.values(), key=lambda each: -each.event_id)),
        )

    async def _catch_up(self, now: float) -> _Tally:
        """Read what is new; of what may not be complete yet, nothing is kept for the next look."""
        news = await self._store.activities.news(
            self._tenant_id,
            after=self._last_settled,
            since=now - SPAN,
            settled=now - SETTLED,
            most=MOST_EVENTS,
            failures=FAILURES,
        )
        if news.is_cut:
            self._settled = _Tally()
            self._known_since = news.begins_at
        self._last_settled = news.last_settled
        self._settled.add(news.settled)
        self._settled.forget(now)
        known = self._failures | {each.event_id: each for each in news.failures}
        self._failures = {event_id: known[event_id] for event_id in sorted(known)[-FAILURES:]}
        return self._settled.with_recent(news.recent)

    async def _accounts(
        self, waiting: Iterable[Waiting], tally: _Tally, now: float, order: Order, most: int
    ) -> tuple[int, tuple[AccountActivity, ...]]:
        """Describe those that come first in this order: what is costly to know is read of them alone."""
        queues: dict[Account, dict[Status, int]] = {}
        for each in waiting:
            queues.setdefault((each.tenant_id, each.account_id), {})[each.status] = each.count
        done = tally.by_account()
        total, names = await self._store.activities.accounts(self._tenant_id, most)
        ailing = await self._store.circuits.ailing()
        resting = {(each.tenant_id, each.account_id) for each in ailing if self._is_watched(each.tenant_id)}
        found = {*names, *queues, *done, *resting}

        def rank(account: Account) -> tuple[int, int, Account]:
            queued, sent = sum(queues.get(account, {}).values()), done.get(account, Counter())
            match order:
                case Order.NAME:
                    return 0, 0, account
                case Order.SENT:
                    return -sent[Outcome.SENT], -queued, account
                case Order.FAILED:
                    return -sent[Outcome.FAILED], -queued, account
            return -queued, -sent[Outcome.SENT], account

        shown = sorted(found, key=rank)[:most]
        states = await self._store.activities.states(shown, now)
        return max(total, len(found)), tuple(
            AccountActivity(
                tenant_id=account[0],
                account_id=account[1],
                waiting=queues.get(account, {}),
                done=done.get(account, Counter()),
                state=states.get(account),
            )
            for account in shown
        )

    def _is_watched(self, tenant_id: str) -> bool:
        return self._tenant_id is None or tenant_id == self._tenant_id


class _Tally:
    """Counts by second, and by minute and account: enough to tell rates, and small with many accounts."""

    def __init__(self) -> None:
        self._seconds: Counter[tuple[Outcome, int]] = Counter()
        self._minutes: Counter[tuple[Account, Outcome, int]] = Counter()

    def add(self, counts: Iterable[Count]) -> None:
        for account, outcome, second, number in counts:
            self._seconds[outcome, second] += number
            self._minutes[account, outcome, second // 60] += number

    def with_recent(self, counts: Iterable[Count]) -> _Tally:
        """This and what is added, leaving this as it is."""
        other = _Tally()
        other._seconds, other._minutes = self._seconds.copy(), self._minutes.copy()
        other.add(counts)
        return other

    def forget(self, now: float) -> None:
        """Drop what happened longer than `SPAN` ago."""
        first = int(now) - SPAN
        self._seconds = Counter({key: n for key, n in self._seconds.items() if key[-1] > first})
        self._minutes = Counter({key: n for key, n in self._minutes.items() if key[-1] > first // 60})

    def seconds(self, outcome: Outcome, now: float) -> tuple[int, ...]:
        """How many in each of the last seconds, this one the last."""
        last = int(now)
        return tuple(self._seconds[outcome, second] for second in range(last - SPAN + 1, last + 1))

    def by_account(self) -> dict[Account, Counter[Outcome]]:
        """How many of each account in all."""
        done: dict[Account, Counter[Outcome]] = {}
        for (account, outcome, _minute), number in self._minutes.items():
            done.setdefault(account, Counter())[outcome] += number
        return done


def _queue(waiting: Iterable[Waiting]) -> dict[Status, int]:
    queue = {status: 0 for status in Status if status.is_waiting}
    for each in waiting:
        queue[each.status] += each.count
    return queue
