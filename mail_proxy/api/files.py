"""Large files, by their links."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.answers import failed
from mail_proxy.api.requests import ApiRequest


async def get_file(request: ApiRequest) -> Response:  # noqa: ARG001 - it may be any token
    """Serve a file to whoever has its link. This version makes no links, so that there is no file."""
    return failed(404, "there is no such file")
