"""The command log: what was asked of the API that may have changed something, and how that was answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from mail_proxy.model.commands import Command, CommandFilter
from mail_proxy.services.encoding import encoded
from mail_proxy.services.redaction import submission_payload
from mail_proxy.services.views import command_view
from mail_proxy.store import Store

CHUNK = 50
"""Commands that are in memory together: each may hold `redaction.MAX_PAYLOAD`."""

METHODS = ("POST", "PUT", "DELETE")
"""Of the requests that may change something."""


@dataclass(slots=True)
class Record:
    """A request on its way into the log, and its body as parsed; see `Command`.

    Whoever writes it there says so (`is_written`).
    """

    ts: float
    endpoint: str
    path: str
    tenant_id: str | None
    client: str | None
    payload: str | None = None
    status: int | None = None
    command_id: int = 0
    body: dict[str, object] | None = None
    is_written: bool = False

    def about(self, tenant_id: str) -> None:
        """Note which tenant it is about."""
        self.tenant_id = tenant_id

    def submission(
        self, entries: Sequence[object], default_priority: int | None, tenants: Collection[str]
    ) -> Command:
        """Return the command as it is written with the messages that it queues, those of these tenants."""
        is_one_tenants = len(tenants) == 1
        if is_one_tenants:
            self.tenant_id = next(iter(tenants))
        self.payload = submission_payload(entries, default_priority, is_one_tenants=is_one_tenants)
        self.status = 200
        return self.command()

    def command(self) -> Command:
        """Return what is written."""
        return Command(
            ts=self.ts,
            endpoint=self.endpoint,
            path=self.path,
            tenant_id=self.tenant_id,
            payload=self.payload,
            status=self.status,
            client=self.client,
        )


class CommandLog:
    def __init__(self, store: Store) -> None:
        self._commands = store.commands

    async def write(self, record: Record) -> None:
        """Put a request into the log, which has its status if it is answered already."""
        record.command_id = await self._commands.add(record.command())
        record.is_written = True

    async def complete(self, record: Record, status: int) -> None:
        """Add to a request in the log how it was answered, and about which tenant it was."""
        await self._commands.complete(record.command_id, status, record.tenant_id)

    async def count(self, which: CommandFilter) -> int:
        return await self._commands.count(which)

    async def newest(
        self, which: CommandFilter, limit: int, offset: int = 0
    ) -> AsyncIterator[Sequence[Command]]:
        """Read at most `limit` commands, newest first, some at a time."""
        last = None
        while limit > 0:
            size = min(CHUNK, limit)
            some = await self._commands.newest(which, size, offset if last is None else 0, last)
            if some:
                yield some
            if len(some) < size:
                return
            limit, last = limit - size, some[-1]

    async def oldest(self, which: CommandFilter) -> AsyncIterator[Sequence[Command]]:
        """Read all commands, oldest first, some at a time."""
        last = None
        while some := await self._commands.oldest(which, CHUNK, last):
            yield some
            last = some[-1]


def endpoints_named(text: str) -> tuple[str, ...]:
    """Return the endpoints that are meant by a name such as ``PUT /account/{id}``, or by its path alone."""
    return (text,) if " " in text else tuple(f"{method} {text}" for method in METHODS)


def as_lines(commands: Sequence[Command]) -> bytes:
    """Encode commands as lines of JSON, each a `command_view`."""
    return b"".join(encoded(command_view(each)) + b"\n" for each in commands)
