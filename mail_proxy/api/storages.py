"""Storages of tenants. The tenant may be named in the query or in the body."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import TenantQuery
from mail_proxy.model.names import DEFAULT_TENANT
from mail_proxy.services.views import storage_view


async def put_storage(request: ApiRequest) -> Response:
    """Create a storage, or replace it. It is kept and checked; this version reads no files from it."""
    named, raw = await request.tenant_and_body()
    tenant_id = named or DEFAULT_TENANT
    request.about(tenant_id)
    await request.services.storages.replace(tenant_id, raw, by_tenant=request.by_tenant)
    return ok()


async def list_storages(request: ApiRequest) -> Response:
    """List a tenant's storages, secrets as `***`; with the admin token and no tenant, those of all."""
    tenant_id = request.tenant(request.query(TenantQuery).tenant_id)
    storages = await request.services.storages.list(tenant_id)
    return ok(storages=[storage_view(storage) for storage in storages])


async def delete_storage(request: ApiRequest) -> Response:
    """Delete a storage; without a tenant and with the admin token, that of `default`."""
    tenant_id = request.tenant(request.query(TenantQuery).tenant_id) or DEFAULT_TENANT
    request.about(tenant_id)
    await request.services.storages.delete(tenant_id, request.path("name"))
    return ok()
