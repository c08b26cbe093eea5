"""An SMTP server for tests of messages that begin along with the end of another's content.

It reads all that has come before it answers, so it sees which messages rode: their commands were there when
the dot before them was. What it does at each step of each mail is the test's to say.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

HOST = "127.0.0.1"
AT_ONCE = 1024 * 1024
"""Bytes read at a time, so that all that has come is seen."""


class Act(Enum):
    """What it does in place of replying as it should; at the dot, it has not taken the mail then."""

    HANG = auto()
    DROP = auto()
    MUM = auto()  # answers together with the next step
    TWICE = auto()  # replies as it should, twice
    SWALLOW = auto()  # replies as it should, and drops what has come after that
    FIN = auto()  # replies as it should, and closes
    RST = auto()  # the same, and what it has not read makes the close a reset


Answer = Act | str | asyncio.Event | None
"""A text is a reply in place of the right one; an event is waited for; None is what it should do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """A step of a conversation: a command, "dot" (the content has come, and is not taken yet) or "taken" (it
    is, and the client is about to hear of it).

    `who` is the local part it is about: the recipient's at RCPT, else the sender's. Connections and the mails
    of each count from 1.
    """

    verb: str
    who: str
    connection: int
    mail: int


def at(verb: str, who: str, answer: Answer) -> Callable[[At], Answer]:
    """Do this at the step about this person, as often as it comes; else what should be done."""
    return lambda step: answer if (step.verb, step.who) == (verb, who) else None


@dataclass(eq=False)
class RowServer:
    """`does` is asked at each step. Who mails are from and to is told by local parts alone.

    `accepted` are the senders of the mails taken, `rode` of those that began before another had ended,
    `contents` what came, by sender.
    """

    does: Callable[[At], Answer] = lambda _: None
    offers: tuple[str, ...] = ("PIPELINING",)
    greeting: str = "220 mx.test at your service"
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    steps: list[At] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    rode: list[str] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, looking after each step (a minute at most)."""
        async with asyncio.timeout(60):
            while not condition():
                self._came.clear()
                await self._came.wait()

    def heard(self, verb: str, who: str) -> int:
        """How often this step was reached for this person."""
        return sum((step.verb, step.who) == (verb, who) for step in self.steps)

    def reached(self, step: At) -> Answer:
        self.steps.append(step)
        self._came.set()
        return self.does(step)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(_Visit(self, reader, writer, self.connections).hold())
        self._tasks.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._came.set()

    @property
    def open_connections(self) -> int:
        return len(self._tasks)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RowServer]:
        """Listen on a port of the system's choice until the block ends."""
        listener = await asyncio.start_server(self._accept, HOST, 0, ssl=self.tls, limit=AT_ONCE)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await listener.wait_closed()


class _Over(Exception):
    """The conversation has ended."""


@dataclass(eq=False)
class _Visit:
    """One connection."""

    server: RowServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    came: bytes = b""
    unsaid: bytes = b""
    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    mail: int = 0

    async def hold(self) -> None:
        try:
            await self._say(self.server.greeting)
            while True:
                await self._answer((await self._read(b"\r\n")).decode())
        except (_Over, OSError):
            return
        finally:
            # Early 3.11: asyncio cannot abort a TLS transport that has been closed. It is gone by then.
            with suppress(AttributeError):
                self.writer.transport.abort()

    async def _read(self, end: bytes) -> bytes:
        while end not in self.came:
            piece = await self.reader.read(AT_ONCE)
            if not piece:
                raise _Over
            self.came += piece
        found, self.came = self.came[: self.came.index(end)], self.came[self.came.index(end) + len(end) :]
        return found

    async def _answer(self, line: str) -> None:
        verb, who = line[:4].upper(), line.partition("<")[2].partition("@")[0]
        match verb:
            case "EHLO":
                await self._say("\r\n250-".join(["250-mx.test", *self.server.offers]) + "\r\n250 HELP")
            case "MAIL":
                self._forget()
                self.mail += 1
                if await self._step(verb, who, "250 2.1.0 ok"):
                    self.sender = who
            case "RCPT":
                ok = "250 2.1.5 ok" if self.sender else "503 5.5.1 MAIL first"
                if await self._step(verb, who, ok) and self.sender:
                    self.recipients.append(who)
            case "DATA":
                ok = "354 go" if self.recipients else "554 5.5.1 no valid recipients"
                if await self._step(verb, self.sender, ok) and self.recipients:
                    await self._take()
            case "RSET" | "NOOP":
                self._forget()
                await self._step(verb, "", "250 2.0.0 ok")
            case "QUIT":
                await self._say("221 2.0.0 bye")
                raise _Over
            case _:
                await self._say("500 5.5.2 what?")

    async def _take(self) -> None:
        content = await self._read(b"\r\n.\r\n")
        sender = self.sender
        if self.came.startswith(b"MAIL"):
            self.server.rode.append(self.came.partition(b"<")[2].partition(b"@")[0].decode())
        self._forget()
        if await self._does(self.server.reached(self._at("dot", sender)), ""):
            self.server.accepted.append(sender)
            self.server.contents[sender] = content
            await self._step("taken", sender, f"250 2.0.0 {sender} is taken")

    def _forget(self) -> None:
        self.sender = ""
        self.recipients.clear()

    def _at(self, verb: str, who: str) -> At:
        return At(verb=verb, who=who, connection=self.number, mail=self.mail)

    async def _step(self, verb: str, who: str, reply: str) -> bool:
        return await self._does(self.server.reached(self._at(verb, who)), reply)

    async def _does(self, answer: Answer, reply: str) -> bool:
        """Reply as it should or as it is told; tell whether it means yes."""
        match answer:
            case str():
                await self._say(answer)
                if answer.startswith("421"):
                    raise _Over
                return False
            case Act():
                await self._act(answer, reply)
                return True
            case asyncio.Event():
                await answer.wait()
        await self._say(reply)
        return True

    async def _act(self, act: Act, reply: str) -> None:
        match act:
            case Act.HANG:
                while await self.reader.read(AT_ONCE):
                    pass
                raise _Over
            case Act.DROP:
                raise _Over
            case Act.MUM:
                self.unsaid += f"{reply}\r\n".encode()
                return
        await self._say(f"{reply}\r\n{reply}" if act is Act.TWICE else reply)
        if act is Act.SWALLOW:
            self.came = b""
        if act is Act.RST:
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if act in (Act.FIN, Act.RST):
            raise _Over

    async def _say(self, text: str) -> None:
        if text:
            self.writer.write(self.unsaid + f"{text}\r\n".encode())
            self.unsaid = b""
            await self.writer.drain()
