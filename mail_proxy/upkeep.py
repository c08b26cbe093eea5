"""Looking after an instance's database: what must work on one that is not, or not yet, as it should be."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mail_proxy.config import Config
from mail_proxy.encryption import (
    KEY_VARIABLE,
    FoundKey,
    Vault,
    decode_key,
    encode_key,
    forget_next_keys,
    generate_key,
    write_next_key,
)
from mail_proxy.errors import InvalidInput, KeyMismatch
from mail_proxy.instance import Instance
from mail_proxy.model.queue import NodeInfo
from mail_proxy.runtime import database_of, open_services, own_key_file, vault_of
from mail_proxy.services.instance import NODE_TIMEOUT
from mail_proxy.store import open_database
from mail_proxy.store.backup import GAP, Tell, copy_file
from mail_proxy.store.database import Database
from mail_proxy.store.integrity import DatabaseState, look
from mail_proxy.store.rekey import refuse_nodes, refuse_unreadable, rekey, unreadable
from mail_proxy.store.settings import alive_nodes
from mail_proxy.store.shared_clock import clock_of
from mail_proxy.store.transfer import Place, transfer, version_of

__all__ = [
    "DatabaseState",
    "KeyChange",
    "Move",
    "back_up",
    "change_key",
    "examine",
    "move",
    "prepare_key_change",
    "upgrade",
]

IsOver = Callable[[NodeInfo], bool]
"""Tells of a server that was seen on the database whether it is known to have ended, or will before."""


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


async def back_up(
    config: Config, instance: Instance | None, file: Path, tell: Tell, *, replace: bool = False
) -> None:
    """Write all of the database, as it is at this moment, into a SQLite file, whoever goes on writing.

    What is new there, once it is used, gets numbers that the original will not have given till then. The file
    appears at the end, whole; `replace`: in place of another. Raises `Conflict` when its name is taken,
    `NotFound`, a `DatabaseError` or `InstanceError`.
    """
    source = Place(*database_of(config, instance))
    if isinstance(source.target, Path):
        await copy_file(source.target, file, tell, replace=replace)
    else:
        await transfer(source, Place(file, str(file)), tell, replace=replace, gap=GAP)


@dataclass(frozen=True, slots=True)
class Move:
    """A database that was copied.

    `key_file` is where the key of its secrets lies, if an instance does not look for it there once it uses
    the copy.
    """

    source: str
    target: str
    rows: int
    key_file: Path | None


async def move(
    config: Config,
    to: Config,
    instance: Instance,
    environ: Mapping[str, str],
    tell: Tell,
    *,
    is_over: IsOver,
) -> Move:
    """Copy all of an instance's database into another that is empty, which `to` names, and compare them.

    All is copied or nothing. Nobody writes meanwhile; the instance's own server must be kept stopped.
    Raises `Conflict` when the other is in use, or other servers are at work on the first; `KeyMismatch` when
    its secrets cannot be read; a `DatabaseError` or `InstanceError`.
    """
    source, target = Place(*database_of(config, instance)), Place(*database_of(to, instance))
    await version_of(source)  # before it is opened, which makes a file
    async with open_database(*source) as database:
        vault = await vault_of(database, instance, environ, source.where)
        refuse = partial(_refuse_nodes, database, is_over)
        await refuse()  # they are named at once, and not waited for
        rows = await transfer(source, target, tell, held=refuse)
        own = own_key_file(database.dialect, instance)
    key_file = own if own and vault.origin == str(own) and not isinstance(target.target, Path) else None
    if key_file is not None:
        environ = {**environ, f"{KEY_VARIABLE}_FILE": str(key_file)}
    async with open_services(to, instance, environ=environ):
        pass  # it can be worked with, and its secrets can be read
    return Move(source.where, target.where, rows, key_file)


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A change of the key that can be made: from the one of `origin` to `new`.

    `key_file` is the instance's own, in which the new one is put; without it, people have to give it to each
    server. `environ` is the environment in which a server finds it.
    """

    origin: str
    new: FoundKey
    key_file: Path | None
    environ: Mapping[str, str] = field(repr=False)

    @property
    def new_text(self) -> str:
        """The new key as people give it."""
        return encode_key(self.new)


async def prepare_key_change(
    config: Config, instance: Instance, environ: Mapping[str, str], given: str | None, *, is_over: IsOver
) -> KeyChange:
    """Find out whether all secrets can be encrypted anew with the key given, or one made; nothing is changed.

    Raises `KeyMismatch` for secrets that cannot be read, `Conflict` when other servers are at work,
    `InvalidInput` for the key in use, a `DatabaseError`.
    """
    new = decode_key(generate_key() if given is None else given, "the new key")
    async with _migrated(config, instance) as (database, where):
        vault = await vault_of(database, instance, environ, where)
        if not vault.has_key:
            raise KeyMismatch("there is no key to change yet: 'mail-proxy generate-key' makes the first one")
        if Vault.of(new).matches(vault.check_value()):
            raise InvalidInput("the new key is the one in use: give another")
        await _refuse_nodes(database, is_over)
        refuse_unreadable(await unreadable(database, vault))
        own = own_key_file(database.dialect, instance)
    if own is not None and vault.origin == str(own):
        return KeyChange(vault.origin, new, own, environ)
    others = {name: value for name, value in environ.items() if name != f"{KEY_VARIABLE}_FILE"}
    return KeyChange(vault.origin, new, None, others | {KEY_VARIABLE: encode_key(new)})


async def change_key(
    config: Config, instance: Instance, environ: Mapping[str, str], change: KeyChange, *, is_over: IsOver
) -> int:
    """Encrypt all secrets anew, as one step; return how many. The instance's server must be kept stopped.

    Whenever this process ends, the instance can be opened: with the new key if the step was done, else with
    the old one. Raises as `prepare_key_change`, and `InstanceError`.
    """
    async with _migrated(config, instance) as (database, where):
        old = await vault_of(database, instance, environ, where)
        if change.key_file is not None:
            write_next_key(change.key_file, change.new)
        since = await _alive_since(database)
        count = await rekey(database, old, Vault.of(change.new), is_over=is_over, since=since)
        await vault_of(database, instance, change.environ, where)  # puts the key into its place
    if change.key_file is not None:
        forget_next_keys(change.key_file)
    return count


@asynccontextmanager
async def _migrated(config: Config, instance: Instance) -> AsyncIterator[tuple[Database, str]]:
    target, where = database_of(config, instance)
    async with open_database(target, where) as database:
        await database.migrate()
        yield database, where


async def _refuse_nodes(database: Database, is_over: IsOver) -> None:
    nodes = await database.read(alive_nodes, await _alive_since(database))
    refuse_nodes([node for node in nodes if not is_over(node)])


async def _alive_since(database: Database) -> float:
    """Since when who was seen counts as alive; the one server of a SQLite file is kept stopped."""
    if database.dialect == "sqlite":
        return math.inf
    return (await clock_of(database)).now() - NODE_TIMEOUT
