"""The reporter: posts events to the applications and marks what they have acknowledged.

Tenants are served side by side, so that a slow or dead application delays no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field

from mail_proxy.bell import Wake
from mail_proxy.callbacks.poster import Poster, Target, target_for
from mail_proxy.callbacks.report import entry
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.daemon.crew import Crew
from mail_proxy.daemon.outage import Outage
from mail_proxy.errors import DatabaseError, KeyMismatch, NotFound
from mail_proxy.model.reports import Reportable
from mail_proxy.model.tenants import Tenant
from mail_proxy.store import Store

log = logging.getLogger(__name__)

BATCH = 500
FIRST_BACKOFF = 10.0
LONGEST_BACKOFF = 300.0
DATABASE_PAUSE = 2.0
GATHER = 0.05
"""Seconds between looks at least, so that a burst of events is told in few posts."""


@dataclass(slots=True)
class _Backoff:
    """Waiting longer after each failure; `until` is Unix seconds."""

    seconds: float = 0.0
    until: float = 0.0

    def failed(self, now: float) -> None:
        self.seconds = min(max(self.seconds * 2, FIRST_BACKOFF), LONGEST_BACKOFF)
        self.until = now + self.seconds

    def worked(self) -> None:
        self.seconds = self.until = 0.0


@dataclass(slots=True)
class _Line:
    """What is known of one tenant's application: whether it can be reached, and what it would not take.

    `is_rung` tells that there may be more to tell since a post began.
    """

    way: _Backoff = field(default_factory=_Backoff)
    refusal: _Backoff = field(default_factory=_Backoff)
    refused: set[str] = field(default_factory=set)
    is_busy: bool = False
    is_rung: bool = False

    def next_try(self, now: float) -> float | None:
        moments = [self.way.until, self.refusal.until if self.refused else 0.0]
        return min((moment for moment in moments if moment > now), default=None)


class Reporter:
    """Reports at least once: an event is marked only when the application has said that it took it."""

    def __init__(self, *, store: Store, clock: Clock, config: Config, poster: Poster) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._poster = poster
        self.wake = Wake()
        self._lines: dict[str, _Line] = {}
        self._crew = Crew(self.wake.set)
        self._stopping = False
        self._outage = Outage("reporting")

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    def stop(self) -> None:
        """Tell what there is to tell, once more; `run` returns when the posts under way have ended."""
        self._stopping = True
        self.wake.set()

    async def run(self) -> None:
        """Report until `stop`; raises what a bug raised."""
        try:
            await self._loop()
            if not self._config.test_mode:
                await self._guarded_step(is_asked=False)
            await self.idle()
        finally:
            await self._crew.end()

    async def step(self, *, is_asked: bool = False) -> float:
        """Begin a post to each tenant with news that can be reached; return when to look again (seconds).

        `is_asked`: somebody wants it now, so no backing off.
        """
        now = self._clock.now()
        due = await self._store.reports.tenants_due()
        self._lines = {name: line for name, line in self._lines.items() if line.is_busy or name in due}
        for tenant_id in due:
            line = self._lines.setdefault(tenant_id, _Line())
            if is_asked:
                line.way.until = line.refusal.until = 0.0
            if line.is_busy:
                line.is_rung = True
            elif line.way.until <= now:
                line.is_busy = True
                self._crew.spawn(self._serve(tenant_id, line), f"report to {tenant_id}")
        tries = [moment for line in self._lines.values() if (moment := line.next_try(now)) is not None]
        return min([self._config.send_loop_interval, *(moment - now for moment in tries)])

    async def idle(self) -> None:
        """Wait until no post is under way."""
        await self._crew.idle()

    async def _loop(self) -> None:
        is_asked = False
        pause: float = 0.0
        while not self._stopping:
            if is_asked or not self._config.test_mode:
                pause = await self._guarded_step(is_asked=is_asked)
            else:
                pause = self._config.send_loop_interval
            is_asked = await self.wake.wait(pause)
            self._crew.check()
            await self._clock.sleep(GATHER)

    async def _guarded_step(self, *, is_asked: bool) -> float:
        try:
            pause = await self.step(is_asked=is_asked)
        except DatabaseError as error:
            self._outage.met(error)
            return DATABASE_PAUSE
        self._outage.over()
        return pause

    async def _serve(self, tenant_id: str, line: _Line) -> None:
        """Post to one tenant until there is nothing left to tell, or it does not answer as it should."""
        try:
            tenant = await self._store.tenants.get(tenant_id)
            target = target_for(tenant, self._config)
            if target is None:
                line.way.until = self._clock.now() + self._config.send_loop_interval
                return
            while await self._post_next(tenant, target, line):
                if self._stopping:
                    break
        except NotFound:
            return  # deleted meanwhile, with its events
        except DatabaseError as error:
            log.warning("reports to %s pause: %s", tenant_id, error)
            line.way.until = self._clock.now() + DATABASE_PAUSE
            self.wake.set()
        except KeyMismatch as error:
            await self._back_off(tenant_id, line, str(error))
        finally:
            line.is_busy = False
            if line.is_rung:
                line.is_rung = False
                self.wake.set()

    async def _post_next(self, tenant: Tenant, target: Target, line: _Line) -> bool:
        """Post the next batch; return whether to go on with another."""
        if line.refusal.until <= self._clock.now():
            line.refused.clear()  # what was refused is tried again, together with the rest
        batch = await self._next_batch(tenant.id, line.refused)
        if not batch:
            if not line.refused:
                line.refusal.worked()
            return False
        entries = [entry(each, report_nulls=tenant.report_nulls) for each in batch]
        result = await self._poster.post(target, entries, now=self._clock.now())
        if not result.accepted:
            await self._back_off(tenant.id, line, result.failure)
            return False
        line.way.worked()
        taken = [each.event_id for each in batch if each.id not in result.error_ids]
        await asyncio.shield(self._store.reports.acknowledge(tenant.id, taken, self._clock.now()))
        if len(taken) < len(batch):
            self._hold_back(tenant, line, {each.id for each in batch} & result.error_ids)
        return True

    async def _next_batch(self, tenant_id: str, refused: AbstractSet[str]) -> list[Reportable]:
        """Read the oldest events that are to be told, but for those of the messages refused."""
        batch: list[Reportable] = []
        after = 0
        while len(batch) < BATCH:
            page = await self._store.reports.batch(tenant_id, BATCH, after)
            batch += [each for each in page if each.id not in refused]
            if len(page) < BATCH:
                break
            after = page[-1].event_id
        return batch[:BATCH]

    def _hold_back(self, tenant: Tenant, line: _Line, refused: AbstractSet[str]) -> None:
        """Put off the events of these messages, in their order, and no others."""
        now = self._clock.now()
        if line.refusal.until <= now:
            line.refusal.failed(now)
        line.refused |= refused
        reason = f"the application refused the events of {len(refused)} messages"
        self._put_off(tenant.id, reason, line.refusal.until - now)

    async def _back_off(self, tenant_id: str, line: _Line, reason: str | None) -> None:
        line.way.failed(self._clock.now())
        self._put_off(tenant_id, reason, line.way.seconds)
        with suppress(DatabaseError):  # it is written down for people; the next failure writes it too
            await self._store.reports.failed(tenant_id, reason, line.way.until)

    def _put_off(self, tenant_id: str, reason: str | None, seconds: float) -> None:
        extra = {"tenant": tenant_id}
        log.warning("reports to %s: %s; again in %.0f s", tenant_id, reason, seconds, extra=extra)
        self.wake.set()  # there is a new moment to wait for
