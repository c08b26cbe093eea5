"""SMTP accounts. The tenant may be named in the query or in the body."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import AccountDeletion, TenantQuery
from mail_proxy.api.tenants import refuse_renaming
from mail_proxy.model.accounts import Account
from mail_proxy.model.names import DEFAULT_TENANT
from mail_proxy.services.views import account_view, check_view


async def put_account(request: ApiRequest) -> Response:
    """Create an account, or replace its configuration: what is left out takes its default."""
    named, raw = await request.tenant_and_body()
    tenant_id = named or DEFAULT_TENANT
    request.about(tenant_id)
    await request.services.accounts.replace(tenant_id, raw, by_tenant=request.by_tenant)
    return ok()


async def list_accounts(request: ApiRequest) -> Response:
    """List a tenant's accounts; with the admin token and no tenant, those of all."""
    tenant_id = request.tenant(request.query(TenantQuery).tenant_id)
    accounts = await request.services.accounts.list(tenant_id)
    return ok(accounts=[account_view(account) for account in accounts])


async def get_account(request: ApiRequest) -> Response:
    """Show one account."""
    return ok(account_view(await _found(request, request.query(TenantQuery).tenant_id)))


async def change_account(request: ApiRequest) -> Response:
    """Change what the body names, and show the account."""
    tenant_id, raw = await request.tenant_and_body()
    account = await _found(request, tenant_id)
    refuse_renaming(raw, account.id)
    changed = await request.services.accounts.update(
        account.tenant_id, account.id, raw, by_tenant=request.by_tenant
    )
    return ok(account_view(changed))


async def delete_account(request: ApiRequest) -> Response:
    """Delete an account; 409 while messages are queued, unless `force` lets them fail."""
    query = request.query(AccountDeletion)
    account = await _found(request, query.tenant_id)
    await request.services.accounts.delete(account.tenant_id, account.id, force=query.force)
    return ok()


async def test_account(request: ApiRequest) -> Response:
    """Log in at the account's servers, now, and tell how that went; nothing is sent, nothing changed.

    The answer is 200 whatever the servers say: `smtp` and `imap` tell for themselves. It takes 15 s at most.
    """
    account = await _found(request, request.query(TenantQuery).tenant_id)
    return ok(check_view(await request.services.account_check.check(account)))


async def _found(request: ApiRequest, named: str | None) -> Account:
    account = await request.services.accounts.find(request.path("id"), request.tenant(named))
    request.about(account.tenant_id)
    return account
