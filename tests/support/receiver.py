"""An application that takes delivery reports, fast or in moods, and remembers when.

Its record has a line for each request, written when the request has ended: answered, or left by its sender.
As a process of its own: `receiver_process`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import cast

HANG = "/hang"
"""Who posts to a path that begins so never gets an answer."""

_HEAD = re.compile(rb"POST (\S+) .*\r\ncontent-length: *(\d+)", re.IGNORECASE | re.DOTALL)


class Mood(StrEnum):
    """What may become of a request. `SOME` takes all but the entries of a few messages."""

    TAKE = "take"
    SLOW = "slow"
    SOME = "some"
    REFUSE = "refuse"
    NOT_OK = "not_ok"
    GARBAGE = "garbage"
    DROP = "drop"
    HANG = "hang"


TAKING = (Mood.TAKE, Mood.SLOW, Mood.SOME)
BODIES: Mapping[Mood, tuple[int, bytes]] = {
    Mood.TAKE: (200, b'{"ok": true}'),
    Mood.SLOW: (200, b'{"ok": true}'),
    Mood.REFUSE: (503, b'{"ok": true}'),
    Mood.NOT_OK: (200, b'{"ok": false, "error": "not now"}'),
    Mood.GARBAGE: (200, b"<html>it works</html>"),
}
SLOWEST = 3.0
REFUSED = 0.1
"""The share of the messages refused when it takes but some."""


@dataclass(slots=True, kw_only=True)
class Request:
    """One report as it came. `begin` (the body was there) and `end` are Unix seconds.

    `is_answered` tells that the answer was written while the sender still listened.
    """

    path: str
    begin: float
    mood: Mood
    entries: list[dict[str, object]]
    refused: list[object] = field(default_factory=list)
    end: float = 0.0
    is_answered: bool = False

    @property
    def taken(self) -> list[dict[str, object]]:
        """The entries that the application has from here on, whether or not its answer arrives."""
        if self.mood not in TAKING:
            return []
        return [entry for entry in self.entries if entry["id"] not in self.refused]


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a receiver has seen so far; `distinct` counts event ids, `first` and `last` are Unix seconds."""

    requests: int = 0
    entries: int = 0
    distinct: int = 0
    open_now: int = 0
    first: float = 0.0
    last: float = 0.0
    moods: dict[str, int] = field(default_factory=dict)


class Receiver:
    """The application. `moods` are their weights, beside that of taking at once, which is 1."""

    def __init__(
        self, *, moods: Mapping[str, float] | None = None, seed: int = 0, record: Path | None = None
    ) -> None:
        self.moods = dict(moods or {})
        self.port = 0
        self._dice = random.Random(seed)
        self._seen = Seen()
        self._moods: Counter[str] = Counter()
        self._events: set[object] = set()
        self._record_path = record
        self._record = -1
        self._open: set[_Conversation] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on a loopback port, 0 for any free one."""
        if self._record_path is not None:
            self._record = os.open(self._record_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Conversation(self, self._open), "127.0.0.1", port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening; what is under way ends unanswered, and is written down."""
        assert self._server is not None
        self._server.close()
        for conversation in tuple(self._open):
            conversation.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)
        if self._record >= 0:
            os.close(self._record)

    @property
    def seen(self) -> Seen:
        self._seen.distinct = len(self._events)
        self._seen.moods = dict(self._moods)
        return self._seen

    def calm_down(self) -> None:
        """Take everything at once from here on."""
        self.moods.clear()

    def begin(self, path: str, body: bytes) -> Request:
        """Take note of a request, and decide what becomes of it."""
        entries = json.loads(body)["delivery_report"]
        request = Request(path=path, begin=time.time(), mood=self._mood(path), entries=entries)
        if request.mood is Mood.SOME:
            ids = sorted({str(entry["id"]) for entry in entries})
            request.refused = [each for each in ids if self._dice.random() < REFUSED]
        self._moods[request.mood] += 1
        seen = self._seen
        seen.requests += 1
        seen.entries += len(entries)
        seen.open_now += 1
        self._events.update(entry["event_id"] for entry in request.taken)
        if entries:
            seen.first = seen.first or request.begin
            seen.last = request.begin
        return request

    def end(self, request: Request, *, is_answered: bool) -> None:
        """Write down what became of it."""
        request.end = time.time()
        request.is_answered = is_answered
        self._seen.open_now -= 1
        if self._record >= 0:
            os.write(self._record, json.dumps(asdict(request)).encode() + b"\n")

    def pause(self, mood: Mood) -> float:
        return self._dice.uniform(0.1, SLOWEST) if mood in (Mood.SLOW, Mood.DROP) else 0.0

    def _mood(self, path: str) -> Mood:
        if path.startswith(HANG):
            return Mood.HANG
        if not self.moods:
            return Mood.TAKE
        [mood] = self._dice.choices([Mood.TAKE, *map(Mood, self.moods)], [1.0, *self.moods.values()])
        return mood


class _Conversation(asyncio.Protocol):
    """One connection, on which a request follows the answer to the one before."""

    def __init__(self, receiver: Receiver, conversations: set[_Conversation]) -> None:
        self._receiver = receiver
        self._all = conversations
        self._buffer = bytearray()
        self._request: Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._all.add(self)

    def abort(self) -> None:
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        request, self._request = self._request, None
        if request is not None:
            self._receiver.end(request, is_answered=False)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = _HEAD.match(self._buffer, 0, end)
        assert head is not None, bytes(self._buffer[:end])
        if len(self._buffer) < (whole := end + 4 + int(head[2])):
            return
        path, body = head[1].decode(), bytes(self._buffer[end + 4 : whole])
        del self._buffer[:whole]
        request = self._request = self._receiver.begin(path, body)
        if request.mood is Mood.HANG:
            return
        if pause := self._receiver.pause(request.mood):
            asyncio.get_running_loop().call_later(pause, self._answer, request)
        else:
            self._answer(request)

    def _answer(self, request: Request) -> None:
        if self._request is not request:  # the sender has gone
            return
        if request.mood is Mood.DROP:
            self._transport.abort()
            return
        self._request = None
        status, body = BODIES.get(request.mood) or (
            200,
            json.dumps({"ok": True, "error": request.refused}).encode(),
        )
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)
        self._receiver.end(request, is_answered=True)


def read_requests(record: Path) -> Iterator[Request]:
    """What a receiver wrote down, in the order in which the requests ended."""
    with record.open("rb") as lines:
        for line in lines:
            fields = json.loads(line)
            yield Request(**{**fields, "mood": Mood(fields["mood"])})
