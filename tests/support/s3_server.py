"""A server that speaks as much of S3 as files need, and believes only good signatures (AWS SigV4)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

HOST = "127.0.0.1"
BUCKET = "files"
KEY_ID = "AKIATEST"
SECRET = "wJalrXUtnFEMI/K7MDENG"
HANG = "HANG"
DROP = "DROP"

MISMATCH = "The request signature we calculated does not match the signature you provided."


@dataclass(frozen=True, slots=True)
class Request:
    """What came: the path as it was sent, names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(eq=False)
class S3Server:
    """Keeps objects by their keys. `answers` are given for a method in place of what is right, as they are.

    `HANG` says nothing any more, `DROP` closes. `{authorization}` in an answer is what the client sent.
    """

    answers: Mapping[str, str] = field(default_factory=dict)
    host: str = HOST
    tls: ssl.SSLContext | None = None
    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    met: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _read(reader)
                self.requests.append(request)
                self.met.set()
                answer = self.answers.get(request.method)
                if answer == DROP:
                    return
                if answer == HANG:
                    await reader.read()  # until the client gives up
                    return
                if answer is None:
                    writer.write(self._answer(request))
                else:
                    writer.write(answer.format(authorization=request.headers.get("authorization")).encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()
            self.closed.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[S3Server]:
        """Listen on a port of the system's choice until the block ends."""
        listener = await asyncio.start_server(self._accept, self.host, self.port, ssl=self.tls)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await listener.wait_closed()

    def _answer(self, request: Request) -> bytes:
        if not is_signed(request):
            return error("403 Forbidden", "SignatureDoesNotMatch", MISMATCH)
        bucket, _, key = unquote(request.path).removeprefix("/").partition("/")
        if bucket != BUCKET:
            return error("404 Not Found", "NoSuchBucket", "The specified bucket does not exist")
        if request.method == "PUT":
            self.objects[key] = request.body
            return answer("200 OK")
        if key not in self.objects:
            return error("404 Not Found", "NoSuchKey", "The specified key does not exist.")
        if request.method == "DELETE":
            del self.objects[key]
            return answer("204 No Content")
        return answer("200 OK", self.objects[key])


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")[:-2]
    method, path, _version = first.split(" ")
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def is_signed(request: Request, secret: str = SECRET) -> bool:
    """Tell whether the request is signed with the key of the tests, its content too."""
    parts = request.headers.get("authorization", "").removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    told = dict(part.partition("=")[::2] for part in parts)
    key_id, _, scope = told.get("Credential", "").partition("/")
    digest = hashlib.sha256(request.body).hexdigest()
    if key_id != KEY_ID or request.headers.get("x-amz-content-sha256") != digest:
        return False
    names = told["SignedHeaders"].split(";")
    path, _, query = request.path.partition("?")
    signed = [f"{name}:{request.headers[name]}" for name in names]
    canonical = "\n".join([request.method, path, query, *signed, "", told["SignedHeaders"], digest])
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            request.headers["x-amz-date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return hmac.compare_digest(key.hex(), told["Signature"])


def answer(status: str, body: bytes = b"") -> bytes:
    """An answer with the headers that clients want to see."""
    head = f'HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nETag: "e"\r\n'
    return f"{head}Last-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n".encode() + body


def error(status: str, code: str, message: str) -> bytes:
    body = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return answer(status, body.encode())
