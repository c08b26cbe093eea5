"""The listening socket, and uvicorn as one task among others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from mail_proxy.daemon.heads import http_protocol
from mail_proxy.daemon.patience import Connection, Patience
from mail_proxy.errors import InstanceError

GRACE = 5
"""Seconds that requests under way have when the server stops."""

BACKLOG = 2048


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind before anything else is begun, so that a taken port is known at once; raise `InstanceError`."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a host name"
        raise InstanceError(f"cannot listen on {host}: {reason}") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise InstanceError(
                f"cannot listen on {host} port {port}: {error.strerror}; "
                "stop what uses it, or choose another with --port"
            ) from error
        yield listener


class HttpServer(uvicorn.Server):
    """uvicorn without its hands on the signals: it would raise SIGTERM again and cut the drain short."""

    def __init__(self, app: ASGIApp, listener: socket.socket, *, patience: Patience | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=http_protocol(),
                lifespan="off",
                log_config=None,
                log_level="warning",  # that it starts and stops is said by us
                access_log=False,
                server_header=False,
                proxy_headers=False,  # it would believe whoever connects from this machine
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._listener = listener
        self._patience = patience or Patience()
        self.is_up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.is_up.set()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; see `Patience` for what is done in one of them."""
        if counter % 10 == 0:
            connections = cast("Iterable[Connection]", self.server_state.connections)
            for connection in self._patience.lost_with(connections, asyncio.get_running_loop().time()):
                connection.transport.abort()  # close() would wait for what is not taken
        return await super().on_tick(counter)

    async def run_here(self) -> None:
        """Serve on the socket given, until `stop`."""
        await self.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Take no more connections; requests under way have `GRACE` seconds."""
        self.should_exit = True
