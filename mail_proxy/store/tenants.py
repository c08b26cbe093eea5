"""Tenants, their API keys and suspensions."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from mail_proxy.encryption import Vault
from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.standing import Standing
from mail_proxy.model.tenants import Tenant
from mail_proxy.store import rows as shape
from mail_proxy.store.commands import strip_commands
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.key_check import check_key
from mail_proxy.store.queries import load

SQL = load("tenants")

CHUNK = 500
"""Messages deleted in one transaction."""

_WAY_TO_TELL = ("client_base_url", "client_sync_path", "client_auth", "webhook_secret")

VERSION_BITS = 62
"""Of the version that a tenant begins with; the changes of a long life fit above it."""


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whose API key was shown, as of which version of the tenant."""

    tenant_id: str
    active: bool
    version: int
    expires_at: float | None


class Tenants:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def get(self, tenant_id: str) -> Tenant:
        """Raise `NotFound` when there is no such tenant."""
        return await self._database.read(self._get, tenant_id)

    async def all(self) -> list[Tenant]:
        return await self._database.read(self._all)

    async def standing(self, tenant_id: str) -> Standing | None:
        """Read what intake has to know of a tenant; None when there is none of this id."""
        return await self._database.read(self._standing, tenant_id)

    async def by_key(self, api_key_hash: str) -> KeyHolder | None:
        return await self._database.read(self._by_key, api_key_hash)

    async def add(self, tenant: Tenant, api_key_hash: str | None, now: float) -> Tenant:
        """Raise `Conflict` when the id is taken."""
        return await self._database.write(self._add, tenant, api_key_hash, now)

    async def change(self, tenant_id: str, change: Callable[[Tenant], Tenant], now: float) -> Tenant:
        """Apply `change` to what is stored, as one step; raise `NotFound`."""
        return await self._database.write(self._change, tenant_id, change, now)

    async def set_key(
        self, tenant_id: str, api_key_hash: str | None, expires_at: float | None, now: float
    ) -> None:
        """Give a new key, or none; raise `NotFound`."""
        await self._database.write(self._set_key, tenant_id, api_key_hash, expires_at, now)

    async def close(self, tenant_id: str, now: float) -> None:
        """Let a tenant that is about to go take and send nothing more; raise `NotFound`."""
        await self._database.write(self._close, tenant_id, now)

    async def empty(self, tenant_id: str) -> int:
        """Delete some of its messages, at most `CHUNK`; return how many."""
        return await self._database.write(self._empty, tenant_id)

    async def delete(self, tenant_id: str) -> None:
        """Delete the tenant with all its data; raise `NotFound`."""
        await self._database.write(self._delete, tenant_id)

    def _get(self, tenant_id: str) -> Work[Tenant]:
        rows = yield Call(SQL["get"], {"id": tenant_id})
        if not rows:
            raise NotFound("tenant", tenant_id)
        return (yield from self._whole(rows[0]))

    def _all(self) -> Work[list[Tenant]]:
        rows = yield Call(SQL["all"], {})
        tenants: list[Tenant] = []
        for row in rows:
            tenant = yield from self._whole(row)
            tenants.append(tenant)
        return tenants

    def _whole(self, row: Row) -> Work[Tenant]:
        suspended: list[str] = []
        if row["suspended"]:
            held = yield Call(SQL["suspensions"], {"tenant_id": row["id"]})
            suspended = [each["batch_code"] for each in held]
        return shape.tenant_of(row, self._vault, suspended)

    def _standing(self, tenant_id: str) -> Work[Standing | None]:
        rows = yield Call(SQL["standing"], {"id": tenant_id})
        if not rows:
            return None
        held = yield Call(SQL["suspensions"], {"tenant_id": tenant_id})
        return shape.standing_of(tenant_id, rows, held)

    def _by_key(self, api_key_hash: str) -> Work[KeyHolder | None]:
        rows = yield Call(SQL["by_key"], {"api_key_hash": api_key_hash})
        if not rows:
            return None
        row = rows[0]
        return KeyHolder(row["id"], bool(row["active"]), row["version"], row["api_key_expires_at"])

    def _add(self, tenant: Tenant, api_key_hash: str | None, now: float) -> Work[Tenant]:
        yield from check_key(self._vault)
        params = shape.tenant_params(tenant, self._vault) | {"api_key_hash": api_key_hash, "now": now}
        # Not from 0: what is remembered of an earlier tenant of this id must never fit this one.
        rows = yield Call(SQL["insert"], params | {"version": secrets.randbits(VERSION_BITS)})
        if not rows:
            raise Conflict(f"tenant '{tenant.id}' exists already")
        yield Call(SQL["insert_sync_state"], {"id": tenant.id})
        return (yield from self._get(tenant.id))

    def _change(self, tenant_id: str, change: Callable[[Tenant], Tenant], now: float) -> Work[Tenant]:
        yield from check_key(self._vault)
        yield Call(SQL["lock"], {"id": tenant_id})
        current = yield from self._get(tenant_id)
        changed = change(current)
        params = shape.tenant_params(changed, self._vault) | {"now": now}
        yield Call(SQL["update"], params)
        if any(getattr(current, name) != getattr(changed, name) for name in _WAY_TO_TELL):
            yield Call(SQL["reach_anew"], {"id": tenant_id, "now": now})
        return (yield from self._get(tenant_id))

    def _set_key(
        self, tenant_id: str, api_key_hash: str | None, expires_at: float | None, now: float
    ) -> Work[None]:
        rows = yield Call(
            SQL["set_key"],
            {"id": tenant_id, "api_key_hash": api_key_hash, "expires_at": expires_at, "now": now},
        )
        if not rows:
            raise NotFound("tenant", tenant_id)

    def _close(self, tenant_id: str, now: float) -> Work[None]:
        if not (yield Call(SQL["close"], {"id": tenant_id, "now": now})):
            raise NotFound("tenant", tenant_id)

    def _empty(self, tenant_id: str) -> Work[int]:
        return len((yield Call(SQL["delete_messages"], {"id": tenant_id, "limit": CHUNK})))

    def _delete(self, tenant_id: str) -> Work[None]:
        yield Call(SQL["delete_send_log"], {"id": tenant_id})
        yield from strip_commands(tenant_id)
        rows = yield Call(SQL["delete"], {"id": tenant_id})
        if not rows:
            raise NotFound("tenant", tenant_id)
