"""An SMTP server for tests that does its work well but for one fault, at the step that it is told.

It keeps what it has accepted, so that a test can count: what was lost, what came twice. `SmtpServer` is a
real library and cannot do what is here; `ScriptedServer` follows a script, this one holds a conversation.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, StrEnum

HOST = "127.0.0.1"

DRIP_PAUSE = 0.1
SIP = 512
"""Seconds between the bytes of a reply that drips, and between the reads of a slow reader."""

SEGMENT = 1000
"""Bytes of a TCP segment: with small ones the buffers of both ends hold little, and content stays unsent."""


class Step(StrEnum):
    """Where the server can fail."""

    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    DOT = "dot"
    TAKEN = "taken"  # it has accepted the mail, and fails before it says so


class Act(Enum):
    """What it does there in place of replying as it should. A text is a reply, bytes go as they are."""

    HANG = "say nothing"
    DROP = "drop the connection"
    ENDLESS = "reply without end"
    ENDLESS_LINE = "reply with a line without end"
    DRIP = "reply as it should, byte by byte"
    TWICE = "reply as it should, and the same once more"
    READ_SLOWLY = "take the content, a little at a time"
    ANSWER_LAST = "reply as it should, and to nothing that comes after it"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A mail that the server took, whether or not the client could hear of it."""

    recipients: tuple[str, ...]
    content: bytes
    connection: int


class _Over(Exception):
    """The conversation has ended."""


@dataclass(eq=False)
class FaultyServer:
    """`at` says what it does at which step, until `heal`. `refusals` are replies to RCPT by local part.

    After `mails_per_connection` it says `farewell` to each MAIL (with 421 it closes), or closes at once if
    that is empty.
    `takes_for_nobody`: it says 354 even if all recipients were refused. `most_recipients`: of one mail.
    """

    at: Mapping[Step, Act | str | bytes] = field(default_factory=dict)
    offers: tuple[str, ...] = ("PIPELINING",)
    refusals: Mapping[str, str] = field(default_factory=dict)
    mails_per_connection: int | None = None
    farewell: str = "421 4.7.0 enough for one connection"
    takes_for_nobody: bool = False
    most_recipients: int | None = None
    tls: ssl.SSLContext | None = None
    is_implicit: bool = False
    port: int = 0
    accepted: list[Accepted] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    connections: int = 0
    logins: int = 0
    _listener: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def heal(self) -> None:
        """Do everything right from now on."""
        self.at, self.refusals = {}, {}

    async def hang_up(self) -> None:
        """Break all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop_listening(self) -> None:
        """Refuse connections from now on."""
        assert self._listener is not None
        self._listener.close()
        await self.hang_up()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        conversation = _Conversation(self, reader, writer, self.connections)
        task = asyncio.get_running_loop().create_task(conversation.hold())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultyServer]:
        """Listen on a port of the system's choice until the block ends."""
        listening = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio sends small replies at once only then
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        listening.bind((HOST, 0))
        self.port = listening.getsockname()[1]
        context = self.tls if self.is_implicit else None
        self._listener = await asyncio.start_server(self._accept, sock=listening, ssl=context, limit=4096)
        try:
            yield self
        finally:
            await self.stop_listening()
            await self._listener.wait_closed()


