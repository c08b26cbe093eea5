"""An application on a loopback socket: it receives delivery reports and answers as the test scripts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
HEAD_LIMIT = 64 * 1024
BACKLOG = 512
"""Connections at the door at most: a hundred tenants may be told at the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request as it came, at this time (Unix seconds); header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.time, compare=False)

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

    `hang` never answers and `drop` closes the connection without a word, each after the first `cut` bytes of
    the answer. `closes`: after the answer, without having said so. `raw` is sent as it is instead of an HTTP
    response, and then the connection is closed. `chunk` sends the body in chunks of so many bytes, `drip`
    sends byte after byte with so many seconds between them. `read` is set when the client, whom the answer
    must tell to close the connection, has done so: it has the whole answer then.
    """

    status: int = 200
    body: object = field(default_factory=lambda: {"ok": True})
    headers: Mapping[str, str] = field(default_factory=dict)
    held: asyncio.Event | None = None
    hang: bool = False
    drop: bool = False
    cut: int = 0
    closes: bool = False
    raw: bytes | None = None
    chunk: int | None = None
    drip: float | None = None
    read: asyncio.Event | None = None

    def encode(self) -> bytes:
        """Build the bytes of the HTTP response."""
        if self.raw is not None:
            return self.raw
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        length = {"Content-Length": str(len(content))}
        if self.chunk is not None:
            content, length = _in_chunks(content, self.chunk), {"Transfer-Encoding": "chunked"}
        headers = {"Content-Type": "application/json", **length, **self.headers}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + content


Answering = Answer | Callable[[Post], Answer | Awaitable[Answer]]
"""An answer, or what finds one for a post."""


class Application:
    """The application's server: ``async with Application() as app: ... app.url, app.posts, app.answer``.

    Every post gets the first of `script` while there are any, then `answer`. `tls` makes it an HTTPS server.
    While it `is_deaf` it accepts connections and reads nothing of them. It can be closed and opened again:
    it comes back on the same port.
    """

    def __init__(self, answer: Answering | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.answer: Answering = answer or Answer()
        self.script: list[Answering] = []
        self.posts: list[Post] = []
        self.connections = 0
        self.is_deaf = False
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
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = await asyncio.start_server(
            self._converse, HOST, self.port, ssl=self._tls, limit=HEAD_LIMIT, backlog=BACKLOG
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end every open conversation; may be called again."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        await self.hang_up()
        await server.wait_closed()

    async def hang_up(self) -> None:
        """End every open conversation."""
        conversations = dict(self._conversations)
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations)
        for writer in conversations.values():
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection. Never ends as cancelled: asyncio would log that."""
        task = asyncio.current_task()
        assert task is not None
        self._conversations[task] = writer
        task.add_done_callback(self._conversations.pop)
        self.connections += 1
        try:
            if self.is_deaf:
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is one that reads
                await asyncio.Event().wait()
            while self._server and (post := await _read(reader)) and await self._reply(post, reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # A TLS connection would wait for the client's part of the good-bye.
            writer.transport.abort()
        finally:
            writer.close()

    async def _reply(self, post: Post, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Record and answer; tell whether the connection stays open."""
        async with self._arrived:
            self.posts.append(post)
            self._arrived.notify_all()
        answer = await self._answer_to(post)
        if answer.held is not None:
            await answer.held.wait()
        text = answer.encode()
        if answer.hang or answer.drop:
            text = text[: answer.cut]
        await _send(text, writer, answer.drip)
        if answer.hang:
            await asyncio.Event().wait()
        if answer.read is not None:
            await reader.read()
            answer.read.set()
        return answer.raw is None and not (answer.drop or answer.closes or answer.read)

    async def _answer_to(self, post: Post) -> Answer:
        answering = self.script.pop(0) if self.script else self.answer
        answer = answering if isinstance(answering, Answer) else answering(post)
        return answer if isinstance(answer, Answer) else await answer


@contextlib.contextmanager
def full_house(port: int) -> Iterator[None]:
    """Listen on a free port with so many at the door that nobody else gets a connection, nor a refusal."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(0)
        for _ in range(4):
            guest = stack.enter_context(socket.socket())
            guest.setblocking(False)
            guest.connect_ex((HOST, listener.getsockname()[1]))
        yield


async def _send(text: bytes, writer: asyncio.StreamWriter, pause: float | None) -> None:
    """Send at once, or byte after byte with a pause between them."""
    for piece in [text] if pause is None else (bytes([byte]) for byte in text):
        writer.write(piece)
        await writer.drain()
        if pause is not None:
            await asyncio.sleep(pause)


def _in_chunks(content: bytes, size: int) -> bytes:
    """Encode as RFC 9112 7.1 says."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


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
