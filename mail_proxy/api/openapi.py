"""The API's description of itself, for programs and for people."""

from __future__ import annotations

import asyncio
from functools import cache

from starlette.responses import Response

from mail_proxy.api.answers import JSON, encoded
from mail_proxy.api.requests import ApiRequest


async def document(_: ApiRequest) -> Response:
    """Describe this API (OpenAPI 3.1)."""
    return Response(await asyncio.to_thread(_document), media_type=JSON)


async def page(_: ApiRequest) -> Response:
    """Show the description for people."""
    raise NotImplementedError


@cache
def _document() -> bytes:
    from mail_proxy.api.app import ENDPOINTS
    from mail_proxy.api.openapi_document import describe

    return encoded(describe(ENDPOINTS))
