"""Each request that may change something goes into the command log before it is acted upon.

Its row says at first what was asked, and afterwards how it was answered; one without a status tells of a
server that died between. An endpoint that `records_itself` has its row written together with what it does;
what it refuses is written here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import Response

from mail_proxy.api.auth import check_level
from mail_proxy.api.errors import answer_to
from mail_proxy.api.requests import ApiRequest, Node
from mail_proxy.errors import DatabaseError, MailProxyError
from mail_proxy.model.names import is_identifier
from mail_proxy.services.authentication import Principal
from mail_proxy.services.command_log import Record
from mail_proxy.services.inputs import MASK
from mail_proxy.services.redaction import MAX_PAYLOAD, REFUSED_PAYLOAD, is_secret, payload_of

if TYPE_CHECKING:
    from mail_proxy.api.routing import Endpoint

logger = logging.getLogger(__name__)

MAX_PATH = 4000
"""Characters that are kept of a path with its query."""


def new_record(http: Request, path: str, endpoint: Endpoint, principal: Principal, node: Node) -> Record:
    """Return what is known of a request before its body is; `path` is as it came over the wire."""
    query = http.scope["query_string"].decode("latin-1")
    return Record(
        ts=node.runtime.clock.now(),
        endpoint=endpoint.name,
        path=(f"{path}?{_without_secrets(query)}" if query else path)[:MAX_PATH],
        tenant_id=principal.tenant_id,
        client=node.gate.client_address(http),
    )


async def recorded(request: ApiRequest, record: Record) -> Response:
    """Answer a request, and see to its row in the command log."""
    try:
        check_level(request.endpoint.level, request.principal)
        if not request.endpoint.records_itself:
            await _begin(request, record)
        response = await request.endpoint.handler(request)
    except Exception as error:  # noqa: BLE001 - a client is owed an answer, whatever happened
        response = answer_to(error, request.http)
        if isinstance(error, DatabaseError) and not record.is_written:
            return response  # nothing was done, and nothing can be written
    if request.endpoint.records_itself and not record.is_written:
        response = await _unless_dead(request, response)
    await _finish(request, record, response.status_code)
    return response


async def _unless_dead(request: ApiRequest, response: Response) -> Response:
    """Keep an answer that no commit has confirmed from who shows a key that was good once."""
    try:
        await request.services.authentication.confirm(request.principal)
    except MailProxyError as error:
        return answer_to(error, request.http)
    return response


async def _begin(request: ApiRequest, record: Record) -> None:
    """Write down what is asked; raise what reading the body raises."""
    if request.endpoint.body is not None:
        await request.body()
    await _describe(request, record)
    await request.services.command_log.write(record)


async def _finish(request: ApiRequest, record: Record, status: int) -> None:
    """Write down the answer. What was done is done: the client learns it, even if this fails."""
    try:
        if not record.is_written:
            await _describe(request, record, most=REFUSED_PAYLOAD)
            record.status = status
            await request.services.command_log.write(record)
        elif record.command_id:
            await request.services.command_log.complete(record, status)
    except Exception as error:  # noqa: BLE001 - see above
        logger.warning("the command log lacks the answer %d to %s: %s", status, record.path, error)


async def _describe(request: ApiRequest, record: Record, *, most: int = MAX_PAYLOAD) -> None:
    """Add what only the body tells, in a thread: it may be large."""
    body = record.body or {}
    tenant_id = record.tenant_id or _tenant_named(request, body)
    record.tenant_id, record.payload = tenant_id, None
    if body:
        is_one_tenants = tenant_id is not None
        record.payload = await asyncio.to_thread(payload_of, body, is_one_tenants=is_one_tenants, most=most)


def _tenant_named(request: ApiRequest, body: Mapping[str, object]) -> str | None:
    """Return the tenant that the admin names, in whatever place, if it is one and could be one."""
    messages = body.get("messages")
    if request.endpoint.records_itself and isinstance(messages, list):
        names = [each.get("tenant_id") if isinstance(each, dict) else None for each in messages]
    else:
        names = [name for name in _names(request, body) if name is not None]
    if not names or not isinstance(names[0], str) or any(name != names[0] for name in names):
        return None
    return names[0] if is_identifier(names[0]) else None


def _names(request: ApiRequest, body: Mapping[str, object]) -> list[object]:
    names = [request.http.query_params.get("tenant_id"), body.get("tenant_id")]
    if request.endpoint.path == "/tenant":
        names.append(body.get("id"))
    if request.endpoint.path.startswith("/tenant/"):
        names.append(request.path("id"))
    return names


def _without_secrets(query: str) -> str:
    """Hide what is given for names such as `password`, which nothing takes from a query."""
    return "&".join(
        f"{name}={MASK}" if is_secret(unquote_plus(name)) else f"{name}{sign}{value}"
        for name, sign, value in (each.partition("=") for each in query.split("&"))
    )
