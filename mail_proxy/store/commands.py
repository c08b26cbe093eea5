"""The command log: written with every change, read by filters, forgotten after a time."""

from __future__ import annotations

from mail_proxy.model.commands import Command, CommandFilter
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.queries import load

SQL = load("commands")


class Commands:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, command: Command) -> int:
        """Write a command; return its id."""
        return await self._database.write(self._add, command)

    async def complete(self, command_id: int, status: int, tenant_id: str | None) -> None:
        """Say how it was answered, and which tenant it turned out to be about (None: as it was written)."""
        await self._database.write(self._complete, command_id, status, tenant_id)

    async def newest(
        self, which: CommandFilter, limit: int, offset: int = 0, before: Command | None = None
    ) -> list[Command]:
        """Read commands, newest first, of those before one that was read."""
        return await self._database.read(self._newest, which, limit, offset, before)

    async def oldest(self, which: CommandFilter, limit: int, after: Command | None = None) -> list[Command]:
        """Read commands, oldest first, of those after one that was read."""
        return await self._database.read(self._oldest, which, limit, after)

    async def count(self, which: CommandFilter) -> int:
        return await self._database.read(self._count, which)

    async def forget(self, before: float, limit: int) -> int:
        """Delete the oldest of those from before a time, at most `limit`; return how many."""
        return await self._database.write(self._forget, before, limit)

    def _add(self, command: Command) -> Work[int]:
        rows = yield Call(SQL["insert"], command_params(command))
        command_id: int = rows[0]["command_id"]
        return command_id

    def _complete(self, command_id: int, status: int, tenant_id: str | None) -> Work[None]:
        given = {"command_id": command_id, "status": status, "tenant_id": tenant_id}
        yield Call(SQL["complete"], given)

    def _newest(
        self, which: CommandFilter, limit: int, offset: int, before: Command | None
    ) -> Work[list[Command]]:
        # An id is at least 1, so this place is behind all from before `until` and none other.
        place = (which.until, 0) if before is None else (before.ts, before.command_id)
        query = SQL[_of(which, "newest", "newest_of_tenant", "newest_of_endpoints")]
        rows = yield Call(query, _params(which, place) | {"limit": limit, "offset": offset})
        return [_command(row) for row in rows]

    def _oldest(self, which: CommandFilter, limit: int, after: Command | None) -> Work[list[Command]]:
        place = (which.since, 0) if after is None else (after.ts, after.command_id)
        query = SQL[_of(which, "oldest", "oldest_of_tenant", "oldest_of_endpoints")]
        rows = yield Call(query, _params(which, place) | {"limit": limit})
        return [_command(row) for row in rows]

    def _count(self, which: CommandFilter) -> Work[int]:
        query = SQL[_of(which, "count", "count_of_tenant", "count_of_endpoints")]
        rows = yield Call(query, _params(which, (0.0, 0)))
        count: int = rows[0]["n"]
        return count

    def _forget(self, before: float, limit: int) -> Work[int]:
        return len((yield Call(SQL["forget"], {"before": before, "limit": limit})))


def command_params(command: Command) -> dict[str, object]:
    """What the statement `insert` takes."""
    return {
        "ts": command.ts,
        "endpoint": command.endpoint,
        "path": command.path,
        "tenant_id": command.tenant_id,
        "payload": command.payload,
        "status": command.status,
        "client": command.client,
    }


def strip_commands(tenant_id: str) -> Work[None]:
    """Take what the commands of a tenant hold of its data."""
    yield Call(SQL["strip"], {"tenant_id": tenant_id})


def _of(which: CommandFilter, whole: str, of_tenant: str, of_endpoints: str) -> str:
    """Choose the statement whose index fits."""
    if which.tenant_id is not None:
        return of_tenant
    return of_endpoints if which.endpoints else whole


def _params(which: CommandFilter, place: tuple[float, int]) -> dict[str, object]:
    first, second, third = (*which.endpoints, None, None, None)[:3]
    return {
        "tenant_id": which.tenant_id,
        "first": first,
        "second": second,
        "third": third,
        "since": which.since,
        "until": which.until,
        "ts": place[0],
        "command_id": place[1],
    }


def _command(row: Row) -> Command:
    return Command(
        command_id=row["command_id"],
        ts=row["ts"],
        endpoint=row["endpoint"],
        path=row["path"],
        tenant_id=row["tenant_id"],
        payload=row["payload"],
        status=row["status"],
        client=row["client"],
    )
