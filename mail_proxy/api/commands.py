"""Commands: what is done to messages that are there, and a push to work now."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import SuspensionQuery, TenantQuery
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.services.views import suspension_view


async def run_now(request: ApiRequest) -> Response:
    """Wake dispatch and reporting."""
    tenant_id = request.tenant(request.query(TenantQuery).tenant_id)
    if tenant_id is not None and not request.by_tenant:
        await request.services.tenants.get(tenant_id)
    await request.services.instance.run_now()
    return ok()


async def suspend(request: ApiRequest) -> Response:
    """Hold back a batch, all of a tenant, or (`*`, with the admin token) the dispatch of the whole instance.

    What is being sent is finished; nothing else of it leaves until it is activated. Without `tenant_id` the
    admin token gets 422.
    """
    query = request.query(SuspensionQuery)
    tenant_id = request.tenant(query.tenant_id)
    if tenant_id is None:
        raise InvalidInput.of(
            [Fault(("tenant_id",), "is required; '*' suspends the whole instance", "missing")]
        )
    if tenant_id == EVERYTHING:
        return await _switch(request, query, active=False)
    batch_code = _batch_of(query)
    return ok(suspension_view(await request.services.suspensions.suspend(tenant_id, batch_code)))


async def activate(request: ApiRequest) -> Response:
    """Lift the suspension of a batch, or all of a tenant's; without `tenant_id`, the admin's starts dispatch.

    409 for a batch while all of its tenant is suspended.
    """
    query = request.query(SuspensionQuery)
    tenant_id = request.tenant(query.tenant_id)
    if tenant_id is None or tenant_id == EVERYTHING:
        return await _switch(request, query, active=True)
    batch_code = _batch_of(query)
    return ok(suspension_view(await request.services.suspensions.activate(tenant_id, batch_code)))


async def delete_messages(request: ApiRequest) -> Response:
    """Delete messages by their ids."""
    raise NotImplementedError


async def cleanup_messages(request: ApiRequest) -> Response:
    """Delete what has been reported and is older than the retention."""
    raise NotImplementedError


async def retry(request: ApiRequest) -> Response:
    """Make a message due now, or at another time."""
    raise NotImplementedError


async def _switch(request: ApiRequest, query: SuspensionQuery, *, active: bool) -> Response:
    """Start or stop the dispatch of the whole instance."""
    if query.batch_code is not None:
        raise InvalidInput.of([Fault(("tenant_id",), "is required with batch_code", "missing")])
    await request.services.instance.set_active(active)
    return ok(active=active)


def _batch_of(query: SuspensionQuery) -> str | None:
    if query.batch_code == EVERYTHING:
        raise InvalidInput.of([Fault(("batch_code",), "is left out when everything is meant")])
    return query.batch_code
