"""SMTP accounts."""

from __future__ import annotations

from collections.abc import Callable

from mail_proxy.encryption import Vault
from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.accounts import Account
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Work
from mail_proxy.store.messages import tell_failure
from mail_proxy.store.queries import load

SQL = load("accounts")
TENANTS = load("tenants")
MESSAGES = load("messages")

ACCOUNT_DELETED = "account deleted"


class Accounts:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def get(self, tenant_id: str, account_id: str) -> Account:
        """Raise `NotFound` when the tenant has no such account."""
        return await self._database.read(self._get, tenant_id, account_id)

    async def of_tenant(self, tenant_id: str) -> list[Account]:
        return await self._database.read(self._list, "of_tenant", {"tenant_id": tenant_id})

    async def all(self) -> list[Account]:
        return await self._database.read(self._list, "all", {})

    async def named(self, account_id: str) -> list[Account]:
        """The accounts with this id, of whatever tenant."""
        return await self._database.read(self._list, "named", {"id": account_id})

    async def owners(self, account_id: str) -> list[str]:
        """The tenants that have an account of this id."""
        return await self._database.read(self._owners, account_id)

    async def of_lane(self, lane: int) -> Account | None:
        found = await self._database.read(self._list, "of_lane", {"lane": lane})
        return found[0] if found else None

    async def add(self, account: Account, now: float) -> Account:
        """Raise `Conflict` when the tenant has an account of this id, `NotFound` when there is no tenant."""
        return await self._database.write(self._add, account, now)

    async def change(
        self, tenant_id: str, account_id: str, change: Callable[[Account], Account], now: float
    ) -> Account:
        """Apply `change` to what is stored, as one step; raise `NotFound`."""
        return await self._database.write(self._change, tenant_id, account_id, change, now)

    async def delete(self, tenant_id: str, account_id: str, *, force: bool, now: float) -> int:
        """Remove it; with `force` its queued messages become errors, and their number is returned.

        Raise `NotFound`, or `Conflict` while messages are queued and `force` is not given.
        """
        return await self._database.write(self._delete, tenant_id, account_id, force, now)

    async def fail_lane(self, lane: int, now: float) -> int:
        """Make errors of what waits for an account that is gone; return how many."""
        return await self._database.write(self._fail_lane, lane, now)

    def _get(self, tenant_id: str, account_id: str) -> Work[Account]:
        rows = yield Call(SQL["get"], {"tenant_id": tenant_id, "id": account_id})
        if not rows:
            raise NotFound("account", account_id)
        return shape.account_of(rows[0], self._vault)

    def _list(self, query: str, params: dict[str, object]) -> Work[list[Account]]:
        rows = yield Call(SQL[query], params)
        return [shape.account_of(row, self._vault) for row in rows]

    def _owners(self, account_id: str) -> Work[list[str]]:
        rows = yield Call(SQL["owners"], {"id": account_id})
        return [row["tenant_id"] for row in rows]

    def _add(self, account: Account, now: float) -> Work[Account]:
        if not (yield Call(TENANTS["hold"], {"id": account.tenant_id})):
            raise NotFound("tenant", account.tenant_id)
        rows = yield Call(SQL["insert"], shape.account_params(account, self._vault) | {"now": now})
        if not rows:
            raise Conflict(f"tenant '{account.tenant_id}' has an account '{account.id}' already")
        yield Call(TENANTS["touch"], {"id": account.tenant_id})
        return (yield from self._get(account.tenant_id, account.id))

    def _change(
        self, tenant_id: str, account_id: str, change: Callable[[Account], Account], now: float
    ) -> Work[Account]:
        yield Call(SQL["lock"], {"tenant_id": tenant_id, "id": account_id})
        current = yield from self._get(tenant_id, account_id)
        yield Call(SQL["update"], shape.account_params(change(current), self._vault) | {"now": now})
        yield Call(TENANTS["touch"], {"id": tenant_id})
        return (yield from self._get(tenant_id, account_id))

    def _delete(self, tenant_id: str, account_id: str, force: bool, now: float) -> Work[int]:
        account = yield from self._get(tenant_id, account_id)
        queued = (yield Call(MESSAGES["waiting_of_lane"], {"lane": account.lane}))[0]["n"]
        if queued and not force:
            what = "1 queued message" if queued == 1 else f"{queued} queued messages"
            fate = "it becomes an error" if queued == 1 else "they become errors"
            raise Conflict(f"account '{account_id}' has {what}; with force {fate}")
        failed = yield from self._fail_lane(account.lane, now)
        yield Call(SQL["delete"], {"tenant_id": tenant_id, "id": account_id})
        yield Call(TENANTS["touch"], {"id": tenant_id})
        return failed

    def _fail_lane(self, lane: int, now: float) -> Work[int]:
        failed = yield Call(MESSAGES["fail_lane"], {"lane": lane, "error": ACCOUNT_DELETED, "now": now})
        yield from tell_failure(failed, ACCOUNT_DELETED, now)
        return len(failed)
