"""The API's description of itself."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.requests import ApiRequest


async def document(request: ApiRequest) -> Response:
    """Describe this API (OpenAPI 3.1)."""
    raise NotImplementedError


async def page(request: ApiRequest) -> Response:
    """Show the description for people."""
    raise NotImplementedError
