"""SQL lives in ``sql/*.sql``: each statement has a name and a line saying what it is for.

A file reads::

    -- name: what it is for
    SELECT … WHERE id = :id;

    -- name @postgres: …
    the same, where the engines part

    SELECT …
    FOR UPDATE; -- @postgres: a line of one engine, and why

Parameters are written ``:name`` for both engines. ``IN NUMBERS(:seqs)`` and ``IN TEXTS(:ids)`` stand for the
items of a JSON list, which each engine reads in its own way.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

_HEADER = re.compile(r"^-- (?P<name>[a-z_]+)(?: @(?P<dialect>[a-z]+))?: (?P<doc>.+)$", re.MULTILINE)
_ITEM = r"(?::[a-z_]+|CAST\(:[a-z_]+ AS [A-Z ]+\))"
_VALUES = re.compile(
    rf"(?P<head>(?:INSERT|WITH) .*\bVALUES )\((?P<row>{_ITEM}(?:,\s+{_ITEM})*)\)(?P<tail>\).*)?", re.DOTALL
)
_PARAMETER = re.compile(r":([a-z_]+)")
_TOKEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|(?<![:\w]):([a-z_]+)")

FEW = 16
"""Rows up to which there is a statement for each number; above, for powers of two: each is kept prepared."""

_LISTS = {
    "sqlite": {
        "NUMBERS": "IN (SELECT value FROM json_each({}))",
        "TEXTS": "IN (SELECT value FROM json_each({}))",
    },
    "postgres": {  # as arrays: it would rather read a whole table than join a list that it knows nothing of
        "NUMBERS": "= ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM"
        " json_array_elements_text(CAST({} AS json))))",
        "TEXTS": "= ANY (ARRAY(SELECT value FROM json_array_elements_text(CAST({} AS json))))",
    },
}
_LIST = re.compile(r"\bIN (NUMBERS|TEXTS)\((:[a-z_]+)\)")
_LINE = re.compile(r"^(?P<line>.*\S) -- @(?P<dialect>sqlite|postgres)(?:: .+)?\n?", re.MULTILINE)

MOST_PARAMETERS = 999
"""Of one statement: the limit of the oldest SQLite that may be met."""


@dataclass(frozen=True)
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

    @cached_property
    def in_bulk(self) -> Bulk | None:
        """The statement as one for several rows at once, if it has the same row of VALUES on both engines."""
        match = _VALUES.fullmatch(self.sqlite)
        if match is None or _numbered(self.sqlite)[0] != self.postgres:
            return None
        return Bulk(match["head"], match["row"], match["tail"] or "")


@dataclass(frozen=True)
class Bulk:
    """A statement with ``VALUES``: what stands before its row, the row, and what stands after it."""

    head: str
    row: str
    tail: str

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The parameters of a row, in their places."""
        return tuple(_PARAMETER.findall(self.row))

    @property
    def most_rows(self) -> int:
        """How many rows one statement may have: a power of two."""
        return 1 << max(0, (MOST_PARAMETERS // len(self.columns)).bit_length() - 1)

    def parts(self, rows: Sequence[Mapping[str, object]], marker: str) -> Iterator[tuple[str, list[object]]]:
        """Part rows among few statements, each with its arguments; `marker` stands before their numbers."""
        start, size = 0, self.most_rows
        while start < len(rows):
            while size > len(rows) - start:
                size = len(rows) - start if size <= FEW else size // 2
            part = rows[start : start + size]
            yield _for_rows(self, size, marker), [row[column] for row in part for column in self.columns]
            start += size


@cache
def _for_rows(bulk: Bulk, rows: int, marker: str) -> str:
    numbers = itertools.count(1)
    written = (_PARAMETER.sub(lambda _: f"{marker}{next(numbers)}", bulk.row) for _ in range(rows))
    return bulk.head + ", ".join(f"({each})" for each in written) + bulk.tail


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
    postgres, order = _numbered(_variant(variants, "postgres"))
    return Query(name, doc, _variant(variants, "sqlite"), postgres, order)


def _variant(variants: Mapping[str | None, str], dialect: str) -> str:
    """The text of one engine: its lines, without the marks at their ends, and its way to read lists."""
    common = variants.get(dialect) or variants[None]
    own = _LINE.sub(lambda match: f"{match['line']}\n" if match["dialect"] == dialect else "", common)
    return _LIST.sub(lambda match: _LISTS[dialect][match[1]].format(match[2]), own.strip().rstrip(";"))


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
