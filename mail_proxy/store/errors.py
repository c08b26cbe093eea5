"""The one seam where drivers' exceptions become the project's own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from mail_proxy.errors import DatabaseUnavailable, DatabaseUnusable, InvalidInput, MailProxyError

_NO_TEXT = "a text holds what no database can store: NUL, or bytes that are not UTF-8"

_UNDECODABLE = "Could not decode to UTF-8"
"""Python's words for a text in the database that is none; its error has no code."""

_AWAY = {
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written (I/O error)",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that the directory exists and may be written",
    sqlite3.SQLITE_PERM: "may not be opened: check its permissions",
}
_BROKEN = {
    sqlite3.SQLITE_CORRUPT: "is damaged: restore a backup, or try 'sqlite3 FILE .recover'",
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
}


def from_sqlite(error: Exception, path: str) -> MailProxyError | None:
    """Translate what the person at the keyboard can do something about; None for a bug of ours."""
    if isinstance(error, UnicodeEncodeError) or _UNDECODABLE in str(error):
        return InvalidInput(_NO_TEXT)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _AWAY:
        return DatabaseUnavailable(f"database {path} {_AWAY[code]}")
    if code in _BROKEN:
        return DatabaseUnusable(f"database {path} {_BROKEN[code]}")
    return None


@contextlib.contextmanager
def translating_sqlite(path: str) -> Iterator[None]:
    """Raise what `from_sqlite` knows in place of SQLite's own errors, which name the database `path`."""
    try:
        yield
    except (sqlite3.Error, UnicodeEncodeError) as error:
        known = from_sqlite(error, path)
        if known is None:
            raise
        raise known from error


def from_postgres(error: Exception, where: str) -> MailProxyError | None:
    """Translate a failure of asyncpg or of its connection; None for a bug of ours."""
    import asyncpg

    not_text = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
    if isinstance(error, not_text) or UnicodeEncodeError in (type(error), type(error.__cause__)):
        return InvalidInput(_NO_TEXT)
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return None  # a parameter of the wrong type: it would be wrong again
    refused = (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidPasswordError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.InsufficientPrivilegeError,
    )
    away = (
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.ObjectNotInPrerequisiteStateError,  # an administrator lets nobody connect for a while
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # the server has said farewell on this connection, and not yet closed it
        asyncpg.PostgresSystemError,
        asyncpg.TransactionRollbackError,
        asyncpg.IdleInTransactionSessionTimeoutError,
        asyncpg.ReadOnlySQLTransactionError,
        OSError,
        TimeoutError,
    )
    if isinstance(error, refused):
        return DatabaseUnusable(f"database {where} refuses: {_first_line(error)}")
    if isinstance(error, away):
        # Nothing can be rolled back on a connection that was dropped; why it was, is what is told.
        cause = error.__context__ if isinstance(error.__context__, TimeoutError) else error
        return DatabaseUnavailable(f"database {where} is not available: {_first_line(cause)}")
    return None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
