"""Commands: what is done to messages that are there, and a push to work now."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import TenantQuery


async def run_now(request: ApiRequest) -> Response:
    """Wake dispatch and reporting."""
    tenant_id = request.tenant(request.query(TenantQuery).tenant_id)
    if tenant_id is not None and not request.by_tenant:
        await request.services.tenants.get(tenant_id)
    await request.services.instance.run_now()
    return ok()


async def suspend(request: ApiRequest) -> Response:
    """Hold back a batch, all of a tenant, or (`*`) the dispatch of the whole instance."""
    raise NotImplementedError


async def activate(request: ApiRequest) -> Response:
    """Lift a suspension."""
    raise NotImplementedError


async def delete_messages(request: ApiRequest) -> Response:
    """Delete messages by their ids."""
    raise NotImplementedError


async def cleanup_messages(request: ApiRequest) -> Response:
    """Delete what has been reported and is older than the retention."""
    raise NotImplementedError


async def retry(request: ApiRequest) -> Response:
    """Make a message due now, or at another time."""
    raise NotImplementedError
