"""HTTP to other people's servers, guarded: by address, without redirects, within sizes and times.

An address given by a tenant is resolved, checked and connected to as one step, so that a name that
resolves differently a moment later changes nothing (contract: security.md, Untrusted input). Proxies,
cookies and .netrc play no part: what is requested is what goes over the wire.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import httpcore2
import httpx2

from mail_proxy import __version__
from mail_proxy.addresses import AddressPolicy
from mail_proxy.errors import MailProxyError
from mail_proxy.model.tenants import AuthMethod, ClientAuth
from mail_proxy.threads import in_own_thread

TIMEOUT = 30.0
CONNECT_TIMEOUT = 10.0
MAX_RESPONSE = 1024 * 1024

MAX_HEAD = 64 * 1024
"""Bytes before the body of an answer, any number of provisional answers (1xx) included."""

MAX_PIECES = 5000
"""Chunks of an answer: each costs as much as a hundred bytes."""

READ_AT_ONCE = 16 * 1024
"""Bytes looked through before others have their turn: they may be thousands of chunks."""

# Below the 5 s after which uvicorn and Node close an idle connection: a post that meets the closing is lost.
KEEPALIVE = 4.0
KEPT_CONNECTIONS = 100

ADDRESSES_TRIED = 4

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to IP addresses; raises OSError, as `socket.getaddrinfo` does."""


class NotPublic(Exception):
    """A host that a tenant gave has no address that a tenant may reach.

    Which address it is would tell a tenant about networks that are none of its business.
    """

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is not a public address; GMP_ALLOWED_NETWORKS can permit private networks")


class RequestFailed(MailProxyError):
    """A request got no usable answer; the text says why in one line, without secrets."""

    code: ClassVar[str] = "request_failed"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it came, whatever its status. Header names are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class GuardedClient:
    """Keeps connections for a few seconds; those to addresses of the admin's apart from those of tenants.

    Were they together, a tenant could talk through a connection that only the admin's word allowed.
    """

    def __init__(self, policy: AddressPolicy, resolve: Resolver, tls: ssl.SSLContext) -> None:
        self._guard = _Backend(resolve, policy)
        self._trusted = _pool(_Backend(resolve, policy=None), tls)
        self._guarded = _pool(self._guard, tls)

    def reconfigure(self, policy: AddressPolicy) -> None:
        """Let tenants reach what `policy` admits; a connection that is open lives on for its few seconds."""
        self._guard.policy = policy

    async def aclose(self) -> None:
        """Close every connection; requests under way fail."""
        await self._trusted.aclose()
        await self._guarded.aclose()

    async def post_json(
        self,
        url: str,
        payload: bytes,
        *,
        trusted: bool,
        headers: Mapping[str, str] | None = None,
        auth: ClientAuth | None = None,
        timeout: float = TIMEOUT,
        max_response: int = MAX_RESPONSE,
    ) -> Response:
        """POST a JSON document and return the answer, redirects included: none is followed.

        `trusted` tells that the admin gave the URL, which may then lead anywhere; `timeout` is in seconds,
        for the whole exchange. Raises `RequestFailed` if there is no complete answer in time, or one of
        more than `max_response` bytes.
        """
        address = _parse(url)
        fields = {
            "Host": address.netloc.decode("ascii"),
            "User-Agent": f"mail-proxy/{__version__}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **(headers or {}),
            **authorization(auth or ClientAuth()),
        }
        host = address.raw_host.decode("ascii")  # in Unicode, "xn--" would have to be what IDNA allows
        where = f"{host}:{address.port or _DEFAULT_PORTS[address.scheme]}"
        pool = self._trusted if trusted else self._guarded
        with _one_line(where, timeout):
            async with (
                asyncio.timeout(timeout),
                pool.stream(
                    "POST",
                    httpcore2.URL(
                        scheme=address.raw_scheme,
                        host=address.raw_host,
                        port=address.port,
                        target=address.raw_path,
                    ),
                    headers=_encode(fields),
                    content=payload,
                    extensions={"timeout": {"connect": CONNECT_TIMEOUT}},
                ) as answer,
            ):
                return await _read(answer, where, max_response)


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Ask the system's resolver, in a thread of its own: a name server may be silent for half a minute."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]

    def look_up() -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    return await in_own_thread(look_up, f"resolve {host}")


async def addresses_of(
    host: str, port: int, *, policy: AddressPolicy | None, resolve: Resolver
) -> Sequence[str]:
    """Return the addresses of a host that may be tried, in their order; with a policy, those that it admits.

    Raises OSError or ValueError when it does not resolve, and `NotPublic` when the policy admits none.
    """
    addresses = await resolve(host, port)
    if policy is not None:
        addresses = policy.admitted(addresses)
        if not addresses:
            raise NotPublic(host)
    return addresses[:ADDRESSES_TRIED]


