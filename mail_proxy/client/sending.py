"""Sending requests, in two ways that differ in nothing but the waiting."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import httpx2

from mail_proxy import __version__
from mail_proxy.client.errors import (
    ApiError,
    MailProxyClientError,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)
from mail_proxy.client.requests import Page, Request, following, line_read, outcome

T = TypeVar("T")

FIRST_PAUSE = 0.25
"""Seconds before the first repeat; each further one waits twice as long."""

LONGEST_PAUSE = 30.0
"""Seconds; a server that asks for more patience is not waited for."""

LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=3.0)
"""A connection is given up before the server does that (5 s): what is sent meanwhile would be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server, and how to speak to it; `timeout` is in seconds."""

    url: str
    token: str | None
    timeout: float
    retries: int
    verify: ssl.SSLContext | bool

    def __post_init__(self) -> None:
        """Raise ValueError for what can never work; nothing of it is repeated, for it may be secret."""
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL:
            url = httpx2.URL()
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            raise ValueError("the URL must be http://… or https://…, without user name, query or fragment")
        if self.token is not None and not self.token.isprintable():
            raise ValueError("the token holds characters that no token has")

    def __repr__(self) -> str:
        return f"Target({self.url!r})"

    @property
    def headers(self) -> dict[bytes, bytes]:
        given = {b"User-Agent": f"mail-proxy-client/{__version__}".encode()}
        return given if self.token is None else {**given, b"X-API-Token": self.token.encode()}

    def build(self, http: httpx2.Client | httpx2.AsyncClient, request: Request[T]) -> httpx2.Request:
        content = request.content
        headers = {} if content is None else {"Content-Type": "application/json"}
        return http.build_request(request.method, request.target, content=content, headers=headers)

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Turn what goes wrong below into the errors of this client."""
        try:
            yield
        except httpx2.TimeoutException as error:
            was_sent = isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout)
            raise TimedOut(f"{self.url} did not answer in {self.timeout:g} s", was_sent=was_sent) from error
        except httpx2.TransportError as error:
            was_sent = not isinstance(error, httpx2.ConnectError)
            raise Unreachable(f"{self.url} did not answer: {_reason(error)}", was_sent=was_sent) from error
        except httpx2.RequestError as error:
            raise UnexpectedAnswer(f"the answer of {self.url} cannot be read: {error}") from error

    def pause_after(self, error: MailProxyClientError, request: Request[T], attempt: int) -> float | None:
        """Return the seconds to wait before asking again, or None when that is not to be done.

        What may have reached the server is repeated only if that does no harm.
        """
        pause = FIRST_PAUSE * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        if attempt > self.retries or isinstance(error, TimedOut):
            return None
        if isinstance(error, Unreachable):
            return pause if request.is_repeatable or not error.was_sent else None
        if not isinstance(error, ApiError) or error.status != HTTPStatus.SERVICE_UNAVAILABLE:
            return None
        asked = error.retry_after
        if asked is None or asked > LONGEST_PAUSE or not request.is_repeatable:
            return None
        return max(pause, asked)


class Sender:
    """Sends over connections that it keeps; threads may share it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._http = httpx2.Client(
            base_url=target.url,
            headers=target.headers,
            timeout=target.timeout,
            verify=target.verify,
            limits=LIMITS,
        )

    def send(self, request: Request[T]) -> T:
        attempt = 1
        while True:
            try:
                return self._send_once(request)
            except MailProxyClientError as error:
                pause = self.target.pause_after(error, request, attempt)
                if pause is None:
                    raise
            attempt += 1
            time.sleep(pause)

    def pages(self, first: Request[Page[T]]) -> Iterator[T]:
        request: Request[Page[T]] | None = first
        while request is not None:
            page = self.send(request)
            yield from page.items
            request = following(request, page)

    def lines(self, request: Request[T]) -> Iterator[T]:
        with self.target.translating():
            response = self._http.send(self.target.build(self._http, request), stream=True)
            try:
                if response.status_code != HTTPStatus.OK:
                    response.read()
                    _read(request, response)
                lines = _Lines()
                for chunk in response.iter_bytes():
                    for line in lines.fed(chunk):
                        yield line_read(request, line)
                lines.end()
            finally:
                response.close()

    def close(self) -> None:
        self._http.close()

    def _send_once(self, request: Request[T]) -> T:
        with self.target.translating():
            response = self._http.send(self.target.build(self._http, request))
        return _read(request, response)


class AsyncSender:
    """The same for asyncio; for one event loop."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._http = httpx2.AsyncClient(
            base_url=target.url,
            headers=target.headers,
            timeout=target.timeout,
            verify=target.verify,
            limits=LIMITS,
        )

    async def send(self, request: Request[T]) -> T:
        attempt = 1
        while True:
            try:
                return await self._send_once(request)
            except MailProxyClientError as error:
                pause = self.target.pause_after(error, request, attempt)
                if pause is None:
                    raise
            attempt += 1
            await asyncio.sleep(pause)

    async def pages(self, first: Request[Page[T]]) -> AsyncIterator[T]:
        request: Request[Page[T]] | None = first
        while request is not None:
            page = await self.send(request)
            for item in page.items:
                yield item
            request = following(request, page)

    async def lines(self, request: Request[T]) -> AsyncIterator[T]:
        with self.target.translating():
            response = await self._http.send(self.target.build(self._http, request), stream=True)
            try:
                if response.status_code != HTTPStatus.OK:
                    await response.aread()
                    _read(request, response)
                lines = _Lines()
                async with aclosing(response.aiter_bytes()) as chunks:
                    async for chunk in chunks:
                        for line in lines.fed(chunk):
                            yield line_read(request, line)
                lines.end()
            finally:
                await response.aclose()

    async def close(self) -> None:
        await self._http.aclose()

    async def _send_once(self, request: Request[T]) -> T:
        with self.target.translating():
            response = await self._http.send(self.target.build(self._http, request))
        return _read(request, response)


class _Lines:
    """Parts what arrives into lines, each of which ends with a line feed and nothing else."""

    def __init__(self) -> None:
        self._rest = b""

    def fed(self, chunk: bytes) -> list[bytes]:
        *complete, self._rest = (self._rest + chunk).split(b"\n")
        return complete

    def end(self) -> None:
        if self._rest:
            raise Unreachable("the answer broke off in the middle of a line")


def _reason(error: BaseException) -> str:
    """Say what broke in the system's words, if they are at the bottom of the chain."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError) and cause.errno:
            return os.strerror(cause.errno)  # asyncio puts other words in its place
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _read(request: Request[T], response: httpx2.Response) -> T:
    return outcome(request, response.status_code, response.content, response.headers.get("Retry-After"))
