"""The server itself: whether it lives, and how it fares."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import TypeVar

from starlette.responses import Response

from mail_proxy import __version__
from mail_proxy.api.answers import failed, ok
from mail_proxy.api.errors import RETRY_AFTER
from mail_proxy.api.requests import ApiRequest
from mail_proxy.errors import DatabaseError
from mail_proxy.services.views import View, node_view

T = TypeVar("T")

DATABASE_TIMEOUT = 2.0
"""Seconds in which a database must answer to count as available."""

_RETRY = {"Retry-After": str(RETRY_AFTER)}
_KEPT_FROM_TENANTS = ("node_id", "name", "pid")


async def health(request: ApiRequest) -> Response:
    """Say that the process works; 200 whatever the database does."""
    database = "ok" if await _database_answers(request) else "unavailable"
    return ok(status="ok", version=__version__, database=database)


async def ready(request: ApiRequest) -> Response:
    """Say whether this node is to get requests: 503 while the database is away or the node is draining."""
    if request.node.vitals.is_draining:
        return failed(503, "draining: this node is about to stop", headers=_RETRY)
    if not await _database_answers(request):
        return failed(503, "the database does not answer", headers=_RETRY)
    return ok(status="ready")


async def status(request: ApiRequest) -> Response:
    """Tell how the server fares; a tenant's token is told of its own messages only.

    `active` is the switch of the whole instance; `scheduler_active` says that dispatch runs by itself, which
    it does not in test mode.
    """
    instance, runtime = request.services.instance, request.node.runtime
    is_active = await instance.is_active()
    return ok(
        active=is_active,
        scheduler_active=is_active and not runtime.config.test_mode,
        pending_messages=await instance.pending_messages(request.principal.tenant_id),
        uptime_seconds=max(0, int(runtime.clock.now() - request.node.vitals.started_at)),
        version=__version__,
        nodes=[_node(request, node_view(node)) for node in await instance.nodes()],
    )


async def metrics(request: ApiRequest) -> Response:
    """Render the metrics for Prometheus."""
    collected = request.node.metrics
    try:
        pressure = await _in_time(request.services.instance.pressure())
    except (DatabaseError, TimeoutError):
        collected.set_queue(pending=math.nan, age=math.nan)
    else:
        collected.set_queue(pending=pressure.pending_messages, age=pressure.oldest_seconds)
        collected.set_circuits(pressure.open_circuits)
    exposition = collected.exposition()
    return Response(exposition.content, headers={"Content-Type": exposition.media_type})


async def _database_answers(request: ApiRequest) -> bool:
    try:
        await _in_time(request.services.instance.is_active())
    except (DatabaseError, TimeoutError):
        return False
    return True


_left_behind: set[asyncio.Task[object]] = set()


async def _in_time(asked: Coroutine[object, object, T]) -> T:
    """Wait so long and no longer; raise `TimeoutError`.

    A driver that is told to give up first wants to tell its server, which takes much longer when that is
    silent. Who asks whether the process lives is not to wait for it, so it is left to end by itself.
    """
    task = asyncio.create_task(asked)
    _left_behind.add(task)
    task.add_done_callback(_forget)
    try:
        done, _ = await asyncio.wait([task], timeout=DATABASE_TIMEOUT)
    finally:
        task.cancel()
    if not done:
        raise TimeoutError
    return task.result()


def _forget(task: asyncio.Task[object]) -> None:
    """Let go of a task; its error is looked at, or it would be logged as one that nobody has seen."""
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()


def _node(request: ApiRequest, view: View) -> View:
    """Leave out what names a machine, for tenants."""
    if not request.by_tenant:
        return view
    return {name: value for name, value in view.items() if name not in _KEPT_FROM_TENANTS}
