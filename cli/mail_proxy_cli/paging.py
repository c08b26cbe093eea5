"""Listings that are read a page at a time, and cut at a limit that is said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import click

T = TypeVar("T")

PAGE = 1000

Pages = Callable[[int, str | None], Awaitable[tuple[Sequence[T], str | None]]]
"""Reads at most so many from a cursor on; returns them, and the next cursor, None at the end."""


async def up_to(limit: int, pages: Pages[T]) -> tuple[list[T], bool]:
    """Read a listing as far as its limit; return that, and whether there is more."""
    found: list[T] = []
    cursor: str | None = None
    while len(found) <= limit:
        some, cursor = await pages(min(PAGE, limit + 1 - len(found)), cursor)
        found += some
        if cursor is None:
            break
    return found[:limit], len(found) > limit


def tell_more(limit: int, first: str = "first") -> None:
    """Say that a listing was cut, and how to see the rest."""
    click.echo(f"these are the {first} {limit}, there are more: --limit N shows as many", err=True)
