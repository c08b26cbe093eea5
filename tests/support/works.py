"""Units of work for testing how a database does them."""

from __future__ import annotations

from collections.abc import Sequence

from mail_proxy.store.database import Call, Row, Work
from tests.support.stores import statement

PUT = statement("INSERT INTO settings (key, value) VALUES (:key, :value)")
COUNT = statement("SELECT COUNT(*) AS n FROM settings")
KEYS = statement("SELECT key FROM settings ORDER BY key")


class Refused(Exception):
    """What a unit of work raises by itself."""


def put(*keys: str, value: str = "v") -> Work[int]:
    """Write the keys, and tell how many there are then."""
    for key in keys:
        yield Call(PUT, {"key": key, "value": value})
    rows = yield Call(COUNT, {})
    count: int = rows[0]["n"]
    return count


def put_and_fail(key: str) -> Work[None]:
    yield Call(PUT, {"key": key, "value": "v"})
    raise Refused(key)


def ask(sql: str) -> Work[Sequence[Row]]:
    return (yield Call(statement(sql), {}))


def keys() -> Work[list[str]]:
    rows = yield Call(KEYS, {})
    return [row["key"] for row in rows]
