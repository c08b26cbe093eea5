"""SMTP accounts."""

from __future__ import annotations

from collections.abc import Callable

from mail_proxy.encryption import Vault
from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.accounts import Account
from mail_proxy.model.queue import Departure, Failures
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Work
from mail_proxy.store.failures import fail
from mail_proxy.store.key_check import check_key
from mail_proxy.store.queries import load

SQL = load("accounts")
TENANTS = load("tenants")
MESSAGES = load("messages")

ACCOUNT_DELETED = "account deleted"

CHUNK = 500
"""Messages that fail with their account in one transaction."""


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
        """Apply `change` to what is stored, as one step; raise `NotFound`.

        The circuit closes, unless nothing has changed.
        """
        return await self._database.write(self._change, tenant_id, account_id, change, now)

    async def delete(self, tenant_id: str, account_id: str, *, force: bool) -> Departure:
        """Remove it, so that nothing is sent through it any more; what waits is left to `fail_left`.

        Raise `NotFound`, or `Conflict` while messages are queued and `force` is not given.
        """
        return await self._database.write(self._delete, tenant_id, account_id, force)

    async def departures(self) -> list[int]:
        """The lanes of accounts that were deleted, as long as messages may wait for them."""
        return await self._database.read(self._departures)

    async def fail_left(self, lane: int, now: float) -> Failures | None:
        """Make errors of some of what waits for an account that is gone; None when nothing does."""
        return await self._database.write(self._fail_left, lane, now)

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
        yield from check_key(self._vault)
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
        changed = change(current)
        if changed == current:  # an application may give its account along with each message
            return current
        yield from check_key(self._vault)
        yield Call(SQL["update"], shape.account_params(changed, self._vault) | {"now": now})
        yield Call(TENANTS["touch"], {"id": tenant_id})
        return (yield from self._get(tenant_id, account_id))

    def _delete(self, tenant_id: str, account_id: str, force: bool) -> Work[Departure]:
        rows = yield Call(SQL["lock"], {"tenant_id": tenant_id, "id": account_id})
        if not rows:
            raise NotFound("account", account_id)
        lane: int = rows[0]["lane"]
        [counted] = yield Call(MESSAGES["waiting_of_lane"], {"lane": lane})
        queued: int = counted["n"]
        if queued and not force:
            what = "1 queued message" if queued == 1 else f"{queued} queued messages"
            fate = "it becomes an error" if queued == 1 else "they become errors"
            raise Conflict(f"account '{account_id}' has {what}; with force {fate}")
        yield Call(SQL["depart"], {"lane": lane, "tenant_id": tenant_id, "account_id": account_id})
        yield Call(SQL["delete"], {"tenant_id": tenant_id, "id": account_id})
        yield Call(TENANTS["touch"], {"id": tenant_id})
        return Departure(lane, queued - counted["sending"])

    def _departures(self) -> Work[list[int]]:
        return [row["lane"] for row in (yield Call(SQL["departures"], {}))]

    def _fail_left(self, lane: int, now: float) -> Work[Failures | None]:
        rows = yield Call(SQL["left"], {"lane": lane, "limit": CHUNK})
        if not rows:
            yield Call(SQL["departed"], {"lane": lane})
            return None
        yield from fail(rows, ACCOUNT_DELETED, now)
        return Failures(tenant_id=rows[0]["tenant_id"], account_id=rows[0]["account_id"], count=len(rows))
