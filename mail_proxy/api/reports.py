"""What applications are still to be told."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.requests import ApiRequest


async def list_reports(request: ApiRequest) -> Response:
    """List events that the application was not yet told of."""
    raise NotImplementedError


async def replay(request: ApiRequest) -> Response:
    """Tell again what happened since a time."""
    raise NotImplementedError


async def sync_status(request: ApiRequest) -> Response:
    """Tell how the reporting to each tenant goes."""
    raise NotImplementedError
