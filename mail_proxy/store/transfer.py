"""Everything that an instance has in one database, copied into another that holds nothing yet."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mail_proxy.errors import Conflict, DatabaseUnusable
from mail_proxy.store.backup import Tell, whole_file
from mail_proxy.store.integrity import look
from mail_proxy.store.migration import Table, tables
from mail_proxy.store.tables import PostgresTables, Rows, SqliteTables, Tables, Values

OF_ITS_OWN = ("nodes",)
"""Tables whose rows are about one database alone."""

MOST = 512
ENOUGH = 8 * 2**20
"""Rows, and bytes of them, that are held at a time: contents are small as a rule, and large now and then."""

_MODULUS = 2**128


Held = Callable[[], Awaitable[None]]
"""Called once nobody can write any more; what it raises, ends it before anything was written."""


class Place(NamedTuple):
    """A database: the path of a SQLite file, or a URL, and how messages name it."""

    target: str | Path
    where: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a table holds: how many rows, and a sum over them that does not depend on their order."""

    rows: int = 0
    sum: int = 0

    def with_rows(self, rows: Sequence[Values]) -> Contents:
        return Contents(self.rows + len(rows), (self.sum + sum(map(_digest, rows))) % _MODULUS)


async def transfer(
    source: Place,
    target: Place,
    tell: Tell,
    *,
    held: Held | None = None,
    replace: bool = False,
    gap: int = 0,
) -> int:
    """Copy all rows between two databases, and compare them; return how many there are.

    All is written, or nothing: into one transaction, or a file that appears at the end, of which `replace`
    says that it may take the place of another. With `held`, nobody writes into the source meanwhile. What is
    new in the target leaves out `gap` numbers. Raises `Conflict` when the target is in use,
    `DatabaseUnusable` when the two do not fit, `DatabaseUnavailable`, and `InstanceError`.
    """
    version = await version_of(source)
    copied = [table for table in tables(version) if table.name not in OF_ITS_OWN]
    async with _reading(source, exclusive=held is not None) as given:
        if held is not None:
            await held()
        rows = sum([await given.count(table.name) for table in copied])
        if not rows:
            raise _nothing_in(source)
        async with _filling(target, version, replace=replace) as taking:
            await _copy(given, taking, copied, _Counter(tell, 2 * rows), gap)
    return rows


async def version_of(source: Place) -> int:
    """Look at a database that is to be copied; raise `DatabaseUnusable` for one that cannot be."""
    found = await look(*source, thorough=False)
    for problem in found.problems:
        raise DatabaseUnusable(f"database {source.where} cannot be copied: {problem}")
    if found.version is None:
        raise _nothing_in(source)
    if found.version > found.newest:
        raise DatabaseUnusable(
            f"database {source.where} has schema version {found.version}, this mail-proxy knows up to "
            f"{found.newest}: copy it with the mail-proxy that has written it"
        )
    return found.version


def _nothing_in(source: Place) -> DatabaseUnusable:
    return DatabaseUnusable(f"database {source.where} is empty: there is nothing to copy")


def _reading(source: Place, *, exclusive: bool) -> AbstractAsyncContextManager[Tables]:
    if isinstance(source.target, Path):
        return SqliteTables.reading(source.target, exclusive=exclusive)
    return PostgresTables.reading(source.target, source.where, exclusive=exclusive)


@contextlib.asynccontextmanager
async def _filling(target: Place, version: int, *, replace: bool) -> AsyncIterator[Tables]:
    if isinstance(target.target, Path):
        with whole_file(target.target, replace=replace) as part:
            async with SqliteTables.filling(part, target.where, version) as taking:
                yield taking
        return
    await _refuse_unfit(target.target, target.where, version)
    async with PostgresTables.filling(target.target, target.where, version) as taking:
        yield taking


async def _refuse_unfit(url: str, where: str, version: int) -> None:
    """Look before anything is made or held there: it may be the very database that is copied."""
    found = await look(url, where, thorough=False)
    for problem in found.problems:
        raise DatabaseUnusable(f"database {where} cannot be copied to: {problem}")
    if found.version is None:
        return
    async with PostgresTables.reading(url, where, exclusive=False) as there:
        for table in tables(found.version):
            await _refuse_used(there, table)
    if found.version > version:
        raise Conflict(
            f"database {where} has schema version {found.version}, and what is to be copied {version}: "
            "'db upgrade' it first"
        )


async def _refuse_used(database: Tables, table: Table) -> None:
    if table.name not in OF_ITS_OWN and await database.count(table.name):
        raise Conflict(
            f"database {database.where} holds an instance already (there are rows in {table.name}): "
            "give an empty one"
        )


async def _copy(source: Tables, target: Tables, copied: Sequence[Table], counter: _Counter, gap: int) -> None:
    for table in copied:
        await _refuse_used(target, table)
    columns = {table: await _columns_of_both(source, target, table) for table in copied}
    written = {table: await _copy_table(source, target, table, columns[table], counter) for table in copied}
    for table in copied:
        # A number of a row that is gone must not be given again: applications know events by theirs.
        if table.identity is not None and (number := await source.last_number(table) + gap):
            await target.go_on_after(table, number)
    for table, contents in written.items():
        found = Contents()
        async for rows in _stretches(await target.read(table.name, columns[table])):
            found = found.with_rows(rows)
            counter.add(len(rows))
        if found != contents:
            raise DatabaseUnusable(
                f"database {target.where} does not hold what was written into {table.name}: nothing was kept"
            )


async def _columns_of_both(source: Tables, target: Tables, table: Table) -> Sequence[str]:
    columns = await source.columns(table.name)
    if set(columns) != set(await target.columns(table.name)):
        raise DatabaseUnusable(
            f"the table {table.name} has other columns in {source.where} than in {target.where}"
        )
    return columns


async def _copy_table(
    source: Tables, target: Tables, table: Table, columns: Sequence[str], counter: _Counter
) -> Contents:
    contents = Contents()
    async for rows in _stretches(await source.read(table.name, columns)):
        await target.write(table.name, columns, rows)
        contents = contents.with_rows(rows)
        counter.add(len(rows))
    return contents


class _Counter:
    """Tells how far it has come: each row is read, and read again where it was written."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell = tell
        self._total = total
        self._done = 0

    def add(self, rows: int) -> None:
        self._done += rows
        self._tell(self._done, self._total)


async def _stretches(rows: Rows) -> AsyncIterator[Sequence[Values]]:
    """Take rows in stretches that grow as long as they are small."""
    count = 1
    while taken := await rows.take(count):
        yield taken
        count = min(MOST, 2 * count) if sum(map(_size, taken)) < ENOUGH else max(1, count // 2)


def _size(row: Values) -> int:
    return sum(len(value) for value in row if isinstance(value, bytes | str))


def _digest(row: Values) -> int:
    """A number that another row does not have. What drivers give is the same for the same value."""
    shown = [hashlib.sha256(value).digest() if isinstance(value, bytes) else value for value in row]
    return int.from_bytes(hashlib.blake2b(repr(shown).encode(), digest_size=16).digest())
