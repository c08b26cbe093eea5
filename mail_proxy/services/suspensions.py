"""Suspensions: holding back a batch, or all of a tenant, and letting it go on."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.model.suspensions import Suspension
from mail_proxy.services.inputs import fault_in
from mail_proxy.services.message_inputs import MessageInput
from mail_proxy.store import Store
from mail_proxy.store.suspensions import Marking, MarkingKey

PATIENCE = 5.0
"""Seconds after which what is left to mark is left to the next look, by whatever node."""


class SuspensionsService:
    """Both are idempotent, and tell what is suspended then; a batch that is None stands for everything.

    Both raise `NotFound`, and `InvalidInput` for what no batch can be called.
    """

    def __init__(self, store: Store, clock: Clock, bell: Bell) -> None:
        self._store = store
        self._clock = clock
        self._bell = bell
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._begun: dict[MarkingKey, Marking] = {}  # how far what is marked in several looks has come

    async def suspend(self, tenant_id: str, batch_code: str | None = None) -> Suspension:
        """Hold back what has not been sent, on every node, until it is activated."""
        await self._store.suspensions.suspend(tenant_id, _batch(batch_code), self._clock.now())
        await self._follow(tenant_id)
        return await self._seen(tenant_id, batch_code)

    async def activate(self, tenant_id: str, batch_code: str | None = None) -> Suspension:
        """Let one batch go on, or everything.

        Raises `Conflict` for a single batch while everything is suspended.
        """
        await self._store.suspensions.activate(tenant_id, _batch(batch_code))
        await self._follow(tenant_id)
        await self._bell.ring()
        return await self._seen(tenant_id, batch_code)

    async def catch_up(self) -> None:
        """Do what was left, being too much at once or its process having died: to be called now and then."""
        if await self._mark(self._clock.now() + PATIENCE):
            await self._bell.ring()

    async def _follow(self, tenant_id: str) -> None:
        """Mark what one tenant has changed; of many changes at once, the first that marks does it for all."""
        until = self._clock.now() + PATIENCE
        async with self._turns.setdefault(tenant_id, asyncio.Lock()):
            await self._mark(until, tenant_id)

    async def _mark(self, until: float, tenant_id: str | None = None) -> bool:
        """Let the flags of messages follow what is suspended, tenants in turn; return whether any changed."""
        found = await self._store.suspensions.markings()
        self._begun = {each.key: self._begun.get(each.key, each) for each in found}
        left = [each for each in self._begun.values() if tenant_id in (None, each.tenant_id)]
        has_changed = False
        while left and self._clock.now() < until:
            marked = [await self._store.suspensions.mark(each, self._clock.now()) for each in left]
            has_changed = has_changed or any(each.changed for each in marked)
            for each in left:
                self._begun.pop(each.key, None)
            left = [each for each in marked if each.status is not None]
            self._begun |= {each.key: each for each in left}
        return has_changed

    async def _seen(self, tenant_id: str, batch_code: str | None) -> Suspension:
        found = await self._store.suspensions.of(tenant_id, batch_code)
        return Suspension(
            tenant_id=tenant_id,
            batch_code=batch_code,
            suspended_batches=found.batches,
            pending_messages=found.waiting,
        )


def _batch(code: str | None) -> str:
    """What is stored of it: a batch that nothing can be in must not come to mean everything."""
    if code is None:
        return EVERYTHING
    if (fault := fault_in(MessageInput, "batch_code", code)) is not None:
        raise InvalidInput.of([Fault(("batch_code",), fault)])
    return code
