"""Large files, by their links."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.requests import ApiRequest


async def get_file(request: ApiRequest) -> Response:
    """Serve a file to whoever has its link."""
    raise NotImplementedError
