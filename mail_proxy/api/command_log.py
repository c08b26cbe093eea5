"""The log of every request that may change something."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.requests import ApiRequest


async def list_commands(request: ApiRequest) -> Response:
    """List commands, newest first."""
    raise NotImplementedError


async def export(request: ApiRequest) -> Response:
    """Stream the whole log as JSON lines, oldest first."""
    raise NotImplementedError
