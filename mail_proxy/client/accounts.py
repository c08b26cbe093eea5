"""Accounts: SMTP logins of tenants."""

from __future__ import annotations

from typing import Unpack

from mail_proxy.client.answers import Account, AccountTest
from mail_proxy.client.calls import Call, Resource, S
from mail_proxy.client.fields import AccountChanges, AccountFields
from mail_proxy.client.requests import Request, fetch, listed, nothing, one, to


class Accounts(Resource[S]):
    """``client.accounts``. With the admin token, `tenant_id` says whose; a tenant's token means its own."""

    @Call
    def create(
        self, account_id: str, *, host: str, tenant_id: str | None = None, **fields: Unpack[AccountFields]
    ) -> Request[None]:
        """Create an account, or replace its whole configuration: what is left out takes its default."""
        body = {**fields, "id": account_id, "host": host}
        query = {"tenant_id": self.tenant(tenant_id)}
        return Request("POST", to("account"), nothing, query, body, is_repeatable=True)

    @Call
    def update(
        self, account_id: str, *, tenant_id: str | None = None, **changes: Unpack[AccountChanges]
    ) -> Request[Account]:
        """Change what is named, and return the account."""
        query = {"tenant_id": self.tenant(tenant_id)}
        return Request("PUT", to("account", account_id), one(Account), query, changes, is_repeatable=True)

    @Call
    def get(self, account_id: str, *, tenant_id: str | None = None) -> Request[Account]:
        """Return one account; `ApiError` with status 404 when there is none."""
        return fetch(to("account", account_id), one(Account), tenant_id=self.tenant(tenant_id))

    @Call
    def list(self, *, tenant_id: str | None = None) -> Request[tuple[Account, ...]]:
        """Return a tenant's accounts; without a tenant, the admin gets those of all."""
        return fetch(to("accounts"), listed("accounts", Account), tenant_id=self.tenant(tenant_id))

    @Call
    def delete(self, account_id: str, *, force: bool = False, tenant_id: str | None = None) -> Request[None]:
        """Delete an account; while it has messages queued, only with `force`, which fails them (else 409)."""
        query = {"tenant_id": self.tenant(tenant_id), "force": force}
        return Request("DELETE", to("account", account_id), nothing, query)

    @Call
    def test(self, account_id: str, *, tenant_id: str | None = None) -> Request[AccountTest]:
        """Log in at the account's servers, now, and tell how that went; nothing is sent, nothing changed."""
        query = {"tenant_id": self.tenant(tenant_id)}
        return Request("POST", to("account", account_id, "test"), one(AccountTest), query, is_repeatable=True)
