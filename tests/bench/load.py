"""HTTP requests prepared beforehand, sent over many kept connections as fast as answers come."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from tests.bench.report import percentile

T = TypeVar("T")

ANSWER_TIMEOUT = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def run(main: Coroutine[object, object, T]) -> T:
    """Run on uvloop where it is installed, as the server does."""
    if importlib.util.find_spec("uvloop"):
        import uvloop

        return uvloop.run(main)
    return asyncio.run(main)


@dataclass(slots=True)
class Load:
    """What came of it; times are seconds."""

    seconds: float = 0.0
    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    failures: list[bytes] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def milliseconds(self, share: float) -> float:
        """The wait that `share` of the requests did not exceed, in milliseconds."""
        return percentile(self.waits, share) * 1000

    def require_success(self) -> None:
        """Raise RuntimeError unless every answer was 200: a fast refusal is no result."""
        if set(self.statuses) != {200}:
            raise RuntimeError(f"answers: {dict(self.statuses)}, for example {self.failures[0][:500]!r}")


def post(path: str, body: object, token: str = "") -> bytes:
    """The bytes of one request."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Token: {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def load(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send all requests over so many connections; each connection waits for its answer."""
    result = Load(requests=len(requests))
    queue = iter(requests)
    callers = [await Caller.connect(port) for _ in range(connections)]
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(_work(caller, queue, result))
    result.seconds = time.perf_counter() - begun
    for caller in callers:
        caller.close()
    return result


async def _work(caller: Caller, queue: Iterator[bytes], result: Load) -> None:
    for request in queue:
        begun = time.perf_counter()
        status, body = await caller.call(request)
        result.waits.append(time.perf_counter() - begun)
        result.statuses[status] += 1
        if status != 200:
            result.failures.append(body)


class Caller(asyncio.Protocol):
    """One kept connection: a request, then its answer. Small, to leave the processor to the server."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def connect(cls, port: int) -> Caller:
        _, caller = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return caller

    async def call(self, request: bytes) -> tuple[int, bytes]:
        """Return status and body. Raises OSError: the server went away, or (TimeoutError) is silent."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self._answer = answer
        deadline = loop.call_later(ANSWER_TIMEOUT, self._give_up)
        try:
            self._transport.write(request)
            return await answer
        finally:
            deadline.cancel()

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not mark or length is None or len(body) < int(length[1]):
            return
        self._buffer = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def _give_up(self) -> None:
        self._fail(TimeoutError(f"no answer within {ANSWER_TIMEOUT:g} s"))
        self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
