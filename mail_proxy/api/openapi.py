"""The API's description of itself, for programs and for people."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING

from starlette.responses import Response

from mail_proxy.api.answers import JSON
from mail_proxy.api.requests import ApiRequest
from mail_proxy.services.encoding import encoded

if TYPE_CHECKING:
    from mail_proxy.api.openapi_page import Page
    from mail_proxy.api.openapi_schemas import Json


async def document(_: ApiRequest) -> Response:
    """Describe this API (OpenAPI 3.1)."""
    return Response(await asyncio.to_thread(_encoded), media_type=JSON)


async def page(_: ApiRequest) -> Response:
    """Show the description for people, in one page that fetches nothing."""
    shown = await asyncio.to_thread(_page)
    headers = {
        "Content-Security-Policy": shown.policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return Response(shown.content, headers=headers, media_type="text/html")


# Made when first asked for, once, beside the event loop: what they need is imported there too.


@cache
def _described() -> Json:
    from mail_proxy.api.app import ENDPOINTS
    from mail_proxy.api.openapi_document import describe

    return describe(ENDPOINTS)


@cache
def _encoded() -> bytes:
    return encoded(_described())


@cache
def _page() -> Page:
    from mail_proxy.api.openapi_page import render

    return render(_described())
