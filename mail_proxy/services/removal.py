"""Removal: deleting messages by their ids, and those that have had their time; giving up telling."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.model.removal import Removal
from mail_proxy.store import Store
from mail_proxy.store.removal import CHUNK, Owner, Sweep

log = logging.getLogger(__name__)

UNREPORTABLE = 30 * 86_400.0
"""Seconds after which an event that could not be reported is given up, and counts as reported."""


Told = Callable[[int], None]
"""Is told how many more are gone, for who wants to watch."""


def nobody(_count: int) -> None:
    """Who does not want to be told."""


class RemovalService:
    def __init__(self, store: Store, clock: Clock, config: Config) -> None:
        self._store = store
        self._clock = clock
        self._config = config

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    async def delete(
        self,
        ids: Sequence[str],
        tenant_id: str | None = None,
        *,
        force: bool = False,
        tells_foreign: bool,
        told: Told = nobody,
    ) -> Removal:
        """Delete messages with all that is stored of them; their last trace is a line in the log.

        Without a tenant, an id goes by its owner, if it has only one. What is being sent is kept, and without
        `force` what is sent and not yet reported. `tells_foreign`: whoever asks may know what others have.
        """
        wanted = list(dict.fromkeys(ids))
        result = Removal()
        for start in range(0, len(wanted), CHUNK):
            done = await self._store.removals.delete(
                wanted[start : start + CHUNK],
                tenant_id,
                force=force,
                tells_all=self._config.client_sync_url is not None,
            )
            for each in done.removed:
                extra = {"tenant": each.tenant_id, "message_id": each.id, "pk": each.pk}
                log.info("message %s of %s was deleted", each.id, each.tenant_id, extra=extra)
            foreign = await self._store.removals.foreign(done.not_found) if tells_foreign else set()
            result = Removal(
                removed=result.removed + done.removed,
                not_found=result.not_found + tuple(each for each in done.not_found if each not in foreign),
                foreign=result.foreign + tuple(each for each in done.not_found if each in foreign),
                kept=result.kept | done.kept,
            )
            told(len(wanted[start : start + CHUNK]))
        return result

    async def cleanup(
        self, tenant_id: str | None = None, older_than: float | None = None, *, told: Told = nobody
    ) -> int:
        """Delete what left, and was told of, so many seconds ago (None: as configured); return how many.

        Never what has still to leave, nor what somebody is still to be told of.
        """
        age = self._config.delivery_report_retention_seconds if older_than is None else older_than
        before = self._clock.now() - age
        owners = await self._store.removals.owners()
        concerned = [each for each in owners if tenant_id in (None, each.tenant_id)]
        removed = sum([await self._sweep(each, before, told) for each in concerned])
        if removed:
            log.info("removed %d messages that were told of more than %.0f seconds ago", removed, age)
        return removed

    async def give_up(self) -> int:
        """Try no more to tell applications what they have not taken for too long; return of how many events.

        Only where there is somebody to tell, and has failed to be told: nothing else could not be reported.
        """
        before = self._clock.now() - UNREPORTABLE
        stuck = await self._store.reports.stuck()
        total = 0
        for owner in await self._store.removals.owners():
            kinds = stuck.get(owner.tenant_id)
            if kinds is None or not self._is_told(owner):
                continue
            if count := await self._store.reports.give_up(owner.tenant_id, kinds, before):
                extra = {"tenant": owner.tenant_id}
                log.warning("gave up telling %s of %d events", owner.tenant_id, count, extra=extra)
                total += count
        return total

    async def forget_commands(self, before: float | None = None, *, told: Told = nobody) -> int:
        """Delete from the log of commands what is from before a time, or too old; return how much."""
        if before is None:
            before = self._clock.now() - self._config.command_log_retention_seconds
        forgotten = 0
        while count := await self._store.commands.forget(before, CHUNK):
            forgotten += count
            told(count)
        return forgotten

    def _is_told(self, owner: Owner) -> bool:
        return owner.has_address or self._config.client_sync_url is not None

    async def _sweep(self, owner: Owner, before: float, told: Told) -> int:
        untold_before = before - UNREPORTABLE if self._is_told(owner) else before
        removed = 0
        for is_untold in (False, True):
            sweep = Sweep(
                tenant_id=owner.tenant_id, before=before, untold_before=untold_before, is_untold=is_untold
            )
            while not sweep.is_over:
                gone = sweep.removed
                sweep = await self._store.removals.sweep(sweep)
                told(sweep.removed - gone)
            removed += sweep.removed
        return removed
