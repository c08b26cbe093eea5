"""Messages: telling what became of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from starlette.responses import Response, StreamingResponse

from mail_proxy.api.answers import JSON, ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import MessagesQuery, TenantQuery
from mail_proxy.model.messages import Message, MessageFilter
from mail_proxy.services.encoding import encoded
from mail_proxy.services.views import View, event_view, message_view


async def list_messages(request: ApiRequest) -> Response:
    """List messages, newest first; `next_cursor` asks for those after them. Long lists are streamed."""
    query = request.query(MessagesQuery)
    which = MessageFilter(
        tenant_id=request.tenant(query.tenant_id),
        status=query.status,
        account_id=query.account_id,
        batch_code=query.batch_code,
        since=query.since,
        until=query.until,
        active_only=query.active_only,
        limit=query.limit,
    )
    listing = await request.services.messages.find_page(which, query.cursor)
    shown = _Shown(request, with_events=query.include_history)
    parts = request.services.messages.handfuls(listing)
    first = encoded(await shown.views(await anext(parts, [])))  # before the answer begins: it may be an error
    return StreamingResponse(_pieces(shown, first, parts, listing.next_cursor), media_type=JSON)


async def get_message(request: ApiRequest) -> Response:
    """Show one message."""
    return await show_message(request, await _found(request))


async def show_message(request: ApiRequest, message: Message) -> Response:
    """Answer with one message."""
    [view] = await _Shown(request).views([message])
    return ok(view)


async def list_events(request: ApiRequest) -> Response:
    """List what happened to a message, in order."""
    message = await _found(request)
    events = await request.services.messages.events(message)
    return ok(events=[event_view(event) for event in events])


async def list_receipts(request: ApiRequest) -> Response:
    """List the PEC receipts of a message, raw. None are collected yet."""
    message = await _found(request)
    return ok(receipts=await request.services.messages.receipts(message))


async def _found(request: ApiRequest) -> Message:
    """Return the message that the path names; raise `NotFound`, or `Conflict` when two tenants have one."""
    tenant_id = request.tenant(request.query(TenantQuery).tenant_id)
    return await request.services.messages.find(request.path("id"), tenant_id)


class _Shown:
    """Messages as answers show them, with their contents; a tenant's name is looked up once."""

    def __init__(self, request: ApiRequest, *, with_events: bool = False) -> None:
        self._messages = request.services.messages
        self._with_events = with_events
        self._names: dict[str, str | None] = {}

    async def views(self, messages: Sequence[Message]) -> list[View]:
        if not messages:
            return []
        payloads = await self._messages.payloads(messages)
        if strange := [each for each in messages if each.tenant_id not in self._names]:
            self._names |= await self._messages.tenant_names(strange)
        views = [
            message_view(each, payloads.get(each.seq), self._names.get(each.tenant_id)) for each in messages
        ]
        if self._with_events:
            histories = await self._messages.histories(messages)
            for each, view in zip(messages, views, strict=True):
                view["events"] = [event_view(event) for event in histories[each.seq]]
        return views


async def _pieces(
    shown: _Shown, first: bytes, others: AsyncIterator[Sequence[Message]], next_cursor: str | None
) -> AsyncIterator[bytes]:
    """The answer piece by piece, so that neither contents nor JSON of a whole page are ever in memory."""
    yield b'{"ok":true,"messages":' + first[:-1]
    async for some in others:
        yield b"," + encoded(await shown.views(some))[1:-1]
    yield b'],"next_cursor":' + encoded(next_cursor) + b"}"
