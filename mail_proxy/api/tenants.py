"""Tenants and their API keys."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import ApiKeyInput, TenantsQuery
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.services.inputs import checked
from mail_proxy.services.views import tenant_view


async def put_tenant(request: ApiRequest) -> Response:
    """Create a tenant, or replace its configuration; a new one's API key is in this answer alone."""
    _, api_key = await request.services.tenants.replace(await request.body())
    return ok() if api_key is None else ok(api_key=api_key)


async def list_tenants(request: ApiRequest) -> Response:
    """List all tenants, or the active ones."""
    query = request.query(TenantsQuery)
    tenants = await request.services.tenants.list(active_only=query.active_only)
    return ok(tenants=[tenant_view(tenant) for tenant in tenants])


async def get_tenant(request: ApiRequest) -> Response:
    """Show one tenant."""
    return ok(tenant_view(await request.services.tenants.get(_id(request))))


async def change_tenant(request: ApiRequest) -> Response:
    """Change what the body names, and show the tenant; a tenant's token may not change everything (403)."""
    tenant_id = _id(request)
    raw = await request.body()
    refuse_renaming(raw, tenant_id)
    return ok(tenant_view(await request.services.tenants.update(tenant_id, raw, by_tenant=request.by_tenant)))


async def delete_tenant(request: ApiRequest) -> Response:
    """Delete a tenant with all its data; from then on it takes and sends nothing. Repeat it if cut short."""
    await request.services.tenants.delete(_id(request))
    return ok()


async def new_api_key(request: ApiRequest) -> Response:
    """Give a tenant a new API key; the old one is dead at once."""
    given = checked(ApiKeyInput, await request.body())
    return ok(api_key=await request.services.tenants.new_api_key(_id(request), given.expires_at))


async def revoke_api_key(request: ApiRequest) -> Response:
    """Take a tenant's API key away."""
    await request.services.tenants.revoke_api_key(_id(request))
    return ok()


def refuse_renaming(raw: dict[str, object], current: str) -> None:
    """Raise `InvalidInput` when a body names another id than the path."""
    if raw.get("id", current) != current:
        raise InvalidInput.of([Fault(("id",), "cannot be changed")])


def _id(request: ApiRequest) -> str:
    tenant_id = request.path("id")
    request.tenant(tenant_id)
    return tenant_id
