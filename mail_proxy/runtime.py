"""The composition root: opens what a configuration names, and puts services over it."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mail_proxy.bell import Bell, Chime, DatabaseBell, SilentBell
from mail_proxy.clock import Clock
from mail_proxy.config import Config, masked_url
from mail_proxy.encryption import FoundKey, Tracking, Vault, create_key_file, find_key, finish_next_key
from mail_proxy.errors import Conflict, InvalidConfig, KeyMismatch, NotFound
from mail_proxy.instance import Instance
from mail_proxy.metrics import Metrics
from mail_proxy.model.names import DEFAULT_TENANT
from mail_proxy.model.tenants import Tenant
from mail_proxy.services.services import Services
from mail_proxy.store import Store, open_database
from mail_proxy.store.database import Database
from mail_proxy.store.key_check import KEY_CHECK
from mail_proxy.store.settings import Settings
from mail_proxy.store.shared_clock import clock_of

TRACKING_SECRET = "tracking_secret"  # noqa: S105 - the name of a setting


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process works with."""

    config: Config
    instance: Instance | None
    clock: Clock
    bell: Bell
    neighbours: DatabaseBell
    store: Store
    services: Services
    tracking: Tracking
    node_id: str
    where: str


@asynccontextmanager
async def open_services(
    config: Config,
    instance: Instance | None,
    *,
    clock: Clock | None = None,
    bell: Bell | None = None,
    environ: Mapping[str, str] | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[Runtime]:
    """Open the database (migrated if need be), check its key, and give the services.

    `metrics` are what the services count in, where there is a server that shows them.

    Raises `DatabaseUnavailable`, `DatabaseUnusable`, `KeyMismatch` or `InvalidConfig`.
    """
    environ = os.environ if environ is None else environ
    target, where = database_of(config, instance)
    async with open_database(target, where) as database:
        await database.migrate()
        clock = clock or await clock_of(database)
        neighbours = DatabaseBell(database.notify, secrets.token_hex(8))
        bell = bell or SilentBell()
        if database.dialect == "postgres":  # there is one server to a SQLite file
            bell = Chime(bell, neighbours)
        vault = await vault_of(database, instance, environ, where)
        settings = Settings(database)
        store = Store.over(database, vault)
        tracking = Tracking(await _tracking_secret(settings))
        await _ensure_default_tenant(store, clock)
        services = Services.over(
            store,
            config=config,
            clock=clock,
            bell=bell,
            tracking=tracking,
            admin_token=_admin_token(config, instance),
            name=instance.name if instance is not None else config.instance_name,
            where=where,
            metrics=metrics,
        )
        yield Runtime(
            config=config,
            instance=instance,
            clock=clock,
            bell=bell,
            neighbours=neighbours,
            store=store,
            services=services,
            tracking=tracking,
            node_id=instance.node_id() if instance and instance.exists() else secrets.token_hex(16),
            where=where,
        )


def _admin_token(config: Config, instance: Instance | None) -> str | None:
    if instance is None or not instance.exists():
        return config.api_token
    return config.admin_token(instance)


def database_of(config: Config, instance: Instance | None) -> tuple[str | Path, str]:
    """Return what `open_database` takes, and how messages name it; raise `InvalidConfig`."""
    if config.database_url is not None:
        return config.database_url, masked_url(config.database_url)
    path = config.db_path or (instance.database if instance else None)
    if path is None:
        raise InvalidConfig("no database: give an instance, or set GMP_DB_PATH or GMP_DATABASE_URL")
    return path, str(path)


async def vault_of(
    database: Database, instance: Instance | None, environ: Mapping[str, str], where: str
) -> Vault:
    """Find the key and make sure that it is the one this database was written with.

    A key in the instance's directory is for its own SQLite file: nodes that share a PostgreSQL database are
    given theirs, or each would bring one of its own. Raises `KeyMismatch`.
    """
    settings = Settings(database)
    key_file = own_key_file(database.dialect, instance)
    found = find_key(environ, key_file)
    check = await settings.get(KEY_CHECK)
    if key_file and check is not None and not (found and Vault.of(found).matches(str(check))):
        # A change of the key is under way, or its process has died before the last step.
        finish_next_key(key_file, str(check))
        check, found = await settings.get(KEY_CHECK), find_key(environ, key_file)
    if found is None and check is None and key_file is not None:
        found = create_key_file(key_file)
    if found is None:
        if check is not None:
            raise KeyMismatch(
                f"the secrets in database {where} are encrypted, and there is no key: give the one they were "
                "written with as MAIL_PROXY_ENCRYPTION_KEY or /run/secrets/encryption_key"
                + (f", or put it back as {key_file}" if key_file else "")
            )
        return Vault.without_key()
    return await _checked(settings, found, where)


def own_key_file(dialect: str, instance: Instance | None) -> Path | None:
    """Return where an instance may have a key of its own."""
    return instance.key_file if instance and dialect == "sqlite" else None


async def _checked(settings: Settings, found: FoundKey, where: str) -> Vault:
    vault = Vault.of(found)
    stored = await settings.get(KEY_CHECK) or await settings.put_once(KEY_CHECK, vault.check_value())
    if not vault.matches(str(stored)):
        raise KeyMismatch(
            f"the key from {found.origin} is not the one that database {where} was written with: "
            "its passwords and tokens cannot be read; give the right key"
        )
    return vault


async def _tracking_secret(settings: Settings) -> bytes:
    stored = await settings.get(TRACKING_SECRET)
    if stored is None:
        stored = await settings.put_once(TRACKING_SECRET, secrets.token_hex(32))
    return bytes.fromhex(str(stored))


async def _ensure_default_tenant(store: Store, clock: Clock) -> None:
    try:
        await store.tenants.get(DEFAULT_TENANT)
    except NotFound:
        with suppress(Conflict):  # another node was faster
            await store.tenants.add(Tenant(id=DEFAULT_TENANT), None, clock.now())
