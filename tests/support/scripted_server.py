"""An SMTP server for tests that only follows a script: it can say and do what no decent one would."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

HOST = "127.0.0.1"


class Fault(Enum):
    """What a server can do instead of replying."""

    DROP = "drop the connection"
    HANG = "say nothing"
    SILENT = "say nothing yet, and read on"
    LATE = "say 250 after a while"
    DRIP = "say line after line of a reply that never ends"
    TRICKLE = "the same without a pause, each line by itself"


DROP, HANG, SILENT, LATE, DRIP, TRICKLE = Fault
WHILE = 0.4
"""Seconds that are a while."""
DRIP_PAUSE = 0.02
"""Seconds between the lines of a reply that drips."""

Step = tuple[str, str | Fault]
"""What the client's line must begin with, and what to answer. For the line, "" is no line (the greeting),
"." the content up to its final dot, "+" some of the content."""


@dataclass(eq=False)
class ScriptedServer:
    """A server that only follows its script, each connection from the start; unmet expectations drop it.

    Answers are sent as they are, lines parted by CRLF, the last CRLF added. `lines` are the client's.
    `buffer`: octets that the system keeps for it, as few as it grants.
    """

    steps: Sequence[Step]
    host: str = HOST
    port: int = 0
    buffer: int | None = None
    lines: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for expected, answer in self.steps:
                if not await self._meets(reader, expected):
                    return
                if answer is DROP:
                    return
                if answer is HANG:
                    await asyncio.Event().wait()  # reading nothing either; ended with the server
                if isinstance(answer, Fault):
                    await self._say_otherwise(writer, answer)
                else:
                    await self._say(writer, answer)
            await reader.readline()  # QUIT, as a rule
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()

    async def _say(self, writer: asyncio.StreamWriter, answer: str) -> None:
        writer.write(f"{answer}\r\n".encode("utf-8", "surrogateescape"))
        await writer.drain()

    async def _say_otherwise(self, writer: asyncio.StreamWriter, fault: Fault) -> None:
        if fault is LATE:
            await asyncio.sleep(WHILE)
            await self._say(writer, "250 ok")
        while fault is DRIP:
            await self._say(writer, "250-and")
            await asyncio.sleep(DRIP_PAUSE)
        if fault is TRICKLE:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while fault is TRICKLE:
            await self._say(writer, "250-")
            await asyncio.sleep(0)

    async def _meets(self, reader: asyncio.StreamReader, expected: str) -> bool:
        if expected == "":
            return True
        if expected == "+":
            return await reader.read(1) != b""
        if expected == ".":
            self.contents.append(await reader.readuntil(b"\r\n.\r\n"))
            return True
        line = (await reader.readline()).decode("utf-8", "replace").rstrip("\r\n")
        self.lines.append(line)
        return line.startswith(expected)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedServer]:
        """Listen on a port of the system's choice until the block ends."""
        listening = socket.create_server((self.host, self.port))
        if self.buffer is not None:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                listening.setsockopt(socket.SOL_SOCKET, option, self.buffer)
        listener = await asyncio.start_server(self._accept, sock=listening)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await listener.wait_closed()
