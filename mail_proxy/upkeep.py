"""Looking after an instance's database: what must work on one that is not, or not yet, as it should be."""

from __future__ import annotations

from collections.abc import Callable

from mail_proxy.config import Config
from mail_proxy.instance import Instance
from mail_proxy.runtime import database_of
from mail_proxy.store import open_database
from mail_proxy.store.integrity import DatabaseState, look

__all__ = ["DatabaseState", "examine", "upgrade"]


async def examine(config: Config, instance: Instance | None, *, thorough: bool = True) -> DatabaseState:
    """Tell the state of an instance's database without making, migrating or changing anything.

    `thorough`: read all of a SQLite file for damages, which takes its time. Raises `DatabaseUnavailable`,
    `DatabaseUnusable` (no database, or another program's) or `InvalidConfig`.
    """
    target, where = database_of(config, instance)
    return await look(target, where, thorough=thorough)


async def upgrade(config: Config, instance: Instance | None, took: Callable[[str], None]) -> DatabaseState:
    """Take the missing steps of the schema, telling each to `took`; return what state that leaves.

    Raises `DatabaseUnavailable`, or `DatabaseUnusable` for a database that is newer than this program.
    """
    target, where = database_of(config, instance)
    async with open_database(target, where) as database:
        await database.migrate(took)
    return await look(target, where, thorough=False)
