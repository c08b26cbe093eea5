"""Storages of tenants, their configurations encrypted."""

from __future__ import annotations

import json
from collections.abc import Callable

from mail_proxy.encryption import Vault
from mail_proxy.errors import NotFound
from mail_proxy.model.storages import Storage, StorageProtocol
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.key_check import check_key
from mail_proxy.store.queries import load
from mail_proxy.store.rows import compact

SQL = load("storages")
TENANTS = load("tenants")


class Storages:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def of_tenant(self, tenant_id: str) -> list[Storage]:
        return await self._database.read(self._list, "of_tenant", {"tenant_id": tenant_id})

    async def all(self) -> list[Storage]:
        return await self._database.read(self._list, "all", {})

    async def put(
        self, tenant_id: str, name: str, make: Callable[[Storage | None], Storage], now: float
    ) -> Storage:
        """Store what `make` makes of what is there, as one step; raise `NotFound` when there is no tenant."""
        return await self._database.write(self._put, tenant_id, name, make, now)

    async def delete(self, tenant_id: str, name: str) -> None:
        """Raise `NotFound` when the tenant has no such storage."""
        await self._database.write(self._delete, tenant_id, name)

    def _list(self, query: str, params: dict[str, object]) -> Work[list[Storage]]:
        rows = yield Call(SQL[query], params)
        return [self._storage_of(row) for row in rows]

    def _put(
        self, tenant_id: str, name: str, make: Callable[[Storage | None], Storage], now: float
    ) -> Work[Storage]:
        yield from check_key(self._vault)
        if not (yield Call(TENANTS["hold"], {"id": tenant_id})):
            raise NotFound("tenant", tenant_id)
        key = {"tenant_id": tenant_id, "name": name}
        rows = yield Call(SQL["get_locked"], key)
        storage = make(self._storage_of(rows[0]) if rows else None)
        config = self._vault.encrypt(compact(dict(storage.config)), storage_place(tenant_id, name))
        yield Call(
            SQL["put"],
            key
            | {
                "protocol": storage.protocol,
                "enc_config": config,
                "by_tenant": int(storage.by_tenant),
                "now": now,
            },
        )
        [row] = yield Call(SQL["get"], key)
        return self._storage_of(row)

    def _delete(self, tenant_id: str, name: str) -> Work[None]:
        if not (yield Call(SQL["delete"], {"tenant_id": tenant_id, "name": name})):
            raise NotFound("storage", name)

    def _storage_of(self, row: Row) -> Storage:
        """One that is damaged hides no other. Raises `KeyMismatch` for any when there is no key."""
        place = storage_place(row["tenant_id"], row["name"])
        config = self._vault.decrypt_if_sound(row["enc_config"], place)
        return Storage(
            tenant_id=row["tenant_id"],
            name=row["name"],
            protocol=StorageProtocol(row["protocol"]),
            config={} if config is None else json.loads(config),
            by_tenant=bool(row["by_tenant"]),
            is_unreadable=config is None,
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )


def storage_place(tenant_id: str, name: str) -> str:
    """Where a configuration belongs; see `rows.tenant_place`."""
    return f"storages/{tenant_id}/{name}/config"
