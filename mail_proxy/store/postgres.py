"""PostgreSQL: a pool of connections, a transaction for each unit of work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import asyncpg

from mail_proxy.errors import DatabaseUnusable
from mail_proxy.store import migration
from mail_proxy.store.database import Many, Row, Work
from mail_proxy.store.errors import from_postgres

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
COMMAND_TIMEOUT = 30.0
ACQUIRE_TIMEOUT = 15.0
RELEASE_TIMEOUT = 2.0
"""Seconds that a server has to give up a statement; the connection of one that is silent is dropped."""

CONFLICT_RETRIES = 5
CONFLICTS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,
    asyncpg.InvalidCachedStatementError,
)
"""What another node's work, or its migration, causes: the second try sees what the other has done."""

STANDSTILL = 10
"""Seconds after which the server ends a transaction whose node says nothing, or takes nothing of an answer:
stopped, or cut off, it would hold its rows against all others, and no lease that runs out would free them."""

POOL_SIZE = 10
STATEMENTS = 500
"""Statements kept prepared on each connection: those for several rows have a form for each number of rows."""

CHANNEL = "mail_proxy"


class PostgresDatabase:
    """See `Database`. Open with `PostgresDatabase.open`; always close."""

    dialect = "postgres"

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], where: str) -> None:
        self._pool = pool
        self._where = where

    @classmethod
    async def open(cls, url: str, where: str, *, pool_size: int = POOL_SIZE) -> PostgresDatabase:
        """Connect; `where` is the address as it may be shown, without password."""
        pool = asyncpg.create_pool(
            url,
            min_size=0,  # else the pool connects by itself, and logs a traceback each time it cannot
            max_size=pool_size,
            statement_cache_size=STATEMENTS,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            server_settings={"application_name": "mail-proxy"},
            init=_prepare,
            reset=_leave_as_it_is,
        )
        try:
            async with _translated(where):
                await pool
                async with pool.acquire(timeout=ACQUIRE_TIMEOUT):
                    return cls(pool, where)
        except ValueError:
            raise _invalid_url(where) from None
        except BaseException:
            pool.terminate()
            raise

    async def read(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        async with (
            _translated(self._where),
            self._connection() as connection,
        ):
            return await _drive(connection, work(*args, **kwargs))

    async def snapshot(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        async with (
            _translated(self._where),
            self._connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await _drive(connection, work(*args, **kwargs))

    async def write(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        async with (
            _translated(self._where),
            self._connection() as connection,
        ):
            for _ in range(CONFLICT_RETRIES):
                with contextlib.suppress(*CONFLICTS):
                    async with connection.transaction():
                        return await _drive(connection, work(*args, **kwargs))
            async with connection.transaction():
                return await _drive(connection, work(*args, **kwargs))

    async def migrate(self, took: Callable[[str], None] | None = None) -> int:
        async with _translated(self._where), self._connection() as connection:
            return await migration.migrate_postgres(connection, self._where, took=took)

    async def notify(self, text: str) -> None:
        """Tell the nodes on this database something; see `listen`."""
        async with _translated(self._where), self._connection() as connection:
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, text)

    async def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with each notification's payload; returns when the line is lost."""
        lost = asyncio.Event()

        def relay(_connection: object, _pid: object, _channel: object, payload: object) -> None:
            heard(str(payload))

        async with _translated(self._where), self._connection() as connection:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, relay)
            try:
                await lost.wait()
            finally:
                if not lost.is_set():  # the pool has taken back one that was lost, and lets nobody ask it
                    await _fall_silent(connection, relay)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT)
        try:
            yield connection
        finally:
            with contextlib.suppress(TimeoutError):  # the pool has dropped it; what was asked is told
                await self._pool.release(connection, timeout=RELEASE_TIMEOUT)

    async def close(self) -> None:
        """Wait for what runs, at most a command's time-out, then close."""
        try:
            await _bounded_close(self._pool)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._pool.terminate()


@contextlib.asynccontextmanager
async def connected(
    url: str, where: str, *, patience: float = COMMAND_TIMEOUT
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Give a connection of one's own, as the server makes it, for what is no unit of work.

    A statement may take `patience` seconds. Raises as `PostgresDatabase.open` does.
    """
    async with _translated(where):
        try:
            connection = await asyncpg.connect(
                url,
                timeout=CONNECT_TIMEOUT,
                command_timeout=patience,
                server_settings={"application_name": "mail-proxy"},
            )
        except ValueError:
            raise _invalid_url(where) from None
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        await connection.close(timeout=RELEASE_TIMEOUT)


def _invalid_url(where: str) -> DatabaseUnusable:
    """Say what is wrong without the driver's words, which may repeat a piece of the password."""
    return DatabaseUnusable(
        f"database URL {where} is not valid: give postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
        "special characters as %XX"
    )


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Let every statement find its rows by an index, and no transaction outlive its node for long.

    Without statistics, as in a new database, the planner takes tables for small and reads them through; for
    foreign keys it keeps to such a plan until somebody analyses the table. With that forbidden some costs are
    fictitious, and compiling statements is not to be decided by them.
    """
    await connection.execute(
        "SET enable_seqscan = off; SET jit = off; "
        f"SET idle_in_transaction_session_timeout = '{STANDSTILL}s'; SET tcp_user_timeout = '{STANDSTILL}s'"
    )


async def _fall_silent(connection: PoolConnectionProxy[asyncpg.Record], relay: Callable[..., None]) -> None:
    """Hear no more; whoever ends the listening waits for its end, and not for a server that may be gone."""
    with contextlib.suppress(
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
    ):
        async with asyncio.timeout(RELEASE_TIMEOUT):
            await connection.remove_listener(CHANNEL, relay)


async def _leave_as_it_is(_connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Spare a connection that goes back to the pool its reset, a round trip: nothing here changes it."""


async def _bounded_close(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def _drive(connection: PoolConnectionProxy[asyncpg.Record], work: Work[T]) -> T:
    """Run a unit of work to its end, handing it the rows of each statement."""
    rows: Sequence[Row] = ()
    try:
        statement = next(work)
        while True:
            query = statement.query
            if isinstance(statement, Many):
                rows = await _repeat(connection, statement)
            else:
                rows = await connection.fetch(query.postgres, *query.arguments(statement.params))
            statement = work.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except TimeoutError:
        await _drop_if_silent(connection)
        raise
    finally:
        work.close()


async def _drop_if_silent(connection: PoolConnectionProxy[asyncpg.Record]) -> None:
    """Let a server that still answers end the statement; another is not to be waited for by a rollback."""
    try:
        with contextlib.suppress(asyncpg.InFailedSQLTransactionError):  # it has ended the statement
            await connection.execute("SELECT 1", timeout=RELEASE_TIMEOUT)
    except TimeoutError:
        with contextlib.suppress(asyncpg.InterfaceError):  # the driver has dropped it already
            connection.terminate()


async def _repeat(connection: PoolConnectionProxy[asyncpg.Record], many: Many) -> Sequence[Row]:
    """Run a statement for each row; one with a row of VALUES for several rows at once."""
    in_bulk = many.query.in_bulk
    if in_bulk is None:
        await connection.executemany(many.query.postgres, [many.query.arguments(row) for row in many.rows])
        return ()
    rows: list[Row] = []
    for text, arguments in in_bulk.parts(many.rows, "$"):
        rows += await connection.fetch(text, *arguments)
    return rows


@contextlib.asynccontextmanager
async def _translated(where: str) -> AsyncIterator[None]:
    try:
        yield
    except Exception as error:
        known = from_postgres(error, where)
        if known is None:
            raise
        raise known from error
