"""Handing in: judging the messages of a request and queueing the valid ones, durably."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.encryption import Tracking
from mail_proxy.errors import TooLarge
from mail_proxy.model.commands import Command
from mail_proxy.model.messages import NewMessage
from mail_proxy.model.names import DEFAULT_TENANT, is_identifier
from mail_proxy.services.authentication import AuthenticationService, Principal
from mail_proxy.services.command_log import Record
from mail_proxy.services.judging import Directory, Judge, Rejection, warnings_of
from mail_proxy.services.standings import Standings
from mail_proxy.store import Store
from mail_proxy.store.intake import Outdated, Taken

IN_QUEUE = (Taken.QUEUED, Taken.REPLACED)

LONGEST_TURN = 0.02
"""Seconds for which the judging of a batch keeps everybody else waiting."""

FEW = 20
"""Messages that are judged at once; larger batches wait for each other, so that their turns do not add up."""


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
    def __init__(
        self,
        store: Store,
        clock: Clock,
        bell: Bell,
        config: Config,
        *,
        tracking: Tracking,
        standings: Standings,
        authentication: AuthenticationService,
    ) -> None:
        self._store = store
        self._clock = clock
        self._bell = bell
        self._config = config
        self._tracking = tracking
        self._standings = standings
        self._authentication = authentication
        self._judging = asyncio.Lock()

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    async def submit(
        self,
        entries: Sequence[object],
        *,
        tenant_id: str | None = None,
        asker: Principal | None = None,
        default_priority: int | None = None,
        record: Record | None = None,
    ) -> Submission:
        """Queue the valid ones of `entries`, durably when this returns.

        `tenant_id` is the only tenant they may belong to (None: any); or it is that of the `asker`, whose key
        has to be good still when they are stored. `record` goes into the command log with them. Raises
        `TooLarge` for too many, `Unauthorized` for a key that has died.
        """
        if len(entries) > self._config.max_enqueue_batch:
            raise TooLarge(f"at most {self._config.max_enqueue_batch} messages a request, got {len(entries)}")
        asker = asker or Principal(tenant_id)
        priority = self._config.default_priority if default_priority is None else default_priority
        directory = await self._directory(entries, asker, anew=False)
        while True:
            judge = Judge(directory, self._tracking, priority, asker.tenant_id)
            accepted, rejected = await self._judged(judge, entries)
            if rejected and (now := await self._directory(entries, asker, anew=True)) != directory:
                directory = now  # an account may have come since
                continue
            versions = {each.tenant_id: directory.tenants[each.tenant_id].version for each in accepted}
            concerned = versions.keys() | _named_in(entries) if rejected else versions.keys()
            command = record.submission(entries, default_priority, concerned) if record and accepted else None
            try:
                rejected += await self._stored(accepted, versions, command)
                break
            except Outdated:
                directory = await self._directory(entries, asker, anew=True)
        if record is not None:
            record.is_written = command is not None
        queued = len(entries) - len(rejected)
        if queued:
            await self._bell.ring()
        warnings = [text for entry in entries for text in warnings_of(entry)]
        return Submission(queued, tuple(rejected), tuple(warnings))

    async def _stored(
        self, accepted: Sequence[NewMessage], versions: Mapping[str, int], command: Command | None
    ) -> list[Rejection]:
        """Store what was accepted; return what the store would not take. Raises `Outdated`."""
        if not accepted:
            return []
        now = self._clock.now()
        outcomes = await self._store.intake.add(accepted, now, versions=versions, command=command)
        return [
            Rejection(message.id, outcome.value, is_invalid=False)
            for message, outcome in zip(accepted, outcomes, strict=True)
            if outcome not in IN_QUEUE
        ]

    async def _judged(
        self, judge: Judge, entries: Sequence[object]
    ) -> tuple[list[NewMessage], list[Rejection]]:
        """Judge a few at once; of many only one request's at a time."""
        if len(entries) <= FEW:
            return await _judged_in_turns(judge, entries, asyncio.get_running_loop().time())
        async with self._judging:
            return await _judged_in_turns(judge, entries, 0.0)

    async def _directory(self, entries: Sequence[object], asker: Principal, *, anew: bool) -> Directory:
        """Find the tenants that the entries may mean; `anew`: as they are now, and not from memory."""
        if asker.tenant_id is not None and not anew:
            standing = self._standings.remembered(asker.tenant_id)
            if standing is not None and asker.version in (None, standing.version):
                return Directory({asker.tenant_id: standing})
        if asker.key_hash is None:
            return Directory(await self._standings.of(await self._named(entries, asker), anew=anew))
        while True:
            asker = await self._authentication.confirm(asker) if anew else asker
            tenants = await self._standings.of([asker.tenant_id or ""], anew=anew)
            if all(standing.version == asker.version for standing in tenants.values()):
                return Directory(tenants)
            anew = True  # one of the two is out of date

    async def _named(self, entries: Sequence[object], asker: Principal) -> set[str]:
        """The tenants that are named, or may be meant by an account's id alone."""
        if asker.tenant_id is not None:
            return {asker.tenant_id}
        names, loose = {DEFAULT_TENANT}, set()
        for entry in entries:
            fields = entry if isinstance(entry, Mapping) else {}
            named, account = fields.get("tenant_id"), fields.get("account_id")
            if isinstance(named, str):
                names.add(named)
            elif isinstance(account, str) and is_identifier(account):
                loose.add(account)
        for account_id in loose:
            names.update(await self._store.accounts.owners(account_id))
        return set(filter(is_identifier, names))


def _named_in(entries: Sequence[object]) -> set[str]:
    """The tenants that messages say they are of."""
    named = (entry.get("tenant_id") for entry in entries if isinstance(entry, Mapping))
    return {name for name in named if isinstance(name, str)}


class _Verdicts:
    """What became of the messages of a request, each id once."""

    def __init__(self) -> None:
        self.accepted: dict[tuple[str, str], NewMessage] = {}
        self.rejected: list[Rejection] = []

    def add(self, judged: NewMessage | Rejection) -> None:
        if isinstance(judged, Rejection):
            self.rejected.append(judged)
        elif (key := (judged.tenant_id, judged.id)) in self.accepted:
            self.rejected.append(Rejection(judged.id, "duplicate id", is_invalid=False))
        else:
            self.accepted[key] = judged


async def _judged_in_turns(
    judge: Judge, entries: Sequence[object], turn: float
) -> tuple[list[NewMessage], list[Rejection]]:
    """Let others work in between, once this `turn` is over: one message can be of many megabytes."""
    verdicts = _Verdicts()
    loop = asyncio.get_running_loop()
    for entry in entries:
        if loop.time() - turn > LONGEST_TURN:
            await asyncio.sleep(0)
            turn = loop.time()
        verdicts.add(judge.judge(entry))
    return list(verdicts.accepted.values()), verdicts.rejected
