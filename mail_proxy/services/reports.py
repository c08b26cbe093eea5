"""What applications are still to be told, and how telling them goes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.names import IDENTIFIER
from mail_proxy.model.reports import ReportState, SyncState, Untold, UntoldPlace
from mail_proxy.store import Store

CURSOR = rf"^({IDENTIFIER.pattern}):(0|[1-9][0-9]{{0,17}})$"
"""A tenant, and the number of one of its events."""


@dataclass(frozen=True, slots=True)
class UntoldPage:
    """Events, by tenant and in their order; `next_cursor` asks for what comes after, None at the end."""

    events: tuple[Untold, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """`next_due`: when the tenant's application is posted to next, in Unix seconds; None: nothing is due."""

    state: SyncState
    next_due: float | None


class ReportsService:
    def __init__(self, store: Store, clock: Clock, bell: Bell, config: Config) -> None:
        self._store = store
        self._clock = clock
        self._bell = bell
        self._config = config

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    @property
    def interval(self) -> float:
        """Seconds after which the reporter looks for what is due, when nothing told it to."""
        return self._config.send_loop_interval

    async def untold(
        self,
        tenant_id: str | None = None,
        *,
        state: ReportState | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> UntoldPage:
        """List events that applications were not told of; raise `InvalidInput` for a wrong cursor."""
        after = None if cursor is None else _place(cursor)
        found = await self._store.reports.untold(tenant_id, state, after, limit)
        following = None
        if len(found) == limit:
            following = f"{found[-1].event.tenant_id}:{found[-1].event.event_id}"
        return UntoldPage(tuple(found), following)

    async def replay(self, tenant_id: str, since: float) -> int:
        """Tell the tenant's application again what happened since then; return how many events that are.

        Raises `NotFound` when there is no such tenant.
        """
        count = await self._store.reports.replay(tenant_id, since, self._clock.now())
        if count:
            await self._bell.ring()
        return count

    async def sync_status(self) -> list[SyncStatus]:
        """Tell of each tenant how the reporting goes."""
        return [SyncStatus(each, self._next_due(each)) for each in await self._store.reports.sync_states()]

    def _next_due(self, state: SyncState) -> float | None:
        if not state.pending or not (state.client_base_url or self._config.client_sync_url):
            return None
        return max(self._clock.now(), state.next_try_ts or 0.0)


def _place(cursor: str) -> UntoldPlace:
    match = re.fullmatch(CURSOR, cursor)
    if match is None:
        raise InvalidInput.of([Fault(("cursor",), "is not one that an earlier answer gave")])
    return UntoldPlace(match[1], int(match[2]))
