"""The least that telling can cost: prepared reports, posted by a bare client to the same receiver."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence

import httpcore2

from mail_proxy.callbacks.report import entry
from mail_proxy.model.messages import EventType
from mail_proxy.model.reports import Reportable

HEADERS = [("Content-Type", "application/json")]


def payloads(count: int, batch: int) -> list[bytes]:
    """So many entries as the server would post them."""
    entries = [entry(_event(number)) for number in range(count)]
    return [
        json.dumps({"delivery_report": entries[start : start + batch]}, separators=(",", ":")).encode()
        for start in range(0, count, batch)
    ]


def _event(number: int) -> Reportable:
    return Reportable(
        event_id=number,
        event_type=EventType.SENT,
        event_ts=time.time(),
        event_data={},
        id=f"old-{number}",
        tenant_id="bench",
        pk=f"{number:032x}",
        account_id="sink",
        priority=2,
        metadata=None,
    )


async def post_all(url: str, bodies: Sequence[bytes], connections: int) -> float:
    """Post them all over so many connections, one after the other on each; return the seconds."""
    queue = iter(bodies)
    async with httpcore2.AsyncConnectionPool(max_keepalive_connections=connections) as pool:
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(_post(pool, url, queue))
        return time.perf_counter() - begun


async def _post(pool: httpcore2.AsyncConnectionPool, url: str, queue: Iterator[bytes]) -> None:
    for body in queue:
        answer = await pool.request("POST", url, headers=HEADERS, content=body)
        if answer.status != 200:
            raise RuntimeError(f"the receiver answered {answer.status}")
