"""A PostgreSQL database whose clock the test can set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

SETTABLE = """
CREATE SCHEMA settable;
CREATE TABLE settable.clock (ahead DOUBLE PRECISION NOT NULL);
INSERT INTO settable.clock VALUES (0);
CREATE FUNCTION settable.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
    'SELECT pg_catalog.clock_timestamp() + make_interval(secs => ahead) FROM settable.clock';
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = settable, pg_catalog, public', current_database());
END $$;
"""
"""It shows its time by a function of another schema, for those who connect from now on."""


@asynccontextmanager
async def a_clock_to_be_set(dsn: str) -> AsyncIterator[Callable[[float], Awaitable[object]]]:
    """Give what sets it: to so many seconds ahead of the true time."""
    connection = await asyncpg.connect(dsn, timeout=10)

    async def set_ahead(seconds: float) -> None:
        await connection.execute("UPDATE settable.clock SET ahead = $1", seconds)

    try:
        await connection.execute(SETTABLE)
        yield set_ahead
    finally:
        await connection.close()
