"""A relay before a server, which can keep back the answer to a request that the server has acted upon."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

CHUNK = 65536


class Relay:
    """``async with Relay(port) as relay``: `relay.url` leads to the server on that port."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.held = asyncio.Event()
        self.released = asyncio.Event()
        self._to = port
        self._wanted: bytes | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hold(self, request: bytes) -> None:
        """Keep the answer to the next request with these bytes: `held` is set then; until `released` is."""
        self._wanted = request

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection. Never ends as cancelled: asyncio would log that."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, away = await asyncio.open_connection("127.0.0.1", self._to)
        is_wanted = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(reader, away, is_wanted))
                both.create_task(self._answers(there, writer, is_wanted))
        except (asyncio.CancelledError, ExceptionGroup):
            writer.transport.abort()
        finally:
            away.transport.abort()
            writer.close()
            self._tasks.discard(task)

    async def _requests(
        self, reader: asyncio.StreamReader, away: asyncio.StreamWriter, is_wanted: asyncio.Event
    ) -> None:
        while chunk := await reader.read(CHUNK):
            if self._wanted and self._wanted in chunk:
                self._wanted = None
                is_wanted.set()
            away.write(chunk)
            await away.drain()
        raise ConnectionResetError

    async def _answers(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, is_wanted: asyncio.Event
    ) -> None:
        while chunk := await there.read(CHUNK):
            if is_wanted.is_set():
                self.held.set()
                await self.released.wait()
            writer.write(chunk)
            await writer.drain()
        raise ConnectionResetError
