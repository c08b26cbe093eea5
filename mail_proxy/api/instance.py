"""The settings of the instance, kept in its database."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.requests import ApiRequest


async def get_instance(request: ApiRequest) -> Response:
    """Show the instance's settings; secrets never come back."""
    raise NotImplementedError


async def change_instance(request: ApiRequest) -> Response:
    """Change what the body names."""
    raise NotImplementedError


async def get_bounce(request: ApiRequest) -> Response:
    """Show how bounces are collected."""
    raise NotImplementedError


async def change_bounce(request: ApiRequest) -> Response:
    """Change how bounces are collected."""
    raise NotImplementedError


async def reload_bounce(request: ApiRequest) -> Response:
    """Take up the settings of bounces anew."""
    raise NotImplementedError
