"""What applications are still to be told, and how telling them goes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.names import IDENTIFIER
from mail_proxy.model.reports import ReportState, SyncState, Untold, UntoldPlace
from mail_proxy.store import Store

CURSOR = rf"^({IDENTIFIER.pattern}):(0|[1-9][0-9]{{0,17}})$"
"""A tenant, and the number of one of its events."""

NOT_TAKEN = "the application that the instance's reports go to did not take it"
"""All that a tenant is told of an application that is not its own."""


@dataclass(frozen=True, slots=True)
class UntoldPage:
    """Events, by tenant and in their order; `next_cursor` asks for what comes after, None at the end."""

    events: tuple[Untold, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """`next_due`: when the tenant's application is posted to next, in Unix seconds; None: nothing is due.

    `in_dnd`: its application does not want to be disturbed without news now.
    """

    state: SyncState
    next_due: float | None
    in_dnd: bool


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
        """Seconds after which an application is posted to even if there is nothing to tell."""
        return self._config.sync_interval

    async def untold(
        self,
        tenant_id: str | None = None,
        *,
        states: frozenset[ReportState] | None = None,
        limit: int = 1000,
        cursor: str | None = None,
        by_tenant: bool = False,
    ) -> UntoldPage:
        """List events that applications were not told of, in these states or in any.

        `by_tenant`: the tenant itself asks. Raises `InvalidInput` for a wrong cursor.
        """
        after = None if cursor is None else _place(cursor)
        found = await self._store.reports.untold(tenant_id, states, after, limit)
        if by_tenant and tenant_id is not None and await self._is_told_elsewhere(tenant_id):
            found = [replace(each, last_error=each.last_error and NOT_TAKEN) for each in found]
        following = None
        if len(found) == limit:
            following = f"{found[-1].event.tenant_id}:{found[-1].event.event_id}"
        return UntoldPage(tuple(found), following)

    async def replay(self, tenant_id: str | None = None, since: float | None = None) -> int:
        """Tell one tenant's application, or everybody's, again what happened since then; return of how much.

        What was refused or given up is told, too; without `since` that alone. Nobody waits any longer after a
        failure. Raises `NotFound` when there is no such tenant.
        """
        now = self._clock.now()
        if since is None:
            count = await self._store.reports.replay_failed(tenant_id, now)
        else:
            count = await self._store.reports.replay_since(tenant_id, since, now)
        if count or since is None:
            await self._store.contacts.hurry(tenant_id, now, lifts_dnd=False)
            await self._bell.ring()
        return count

    async def sync_status(self) -> list[SyncStatus]:
        """Tell of each tenant how the reporting goes."""
        now = self._clock.now()
        return [
            SyncStatus(each, self._next_due(each, now), in_dnd=(each.dnd_until or 0.0) > now)
            for each in await self._store.reports.sync_states()
        ]

    async def _is_told_elsewhere(self, tenant_id: str) -> bool:
        return (await self._store.tenants.get(tenant_id)).client_base_url is None

    def _next_due(self, state: SyncState, now: float) -> float | None:
        if not (state.client_base_url or self._config.client_sync_url):
            return None
        moments: list[float] = []
        if state.pending > state.refused:
            moments.append(now)
        if state.refused and state.again_ts is not None:
            moments.append(state.again_ts)
        if state.active and state.beat_at is not None:
            moments.append(state.beat_at)
        return max(now, min(moments), state.next_try_ts or 0.0) if moments else None


def _place(cursor: str) -> UntoldPlace:
    match = re.fullmatch(CURSOR, cursor)
    if match is None:
        raise InvalidInput.of([Fault(("cursor",), "is not one that an earlier answer gave")])
    return UntoldPlace(match[1], int(match[2]))
