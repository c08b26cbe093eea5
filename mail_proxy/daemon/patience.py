"""Clients that connect and then say little: they cost a file descriptor each, and need no token for it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterable
from typing import Protocol

REQUEST_TIMEOUT = 30.0
"""Seconds within which the head of a request must have come, from connecting or from the last answer."""

MAX_HEAD = 512 * 1024
"""Bytes of a request's head. What comes in one piece is counted as one, be a body in it too."""


class Cycle(Protocol):
    """A request, from its head to its answer."""

    response_complete: bool


class Connection(Protocol):
    """What uvicorn's protocols have in common, whichever parser they use."""

    @property
    def cycle(self) -> Cycle | None: ...

    @property
    def transport(self) -> asyncio.Transport: ...


class Patience:
    """Remembers since when each connection is without a request. More than `crowd` may not be."""

    def __init__(self, *, timeout: float = REQUEST_TIMEOUT, crowd: int | None = None) -> None:
        self._timeout = timeout
        self._crowd = _half_of_all_files() if crowd is None else crowd
        self._waiting: dict[Connection, tuple[Cycle | None, float]] = {}

    def lost_with(self, connections: Iterable[Connection], now: float) -> list[Connection]:
        """Return those to hang up on: who has been silent too long, and the longest silent of a crowd."""
        waiting: dict[Connection, tuple[Cycle | None, float]] = {}
        for connection in connections:
            if not is_busy(connection):
                last, since = self._waiting.get(connection, (None, now))
                waiting[connection] = (connection.cycle, since if last is connection.cycle else now)
        self._waiting = waiting
        by_age = sorted(waiting, key=lambda connection: waiting[connection][1])
        too_many = max(0, len(by_age) - self._crowd)
        return by_age[:too_many] + [
            connection for connection in by_age[too_many:] if now - waiting[connection][1] >= self._timeout
        ]


def is_busy(connection: Connection) -> bool:
    """Tell whether a request is being answered; before the first one, uvicorn has no cycle."""
    return connection.cycle is not None and not connection.cycle.response_complete


def _half_of_all_files() -> int:
    """The other half is for mail servers, applications and the database."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft // 2
