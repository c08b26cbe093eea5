"""The reporter: posts events to the applications and marks what they have acknowledged.

Tenants are served side by side, so that a slow or dead application delays no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

from mail_proxy.bell import Wake
from mail_proxy.callbacks.answer import PostResult
from mail_proxy.callbacks.poster import Poster, Target, target_for
from mail_proxy.callbacks.report import entry
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.errors import DatabaseError, NotFound
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
class _Line:
    """What is known of the way to one tenant's application; `not_before` is Unix seconds."""

    backoff: float = 0.0
    not_before: float = 0.0
    is_busy: bool = False


class Reporter:
    """Reports at least once: an event is marked only when the application has said that it took it."""

    def __init__(self, *, store: Store, clock: Clock, config: Config, poster: Poster) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._poster = poster
        self.wake = Wake()
        self._lines: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._stopping = False

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    def stop(self) -> None:
        """Post no more; `run` returns when the posts under way have ended."""
        self._stopping = True
        self.wake.set()

    async def run(self) -> None:
        """Report until `stop`; raises what a bug raised."""
        asked = False
        pause: float = 0.0 if not self._config.test_mode else self._config.send_loop_interval
        while not self._stopping:
            if asked or not self._config.test_mode:
                pause = await self._guarded_step(asked=asked)
            asked = await self.wake.wait(pause)
            self._raise_failure()
            await asyncio.sleep(GATHER)
        await self.idle()

    async def step(self, *, asked: bool = False) -> float:
        """Begin a post to each tenant with news that can be reached; return when to look again (seconds).

        `asked`: somebody wants it now, so no backing off.
        """
        now = self._clock.now()
        for tenant_id in await self._store.reports.tenants_due():
            line = self._lines.setdefault(tenant_id, _Line())
            if line.is_busy or (line.not_before > now and not asked):
                continue
            line.is_busy = True
            self._spawn(self._serve(tenant_id, line), f"report to {tenant_id}")
        waits = [line.not_before - now for line in self._lines.values() if line.not_before > now]
        return min([self._config.send_loop_interval, *waits])

    async def idle(self) -> None:
        """Wait until no post is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._raise_failure()

    async def _guarded_step(self, *, asked: bool) -> float:
        try:
            return await self.step(asked=asked)
        except DatabaseError as error:
            log.warning("reporting pauses: %s", error)
            return DATABASE_PAUSE

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
        self.wake.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _serve(self, tenant_id: str, line: _Line) -> None:
        """Post to one tenant until there is nothing left to tell, or it does not answer as it should."""
        try:
            tenant = await self._store.tenants.get(tenant_id)
            target = target_for(tenant, self._config)
            if target is None:
                line.not_before = self._clock.now() + self._config.send_loop_interval
            while target is not None and not self._stopping:
                if not await self._post_next(tenant, target, line):
                    return
        except NotFound:
            return  # deleted meanwhile, with its events
        except DatabaseError as error:
            log.warning("reports to %s pause: %s", tenant_id, error)
            line.not_before = self._clock.now() + DATABASE_PAUSE
        finally:
            line.is_busy = False

    async def _post_next(self, tenant: Tenant, target: Target, line: _Line) -> bool:
        """Post the next batch; return whether to go on with another."""
        batch = await self._store.reports.batch(tenant.id, BATCH)
        if not batch:
            return False
        entries = [entry(each, report_nulls=tenant.report_nulls) for each in batch]
        result = await self._poster.post(target, entries)
        taken = _acknowledged(batch, result)
        if taken:
            await asyncio.shield(self._store.reports.acknowledge(taken, self._clock.now()))
        if len(taken) == len(batch):
            line.backoff = line.not_before = 0.0
            return len(batch) == BATCH
        self._back_off(tenant, line, result)
        return False

    def _back_off(self, tenant: Tenant, line: _Line, result: PostResult) -> None:
        line.backoff = min(max(line.backoff * 2, FIRST_BACKOFF), LONGEST_BACKOFF)
        line.not_before = self._clock.now() + line.backoff
        reason = result.failure or f"the application refused {len(result.error_ids)} messages' events"
        log.warning(
            "reports to %s: %s; again in %.0f s", tenant.id, reason, line.backoff, extra={"tenant": tenant.id}
        )


def _acknowledged(batch: Sequence[Reportable], result: PostResult) -> list[int]:
    """The events that need not be told again."""
    if not result.accepted:
        return []
    return [each.event_id for each in batch if each.id not in result.error_ids]
