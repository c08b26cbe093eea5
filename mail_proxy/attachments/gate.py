"""The one way out for the library that speaks to object stores: a proxy in this process.

The library resolves names and follows redirects by itself, so what it may reach cannot be checked before.
Everything it opens goes through here instead: each name is resolved, checked and connected to as one step
(contract: security.md, Untrusted input). TLS goes from end to end; plain HTTP is passed on with its first
line as servers expect it, a connection for each request.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from mail_proxy.addresses import AddressPolicy
from mail_proxy.net import NotPublic, Resolver, addresses_of

MAX_HEAD = 64 * 1024
READ_AT_ONCE = 64 * 1024
LOOPBACK = "127.0.0.1"
USER = "mail-proxy"

_NOT_PASSED_ON = frozenset({b"proxy-authorization", b"proxy-connection", b"connection"})


class _Refused(Exception):
    """A connection cannot be had; the text says why."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The first lines of a request, and where it wants to go."""

    host: str
    port: int
    is_tunnel: bool
    password: bytes
    passed_on: bytes


class Gate:
    """Without a policy it leads anywhere. Of each connection at most `limit` bytes are read.

    `fault` says why a connection could not be had, or was ended; `dialing` which is being tried.
    """

    def __init__(self, policy: AddressPolicy | None, resolve: Resolver, limit: int) -> None:
        self.fault: str | None = None
        self.dialing: str | None = None
        self._policy = policy
        self._resolve = resolve
        self._limit = limit
        self._password = secrets.token_hex(32)
        self._port = 0
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What the library is given: with a password, for every user of the machine can connect to it."""
        return f"http://{USER}:{self._password}@{LOOPBACK}:{self._port}"

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Gate]:
        """Listen; in the end break off every connection."""
        server = await asyncio.start_server(self._met, LOOPBACK, 0, limit=MAX_HEAD)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.break_off()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def break_off(self) -> None:
        """End every connection."""
        for task in self._under_way:
            task.cancel()

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="storage gate")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
            head = _parsed(await reader.readuntil(b"\r\n\r\n"))
            if head is None or not hmac.compare_digest(head.password, _basic(self._password)):
                # The library itself comes without only when a server sent it on to another.
                self.fault = "it leads on to another server, and nothing goes there in clear"
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            try:
                server_reader, server_writer = await self._dial(head.host, head.port)
            except _Refused as refused:
                self.fault = str(refused)
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with contextlib.closing(server_writer):
                if head.is_tunnel:
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server_writer.write(head.passed_on)
                await self._relay((reader, server_writer), (server_reader, writer))

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where = f"{host}:{port}"
        self.dialing = where
        fault: OSError | None = None
        try:
            for address in await addresses_of(host, port, policy=self._policy, resolve=self._resolve):
                try:
                    return await asyncio.open_connection(address, port)
                except OSError as error:
                    fault = error
            raise _Refused(f"cannot connect to {where}: {_reason(fault)}")
        except NotPublic as error:
            raise _Refused(str(error)) from error
        except (OSError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or "not a host name"
            raise _Refused(f"{host} does not resolve: {reason}") from error
        finally:
            self.dialing = None

    async def _relay(
        self,
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        back: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Carry bytes both ways until either side has said all."""
        ways = [asyncio.create_task(_carry(*there)), asyncio.create_task(self._carry_back(*back))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await _carry(reader, writer, self._limit):
            self.fault = f"it gave more than {self._limit} bytes"


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None = None
) -> bool:
    """Return False when there was more than `limit` bytes."""
    carried = 0
    while some := await reader.read(READ_AT_ONCE):
        carried += len(some)
        if limit is not None and carried > limit:
            return False
        writer.write(some)
        await writer.drain()
    return True


def _parsed(head: bytes) -> _Head | None:
    """Read what the library asks of a proxy (RFC 9110, 9.3.6; RFC 9112, 3.2.2); None for anything else."""
    first, *lines = head[:-4].split(b"\r\n")
    fields = {line.partition(b":")[0].strip().lower(): line.partition(b":")[2].strip() for line in lines}
    try:
        method, target, version = first.decode("ascii").split(" ")
        is_tunnel = method == "CONNECT"
        parts = urlsplit(f"//{target}" if is_tunnel else target)
        port = parts.port or 80
    except ValueError:
        return None
    if not parts.hostname or (not is_tunnel and parts.scheme != "http"):
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in _NOT_PASSED_ON]
    passed_on = [f"{method} {path} {version}".encode(), *kept, b"Connection: close", b"", b""]
    return _Head(
        parts.hostname, port, is_tunnel, fields.get(b"proxy-authorization", b""), b"\r\n".join(passed_on)
    )


def _basic(password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{USER}:{password}".encode())


def _reason(fault: OSError | None) -> str:
    if fault is None:
        return "it has no address"
    return os.strerror(fault.errno) if fault.errno else str(fault) or type(fault).__name__
