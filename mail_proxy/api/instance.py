"""The settings of the instance, kept in its database."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.services.views import bounce_view, instance_view


async def get_instance(request: ApiRequest) -> Response:
    """Show the instance's settings; the password is `***` when there is one."""
    return ok(instance_view(await request.services.instance_settings.get()))


async def change_instance(request: ApiRequest) -> Response:
    """Change what the body names, and show all. Settings of bounces are kept; no mailbox is polled yet."""
    raw = await request.body()
    return ok(instance_view(await request.services.instance_settings.change(raw)))


async def get_bounce(request: ApiRequest) -> Response:
    """Show how bounces are to be collected."""
    return ok(bounce_view(await request.services.instance_settings.get()))


async def change_bounce(request: ApiRequest) -> Response:
    """Change what the body names of it, and show it."""
    raw = await request.body()
    return ok(bounce_view(await request.services.instance_settings.change_bounce(raw)))


async def reload_bounce(request: ApiRequest) -> Response:
    """Have every node read the settings of bounces anew; a change of them does that by itself."""
    await request.services.instance_settings.reload()
    return ok()
