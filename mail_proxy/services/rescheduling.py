"""Rescheduling: trying a message again, or at another time."""

from __future__ import annotations

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.store import Store


class ReschedulingService:
    def __init__(self, store: Store, clock: Clock, bell: Bell) -> None:
        self._store = store
        self._clock = clock
        self._bell = bell

    async def retry(self, tenant_id: str, message_id: str, at: float | None = None) -> None:
        """Let a message that waits or has failed be due now, or at a later time (Unix seconds).

        One whose outcome is unknown, too: whoever asks decides that it may arrive twice. What is suspended
        stays held. Raises `NotFound`, and `Conflict` for one that is being sent, was sent, or has lost its
        account.
        """
        await self._store.rescheduling.retry(tenant_id, message_id, at, self._clock.now())
        await self._bell.ring()
