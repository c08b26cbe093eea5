"""An SMTP server that takes everything, fast, and remembers when.

In a test's own loop: ``async with Sink() as sink: ... await sink.wait_for(lambda s: s.messages == 10)``.
As a process of its own: `sink_process`. The record has a line for each message whose final dot was seen,
written before the reply, so it outlives whatever is killed meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, cast

CRLF = b"\r\n"
END = b"\r\n.\r\n"
LINE_LIMIT = 4096
OK = b"250 2.0.0 ok"
EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 104857600"
BACKLOG = 1024

_NAMES = re.compile(
    rb"^(x-test-id|x-genro-mail-id|message-id):[ \t]*(?:\r\n[ \t]+)?([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)
_ADDRESS = re.compile(rb"<([^>]*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How the sink behaves: `delay` before each answer (pipelined ones share it), `final_delay` before the
    one to the final dot (both seconds); every `fail_every`-th message gets `fail_reply` at `fail_at`
    (``mail``, ``rcpt`` or ``dot``; 0 is never); `keep_content` remembers what the messages said.
    """

    delay: float = 0.0
    final_delay: float = 0.0
    fail_every: int = 0
    fail_at: str = "dot"
    fail_reply: str = "451 4.3.0 try again later"
    keep_content: bool = False


@dataclass(slots=True, kw_only=True)
class Arrival:
    """One message: `begun` is when its MAIL command came, `dot` when its content was complete (Unix seconds).

    `test_id` is the header X-Test-ID, `mail_id` X-Genro-Mail-ID; `answered` tells that `reply` was written.
    """

    number: int
    sender: str
    recipients: list[str]
    test_id: str
    mail_id: str
    message_id: str
    begun: float
    dot: float
    size: int
    reply: str = "250 2.0.0 ok"
    answered: bool = False
    content: bytes = field(default=b"", repr=False)

    @property
    def is_accepted(self) -> bool:
        """Whether the sink took the message."""
        return self.reply.startswith("2")


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a sink has seen so far; `distinct` counts Message-IDs, `first` and `last` are Unix seconds."""

    messages: int = 0
    distinct: int = 0
    connections: int = 0
    open_now: int = 0
    peak: int = 0
    first: float = 0.0
    last: float = 0.0


class Sink:
    """The server. `arrivals` are the messages in the order of their final dots."""

    def __init__(
        self, knobs: Knobs | None = None, *, record: Path | None = None, remember: bool = True
    ) -> None:
        self.knobs = knobs or Knobs()
        self.arrivals: list[Arrival] = []
        self.tally = Tally()
        self.port = 0
        self.begun = 0
        self._remember = remember
        self._seen: set[str] = set()
        self._record_path = record
        self._record = -1
        self._sessions: set[_Session] = set()
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    async def start(self, port: int = 0) -> Self:
        """Listen on a loopback port, 0 for any free one."""
        if self._record_path is not None:
            self._record = os.open(self._record_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Session(self), "127.0.0.1", port, backlog=BACKLOG, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Stop listening and end every open conversation; may be called again."""
        if self._server is None:
            return
        self._server.close()
        for session in tuple(self._sessions):
            session.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)
        self._server = None
        if self._record >= 0:
            os.close(self._record)
            self._record = -1

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def wait_for(
        self,
        condition: Callable[[Tally], bool],
        timeout: float = 30.0,
    ) -> None:
        """Wait until the tally fulfils the condition; AssertionError after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not condition(self.tally):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not fulfilled after {timeout} s: {self.tally}") from None

    def opened(self, session: _Session) -> None:
        self._sessions.add(session)
        self.tally.connections += 1
        self.tally.open_now += 1
        self.tally.peak = max(self.tally.peak, self.tally.open_now)

    def closed(self, session: _Session) -> None:
        self._sessions.discard(session)
        self.tally.open_now -= 1
        self._changed.set()

    def fails(self, stage: str, number: int) -> bool:
        """Tell whether the message with this number is refused at this stage."""
        every = self.knobs.fail_every
        return every > 0 and self.knobs.fail_at == stage and number % every == 0

    def arrived(self, arrival: Arrival) -> None:
        """Put a complete message on record, before it is answered."""
        self._write(asdict(arrival) | {"content": ""})
        tally = self.tally
        tally.messages += 1
        tally.first = tally.first or arrival.begun
        tally.last = arrival.dot
        self._seen.add(arrival.message_id or str(arrival.number))
        tally.distinct = len(self._seen)
        if self._remember:
            self.arrivals.append(arrival)
        self._changed.set()

    def answered(self, arrival: Arrival) -> None:
        """Put on record that the answer was handed to the system."""
        arrival.answered = True
        self._write({"answered": arrival.number})

    def _write(self, line: dict[str, object]) -> None:
        if self._record >= 0:
            os.write(self._record, json.dumps(line).encode() + b"\n")


class _Session(asyncio.Protocol):
    """One connection (RFC 5321, 2920). Commands are answered in order, those that came together at once."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = bytearray()
        self._searched = 0
        self._in_data = False
        self._out: list[bytes] = []
        self._waiting: deque[tuple[bytes, list[Arrival]]] = deque()
        self._complete: list[Arrival] = []
        self._closing = False
        self._due = 0.0
        self._reset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._sink.opened(self)
        self._out.append(b"220 sink.test ESMTP")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink.closed(self)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        now = time.time()
        while not self._closing and (self._take_content(now) if self._in_data else self._take_line(now)):
            pass
        self._flush()

    def _reset(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._begun = 0.0
        self._number = 0

    def _take_line(self, now: float) -> bool:
        """Answer the next command; False when it is not complete yet."""
        end = self._buffer.find(CRLF)
        if end < 0:
            if len(self._buffer) > LINE_LIMIT:
                self._out.append(b"500 5.5.6 line too long")
                self._closing = True
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        self._out.append(self._command(line, now))
        return True

    def _command(self, line: bytes, now: float) -> bytes:
        match line[:4].upper():
            case b"MAIL":
                answer = self._mail(line, now)
            case b"RCPT":
                answer = self._rcpt(line)
            case b"DATA":
                answer = self._data()
            case b"EHLO":
                answer = EHLO
            case b"RSET" | b"HELO":
                self._reset()
                answer = OK
            case b"NOOP":
                answer = OK
            case b"QUIT":
                self._closing = True
                answer = b"221 2.0.0 bye"
            case _:
                answer = b"502 5.5.1 not implemented"
        return answer

    def _mail(self, line: bytes, now: float) -> bytes:
        if self._sender is not None:
            return b"503 5.5.1 nested MAIL"
        address = _ADDRESS.search(line)
        if address is None:
            return b"501 5.5.4 MAIL FROM:<address>"
        self._sink.begun += 1
        if self._sink.fails("mail", self._sink.begun):
            return self._sink.knobs.fail_reply.encode()
        self._number = self._sink.begun
        self._sender = address[1].decode(errors="replace")
        self._begun = now
        return b"250 2.1.0 ok"

    def _rcpt(self, line: bytes) -> bytes:
        address = _ADDRESS.search(line)
        if self._sender is None or address is None:
            return b"503 5.5.1 MAIL first" if address else b"501 5.5.4 RCPT TO:<address>"
        if self._sink.fails("rcpt", self._number):
            return self._sink.knobs.fail_reply.encode()
        self._recipients.append(address[1].decode(errors="replace"))
        return b"250 2.1.5 ok"

    def _data(self) -> bytes:
        if not self._recipients:
            return b"503 5.5.1 RCPT first"
        self._in_data = True
        self._searched = 0
        return b"354 end with ."

    def _take_content(self, now: float) -> bool:
        """Take a message to its final dot; False when that has not come yet."""
        if self._buffer.startswith(b".\r\n"):
            end, length = 0, 3
        else:
            end, length = self._buffer.find(END, self._searched), len(END)
            if end < 0:
                self._searched = max(0, len(self._buffer) - len(END) + 1)
                return False
        content = bytes(self._buffer[:end])
        del self._buffer[: end + length]
        self._in_data = False
        self._arrive(content, now)
        self._reset()
        return True

    def _arrive(self, content: bytes, now: float) -> None:
        head = content.partition(b"\r\n\r\n")[0]
        names = {
            match[1].lower(): match[2].decode(errors="replace").strip() for match in _NAMES.finditer(head)
        }
        arrival = Arrival(
            number=self._number,
            sender=self._sender or "",
            recipients=self._recipients,
            test_id=names.get(b"x-test-id", ""),
            mail_id=names.get(b"x-genro-mail-id", ""),
            message_id=names.get(b"message-id", ""),
            begun=self._begun,
            dot=now,
            size=len(content),
        )
        if self._sink.fails("dot", self._number):
            arrival.reply = self._sink.knobs.fail_reply
        if self._sink.knobs.keep_content:
            unstuffed = content.replace(b"\r\n..", b"\r\n.")
            arrival.content = (unstuffed[1:] if unstuffed.startswith(b"..") else unstuffed) + CRLF
        self._sink.arrived(arrival)
        self._out.append(arrival.reply.encode())
        self._complete.append(arrival)

    def _flush(self) -> None:
        if not self._out:
            return
        knobs = self._sink.knobs
        self._waiting.append((CRLF.join(self._out) + CRLF, self._complete))
        delay = knobs.delay + (knobs.final_delay if self._complete else 0.0)
        self._out, self._complete = [], []
        if delay or len(self._waiting) > 1:
            loop = asyncio.get_running_loop()
            self._due = max(self._due, loop.time() + delay)
            loop.call_at(self._due, self._write)
        else:
            self._write()

    def _write(self) -> None:
        answer, complete = self._waiting.popleft()
        if self._transport.is_closing():
            return
        self._transport.write(answer)
        for arrival in complete:
            self._sink.answered(arrival)
        if self._closing and not self._waiting:
            self._transport.close()


def read_record(path: Path) -> list[Arrival]:
    """Read what a sink wrote down, also while it is still writing."""
    arrivals: dict[int, Arrival] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        entry = json.loads(line)
        if "number" not in entry:
            arrivals[entry["answered"]].answered = True
        else:
            arrivals[entry["number"]] = Arrival(**{**entry, "content": b""})
    return list(arrivals.values())
