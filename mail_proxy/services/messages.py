"""Messages: handing in, and seeing what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.encryption import Tracking
from mail_proxy.errors import Conflict, Fault, InvalidInput, NotFound, TooLarge
from mail_proxy.model.messages import Event, Message, MessageFilter, NewMessage, Payload, Status
from mail_proxy.model.names import DEFAULT_TENANT, is_identifier
from mail_proxy.services.intake import Directory, Intake, Rejection, warnings_of
from mail_proxy.store import Store
from mail_proxy.store.messages import Intake as StoredAs

MAX_PAGE = 10_000

HANDFUL = 50
HANDFUL_BYTES = 8 * 1024 * 1024
"""Contents that are in memory together, at most; a larger one is there alone."""

LONGEST_TURN = 0.02
"""Seconds for which the judging of a batch keeps everybody else waiting."""

WAIT_STEP = 0.1
"""Seconds between looks at a message that somebody waits for."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of the messages of one request."""

    queued: int
    rejected: tuple[Rejection, ...]
    warnings: tuple[str, ...]

    @property
    def is_all_invalid(self) -> bool:
        """There were messages, and every one was refused for a fault of its own."""
        return not self.queued and bool(self.rejected) and all(each.is_invalid for each in self.rejected)


@dataclass(frozen=True, slots=True)
class Page:
    """Messages, newest first; `next_cursor` asks for what comes after, None at the end."""

    messages: tuple[Message, ...]
    next_cursor: str | None


class MessagesService:
    def __init__(self, store: Store, clock: Clock, bell: Bell, config: Config, tracking: Tracking) -> None:
        self._store = store
        self._clock = clock
        self._bell = bell
        self._config = config
        self._tracking = tracking

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    async def submit(
        self,
        entries: Sequence[object],
        *,
        tenant_id: str | None = None,
        default_priority: int | None = None,
    ) -> Submission:
        """Queue the valid ones of `entries`, durably when this returns.

        `tenant_id` is the only tenant they may belong to (None: any). Raises `TooLarge` for too many.
        """
        if len(entries) > self._config.max_enqueue_batch:
            raise TooLarge(f"at most {self._config.max_enqueue_batch} messages a request, got {len(entries)}")
        intake = Intake(
            directory=await self._directory(entries, tenant_id),
            tracking=self._tracking,
            default_priority=self._config.default_priority if default_priority is None else default_priority,
            fixed_tenant=tenant_id,
        )
        accepted, rejected = await _judged(intake, entries)
        queued = 0
        if accepted:
            outcomes = await self._store.messages.add(accepted, self._clock.now())
            for message, outcome in zip(accepted, outcomes, strict=True):
                if outcome in (StoredAs.QUEUED, StoredAs.REPLACED):
                    queued += 1
                else:
                    rejected.append(Rejection(message.id, outcome.value, is_invalid=False))
        if queued:
            await self._bell.ring()
        warnings = tuple(text for entry in entries for text in warnings_of(entry))
        return Submission(queued, tuple(rejected), warnings)

    async def list(self, which: MessageFilter, cursor: str | None = None) -> Page:
        """List messages newest first; `which.limit` is at most `MAX_PAGE`."""
        if not 1 <= which.limit <= MAX_PAGE:
            raise InvalidInput.of([Fault(("limit",), f"must be 1 to {MAX_PAGE}")])
        if cursor is not None:
            which = replace(which, below=_place(cursor))
        found = await self._store.messages.page(which)
        following = str(found[-1].seq) if len(found) == which.limit else None
        return Page(tuple(found), following)

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

    async def wait(self, tenant_id: str, message_id: str, timeout: float | None = None) -> Message:
        """Return the message once it has left, failed or is held, or as it is after `timeout` seconds."""
        end = None if timeout is None else self._clock.now() + timeout
        while True:
            message = await self.get(tenant_id, message_id)
            is_held = message.status is Status.DEFERRED and message.deferred_ts is None
            if is_held or not message.status.is_waiting or (end is not None and self._clock.now() >= end):
                return message
            await self._clock.sleep(WAIT_STEP)

    async def _directory(self, entries: Sequence[object], tenant_id: str | None) -> Directory:
        """Read the tenants and accounts that the entries may mean, once for all of them."""
        names = {DEFAULT_TENANT} if tenant_id is None else {tenant_id}
        loose = set()
        for entry in entries if tenant_id is None else ():
            fields = entry if isinstance(entry, Mapping) else {}
            named, account = fields.get("tenant_id"), fields.get("account_id")
            if isinstance(named, str):
                names.add(named)
            elif isinstance(account, str) and is_identifier(account):
                loose.add(account)
        for account_id in loose:
            names.update(account.tenant_id for account in await self._store.accounts.named(account_id))
        tenants = {}
        accounts = {}
        for name in filter(is_identifier, names):
            try:
                tenants[name] = await self._store.tenants.get(name)
            except NotFound:
                continue
            accounts[name] = await self._store.accounts.of_tenant(name)
        return Directory(tenants, accounts)


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


async def _judged(intake: Intake, entries: Sequence[object]) -> tuple[list[NewMessage], list[Rejection]]:
    """Judge one after the other, letting others work in between: a batch can take many seconds."""
    accepted: dict[tuple[str, str], NewMessage] = {}
    rejected = []
    loop = asyncio.get_running_loop()
    turn = loop.time()
    for entry in entries:
        if loop.time() - turn > LONGEST_TURN:
            await asyncio.sleep(0)
            turn = loop.time()
        judged = intake.judge(entry)
        if isinstance(judged, Rejection):
            rejected.append(judged)
        elif (judged.tenant_id, judged.id) in accepted:
            rejected.append(Rejection(judged.id, "duplicate id", is_invalid=False))
        else:
            accepted[judged.tenant_id, judged.id] = judged
    return list(accepted.values()), rejected


def _place(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidInput.of([Fault(("cursor",), "is not one that an earlier answer gave")])
    return int(cursor)
