"""Messages: seeing what became of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mail_proxy.clock import Clock
from mail_proxy.errors import Conflict, Fault, InvalidInput, NotFound
from mail_proxy.model.messages import Event, Message, MessageFilter, Payload, Status
from mail_proxy.services.cursors import cursor_of, place_of
from mail_proxy.store import Store

MAX_PAGE = 10_000

HANDFUL = 50
HANDFUL_BYTES = 1024 * 1024
"""Contents that are in memory together, and shown at one go, at most; a larger one is there alone."""

WAIT_STEP = 0.1
"""Seconds between looks at a message that somebody waits for."""


@dataclass(frozen=True, slots=True)
class Page:
    """Messages, newest first; `next_cursor` asks for what comes after, None at the end."""

    messages: tuple[Message, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A page that was found and not read yet: `seqs` of messages, newest first, that were in `statuses`."""

    seqs: tuple[int, ...]
    statuses: frozenset[Status]
    next_cursor: str | None


class MessagesService:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def list(self, which: MessageFilter, cursor: str | None = None) -> Page:
        """List messages newest first; `which.limit` is at most `MAX_PAGE`."""
        listing = await self.find_page(which, cursor)
        found = [message async for some in self.handfuls(listing) for message in some]
        return Page(tuple(found), listing.next_cursor)

    async def find_page(self, which: MessageFilter, cursor: str | None = None) -> Listing:
        """Find what `list` shows; of up to `MAX_PAGE` messages nothing is in memory yet."""
        if not 1 <= which.limit <= MAX_PAGE:
            raise InvalidInput.of([Fault(("limit",), f"must be 1 to {MAX_PAGE}")])
        if cursor is not None:
            which = replace(which, after=place_of(cursor))
        places = await self._store.messages.places(which)
        following = cursor_of(places[-1]) if len(places) == which.limit else None
        return Listing(tuple(place.seq for place in places), frozenset(which.statuses), following)

    async def handfuls(self, listing: Listing) -> AsyncIterator[Sequence[Message]]:
        """Read a page, so many messages at a time that their contents fit into memory together.

        Messages that went meanwhile, or went on to a state that was not asked for, are left out.
        """
        for start in range(0, len(listing.seqs), HANDFUL):
            some = await self._store.messages.some(listing.seqs[start : start + HANDFUL])
            for part in handfuls([message for message in some if message.status in listing.statuses]):
                yield part

    async def get(self, tenant_id: str, message_id: str) -> Message:
        """Raise `NotFound` when the tenant has no message of this id."""
        return await self._store.messages.get(tenant_id, message_id)

    async def find(self, message_id: str, tenant_id: str | None = None) -> Message:
        """Find a message whose tenant may be left out when its id is unique.

        Raises `NotFound`, or `Conflict` when several tenants have a message of this id.
        """
        if tenant_id is not None:
            return await self.get(tenant_id, message_id)
        found = await self._store.messages.by_id(message_id)
        if len(found) > 1:
            raise Conflict(f"several tenants have a message '{message_id}': say which by tenant_id")
        if not found:
            raise NotFound("message", message_id)
        return found[0]

    async def payload(self, message: Message) -> Payload:
        return await self._store.messages.payload(message.seq)

    async def payloads(self, messages: Sequence[Message]) -> Mapping[int, Payload]:
        """The contents of several messages, by `seq`; of many, a handful at a time (see `handfuls`)."""
        return await self._store.messages.payloads(message.seq for message in messages)

    async def events(self, message: Message) -> Sequence[Event]:
        """What happened to it, in order."""
        return await self._store.messages.events(message.seq)

    async def receipts(self, message: Message) -> Sequence[str]:  # noqa: ARG002 - there is nothing to look for yet
        """Its PEC receipts, raw, in the order in which they arrived. None are collected yet."""
        return []

    async def histories(self, messages: Sequence[Message]) -> Mapping[int, Sequence[Event]]:
        """What happened to several messages, by `seq`."""
        return await self._store.messages.histories(message.seq for message in messages)

    async def tenant_names(self, messages: Sequence[Message]) -> Mapping[str, str | None]:
        """What the tenants of these messages are called."""
        return await self._store.messages.tenant_names({message.tenant_id for message in messages})

    async def wait(self, tenant_id: str, message_id: str, timeout: float | None = None) -> Message:
        """Return the message once it has left, failed or is held, or as it is after `timeout` seconds."""
        end = None if timeout is None else self._clock.now() + timeout
        while True:
            message = await self.get(tenant_id, message_id)
            is_held = message.status is Status.DEFERRED and message.deferred_ts is None
            if is_held or not message.status.is_waiting or (end is not None and self._clock.now() >= end):
                return message
            await self._clock.sleep(WAIT_STEP)


def handfuls(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Part messages, in their order, so that the contents of each part fit into memory together."""
    some: list[Message] = []
    size = 0
    for message in messages:
        if some and (len(some) == HANDFUL or size + message.size > HANDFUL_BYTES):
            yield some
            some, size = [], 0
        some.append(message)
        size += message.size
    if some:
        yield some
