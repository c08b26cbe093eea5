"""The dispatcher: claims due messages, hands each to the delivery agent, settles what came of it.

It schedules and never speaks SMTP. A look at the database is the truth; a ring of the bell only makes it
look sooner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from mail_proxy.bell import Wake
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.daemon.attempt import Attempts
from mail_proxy.daemon.circuits import CircuitKeeper
from mail_proxy.daemon.crew import Crew
from mail_proxy.daemon.journal import Journal
from mail_proxy.daemon.lanes import ByteBudget, Lane, Lanes, Turn
from mail_proxy.daemon.leases import LEASE, Leases
from mail_proxy.daemon.outage import Outage
from mail_proxy.daemon.preparation import Preparer
from mail_proxy.daemon.recording import Recorder, about
from mail_proxy.daemon.vigil import Vigil
from mail_proxy.errors import DatabaseError, KeyMismatch
from mail_proxy.metrics import Metrics
from mail_proxy.model.accounts import Account
from mail_proxy.model.messages import Priority
from mail_proxy.model.queue import Claim, Claimed, Orphan, Outlook, Parking, ReadyLane
from mail_proxy.smtp.agent import DeliveryAgent
from mail_proxy.store import Store
from mail_proxy.store.shared_clock import checked_now

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.01

BREATH = 0.005
"""Seconds between looks at least: every message that is taken rings. After a silence the first ring is heard
at once."""

HUNGRY_BREATH = 0.001
"""The same when what was claimed is soon used up."""

IDLE_BREATH = 0.25
"""The same while nothing is dispatched, and rings mean nothing but that it may begin."""

DATABASE_PAUSE = 2.0
"""Seconds before the database is asked again after it failed."""

UNREADABLE_PAUSE = 60.0
"""Seconds before an account that cannot be decrypted is read again."""

MEGABYTE = 1024 * 1024


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
        vigil: Vigil,
        told: Callable[[], None],
        rng: Random | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._owner = owner
        self._vigil = vigil
        self._told = told
        self.wake = Wake()
        self._lanes = Lanes(config.max_concurrent_sends, ByteBudget(config.max_inflight_mb * MEGABYTE))
        self._crew = Crew(self.wake.set)
        self._renewing = Crew(self.wake.set)
        self._leases = Leases(store.queue, clock, owner)
        self._journal = Journal(store.outcomes, clock, owner)
        self._circuits = CircuitKeeper(store.circuits, clock, self._leases, metrics, told)
        self._attempts = Attempts(
            preparer=preparer,
            agent=agent,
            journal=self._journal,
            leases=self._leases,
            circuits=self._circuits,
        )
        self._stopping = False
        self._breath = BREATH
        self._is_hungry = False
        self._outage = Outage("dispatch")
        self._recorder = Recorder(
            clock=clock,
            metrics=metrics,
            journal=self._journal,
            leases=self._leases,
            told=told,
            rng=rng or Random(),  # noqa: S311 - jitter is no secret
        )
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config
        self._lanes.sends = config.max_concurrent_sends
        self._recorder.reconfigure(config)
        self._circuits.reconfigure(config)

    async def run(self) -> None:
        """Dispatch until `stop`; raises what a bug raised, so that the process ends rather than limps."""
        self._renewing.spawn(self._leases.keep(), "renew leases")
        self._renewing.spawn(self._circuits.keep(), "look after accounts that rest")
        try:
            await self.recover()
            await self._loop()
            await self._leases.give_back(self._lanes.dismiss())
            await self.idle()
            self._renewing.check()
        finally:
            await self._renewing.end()
            await self._crew.end()
            await self._journal.end()

    def stop(self) -> None:
        """Claim no more; `run` returns when what is under way has ended."""
        self._stopping = True
        self.wake.set()

    async def recover(self) -> None:
        """Put back what this node held when it died."""
        while not self._stopping:
            try:
                now = self._clock.now()
                orphans = await self._store.queue.take_over(now, owner=self._owner, is_start=True)
            except DatabaseError as error:
                self._outage.met(error)
                await self._clock.sleep(DATABASE_PAUSE)
                continue
            if not orphans:
                return
            unknown = sum(orphan.was_final for orphan in orphans)
            log.warning(
                "took over %d messages of a server that died, %d with unknown outcome", len(orphans), unknown
            )
            self._tell_of(orphans)

    def _tell_of(self, orphans: Sequence[Orphan]) -> None:
        """What may have been transmitted is put off, and was told so."""
        for orphan in orphans:
            if orphan.was_final:
                self._metrics.deferred(orphan.tenant_id, orphan.account_id)
        self._told()

    async def step(self) -> float:
        """Look once, claim what there is room for; return the seconds after which to look again."""
        in_hand = self._lanes.in_hand
        outlook = await self._store.queue.look([lane.number for lane in in_hand])
        now = self._clock.now()
        if self._vigil.look(now):
            await self._leases.renew()  # in a sleep of this process they may have run out
        is_active = self._config.scheduler_active if outlook.active is None else outlook.active
        self._breath = BREATH if is_active else IDLE_BREATH
        if not is_active:
            await self._leases.give_back(self._lanes.dismiss())
            return self._config.send_loop_interval
        for lane in in_hand:
            await self._recall(lane, outlook.changes.get(lane.number))
        if await self._bring_back(outlook, now):
            outlook = await self._store.queue.look()
        await self._claim(outlook)
        return self._pause(outlook)

    async def _recall(self, lane: Lane, changed_at: float | None) -> None:
        """Let what waits here for an account as it is no more come back, to be claimed for what it is now."""
        if lane.is_outdated(changed_at):
            await self._leases.give_back(lane.dismiss())
        lane.changed_at = changed_at

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        await self._crew.idle()
        await self._journal.idle()

    async def _loop(self) -> None:
        """Step until `stop`; in test mode only when asked, and then until what was asked for is done."""
        is_asked = is_at_work = False
        while not self._stopping:
            pause: float = self._config.send_loop_interval
            if is_asked or is_at_work or not self._config.test_mode:
                pause = await self._guarded_step()
                is_at_work = bool(self._crew)
            looked_at = asyncio.get_running_loop().time()
            is_asked = await self.wake.wait(pause)
            self._crew.check()
            self._renewing.check()
            if not self._stopping:
                breath = HUNGRY_BREATH if self._is_hungry else self._breath
                await asyncio.sleep(looked_at + breath - asyncio.get_running_loop().time())
                self._is_hungry = False

    async def _guarded_step(self) -> float:
        try:
            pause = await self.step()
        except DatabaseError as error:
            self._outage.met(error)
            self._vigil.broken()
            return DATABASE_PAUSE
        self._outage.over()
        return pause

    async def _bring_back(self, outlook: Outlook, now: float) -> bool:
        """Promote what is due, take over what dead nodes left, give back; return whether there was any."""
        found = await self._leases.give_back_left()
        if outlook.next_due is not None and outlook.next_due <= now:
            found += await self._store.queue.promote(now)
        expiry = outlook.next_expiry
        if expiry is not None and expiry <= now and await self._may_judge(now):
            await self._leases.renew()  # what is in hand here is nobody's orphan
            orphans = await self._store.queue.take_over(now, owner=self._owner)
            if orphans:
                log.warning("took over %d messages whose leases had run out", len(orphans))
                self._tell_of(orphans)
            found += len(orphans)
        return bool(found)

    async def _may_judge(self, now: float) -> bool:
        """Whether leases that have run out are of the dead: if this node has watched, by the right time.

        When the database's clock is set back, those who know it seem dead to those who do not know it yet.
        """
        return self._vigil.may_judge(now) and not self._vigil.look(await checked_now(self._clock))

    async def _claim(self, outlook: Outlook) -> None:
        """Immediate messages first, in a pass of their own; then the lanes in turn, the least busy first."""
        self._lanes.look_anew()
        try:
            for ready in sorted(outlook.lanes, key=self._rank):
                if self._stopping:
                    break
                await self._claim_from(ready)
        finally:
            self._lanes.admit()
            self._lanes.forget_idle()

    def _rank(self, ready: ReadyLane) -> tuple[bool, int]:
        return ready.priority > Priority.IMMEDIATE, self._lanes.under_way(ready.lane)

    async def _claim_from(self, ready: ReadyLane) -> None:
        if ready.is_gone:  # deleted while it was sending, and something came back since
            await self._fail_left(ready.lane)
            return
        is_urgent = ready.priority == Priority.IMMEDIATE
        lane = self._lanes.open(ready.lane)
        lane.has_more = True
        lane.hear(ready.rest)
        if lane.is_resting(self._clock.now()):  # another node has found out
            await self._leases.give_back(lane.dismiss())
        if not self._lanes.room(lane, self._clock.now(), is_urgent=is_urgent):
            return
        account = await self._account_of(lane)
        if account is None:
            return
        await self._recall(lane, account.updated_at)
        lane.quota = account.batch_size or self._config.batch_size_per_account
        lane.conversations = account.max_concurrent or self._config.max_concurrent_per_account
        now = self._clock.now()
        room = self._lanes.room(lane, now, is_urgent=is_urgent)
        if not room:
            return
        claim = await self._store.queue.claim(account.lane, room, self._owner, now, now + LEASE)
        lane.has_more = len(claim.messages) == room
        self._learn_limit(claim, account, lane, now)
        # The pool of connections has to have the limit in force, whenever it was configured.
        account = replace(account, max_concurrent=lane.conversations)
        for message in claim.messages:
            self._begin(message, account, lane, now + LEASE)

    async def _fail_left(self, lane: int) -> None:
        """Let fail what waits for an account that is gone."""
        failures = await self._store.accounts.fail_left(lane, self._clock.now())
        if failures is not None:
            self._metrics.error(failures.tenant_id, failures.account_id, failures.count)
            self._told()
            self.wake.set()  # there may be more

    async def _account_of(self, lane: Lane) -> Account | None:
        """None for one that is gone, and for one whose password cannot be read: others go on without it."""
        try:
            return await self._store.accounts.of_lane(lane.number)
        except KeyMismatch as error:
            log.error("messages wait for their account: %s", error)  # noqa: TRY400 - no traceback for a damage
            now = self._clock.now()
            lane.limit(now + UNREADABLE_PAUSE, now)
            return None

    def _learn_limit(self, claim: Claim, account: Account, lane: Lane, now: float) -> None:
        """Let a lane be until a rate limit may let more through; tell of what waits or has failed for it."""
        if claim.held_by is Parking.LIMIT:
            self._metrics.rate_limited(account.tenant_id, account.id, claim.parked + claim.rejected)
        if claim.opens_at is not None:
            lane.limit(claim.opens_at, now)
        if claim.parked or claim.rejected:
            self._told()
        if claim.rejected:
            self._metrics.error(account.tenant_id, account.id, claim.rejected)
            self.wake.set()  # there may be more

    def _begin(self, message: Claimed, account: Account, lane: Lane, until: float) -> None:
        is_in_hand = message.seq in self._leases
        self._leases.take(message.seq, until)
        if is_in_hand:
            return  # lost in a long sleep and claimed again: who has it in hand goes on under the new lease
        turn = self._lanes.enqueue(lane, message)
        self._crew.spawn(self._send(message, account, lane, turn), f"send {message.pk}")

    async def _send(self, claimed: Claimed, account: Account, lane: Lane, turn: Turn) -> None:
        """One message's way from the claim to its settlement."""
        try:
            if not await turn.comes:
                return  # given back
            try:
                attempted = await self._attempts.make(claimed, account, lane)
            finally:
                self._lanes.leave(lane, turn)
            if attempted is None:
                # As a task of its own, which begins once the message is not in hand.
                self._crew.spawn(self._give_back(claimed), f"give back {claimed.pk}")
                return
            if await self._recorder.record(claimed, account, lane, attempted):
                self.wake.set()  # there is a new moment to wait for
            if attempted.has_recovered:
                await self._circuits.mend(account, lane)
                self.wake.set()
        except DatabaseError as error:
            # If its begin is on record all the same, its lease runs out, and its outcome is unknown.
            log.warning("message %s goes back to the queue: %s", claimed.id, error, extra=about(claimed))
            self._leases.leave(claimed.seq)
            self.wake.set()
        finally:
            self._leases.drop(claimed.seq)
            self._lanes.finish(lane)
            is_hungry = lane.has_more and lane.is_low
            if is_hungry or self._lanes.is_short:
                self._is_hungry = self._is_hungry or is_hungry
                self.wake.set()

    async def _give_back(self, claimed: Claimed) -> None:
        """Let a message wait in its place again, unless another node has it."""
        await self._leases.give_back([claimed.seq])
        self.wake.set()

    def _pause(self, outlook: Outlook) -> float:
        now = self._clock.now()
        expiry = outlook.next_expiry
        moments = [outlook.next_due, self._lanes.next_ready(now)]
        moments.append(None if expiry is None else self._vigil.next_look(expiry, now))
        moments += [ready.rest.until for ready in outlook.lanes if ready.rest and ready.rest.holds(now)]
        waits = [moment - now for moment in moments if moment is not None]
        return max(SHORTEST_PAUSE, min([self._config.send_loop_interval, *waits]))
