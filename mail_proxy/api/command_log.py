"""The log of every request that may change something."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence

from starlette.responses import Response, StreamingResponse

from mail_proxy.api.answers import JSON
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import CommandsExportQuery, CommandsQuery
from mail_proxy.errors import DatabaseError
from mail_proxy.model.commands import Command, CommandFilter
from mail_proxy.services.command_log import as_lines, endpoints_named
from mail_proxy.services.encoding import encoded
from mail_proxy.services.views import command_view

logger = logging.getLogger(__name__)

JSON_LINES = "application/x-ndjson"
BROKEN_OFF = "the database is not available: what follows is missing"


async def list_commands(request: ApiRequest) -> Response:
    """List commands, newest first, and how many there are in all. Long lists are streamed."""
    query = request.query(CommandsQuery)
    which, log = _filter(query), request.services.command_log
    total = await log.count(which)
    pages = log.newest(which, query.limit, query.offset)
    first: Sequence[Command] = await anext(pages, [])  # before the answer begins: it may still be an error
    return StreamingResponse(_pieces(first, pages, total), media_type=JSON)


async def export(request: ApiRequest) -> Response:
    """Stream the log as JSON lines, oldest first; a last line with `"ok": false` tells that it broke off."""
    pages = request.services.command_log.oldest(_filter(request.query(CommandsExportQuery)))
    first: Sequence[Command] = await anext(pages, [])
    return StreamingResponse(_lines(first, pages), media_type=JSON_LINES)


def _filter(query: CommandsExportQuery) -> CommandFilter:
    return CommandFilter(
        tenant_id=query.tenant_id,
        endpoints=() if query.endpoint is None else endpoints_named(query.endpoint),
        since=query.since,
        until=query.until,
    )


async def _pieces(
    first: Sequence[Command], others: AsyncIterator[Sequence[Command]], total: int
) -> AsyncIterator[bytes]:
    yield b'{"ok":true,"commands":' + encoded([command_view(each) for each in first])[:-1]
    async for some in others:
        yield b"," + encoded([command_view(each) for each in some])[1:-1]
    yield b'],"total":%d}' % total


async def _lines(first: Sequence[Command], others: AsyncIterator[Sequence[Command]]) -> AsyncIterator[bytes]:
    yield as_lines(first)
    try:
        async for some in others:
            yield as_lines(some)
    except DatabaseError as error:
        logger.warning("an export of the command log broke off: %s", error)
        yield encoded({"ok": False, "error": BROKEN_OFF}) + b"\n"