@dataclass(eq=False)
class _Conversation:
    """One connection."""

    server: FaultyServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    is_encrypted: bool = False
    has_sender: bool = False
    recipients: list[str] = field(default_factory=list)
    mails: int = 0

    async def hold(self) -> None:
        try:
            await self._reply(Step.BANNER, "220 mx.test at your service")
            while line := await self.reader.readline():
                await self._answer(line.decode("utf-8", "replace").rstrip("\r\n"))
        except (_Over, OSError, asyncio.IncompleteReadError):
            return
        finally:
            # Early 3.11: asyncio cannot abort a TLS transport that has been closed. It is gone by then.
            with suppress(AttributeError):
                self.writer.transport.abort()

    async def _answer(self, line: str) -> None:
        verb = line[:4].upper()
        match verb:
            case "EHLO" | "HELO":
                await self._reply(Step.EHLO, self._greeting())
            case "STAR":
                await self._start_tls()
            case "AUTH":
                self.server.logins += 1
                await self._reply(Step.AUTH, "235 2.7.0 welcome")
            case "MAIL":
                await self._mail()
            case "RCPT":
                await self._recipient(line)
            case "DATA":
                await self._data()
            case "RSET":
                self._forget()
                await self._say("250 2.0.0 flushed")
            case "NOOP":
                await self._say("250 2.0.0 here")
            case "QUIT":
                await self._say("221 2.0.0 bye")
                raise _Over
            case _:
                await self._say("500 5.5.2 what?")

    def _greeting(self) -> str:
        offers = [each for each in self.server.offers if not (each == "STARTTLS" and self.is_encrypted)]
        lines = ["mx.test", *offers]
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    async def _start_tls(self) -> None:
        assert self.server.tls is not None
        if not await self._reply(Step.STARTTLS, "220 2.0.0 go ahead"):
            return
        await self._act(self.server.at.get(Step.HANDSHAKE))
        await self.writer.start_tls(self.server.tls)
        self.is_encrypted = True

    async def _mail(self) -> None:
        if self.mails == self.server.mails_per_connection:
            await self._say(self.server.farewell)
            self._forget()
            return
        self._forget()
        self.has_sender = await self._reply(Step.MAIL, "250 2.1.0 sender ok")

    async def _recipient(self, line: str) -> None:
        address = line.partition("<")[2].partition(">")[0]
        self.server.named.append(address)
        refusal = self.server.refusals.get(address.partition("@")[0])
        if refusal is not None:
            await self._say(refusal)
        elif not self.has_sender:
            await self._say("503 5.5.1 need MAIL first")
        elif len(self.recipients) == self.server.most_recipients:
            await self._say("452 4.5.3 too many recipients")
        elif await self._reply(Step.RCPT, "250 2.1.5 recipient ok"):
            self.recipients.append(address)

    async def _data(self) -> None:
        if not self.recipients and not self.server.takes_for_nobody:
            await self._say("554 5.5.1 no valid recipients")
            return
        if not await self._reply(Step.DATA, "354 go ahead"):
            return
        act = self.server.at.get(Step.CONTENT)
        content = await self.reader.read(100)
        if act is not Act.READ_SLOWLY:
            await self._act(act)
        read = len(content)
        while not content.endswith(b"\r\n.\r\n"):  # line by line: what follows may be the next mail's
            line = await self.reader.readline()
            if not line:
                raise _Over
            content += line
            if act is Act.READ_SLOWLY and len(content) - read >= SIP:
                read = len(content)
                await asyncio.sleep(DRIP_PAUSE)
        await self._take(content)

    async def _take(self, content: bytes) -> None:
        """A mail is accepted with the decision to say so: before the reply, which may not arrive."""
        accepted = Accepted(tuple(self.recipients), content, self.number)
        self._forget()
        if _is_positive(self.server.at.get(Step.DOT)):
            self.server.accepted.append(accepted)
            self.mails += 1
            await self._act(self.server.at.get(Step.TAKEN))
        await self._reply(Step.DOT, f"250 2.0.0 queued as {len(self.server.accepted)}")
        if self.mails == self.server.mails_per_connection and not self.server.farewell:
            raise _Over

    def _forget(self) -> None:
        self.has_sender = False
        self.recipients.clear()

    async def _reply(self, step: Step, text: str) -> bool:
        """Reply as it should or as it is told; tell whether it was as it should."""
        act = self.server.at.get(step)
        match act:
            case None:
                await self._say(text)
            case Act.TWICE:
                await self._say(f"{text}\r\n{text}")
            case Act.DRIP:
                await self._drip(text)
            case Act.ANSWER_LAST:
                await self._say(text)
                while await self.reader.read(65_536):
                    pass
                raise _Over
            case _:
                await self._act(act)
        return _is_positive(act)

    async def _act(self, act: Act | str | bytes | None) -> None:
        match act:
            case Act.HANG:
                await asyncio.Event().wait()  # until the server ends; it does not read, either
            case Act.DROP:
                raise _Over
            case Act.ENDLESS | Act.ENDLESS_LINE:
                while True:
                    await self._write(b"250-and\r\n" * 100 if act is Act.ENDLESS else b"2" * 1000)
            case bytes():
                await self._write(act)
            case str():
                await self._say(act)

    async def _say(self, text: str) -> None:
        if text:
            await self._write(f"{text}\r\n".encode())
        if text.startswith("421"):
            await self._leave()

    async def _leave(self) -> None:
        """Close so that what was said arrives: unread input would make it a reset."""
        if not self.is_encrypted and not self.server.is_implicit:
            self.writer.write_eof()
            while await self.reader.read(65_536):
                pass
        raise _Over

    async def _drip(self, text: str) -> None:
        for byte in f"{text}\r\n".encode():
            await self._write(bytes([byte]))
            await asyncio.sleep(DRIP_PAUSE)

    async def _write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


def _is_positive(act: Act | str | bytes | None) -> bool:
    """Whether the server means yes, however it says it."""
    return act in (None, Act.TWICE, Act.DRIP)