@contextlib.asynccontextmanager
async def open_client(
    allowed_networks: Sequence[str] = (),
    *,
    resolve: Resolver = resolve_by_system,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[GuardedClient]:
    """Open a client that lets tenants reach public addresses and the `allowed_networks`.

    Certificates are verified against the system's, or as `tls` says. Raises `InvalidConfig` for what is
    not a network.
    """
    policy = AddressPolicy.of(allowed_networks)
    client = GuardedClient(policy, resolve, tls or httpx2.create_ssl_context())
    try:
        yield client
    finally:
        await client.aclose()


def authorization(auth: ClientAuth) -> dict[str, str]:
    """Build the Authorization header (RFC 6750, RFC 7617); `RequestFailed` for what no header can carry."""
    if auth.method is AuthMethod.BEARER:
        token = auth.token or ""
        if not token or not token.isascii() or not token.isprintable():
            raise RequestFailed("client_auth: the bearer token is empty or holds characters that it must not")
        return {"Authorization": f"Bearer {token}"}
    if auth.method is AuthMethod.BASIC:
        user, password = auth.user or "", auth.password or ""
        if not user or ":" in user or not (user + password).isprintable():
            raise RequestFailed(
                "client_auth: the user is empty, or user or password hold characters that they must not"
            )
        pair = f"{user}:{password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
    return {}


class _Backend(httpcore2.AsyncNetworkBackend):
    """Opens connections, only to addresses that the policy admits; without a policy, to any."""

    def __init__(self, resolve: Resolver, policy: AddressPolicy | None) -> None:
        self._resolve = resolve
        self.policy = policy
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        fault: httpcore2.NetworkError | httpcore2.TimeoutException | None = None
        for address in await self._addresses(host, port):
            try:
                stream = await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as refused:
                fault = refused
            else:
                return _Stream(stream)
        raise fault or RequestFailed(f"{host} has no address")

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            return await addresses_of(host, port, policy=self.policy, resolve=self._resolve)
        except NotPublic as fault:
            raise RequestFailed(str(fault)) from fault
        except (OSError, ValueError) as fault:
            reason = (isinstance(fault, OSError) and fault.strerror) or "not a host name"
            raise RequestFailed(f"{host} does not resolve: {reason}") from fault


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection from which no more than `left` bytes are read, in small parts: from a request on, a head.

    It is closed also when its handshake is given up; httpcore closes it on errors alone.
    """

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self.left = MAX_HEAD

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await asyncio.sleep(0)  # what TLS has decrypted already comes without a pause
        some = await self._inner.read(min(max_bytes, READ_AT_ONCE), timeout)
        self.left -= len(some)
        if self.left < 0:
            raise httpcore2.RemoteProtocolError("there is no end of it")
        return some

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.left = MAX_HEAD
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))
        except asyncio.CancelledError:
            await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


def _pool(backend: _Backend, tls: ssl.SSLContext) -> httpcore2.AsyncConnectionPool:
    return httpcore2.AsyncConnectionPool(
        ssl_context=tls,
        network_backend=backend,
        max_connections=None,
        max_keepalive_connections=KEPT_CONNECTIONS,
        keepalive_expiry=KEEPALIVE,
    )


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _parse(url: str) -> httpx2.URL:
    try:
        address = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as fault:
        raise RequestFailed(f"the URL is not valid: {_clip(str(fault))}") from None
    if address.scheme not in _DEFAULT_PORTS or not address.raw_host:
        raise RequestFailed("the URL is not valid: it must begin with http:// or https:// and a host")
    if address.userinfo:
        raise RequestFailed("the URL is not valid: user and password belong in client_auth")
    if address.port is not None and not 0 < address.port <= 65535:
        raise RequestFailed(f"the URL is not valid: there is no port {address.port}")
    return address


def _encode(fields: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    try:
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields.items()]
    except UnicodeEncodeError:
        raise RequestFailed("a header of the request holds characters that it must not") from None


async def _read(answer: httpcore2.Response, where: str, limit: int) -> Response:
    """Read the answer up to the limit.

    It was asked for as it is, so a compressed one is refused: nothing can unfold in memory.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
    encoding = headers.get("content-encoding", "").lower() or "identity"
    if encoding != "identity":
        raise RequestFailed(
            f"{where} answered {answer.status}, compressed ({_clip(encoding)}) without being asked"
        )
    stream = answer.extensions["network_stream"]
    if isinstance(stream, _Stream):
        stream.left = 2 * limit  # what is between the chunks included
    body, pieces = bytearray(), 0
    async with contextlib.aclosing(answer.aiter_stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            pieces += 1
            if len(body) > limit:
                raise RequestFailed(f"{where} answered {answer.status} with more than {limit} bytes")
            if pieces > MAX_PIECES:
                raise RequestFailed(f"{where} answered {answer.status} in more than {MAX_PIECES} pieces")
    return Response(answer.status, bytes(body), headers)


@contextlib.contextmanager
def _one_line(where: str, seconds: float) -> Iterator[None]:
    """Turn what can go wrong below into `RequestFailed`."""
    try:
        yield
    except TimeoutError as fault:
        raise RequestFailed(f"{where} did not answer within {seconds:g} s") from fault
    except httpcore2.TimeoutException as fault:
        raise RequestFailed(f"{where} could not be connected to within {CONNECT_TIMEOUT:g} s") from fault
    except (httpcore2.NetworkError, OSError) as fault:
        raise RequestFailed(_network_fault(where, fault)) from fault
    except httpcore2.LocalProtocolError as fault:
        raise RequestFailed("a header of the request holds characters that it must not") from fault
    except httpcore2.RemoteProtocolError as fault:
        if "disconnected" in str(fault):
            raise RequestFailed(f"{where} closed the connection without an answer") from fault
        raise RequestFailed(f"{where} gave a broken answer: {_clip(str(fault))}") from fault
    except ValueError as fault:  # TLS knows hosts that are none, though they resolve
        raise RequestFailed(f"the URL is not valid: {_clip(str(fault))}") from fault


def _network_fault(where: str, fault: BaseException) -> str:
    """Say what broke, by the system's error at the bottom of the chain."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {where} was refused: {_clip(cause.verify_message)}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS with {where} failed: {_clip(cause.reason or str(cause))}"
        if isinstance(cause, OSError) and cause.errno:
            return f"the connection to {where} failed: {os.strerror(cause.errno)}"
        cause = cause.__cause__ or cause.__context__
    return f"the connection to {where} broke"


def _clip(text: str) -> str:
    """Make one printable line of at most 200 characters of what a stranger wrote."""
    return "".join(char if char.isprintable() else " " for char in text[:200])
