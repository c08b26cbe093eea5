"""What a database says, read behind the server's back: from a copy, so that a crash is left as it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

_STATES = "SELECT id, status FROM messages"
_EVENTS = """
SELECT m.id, e.event_type, e.event_ts, e.event_data
FROM events e JOIN messages m ON m.seq = e.seq ORDER BY e.event_id"""


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a message; `at` is in Unix seconds."""

    kind: str
    at: float
    possible_duplicate: bool


def read_states(target: str | Path) -> dict[str, str]:
    """The status of every message, by the application's id."""
    return {str(identity): str(status) for identity, status in _rows(target, _STATES)}


def read_events(target: str | Path) -> dict[str, list[Happened]]:
    """The events of every message in order, by the application's id."""
    events: dict[str, list[Happened]] = defaultdict(list)
    for identity, kind, at, data in _rows(target, _EVENTS):
        flagged = bool(json.loads(str(data)).get("possible_duplicate")) if data else False
        events[str(identity)].append(Happened(str(kind), float(str(at)), flagged))
    return events


def _rows(target: str | Path, sql: str) -> Iterable[tuple[object, ...]]:
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
