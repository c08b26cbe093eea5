"""An application on a loopback socket: it receives delivery reports and answers as the test scripts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

HEAD_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request as it came; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body, which must be a JSON object."""
        value: object = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def entries(self) -> list[dict[str, object]]:
        """The entries of the delivery report; a heartbeat has none."""
        report = self.json["delivery_report"]
        assert isinstance(report, list)
        return report


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to answer: `body` is sent as JSON unless it is bytes; `held` is waited for before.

    `hang` never answers, `drop` closes the connection without a word, `raw` is sent as it is instead of
    an HTTP response, and then the connection is closed.
    """

    status: int = 200
    body: object = field(default_factory=lambda: {"ok": True})
    headers: Mapping[str, str] = field(default_factory=dict)
    held: asyncio.Event | None = None
    hang: bool = False
    drop: bool = False
    raw: bytes | None = None

    def encode(self) -> bytes:
        """Build the bytes of the HTTP response."""
        if self.raw is not None:
            return self.raw
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + content


class Application:
    """The application's server: ``async with Application() as app: ... app.url, app.posts, app.answer``.

    Every post gets the first of `script` while there are any, then `answer`, which may be a function of
    the post. `tls` makes it an HTTPS server.
    """

    def __init__(
        self, answer: Answer | Callable[[Post], Answer] | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer: Answer | Callable[[Post], Answer] = answer or Answer()
        self.script: list[Answer] = []
        self.posts: list[Post] = []
        self.connections = 0
        self._tls = tls
        self._arrived = asyncio.Condition()
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The base URL, without a path and without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def entries(self) -> list[dict[str, object]]:
        """All report entries received so far, in order, those posted again included."""
        return [entry for post in self.posts for entry in post.entries]

    async def wait_for(
        self,
        condition: Callable[[Sequence[Post]], bool],
        timeout: float = 60.0,
    ) -> list[Post]:
        """Wait until the posts received fulfil the condition, and return them."""
        try:
            async with asyncio.timeout(timeout), self._arrived:
                await self._arrived.wait_for(lambda: condition(self.posts))
        except TimeoutError:
            received = [(post.target, post.body[:300]) for post in self.posts]
            raise AssertionError(f"not fulfilled after {timeout} s; received: {received}") from None
        return list(self.posts)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._converse, "127.0.0.1", 0, ssl=self._tls, limit=HEAD_LIMIT
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and end every open conversation; may be called again."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        conversations = dict(self._conversations)
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations)
        for writer in conversations.values():
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await server.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection. Never ends as cancelled: asyncio would log that."""
        task = asyncio.current_task()
        assert task is not None
        self._conversations[task] = writer
        task.add_done_callback(self._conversations.pop)
        self.connections += 1
        try:
            while self._server and (post := await _read(reader)) and await self._reply(post, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # A TLS connection would wait for the client's part of the good-bye.
            writer.transport.abort()
        finally:
            writer.close()

    async def _reply(self, post: Post, writer: asyncio.StreamWriter) -> bool:
        """Record and answer; tell whether the connection stays open."""
        async with self._arrived:
            self.posts.append(post)
            self._arrived.notify_all()
        answer = self.script.pop(0) if self.script else self.answer
        if not isinstance(answer, Answer):
            answer = answer(post)
        if answer.drop:
            return False
        if answer.hang:
            await asyncio.Event().wait()
        if answer.held is not None:
            await answer.held.wait()
        writer.write(answer.encode())
        await writer.drain()
        return answer.raw is None


async def _read(reader: asyncio.StreamReader) -> Post | None:
    """Read one request with a Content-Length (RFC 9112); None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _version = request_line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Post(method=method, target=target, headers=headers, body=body)
