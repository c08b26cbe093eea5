"""From a claimed message to what goes on the wire: content read, MIME written, memory accounted for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mail_proxy.clock import Clock
from mail_proxy.encryption import Tracking
from mail_proxy.errors import NotFound
from mail_proxy.model.messages import Payload, PayloadKind
from mail_proxy.model.queue import Claimed
from mail_proxy.model.verdicts import Bounced, Scope
from mail_proxy.services.payloads import draft_of
from mail_proxy.smtp import eml, mime
from mail_proxy.smtp.agent import Envelope
from mail_proxy.store import Store

LARGE = 256 * 1024
"""Bytes from which a content is written in a thread, so that the loop stays free."""


class ByteBudget:
    """Lets contents into memory as long as they fit; one that never fits goes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._freed = asyncio.Condition()

    @property
    def is_full(self) -> bool:
        return self._used >= self._limit

    async def take(self, size: int) -> None:
        async with self._freed:
            await self._freed.wait_for(lambda: not self._used or self._used + size <= self._limit)
            self._used += size

    async def give_back(self, size: int) -> None:
        async with self._freed:
            self._used -= size
            self._freed.notify_all()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message ready for the delivery agent; leaving the context gives its memory back."""

    envelope: Envelope
    content: bytes
    _budget: ByteBudget
    _size: int

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._budget.give_back(self._size)


class Preparer:
    def __init__(self, store: Store, clock: Clock, tracking: Tracking, max_bytes: int) -> None:
        self._store = store
        self._clock = clock
        self._tracking = tracking
        self._budget = ByteBudget(max_bytes)

    @property
    def is_full(self) -> bool:
        return self._budget.is_full

    async def prepare(self, claimed: Claimed) -> Prepared | Bounced:
        """Read and write the content; what cannot be written bounces, naming the reason."""
        await self._budget.take(claimed.size)
        try:
            payload = claimed.payload or await self._store.messages.payload(claimed.seq)
            work = self._from_fields if payload.kind is PayloadKind.FIELDS else self._from_raw
            if claimed.size >= LARGE:
                content, needs_smtputf8 = await asyncio.to_thread(work, claimed, payload)
            else:
                content, needs_smtputf8 = work(claimed, payload)
        except (ValueError, NotFound) as error:
            await self._budget.give_back(claimed.size)
            return Bounced(reply=f"the message cannot be written: {error}", scope=Scope.MESSAGE)
        except BaseException:
            await self._budget.give_back(claimed.size)
            raise
        envelope = _envelope(claimed, needs_smtputf8=needs_smtputf8)
        return Prepared(envelope, content, self._budget, claimed.size)

    def _from_fields(self, claimed: Claimed, payload: Payload) -> tuple[bytes, bool]:
        built = mime.build(
            draft_of(payload),
            message_id=claimed.message_id,
            date=claimed.created_at,
            tracking_id=self._tracking.id_for(claimed.pk),
        )
        return built.content, built.needs_smtputf8

    def _from_raw(self, claimed: Claimed, payload: Payload) -> tuple[bytes, bool]:
        parsed = eml.parse(payload.content)
        content = eml.prepare(
            payload.content,
            tracking_id=self._tracking.id_for(claimed.pk),
            message_id=claimed.message_id,
            date=claimed.created_at,
        )
        return content, parsed.needs_smtputf8


def _envelope(claimed: Claimed, *, needs_smtputf8: bool) -> Envelope:
    return Envelope(
        sender=claimed.envelope_from or "",
        recipients=tuple(each.address for each in claimed.recipients if each.status.is_open),
        needs_smtputf8=needs_smtputf8,
    )
