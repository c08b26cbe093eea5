"""The reporter: sees to it that applications are told, each by one node at a time.

Tenants are served side by side, so that a slow or dead application delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from mail_proxy.bell import Wake
from mail_proxy.callbacks.poster import Poster
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.daemon.crew import Crew
from mail_proxy.daemon.files import most_files
from mail_proxy.daemon.leases import LEASE, keep_renewed
from mail_proxy.daemon.outage import Outage
from mail_proxy.daemon.telling import Teller, Turn
from mail_proxy.errors import DatabaseError
from mail_proxy.metrics import Metrics
from mail_proxy.model.contacts import Candidate, Contact, Outlook
from mail_proxy.store import Store

log = logging.getLogger(__name__)

DATABASE_PAUSE = 2.0
GATHER = 0.05
"""Seconds between looks at least, so that a burst of events is told in few posts."""

LONGEST_GATHER = 0.25
LOOKS_APART = 4
"""Times what a look took: with very many tenants the database has other things to do."""

AGAIN_ELSEWHERE = 0.25
"""Seconds until what another node has in hand, or is about to change, is looked at again: what that has not
seen must not wait long."""

SILENT = 2.0
"""Seconds without an answer after which an application does not keep others from being posted to."""

MOST = 200
"""Applications posted to at a time, not counting the silent ones."""

MOST_WITH_SILENT = 1000
"""All posts under way; of the files that this process may have open, at most a quarter is for them."""

MOST_FAILING = 100
"""And beside these, of those that did not take the last post: nobody else shall wait until they time out."""

STOP_GRACE = 10.0
"""Seconds; what is not answered by then is posted again after the next start, or by another node."""


class Reporter:
    """Reports at least once: an event is marked only when the application has said that it took it.

    `grace` is for how many seconds a stop waits for answers.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        config: Config,
        poster: Poster,
        metrics: Metrics,
        owner: str,
        grace: float = STOP_GRACE,
    ) -> None:
        self._grace = grace
        self._most = min(MOST_WITH_SILENT, most_files() // 4)
        self._contacts = store.contacts
        self._clock = clock
        self._config = config
        self._owner = owner
        self._teller = Teller(
            store=store,
            poster=poster,
            clock=clock,
            owner=owner,
            metrics=metrics,
            config=lambda: self._config,
        )
        self.wake = Wake()
        self._turns: dict[str, Turn] = {}
        self._resting: dict[str, float] = {}
        self._last = {False: "", True: ""}
        self._is_crowded = False
        self._next_look = 0.0
        self._scheduled_at = 0.0
        self._crew, self._renewing = Crew(self.wake.set), Crew(self.wake.set)
        self._stopping = False
        self._outage = Outage("reporting")

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    def stop(self) -> None:
        """Tell what there is to tell, once more; `run` returns when the posts under way have ended."""
        self._stopping = True
        for turn in self._turns.values():
            turn.is_over = True
        self.wake.set()

    async def run(self) -> None:
        """Report until `stop`; raises what a bug raised."""
        self._renewing.spawn(keep_renewed(self._clock, self.renew), "renew leases of tenants")
        try:
            await self._loop()
            if not self._config.test_mode:
                await self._guarded_step()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._grace):
                    await self.idle()
        finally:
            await self._crew.end()
            await self._renewing.end()
            with suppress(DatabaseError):  # then the leases run out
                await self._contacts.leave(self._owner)

    async def step(self) -> float:
        """Begin a turn with each tenant that is due; return when to look again (seconds)."""
        now = self._clock.now()
        self._next_look = math.inf  # what ends before that is known may want one
        has_fallback = self._config.client_sync_url is not None
        if not self._stopping:
            await self._schedule(now, has_fallback=has_fallback)
        outlook = await self._contacts.look(now, self._owner, has_fallback=has_fallback)
        chosen = self._choose(outlook.due, now)
        if chosen or outlook.retired:
            taken = await self._contacts.take(chosen, outlook.retired, self._owner, now, now + LEASE)
            for contact in taken:
                self._begin(contact, now + LEASE)
            if len(taken) < len(chosen):
                outlook = replace(outlook, is_elsewhere=True)
        self._next_look = self._when(outlook, now)
        return self._next_look - now

    async def idle(self) -> None:
        """Wait until no turn is under way."""
        await self._crew.idle()

    async def _loop(self) -> None:
        is_asked = False
        while not self._stopping:
            pause: float = self._config.send_loop_interval
            began = self._clock.now()
            if is_asked or not self._config.test_mode:
                pause = await self._guarded_step()
            gather = LOOKS_APART * (self._clock.now() - began)
            is_asked = await self.wake.wait(pause)
            self._crew.check()
            self._renewing.check()
            await self._clock.sleep(min(max(GATHER, gather), LONGEST_GATHER))

    async def _guarded_step(self) -> float:
        try:
            pause = await self.step()
        except DatabaseError as error:
            self._outage.met(error)
            return DATABASE_PAUSE
        self._outage.over()
        return pause

    async def _schedule(self, now: float, *, has_fallback: bool) -> None:
        """See, now and then, to the empty posts of tenants that are new, or active again, or have moved."""
        interval = self._config.sync_interval
        every = min(self._config.send_loop_interval, interval)
        if abs(now - self._scheduled_at) >= every:
            await self._contacts.schedule(now, interval, has_fallback=has_fallback)
            self._scheduled_at = now

    def _choose(self, due: Sequence[Candidate], now: float) -> list[str]:
        """Take as many as there is room for: those with news first, going on after the last ones chosen."""
        self._resting = {
            name: until for name, until in self._resting.items() if now < until < now + 2 * DATABASE_PAUSE
        }
        free, room = {False: MOST, True: MOST_FAILING}, self._most - len(self._turns)
        for each in self._turns.values():
            is_failing = each.contact.failures > 0
            free[is_failing] -= is_failing or not each.is_silent(now, SILENT)
        chosen: list[str] = []
        self._is_crowded = False
        for candidate in sorted(due, key=self._place_of):
            if (turn := self._turns.get(candidate.tenant_id)) is not None:
                turn.is_rung = True
            elif candidate.tenant_id in self._resting or (self._stopping and candidate.is_failing):
                continue
            elif min(room, free[candidate.is_failing]) <= 0:
                self._is_crowded = True
            else:
                chosen.append(candidate.tenant_id)
                free[candidate.is_failing] -= 1
                room -= 1
                self._last[candidate.is_failing] = candidate.tenant_id
        return chosen

    def _place_of(self, candidate: Candidate) -> tuple[bool, bool, str]:
        has_passed = candidate.tenant_id <= self._last[candidate.is_failing]
        return not candidate.has_news, has_passed, candidate.tenant_id

    def _begin(self, contact: Contact, until: float) -> None:
        turn = self._turns[contact.tenant_id] = Turn(contact, until)
        self._crew.spawn(self._serve(turn), f"report to {turn.tenant_id}")

    async def _serve(self, turn: Turn) -> None:
        try:
            next_at = await self._teller.tell(turn)
        except DatabaseError as error:
            log.warning("reports to %s pause: %s", turn.tenant_id, error)
            next_at = self._resting[turn.tenant_id] = self._clock.now() + DATABASE_PAUSE
        finally:
            del self._turns[turn.tenant_id]
        if turn.is_rung or self._is_crowded or (next_at is not None and next_at < self._next_look):
            self.wake.set()

    def _when(self, outlook: Outlook, now: float) -> float:
        """When to look again at the latest."""
        latest = now + min(self._config.send_loop_interval, self._config.sync_interval)
        if outlook.is_elsewhere:
            latest = min(latest, now + AGAIN_ELSEWHERE)
        if self._is_crowded:
            latest = min(latest, now + SILENT)
        known = [outlook.next_at] if outlook.next_at is not None else []
        return min([latest, *known, *self._resting.values()])

    async def renew(self) -> None:
        """Keep the tenants whose turns last; what another node took over meanwhile is over here."""
        turns = dict(self._turns)
        if not turns:
            return
        until = self._clock.now() + LEASE
        kept = await self._contacts.renew(sorted(turns), self._owner, until)
        for tenant_id, turn in turns.items():
            turn.until = max(turn.until, until) if tenant_id in kept else 0.0
