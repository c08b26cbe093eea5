"""Commands: what is done to messages that are there, and a push to work now.

What the query may name, the body may name too.
"""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.messages import show_message
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import (
    CleanupInput,
    DeletionInput,
    RetryInput,
    RunNowInput,
    SuspensionInput,
    SuspensionQuery,
)
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.services.inputs import Model, checked
from mail_proxy.services.views import removal_view, suspension_view


async def run_now(request: ApiRequest) -> Response:
    """Wake dispatch and reporting; a tenant's application is posted to even if there is nothing to tell.

    With the tenant's own token this lifts its Do Not Disturb.
    """
    tenant_id, _ = await _asked_of_known(request, RunNowInput)
    await request.services.instance.run_now(tenant_id, by_tenant=request.by_tenant)
    return ok()


async def suspend(request: ApiRequest) -> Response:
    """Hold back a batch, all of a tenant, or (`*`, with the admin token) the dispatch of the whole instance.

    What is being sent is finished; nothing else of it leaves until it is activated. Without `tenant_id` the
    admin token gets 422.
    """
    tenant_id, batch_code = await _suspension(request)
    if tenant_id is None:
        raise InvalidInput.of(
            [Fault(("tenant_id",), "is required; '*' suspends the whole instance", "missing")]
        )
    if tenant_id == EVERYTHING:
        return await _switch(request, batch_code, active=False)
    return ok(suspension_view(await request.services.suspensions.suspend(tenant_id, batch_code)))


async def activate(request: ApiRequest) -> Response:
    """Lift the suspension of a batch, or all of a tenant's; without `tenant_id`, the admin's starts dispatch.

    409 for a batch while all of its tenant is suspended.
    """
    tenant_id, batch_code = await _suspension(request)
    if tenant_id is None or tenant_id == EVERYTHING:
        return await _switch(request, batch_code, active=True)
    return ok(suspension_view(await request.services.suspensions.activate(tenant_id, batch_code)))


async def delete_messages(request: ApiRequest) -> Response:
    """Delete messages by their ids, with all that is stored of them.

    `refused` tells of those that stay, and why: what is being sent; without `force` what is sent and not yet
    reported; with the admin token and no `tenant_id`, an id that several tenants have. `unauthorized` are
    those that only other tenants have; a tenant's token finds them in `not_found`.
    """
    tenant_id, given = await _asked_of_known(request, DeletionInput)
    done = await request.services.removal.delete(
        given.ids, tenant_id, force=given.force, tells_foreign=not request.by_tenant
    )
    return ok(removal_view(done))


async def cleanup_messages(request: ApiRequest) -> Response:
    """Delete now what was reported longer ago than `older_than_seconds`, by default the retention.

    Nothing goes that has still to leave, or to be reported. With the admin token and no `tenant_id`: of all
    tenants.
    """
    tenant_id, given = await _asked_of_known(request, CleanupInput)
    removed = await request.services.removal.cleanup(tenant_id, given.older_than_seconds)
    return ok(removed=removed)


async def retry(request: ApiRequest) -> Response:
    """Let a message that waits or has failed be due now, or at another time, and show it.

    A failed one begins anew for those who have not got it. 409 for one that is being sent, was sent, or has
    lost its account. What is suspended stays held.
    """
    tenant_id, given = await _asked(request, RetryInput)
    messages = request.services.messages
    message = await messages.find(request.path("id"), tenant_id)
    request.about(message.tenant_id)
    await request.services.rescheduling.retry(message.tenant_id, message.id, given.at)
    return await show_message(request, await messages.get(message.tenant_id, message.id))


async def _asked(request: ApiRequest, model: type[Model]) -> tuple[str | None, Model]:
    """Return the tenant that this is about, and the body; None: the admin named none."""
    tenant_id, raw = await request.tenant_and_body()
    return tenant_id, checked(model, raw, request.endpoint.required)


async def _asked_of_known(request: ApiRequest, model: type[Model]) -> tuple[str | None, Model]:
    """Return the same; raise `NotFound` for a tenant that is not there."""
    tenant_id, given = await _asked(request, model)
    if tenant_id is not None and not request.by_tenant:
        await request.services.tenants.get(tenant_id)
    return tenant_id, given


async def _suspension(request: ApiRequest) -> tuple[str | None, str | None]:
    """Return the tenant and the batch that this is about, as far as they are named."""
    query = request.query(SuspensionQuery)
    raw = await request.body()
    tenant_id = request.tenant(query.tenant_id, raw.get("tenant_id"))
    given = checked(SuspensionInput, raw)
    if None not in (query.batch_code, given.batch_code) and query.batch_code != given.batch_code:
        raise InvalidInput.of([Fault(("batch_code",), "is not the same in the query and in the body")])
    return tenant_id, query.batch_code or given.batch_code


async def _switch(request: ApiRequest, batch_code: str | None, *, active: bool) -> Response:
    """Start or stop the dispatch of the whole instance."""
    if batch_code is not None:
        raise InvalidInput.of([Fault(("tenant_id",), "is required with batch_code", "missing")])
    await request.services.instance.set_active(active)
    return ok(active=active)
