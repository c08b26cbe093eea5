"""Handing in: judging the messages of a request and queueing the valid ones, durably."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.encryption import Tracking
from mail_proxy.errors import NotFound, TooLarge
from mail_proxy.model.messages import NewMessage
from mail_proxy.model.names import DEFAULT_TENANT, is_identifier
from mail_proxy.services.judging import Directory, Judge, Rejection, warnings_of
from mail_proxy.store import Store
from mail_proxy.store.intake import Taken

LONGEST_TURN = 0.02
"""Seconds for which the judging of a batch keeps everybody else waiting."""


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


class IntakeService:
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
        judge = Judge(
            directory=await self._directory(entries, tenant_id),
            tracking=self._tracking,
            default_priority=self._config.default_priority if default_priority is None else default_priority,
            fixed_tenant=tenant_id,
        )
        accepted, rejected = await _judged(judge, entries)
        queued = 0
        if accepted:
            outcomes = await self._store.intake.add(accepted, self._clock.now())
            for message, outcome in zip(accepted, outcomes, strict=True):
                if outcome in (Taken.QUEUED, Taken.REPLACED):
                    queued += 1
                else:
                    rejected.append(Rejection(message.id, outcome.value, is_invalid=False))
        if queued:
            await self._bell.ring()
        warnings = tuple(text for entry in entries for text in warnings_of(entry))
        return Submission(queued, tuple(rejected), warnings)

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


async def _judged(judge: Judge, entries: Sequence[object]) -> tuple[list[NewMessage], list[Rejection]]:
    """Judge one after the other, letting others work in between: a batch can take many seconds."""
    accepted: dict[tuple[str, str], NewMessage] = {}
    rejected = []
    loop = asyncio.get_running_loop()
    turn = loop.time()
    for entry in entries:
        if loop.time() - turn > LONGEST_TURN:
            await asyncio.sleep(0)
            turn = loop.time()
        judged = judge.judge(entry)
        if isinstance(judged, Rejection):
            rejected.append(judged)
        elif (judged.tenant_id, judged.id) in accepted:
            rejected.append(Rejection(judged.id, "duplicate id", is_invalid=False))
        else:
            accepted[judged.tenant_id, judged.id] = judged
    return list(accepted.values()), rejected
