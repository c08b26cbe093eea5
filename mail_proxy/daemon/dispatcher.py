"""The dispatcher: claims due messages, hands each to the delivery agent, settles what came of it.

It schedules and never speaks SMTP. A look at the database is the truth; a ring of the bell only makes it
look sooner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random

from mail_proxy.bell import Wake
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.daemon.lanes import Lane, Lanes
from mail_proxy.daemon.preparation import Preparer
from mail_proxy.daemon.settlement import Attempt, RetryPolicy, settle
from mail_proxy.errors import DatabaseError
from mail_proxy.metrics import Metrics
from mail_proxy.model.accounts import Account
from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import Claimed, Outlook, Settlement
from mail_proxy.model.verdicts import Bounced, Outcome
from mail_proxy.smtp.agent import DeliveryAgent
from mail_proxy.store import Store

log = logging.getLogger(__name__)

LEASE = 30.0
"""Seconds for which a claim holds unless renewed."""

RENEW_EVERY = 8.0
CLAIMED_PER_SLOT = 4
"""Messages claimed at most for each conversation that this node may hold."""

SHORTEST_PAUSE = 0.01
DATABASE_PAUSE = 2.0
"""Seconds before the database is asked again after it failed."""


class LeaseLost(Exception):
    """Another node has taken the message over: it must not be sent from here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What this node takes on at a time."""

    sends: int
    per_account: int
    batch: int

    @classmethod
    def of(cls, config: Config) -> Limits:
        return cls(
            config.max_concurrent_sends, config.max_concurrent_per_account, config.batch_size_per_account
        )


class Dispatcher:
    """`told` is called whenever events were recorded that applications may want to hear of."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        config: Config,
        agent: DeliveryAgent,
        preparer: Preparer,
        metrics: Metrics,
        owner: str,
        told: Callable[[], None],
        rng: Random | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._agent = agent
        self._preparer = preparer
        self._metrics = metrics
        self._owner = owner
        self._told = told
        self._rng = rng or Random()  # noqa: S311 - jitter is no secret
        self.wake = Wake()
        self._lanes = Lanes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[int] = set()
        self._under_way: set[int] = set()
        self._failure: BaseException | None = None
        self._stopping = False
        self.reconfigure(config)
        self._conversations = asyncio.Semaphore(self._limits.sends)

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config
        self._limits = Limits.of(config)
        self._policy = RetryPolicy(delays=config.retry_delays, max_retries=config.max_retries, rng=self._rng)

    async def run(self) -> None:
        """Dispatch until `stop`; raises what a bug raised, so that the process ends rather than limps."""
        await self.recover()
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew_loop(), name="renew leases")
            asked = False
            pause: float = self._config.send_loop_interval
            while not self._stopping:
                if asked or not self._config.test_mode:
                    pause = await self._guarded_step()
                asked = await self.wake.wait(pause)
                self._raise_failure()
            await self._drain()
            renewing.cancel()

    def stop(self) -> None:
        """Claim no more; `run` returns when what is under way has ended."""
        self._stopping = True
        self.wake.set()

    async def recover(self) -> None:
        """Put back what this node held when it died."""
        while True:
            try:
                now = self._clock.now()
                orphans = await self._store.queue.take_over(now, now, owner=self._owner, is_start=True)
            except DatabaseError as error:
                log.warning("cannot recover yet: %s", error)
                await self._clock.sleep(DATABASE_PAUSE)
                continue
            if not orphans:
                return
            unknown = sum(orphan.was_final for orphan in orphans)
            log.warning(
                "took over %d messages of a server that died, %d with unknown outcome", len(orphans), unknown
            )
            self._told()

    async def step(self) -> float:
        """Look once, claim what there is room for; return the seconds after which to look again."""
        now = self._clock.now()
        outlook = await self._store.queue.look()
        if not (self._config.scheduler_active if outlook.active is None else outlook.active):
            return self._config.send_loop_interval
        if await self._bring_back(outlook, now):
            outlook = await self._store.queue.look()
        await self._claim(outlook, now)
        return self._pause(outlook)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _guarded_step(self) -> float:
        try:
            return await self.step()
        except DatabaseError as error:
            log.warning("dispatch pauses: %s", error)
            return DATABASE_PAUSE

    async def _bring_back(self, outlook: Outlook, now: float) -> bool:
        """Promote what is due and take over what dead nodes left; return whether there was any."""
        found = 0
        if outlook.next_due is not None and outlook.next_due <= now:
            found += await self._store.queue.promote(now)
        if outlook.next_expiry is not None and outlook.next_expiry <= now:
            await self._renew()  # after a sleep of this process its own leases have run out, too
            orphans = await self._store.queue.take_over(now, now, owner=self._owner)
            if orphans:
                log.warning("took over %d messages whose leases had run out", len(orphans))
                self._told()
            found += len(orphans)
        return bool(found)

    async def _claim(self, outlook: Outlook, now: float) -> None:
        """Immediate messages first, in a pass of their own; then the lanes in turn, the least busy first."""
        lanes = sorted(outlook.lanes, key=lambda ready: (ready.priority > 0, self._busy(ready.lane)))
        for ready in lanes:
            total = self._limits.sends * CLAIMED_PER_SLOT - self._lanes.claimed
            if total <= 0 or self._stopping or self._preparer.is_full:
                return
            if ready.is_gone:  # it was being sent when its account was deleted, and came back since
                await self._store.accounts.fail_lane(ready.lane, now)
                self._told()
                continue
            lane = self._lanes.get(ready.lane)
            if lane is not None and not lane.room(self._limits.batch, now):
                continue
            account = await self._store.accounts.of_lane(ready.lane)
            if account is not None:
                await self._claim_for(account, total, now)
        self._lanes.forget_idle()

    def _busy(self, number: int) -> int:
        lane = self._lanes.get(number)
        return lane.claimed if lane else 0

    async def _claim_for(self, account: Account, most: int, now: float) -> None:
        conversations = account.max_concurrent or self._limits.per_account
        lane = self._lanes.open(account.lane, conversations)
        room = min(most, lane.room(account.batch_size or self._limits.batch, now))
        if room <= 0:
            return
        claimed = await self._store.queue.claim(account.lane, room, self._owner, now, now + LEASE)
        lane.claimed += len(claimed)
        for message in claimed:
            self._waiting.add(message.seq)
            self._under_way.add(message.seq)
            self._spawn(self._send(message, account, lane), f"send {message.pk}")

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
        self.wake.set()

    async def _send(self, claimed: Claimed, account: Account, lane: Lane) -> None:
        """One message's way from the claim to its settlement."""
        try:
            async with lane.conversations, self._conversations:
                if self._stopping:
                    return
                self._waiting.discard(claimed.seq)
                outcome = await self._attempt(claimed, account)
            if outcome is not None:
                await self._conclude(claimed, account, lane, outcome)
        except DatabaseError as error:
            # It is no longer renewed: its lease runs out, and it is taken over.
            log.warning("message %s is left to its lease: %s", claimed.id, error, extra=_about(claimed))
        finally:
            self._waiting.discard(claimed.seq)
            self._under_way.discard(claimed.seq)
            lane.claimed -= 1

    async def _attempt(self, claimed: Claimed, account: Account) -> Outcome | None:
        """Hand the message to the delivery agent; None when another node has it now."""
        prepared = await self._preparer.prepare(claimed)
        if isinstance(prepared, Bounced):
            return Outcome.same(_open_addresses(claimed), prepared)
        async with prepared:
            try:
                return await self._agent.deliver(
                    account,
                    prepared.envelope,
                    prepared.content,
                    before_data=lambda: self._begin_final(claimed, account),
                )
            except LeaseLost:
                log.warning("message %s was taken over by another server", claimed.id, extra=_about(claimed))
                return None

    async def _begin_final(self, claimed: Claimed, account: Account) -> None:
        now = self._clock.now()
        where = "sandbox" if account.is_sandbox else f"{account.host}:{account.port}"
        if not await self._store.queue.begin_final(claimed, self._owner, now, f"handing over to {where}"):
            raise LeaseLost

    async def _conclude(self, claimed: Claimed, account: Account, lane: Lane, outcome: Outcome) -> None:
        """Record the outcome: shielded from cancellation, and tried until it is stored."""
        now = self._clock.now()
        changed = lane.learn(outcome, now)
        attempt = Attempt(
            outcome=outcome,
            now=now,
            on_unknown=account.on_unknown,
            account_ready=lane.resting_until if lane.resting_until > now else None,
        )
        settlement = settle(claimed, attempt, self._policy)
        await asyncio.shield(self._record(settlement))
        if changed:
            await self._tell_account(account, lane, settlement)
        self._count(claimed, settlement)
        self._told()

    async def _record(self, settlement: Settlement) -> None:
        while True:
            try:
                held = await self._store.queue.settle(settlement, self._owner, self._clock.now())
            except DatabaseError as error:
                log.warning("cannot record an outcome yet: %s", error)
                await self._clock.sleep(DATABASE_PAUSE)
                continue
            if not held:
                log.warning(
                    "an outcome came too late: another server has taken message %d over", settlement.seq
                )
            return

    async def _tell_account(self, account: Account, lane: Lane, settlement: Settlement) -> None:
        if lane.rest:
            log.warning(
                "account %s/%s rests for %.0f s: %s",
                account.tenant_id,
                account.id,
                lane.rest,
                settlement.last_error,
            )
        else:
            log.info("account %s/%s works again", account.tenant_id, account.id)
        await self._store.accounts.set_last_error(account.lane, settlement.last_error if lane.rest else None)

    def _count(self, claimed: Claimed, settlement: Settlement) -> None:
        counters = {
            EventType.SENT: self._metrics.sent,
            EventType.ERROR: self._metrics.error,
            EventType.DEFERRED: self._metrics.deferred,
        }
        level = logging.INFO if self._config.log_delivery_activity else logging.DEBUG
        for event in settlement.events:
            if event.event_type in counters:
                counters[event.event_type](claimed.tenant_id, claimed.account_id)
                log.log(level, "%s: %s", event.event_type, event.description, extra=_about(claimed))

    def _pause(self, outlook: Outlook) -> float:
        now = self._clock.now()
        moments = (outlook.next_due, outlook.next_expiry, self._lanes.next_ready(now))
        waits = [moment - now for moment in moments if moment is not None]
        return max(SHORTEST_PAUSE, min([self._config.send_loop_interval, *waits]))

    async def _renew_loop(self) -> None:
        while True:
            await self._clock.sleep(RENEW_EVERY)
            try:
                await self._renew()
            except DatabaseError as error:
                log.warning("cannot renew leases: %s", error)

    async def _renew(self) -> None:
        if self._under_way:
            await self._store.queue.renew(sorted(self._under_way), self._owner, self._clock.now() + LEASE)

    async def _drain(self) -> None:
        """Give back what was not begun, wait for the rest."""
        try:
            await self._store.queue.release(sorted(self._waiting), self._owner, self._clock.now())
        except DatabaseError as error:
            log.warning("cannot give claimed messages back, their leases will run out: %s", error)
        await self.idle()


def _open_addresses(claimed: Claimed) -> tuple[str, ...]:
    return tuple(each.address for each in claimed.recipients if each.status.is_open)


def _about(claimed: Claimed) -> dict[str, object]:
    """The fields that every log line about a message carries."""
    return {
        "tenant": claimed.tenant_id,
        "account": claimed.account_id,
        "message_id": claimed.id,
        "pk": claimed.pk,
    }
