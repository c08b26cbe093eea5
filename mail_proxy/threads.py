"""Blocking work that may hang, beside the loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


async def in_own_thread(work: Callable[[], T], name: str) -> T:
    """Do blocking work in a thread that nothing waits for; return, or raise, what it does.

    It holds up neither other work, as it would in the loop's few shared threads, nor the end of the process,
    as it would in any pool's. Who is cancelled leaves it behind.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, fault: BaseException | None) -> None:
        if answer.done():
            return
        if fault is None:
            answer.set_result(cast("T", result))
        else:
            answer.set_exception(fault)

    def run() -> None:
        result: T | None = None
        fault: BaseException | None = None
        try:
            result = work()
        except BaseException as caught:  # noqa: BLE001 - it belongs to whoever waits
            fault = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await answer
