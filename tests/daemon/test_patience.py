"""Clients without a token that hold connections, or send heads without end, harm nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from mail_proxy.daemon.http import HttpServer, listening
from mail_proxy.daemon.patience import Connection, Patience


@dataclass
class _Request:
    response_complete: bool = False


@dataclass
class _Wire:
    untaken: int = 0

    def get_write_buffer_size(self) -> int:
        return self.untaken


@dataclass(eq=False)
class _Client:
    cycle: _Request | None = None
    transport: _Wire = field(default_factory=_Wire)


def lost(patience: Patience, clients: list[_Client], now: float) -> list[_Client]:
    return cast("list[_Client]", patience.lost_with(cast("list[Connection]", clients), now))


def test_who_asks_nothing_for_long_is_hung_up_on() -> None:
    patience, client = Patience(timeout=30, crowd=9), _Client()
    assert [lost(patience, [client], now) for now in (0.0, 29.0, 30.0)] == [[], [], [client]]


def test_who_is_being_answered_may_take_any_time() -> None:
    patience, client = Patience(timeout=30, crowd=0), _Client(_Request())
    assert [lost(patience, [client], now) for now in (0.0, 1000.0)] == [[], []]


def test_patience_begins_anew_with_each_answer() -> None:
    patience, client = Patience(timeout=30, crowd=9), _Client()
    lost(patience, [client], 0.0)
    client.cycle = _Request(response_complete=True)
    assert [lost(patience, [client], now) for now in (29.0, 58.0, 59.0)] == [[], [], [client]]


def test_an_answer_that_is_read_may_take_any_time_and_one_that_is_not_may_not() -> None:
    patience, client = Patience(timeout=30, answer_timeout=300, crowd=9), _Client(_Request())
    client.transport.untaken = 2000
    assert [lost(patience, [client], now) for now in (0.0, 299.0)] == [[], []]
    client.transport.untaken = 1000
    assert [lost(patience, [client], now) for now in (300.0, 599.0, 600.0)] == [[], [], [client]]


def test_of_a_crowd_the_longest_silent_go() -> None:
    patience, first, second, third = Patience(timeout=30, crowd=1), _Client(), _Client(), _Client(_Request())
    lost(patience, [first], 0.0)
    assert lost(patience, [second, third, first], 1.0) == [first]


async def _app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


class _Long:
    """An answer longer than what any system keeps for a client; `is_over` when it is off our hands."""

    def __init__(self) -> None:
        self.is_over = asyncio.Event()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1024):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body"})
        self.is_over.set()


@asynccontextmanager
async def _server(patience: Patience, app: ASGIApp = _app) -> AsyncIterator[int]:
    with listening("127.0.0.1", 0) as listener:
        server = HttpServer(app, listener, patience=patience)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.run_here())
            await server.is_up.wait()
            yield listener.getsockname()[1]
            server.stop()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nX: "])
async def test_half_a_request_does_not_hold_a_connection(said: bytes) -> None:
    async with _server(Patience(timeout=0.1)) as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        assert await reader.read() == b""
        writer.close()


async def test_an_answer_that_nobody_takes_does_not_hold_a_connection() -> None:
    app = _Long()
    async with _server(Patience(answer_timeout=0.1), app) as port, asyncio.timeout(60):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await app.is_over.wait()
        writer.close()


@pytest.mark.parametrize("piece", [b"X: " + b"y" * 1000 + b"\r\n", b"y" * 1000])
async def test_a_head_without_end_is_not_kept(piece: bytes) -> None:
    async with _server(Patience()) as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        with suppress(ConnectionError):
            for _ in range(4096):
                writer.write(piece)
                await writer.drain()
            await reader.read()
        writer.close()


async def test_a_usual_head_is_answered_again_and_again() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 60_000 + b"\r\n\r\n"
    async with _server(Patience()) as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(20):
            writer.write(head)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()
