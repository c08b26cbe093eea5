"""Every failure that mail-proxy foresees, as one tree.

::

    MailProxyError
    ├── InvalidInput            what the caller gave is wrong        (HTTP 422, exit 2)
    │   └── InvalidConfig       a setting is unknown or out of range
    ├── Unauthorized            no token, or not a valid one         (HTTP 401)
    ├── TooManyAttempts         too many unknown tokens              (HTTP 429)
    ├── Forbidden               a valid token of too low a level     (HTTP 403)
    ├── NotFound                the named thing does not exist       (HTTP 404)
    ├── Conflict                it exists, or its state forbids it   (HTTP 409)
    ├── TooLarge                over a limit of size or count        (HTTP 413)
    ├── DatabaseError
    │   ├── DatabaseUnavailable locked, restarting, disk full        (HTTP 503)
    │   └── DatabaseUnusable    corrupt, or newer than this program
    ├── KeyMismatch             the encryption key is missing or not the database's
    └── InstanceError           the daemon or its directory
        ├── AlreadyRunning
        ├── NotRunning
        └── StartFailed

Each class has a stable ``code``; instances carry what the message was made of as attributes. The
edges translate with one table each: ``api/errors.py`` to HTTP, ``mail_proxy_cli/errors.py`` to exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class MailProxyError(Exception):
    """The root of the tree: its text is one line, for a person."""

    code: ClassVar[str] = "error"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one field of what was given."""

    loc: tuple[str | int, ...]
    msg: str
    type: str = "value_error"

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.loc)
        return f"{where}: {self.msg}" if where else self.msg


MAX_FAULTS = 100
"""How many are told of one thing given: an answer must not grow to many times what was sent."""


def foremost(faults: Sequence[Fault]) -> Sequence[Fault]:
    """Return the faults, or of more than `MAX_FAULTS` the first ones and how many are not told."""
    untold = len(faults) - MAX_FAULTS
    if untold <= 0:
        return faults
    return [*faults[:MAX_FAULTS], Fault((), f"and {untold} more faults", "too_many")]


class InvalidInput(MailProxyError, ValueError):
    """What the caller gave is wrong; ``faults`` names every field concerned."""

    code = "invalid_input"

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> InvalidInput:
        """Build the error from its faults, its text naming all of them, or the first of very many."""
        told = foremost(faults)
        return cls("; ".join(str(fault) for fault in told), told)


class InvalidConfig(InvalidInput):
    """A setting has an unknown name or a value that is not allowed."""

    code = "invalid_config"


class Unauthorized(MailProxyError):
    """No token was given, or not a valid one."""

    code = "unauthorized"


class TooManyAttempts(MailProxyError):
    """Too many unknown tokens came from one address; ``retry_after`` is in seconds."""

    code = "too_many_attempts"

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many unknown tokens from this address: try again in {retry_after} s")


class Forbidden(MailProxyError):
    """The token is valid, but not for this."""

    code = "forbidden"


class NotFound(MailProxyError, LookupError):
    """The named thing does not exist; ``near`` holds names like it."""

    code = "not_found"

    def __init__(self, kind: str, name: str, near: Sequence[str] = ()) -> None:
        self.kind, self.name, self.near = kind, name, tuple(near)
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        super().__init__(f"no {kind} '{name}'{hint}")


class Conflict(MailProxyError):
    """It exists already, or the state it is in forbids the change."""

    code = "conflict"


class TooLarge(MailProxyError):
    """Over a limit of size or count."""

    code = "too_large"


class DatabaseError(MailProxyError):
    """The database did not do what was asked."""

    code = "database_error"


class DatabaseUnavailable(DatabaseError):
    """Locked, restarting, unreachable, or out of disk: worth trying again."""

    code = "database_unavailable"


class DatabaseUnusable(DatabaseError):
    """Corrupt, not a database, or made by a newer version: a person must act."""

    code = "database_unusable"


class KeyMismatch(MailProxyError):
    """The encryption key is missing, malformed, or not the one this database was written with."""

    code = "key_mismatch"


class InstanceError(MailProxyError):
    """Something about an instance's directory or its server process."""

    code = "instance_error"


class AlreadyRunning(InstanceError):
    """Another process serves this instance."""

    code = "already_running"


class NotRunning(InstanceError):
    """The server of this instance is not running, and the command needs it."""

    code = "not_running"


class StartFailed(InstanceError):
    """The server process ended, or did not answer in time; ``log_tail`` tells its last words."""

    code = "start_failed"

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail
