"""Every named statement: used, known, understood by both engines, and never reading through the history."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest

from mail_proxy.store.queries import Query, load

STORE = Path(str(files("mail_proxy.store")))
STEMS = sorted(path.stem for path in (STORE / "sql").glob("*.sql"))

_LOADED = re.compile(r'^(\w+) = load\("(\w+)"\)$', re.MULTILINE)
_LITERAL = re.compile(r'"([a-z_]+)"')


def statements() -> Iterator[tuple[str, Query]]:
    for stem in STEMS:
        for query in load(stem):
            yield stem, query


ALL = list(statements())
NAMES = [f"{stem}.{query.name}" for stem, query in ALL]


def mentioned() -> dict[str, set[str]]:
    """For each SQL file, the names that a module loading it mentions in any way."""
    found: dict[str, set[str]] = {stem: set() for stem in STEMS}
    for module in STORE.glob("*.py"):
        text = module.read_text("utf-8")
        for _, stem in _LOADED.findall(text):
            found[stem] |= set(_LITERAL.findall(text))
    return found


def subscripted() -> list[tuple[str, str, str]]:
    """Each ``SQL["name"]`` in the store, with its module and the file it is looked up in."""
    found = []
    for module in STORE.glob("*.py"):
        text = module.read_text("utf-8")
        for variable, stem in _LOADED.findall(text):
            for name in re.findall(rf'\b{variable}\["([a-z_]+)"\]', text):
                found.append((module.name, stem, name))
    return found


def test_every_statement_is_used() -> None:
    """None is left over from what the code once did."""
    names = mentioned()
    names["limits"] |= {f"{kind}_of_{whose}" for kind in ("used", "leavers") for whose in ("lane", "tenant")}

    assert [f"{stem}.{query.name}" for stem, query in ALL if query.name not in names[stem]] == []


def test_every_name_used_is_there() -> None:
    """A misspelt name would be found only when the statement runs."""
    used = subscripted()

    assert len(used) > 50
    assert [each for each in used if each[2] not in {query.name for query in load(each[1])}] == []


def test_there_is_no_sql_in_python() -> None:
    """Statements live in their files, but for those made for each table; the ledger is no statement."""
    spoken = re.compile(r'"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b')
    places = [path.name for path in STORE.glob("*.py") if spoken.search(path.read_text("utf-8"))]

    assert sorted(places) == ["migration.py", "postgres.py", "tables.py"]


@pytest.mark.parametrize(("stem", "query"), ALL, ids=NAMES)
def test_sqlite_understands_the_statement(sqlite_template: Path, stem: str, query: Query) -> None:
    """It can be prepared on the schema; its parameters are those PostgreSQL is given."""
    parameters = dict.fromkeys(query.order)
    with closing(sqlite3.connect(sqlite_template)) as raw:
        raw.execute(f"EXPLAIN {query.sqlite}", parameters)


async def test_postgres_understands_every_statement(postgres_url: str) -> None:
    """Each can be prepared on the schema, with as many parameters as it has names."""
    connection = await asyncpg.connect(postgres_url, timeout=10)
    try:
        for stem, query in ALL:
            prepared = await connection.prepare(query.postgres)
            assert len(prepared.get_parameters()) == len(query.order), f"{stem}.{query.name}"
    finally:
        await connection.close()
