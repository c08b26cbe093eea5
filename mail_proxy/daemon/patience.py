"""Clients that say little, or do not read what they are told: each costs a file descriptor, with no token."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from mail_proxy.daemon.files import most_files

REQUEST_TIMEOUT = 30.0
"""Seconds within which the head of a request must have come, from connecting or from the last answer."""

ANSWER_TIMEOUT = 300.0
"""Seconds for which a client may take nothing of an answer that waits for it."""

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


_Wait = tuple[Cycle | None, int]
"""What a client is waited for since: its last request, and the bytes of answers that it has not taken."""


class Patience:
    """Remembers since when each connection is without a request, or its answer is not read.

    More than `crowd` may not be so.
    """

    def __init__(
        self,
        *,
        timeout: float = REQUEST_TIMEOUT,
        answer_timeout: float = ANSWER_TIMEOUT,
        crowd: int | None = None,
    ) -> None:
        self._timeout = timeout
        self._answer_timeout = answer_timeout
        # The other half is for mail servers, applications and the database.
        self._crowd = most_files() // 2 if crowd is None else crowd
        self._waiting: dict[Connection, tuple[_Wait, float]] = {}

    def lost_with(self, connections: Iterable[Connection], now: float) -> list[Connection]:
        """Return those to hang up on: who did nothing for too long, and the longest silent of a crowd."""
        waiting: dict[Connection, tuple[_Wait, float]] = {}
        for connection in connections:
            wait = _wait_for(connection)
            if wait is not None:
                last, since = self._waiting.get(connection, (None, now))
                waiting[connection] = (wait, since if last == wait else now)
        self._waiting = waiting
        by_age = sorted(waiting, key=lambda connection: waiting[connection][1])
        too_many = max(0, len(by_age) - self._crowd)
        return by_age[:too_many] + [each for each in by_age[too_many:] if self._is_over(*waiting[each], now)]

    def _is_over(self, wait: _Wait, since: float, now: float) -> bool:
        _, untaken = wait
        return now - since >= (self._answer_timeout if untaken else self._timeout)


def _wait_for(connection: Connection) -> _Wait | None:
    """Return what the client is waited for; None: it waits for us."""
    untaken = connection.transport.get_write_buffer_size()
    return (connection.cycle, untaken) if untaken or not is_busy(connection) else None


def is_busy(connection: Connection) -> bool:
    """Tell whether a request is being answered; before the first one, uvicorn has no cycle."""
    return connection.cycle is not None and not connection.cycle.response_complete
