"""What applications are still to be told."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import ReplayInput, ReportsQuery
from mail_proxy.services.inputs import checked
from mail_proxy.services.views import sync_view, untold_view


async def list_reports(request: ApiRequest) -> Response:
    """List events that the application was not told of, tenant by tenant, the oldest first.

    Their state is `failing` while the application does not take them, or does not take any post; `given_up`
    after 30 days, when nobody tries any more; else `unreported`.
    """
    query = request.query(ReportsQuery)
    page = await request.services.reports.untold(
        request.tenant(query.tenant_id),
        states=None if query.state is None else frozenset({query.state}),
        limit=query.limit,
        cursor=query.cursor,
        by_tenant=request.by_tenant,
    )
    return ok(reports=[untold_view(each) for each in page.events], next_cursor=page.next_cursor)


async def replay(request: ApiRequest) -> Response:
    """Tell the application again what happened since a time; `replayed` counts the events.

    What it refused, and what was given up, is told, too; without a time, that alone. It is posted to at once,
    also after failures. The admin may leave out the tenant, and means all. Events keep their `event_id`, so
    that receivers can tell.
    """
    tenant_id, raw = await request.tenant_and_body()
    given = checked(ReplayInput, raw)
    return ok(replayed=await request.services.reports.replay(tenant_id, given.since))


async def sync_status(request: ApiRequest) -> Response:
    """Tell how the reporting to each tenant goes.

    `next_sync_due` is now when there is something to tell, the moment of the next try while the application
    fails or refuses what there is, else that of the next empty post, and null when nothing will be posted.
    `sync_interval_seconds` is after how long an empty post is due.
    """
    services = request.services.reports
    statuses = await services.sync_status()
    return ok(sync_interval_seconds=services.interval, tenants=[sync_view(each) for each in statuses])
