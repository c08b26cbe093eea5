"""What a database says, read behind the server's back, and whether it agrees with what a sink has seen.

A SQLite file is read from a copy, so that a crash is left as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from tests.support.sink import Arrival

_STATES = "SELECT id, status FROM messages"
_EVENTS = """
SELECT m.id, e.event_type, e.event_ts, e.event_data
FROM events e JOIN messages m ON m.seq = e.seq ORDER BY e.event_id"""

_IN_FINAL = "SELECT id FROM messages WHERE status = 'sending' AND final_at IS NOT NULL AND lease_owner = '{}'"


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a message; `at` is in Unix seconds."""

    kind: str
    at: float
    possible_duplicate: bool


@dataclass(slots=True, kw_only=True)
class Deliveries:
    """What was handed in, what the sink took, what the events tell.

    `in_final` were beyond the begin of their final step, with no outcome on record, when a server was killed
    or stopped: the only ones that may have arrived twice.
    """

    queued: list[str] = field(default_factory=list)
    in_final: set[str] = field(default_factory=set)
    arrivals: list[Arrival] = field(default_factory=list)
    events: dict[str, list[Happened]] = field(default_factory=dict)

    @property
    def copies(self) -> Counter[str]:
        """How often the sink accepted each message."""
        return Counter(arrival.test_id for arrival in self.arrivals if arrival.is_accepted)

    @property
    def doubled(self) -> set[str]:
        return {name for name, count in self.copies.items() if count > 1}

    @property
    def flagged(self) -> set[str]:
        """The messages whose events admit a possible duplicate."""
        return {name for name, events in self.events.items() if any(e.possible_duplicate for e in events)}

    def broken_promises(self) -> list[str]:
        """Everything that should not be so, in words; empty is the hoped-for answer."""
        copies = self.copies
        broken = [f"{name} never arrived" for name in self.queued if copies[name] == 0]
        broken += [
            f"{name} was doubled although it was in its final step at no kill and no stop"
            for name in self.doubled - self.in_final
        ]
        broken += [f"{name} was doubled and no event says so" for name in self.doubled - self.flagged]
        for name in self.queued:
            broken += [f"{name}: {fault}" for fault in _untruths(self.events.get(name, []), copies[name])]
        return broken


def _untruths(events: list[Happened], copies: int) -> list[str]:
    """Compare the story a message's events tell with how often it arrived."""
    kinds = [event.kind for event in events]
    faults = []
    if kinds.count("queued") != 1 or kinds[:1] != ["queued"]:
        faults.append(f"does not begin with one 'queued': {kinds}")
    if kinds.count("sent") != 1 or kinds[-1:] != ["sent"]:
        faults.append(f"does not end with one 'sent': {kinds}")
    if "sent" in kinds and "sending" not in kinds[: kinds.index("sent")]:
        faults.append(f"'sent' without a 'sending' before: {kinds}")
    if kinds.count("sending") < copies:
        faults.append(f"arrived {copies} times, more often than its events say: {kinds}")
    if kinds.count("sending") != kinds.count("deferred") + 1:
        faults.append(f"an attempt without an outcome: {kinds}")
    return faults


def read_states(target: str | Path) -> dict[str, str]:
    """The status of every message, by the application's id."""
    return {str(identity): str(status) for identity, status in rows(target, _STATES)}


def read_events(target: str | Path) -> dict[str, list[Happened]]:
    """The events of every message in order, by the application's id."""
    events: dict[str, list[Happened]] = defaultdict(list)
    for identity, kind, at, data in rows(target, _EVENTS):
        flagged = bool(json.loads(str(data)).get("possible_duplicate")) if data else False
        events[str(identity)].append(Happened(str(kind), float(str(at)), flagged))
    return events


def read_in_final(target: str | Path, node_id: str) -> set[str]:
    """The messages, by the application's id, whose content a node may be transmitting at this moment."""
    return {str(row[0]) for row in rows(target, _IN_FINAL.format(node_id))}


def rows(target: str | Path, sql: str) -> Iterable[tuple[object, ...]]:
    """Ask the database itself."""
    return _sqlite_rows(target, sql) if isinstance(target, Path) else asyncio.run(_postgres_rows(target, sql))


def _sqlite_rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Opening the file itself would recover the log that the server is to recover."""
    with tempfile.TemporaryDirectory(prefix="mail-proxy-ledger-") as directory:
        copy = Path(directory) / path.name
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        with contextlib.closing(sqlite3.connect(copy)) as raw:
            return raw.execute(sql).fetchall()


async def _postgres_rows(dsn: str, sql: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()
