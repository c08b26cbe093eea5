"""Storages of tenants."""

from __future__ import annotations

from starlette.responses import Response

from mail_proxy.api.requests import ApiRequest


async def put_storage(request: ApiRequest) -> Response:
    """Create a storage, or replace it."""
    raise NotImplementedError


async def list_storages(request: ApiRequest) -> Response:
    """List storages."""
    raise NotImplementedError


async def delete_storage(request: ApiRequest) -> Response:
    """Delete a storage."""
    raise NotImplementedError
