"""A transaction as a generator, and the two things a database does with one.

A unit of work yields statements and is sent back their rows, so it reads straight down like
blocking code. It cannot wait for anything but the database, so no transaction is ever held open over
a slow network. SQLite runs a whole one in its thread with a single hop, and many of them in one durable
commit; PostgreSQL runs each in a transaction of its own (docs/adr/0003).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

from mail_proxy.store.queries import Query

P = ParamSpec("P")
T = TypeVar("T")

Params = Mapping[str, object]


class Row(Protocol):
    """A row of either driver: columns by name. Their types are given in `rows.py`."""

    def __getitem__(self, column: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Call:
    """One statement to run once; its rows come back."""

    query: Query
    params: Params


@dataclass(frozen=True, slots=True)
class Many:
    """One statement to run for each set of parameters.

    Rows come back of one that has a row of VALUES (`Query.in_bulk`) and returns them.
    """

    query: Query
    rows: Sequence[Params]


Work = Generator[Call | Many, Sequence[Row], T]


class Database(Protocol):
    """Either engine. Raises `DatabaseUnavailable` or `DatabaseUnusable`, never a driver's own error."""

    @property
    def dialect(self) -> str: ...

    async def read(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of work that changes nothing."""
        ...

    async def snapshot(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of work that changes nothing, all its statements seeing the same moment."""
        ...

    async def write(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of work whole or not at all; when this returns, it is on disk.

        `work` may be called again after a conflict with another node, so it must not change its arguments.
        """
        ...

    async def migrate(self, took: Callable[[str], None] | None = None) -> int:
        """Bring the schema up to date; return how many steps were taken.

        `took` is told the name of each, from whatever thread.
        """
        ...

    async def notify(self, text: str) -> None:
        """Tell every node on this database something; one that has no other nodes tells nobody."""
        ...

    async def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with what nodes notify, until the connection is lost."""
        ...

    async def close(self) -> None: ...
