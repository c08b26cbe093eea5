"""SQL lives in ``sql/*.sql``: each statement has a name and a line saying what it is for.

A file reads::

    -- name: what it is for
    SELECT … WHERE id = :id;

    -- name @postgres: …
    the same, where the engines part

Parameters are written ``:name`` for both engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_HEADER = re.compile(r"^-- (?P<name>[a-z_]+)(?: @(?P<dialect>[a-z]+))?: (?P<doc>.+)$", re.MULTILINE)
_TOKEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|(?<![:\w]):([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement. `postgres` is numbered; `order` says which parameter each number is."""

    name: str
    doc: str
    sqlite: str
    postgres: str
    order: tuple[str, ...]

    def arguments(self, params: Mapping[str, object]) -> tuple[object, ...]:
        """Put named parameters in the order of PostgreSQL's numbers."""
        return tuple(params[name] for name in self.order)


class Queries:
    """The statements of one file, by name."""

    def __init__(self, queries: Mapping[str, Query]) -> None:
        self._queries = queries

    def __getitem__(self, name: str) -> Query:
        return self._queries[name]

    def __iter__(self) -> Iterator[Query]:
        return iter(self._queries.values())


@cache
def load(stem: str) -> Queries:
    """Read ``sql/<stem>.sql``."""
    return parse(files(__package__).joinpath("sql", f"{stem}.sql").read_text("utf-8"))


def parse(text: str) -> Queries:
    """Read named statements; raise ValueError for a repeated or an empty one."""
    bodies: dict[str, dict[str | None, str]] = {}
    docs: dict[str, str] = {}
    headers = list(_HEADER.finditer(text))
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends, strict=True):
        name, dialect = header["name"], header["dialect"]
        body = text[header.end() : end].strip().rstrip(";")
        variants = bodies.setdefault(name, {})
        if dialect in variants or not body:
            raise ValueError(f"statement {name} is repeated or empty")
        variants[dialect] = body
        docs.setdefault(name, header["doc"])
    return Queries({name: _compile(name, docs[name], variants) for name, variants in bodies.items()})


def _compile(name: str, doc: str, variants: Mapping[str | None, str]) -> Query:
    sqlite = variants.get("sqlite") or variants[None]
    postgres, order = _numbered(variants.get("postgres") or variants[None])
    return Query(name, doc, sqlite, postgres, order)


def _numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    order: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        if name not in order:
            order.append(name)
        return f"${order.index(name) + 1}"

    return _TOKEN.sub(number, sql), tuple(order)
