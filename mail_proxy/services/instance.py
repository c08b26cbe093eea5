"""The instance as a whole: what it is, how it fares, and whether it dispatches."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy import __version__
from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.model.queue import NodeInfo, Waiting
from mail_proxy.store import Store
from mail_proxy.store.settings import ACTIVE

NODE_TIMEOUT = 30.0
"""Seconds after which a node that was not heard of counts as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """What waits to leave, for how long the first has had to wait, and which accounts are out of order.

    `open_circuits` are pairs of tenant and account.
    """

    pending_messages: int
    oldest_seconds: float
    open_circuits: tuple[tuple[str, str], ...]


class InstanceService:
    def __init__(self, store: Store, clock: Clock, bell: Bell, config: Config, where: str) -> None:
        self._store = store
        self._clock = clock
        self._bell = bell
        self._config = config
        self._where = where

    async def is_active(self) -> bool:
        """Whether messages are dispatched; decided by the last activate or suspend, else by configuration."""
        stored = await self._store.settings.get(ACTIVE)
        return self._config.scheduler_active if stored is None else bool(stored)

    async def set_active(self, active: bool) -> None:
        await self._store.settings.put(ACTIVE, active)
        await self._bell.ring()

    async def run_now(self, tenant_id: str | None = None, *, by_tenant: bool = False) -> None:
        """Wake dispatch and reporting: no application is waited for after what it did not take.

        A tenant's own is posted to even if there is nothing to tell; `by_tenant`: also if it did not want to
        be disturbed.
        """
        await self._store.contacts.hurry(tenant_id, self._clock.now(), lifts_dnd=by_tenant)
        await self._bell.ring(run_now=True)

    async def nodes(self) -> list[NodeInfo]:
        """The server processes alive on this database."""
        return await self._store.nodes.alive(self._clock.now() - NODE_TIMEOUT)

    async def waiting(self, tenant_id: str | None = None) -> list[Waiting]:
        """What has still to leave, by tenant, account and status."""
        return await self._store.messages.waiting(tenant_id)

    async def pending_messages(self, tenant_id: str | None = None) -> int:
        return sum(each.count for each in await self.waiting(tenant_id))

    async def pressure(self) -> Pressure:
        """Measure what waits, on all nodes."""
        since = await self._store.messages.ready_since()
        return Pressure(
            pending_messages=await self.pending_messages(),
            oldest_seconds=0.0 if since is None else max(0.0, self._clock.now() - since),
            open_circuits=tuple(
                (each.tenant_id, each.account_id) for each in await self._store.circuits.ailing()
            ),
        )

    async def info(self) -> dict[str, object]:
        """Describe the instance for people and for ``--json``."""
        tenants = await self._store.tenants.all()
        return {
            "name": self._config.instance_name,
            "version": __version__,
            "database": self._where,
            "active": await self.is_active(),
            "tenants": len(tenants),
            "accounts": len(await self._store.accounts.all()),
            "pending_messages": await self.pending_messages(),
            "nodes": [node.name for node in await self.nodes()],
        }

    async def stats(self, tenant_id: str | None = None) -> dict[str, object]:
        """Count messages by status, and what waits for each account."""
        totals = await self._store.messages.totals(tenant_id)
        return {
            "messages": {status.value: count for status, count in totals.items()},
            "waiting": [
                {
                    "tenant_id": each.tenant_id,
                    "account_id": each.account_id,
                    "status": each.status.value,
                    "count": each.count,
                }
                for each in await self.waiting(tenant_id)
            ],
        }
