"""An IMAP server that says what a test wants: for what no decent server would do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HOST = "127.0.0.1"
HANG = "HANG"
DROP = "DROP"

ANSWERS: Mapping[str, str] = {
    "": "* OK ready",
    "CAPABILITY": "* CAPABILITY IMAP4rev1\r\n{tag} OK done",
    "LOGIN": "{tag} OK logged in",
    "EXAMINE": "* 0 EXISTS\r\n{tag} OK [READ-ONLY] opened",
    "LOGOUT": "* BYE\r\n{tag} OK done",
}


@dataclass(eq=False)
class ImapServer:
    """Answers each command by its name (the empty one is the greeting); `{tag}` is the command's.

    `HANG` says nothing any more, `DROP` closes. `lines` are what the client said. With `tls`, it begins so.
    """

    answers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    port: int = 0
    lines: list[str] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            tag, command = "", ""
            while True:
                answer = {**ANSWERS, **self.answers}.get(command, "{tag} BAD unknown")
                if answer == DROP:
                    return
                if answer == HANG:
                    await reader.read()  # until the client gives up
                    return
                writer.write(answer.format(tag=tag).encode() + b"\r\n")
                await writer.drain()
                line = (await reader.readline()).decode()
                if not line:
                    return
                self.lines.append(line.rstrip("\r\n"))
                tag, command = line.split()[:2]
        except ConnectionError:
            return
        finally:
            writer.transport.abort()
            self.closed.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ImapServer]:
        """Listen on a port of the system's choice until the block ends."""
        listener = await asyncio.start_server(self._accept, HOST, self.port, ssl=self.tls)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await listener.wait_closed()
