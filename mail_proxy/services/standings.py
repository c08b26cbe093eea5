"""What intake knows of tenants and of their keys, from one request to the next.

It may be out of date by the time it is used, on this node or through another: the commit of the messages
finds that out by the tenant's version, and they are judged again by what holds then (docs/adr/0017).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from mail_proxy.model.standing import Standing
from mail_proxy.store import Store
from mail_proxy.store.tenants import KeyHolder

REMEMBERED = 2000
"""Tenants, and keys, that are kept in memory; the oldest goes."""

Value = TypeVar("Value")


class _Memory(Generic[Value]):
    def __init__(self) -> None:
        self._values: dict[str, Value] = {}

    def get(self, name: str) -> Value | None:
        return self._values.get(name)

    def put(self, name: str, value: Value | None) -> None:
        """Remember, or with None forget."""
        self._values.pop(name, None)
        if value is not None:
            if len(self._values) >= REMEMBERED:
                del self._values[next(iter(self._values))]
            self._values[name] = value


class Standings:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._tenants: _Memory[Standing] = _Memory()
        self._keys: _Memory[KeyHolder] = _Memory()

    def remembered(self, tenant_id: str) -> Standing | None:
        """Return what was last known of a tenant, without looking."""
        return self._tenants.get(tenant_id)

    async def of(self, tenant_ids: Iterable[str], *, anew: bool = False) -> dict[str, Standing]:
        """Return what is known of these tenants, those that there are not left out; `anew`: read it again."""
        found: dict[str, Standing] = {}
        for tenant_id in tenant_ids:
            standing = None if anew else self._tenants.get(tenant_id)
            if standing is None:
                standing = await self._store.tenants.standing(tenant_id)
                self._tenants.put(tenant_id, standing)
            if standing is not None:
                found[tenant_id] = standing
        return found

    async def holder_of(self, key_hash: str, *, anew: bool = False) -> KeyHolder | None:
        """Return whose key this is; an unknown one is looked up each time."""
        holder = None if anew else self._keys.get(key_hash)
        if holder is None:
            holder = await self._store.tenants.by_key(key_hash)
            self._keys.put(key_hash, holder)
        return holder
