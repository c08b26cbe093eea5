"""Named statements: how a file is read, and how parameters become PostgreSQL's numbers."""

from __future__ import annotations

import pytest

from mail_proxy.store.queries import Query, load, parse


def only(text: str) -> Query:
    [query] = parse(text)
    return query


def test_a_statement_has_a_name_and_a_purpose() -> None:
    """The line above it says both."""
    query = only("-- get_one: what it is for\nSELECT 1;\n")

    assert (query.name, query.doc, query.sqlite, query.postgres) == (
        "get_one",
        "what it is for",
        "SELECT 1",
        "SELECT 1",
    )


def test_what_stands_before_the_first_statement_is_a_comment() -> None:
    """A file may begin with words about itself."""
    assert only("-- This file is about x.\n\n-- a: b\nSELECT 1").sqlite == "SELECT 1"


def test_statements_are_kept_apart() -> None:
    """Each ends where the next begins, with or without a semicolon."""
    queries = parse("-- a: first\nSELECT 1;\n\n-- b: second\nSELECT 2\nFROM t;\n\n")

    assert [(query.name, query.sqlite) for query in queries] == [("a", "SELECT 1"), ("b", "SELECT 2\nFROM t")]
    assert queries["b"].doc == "second"


@pytest.mark.parametrize(
    "text",
    [
        "-- a: x\nSELECT 1;\n-- a @postgres: x\nSELECT 2;",
        "-- a @postgres: x\nSELECT 2;\n-- a: x\nSELECT 1;",
        "-- a @sqlite: x\nSELECT 1;\n-- a @postgres: x\nSELECT 2;",
    ],
)
def test_an_engine_may_have_a_statement_of_its_own(text: str) -> None:
    """The other takes the common one, wherever they stand."""
    query = only(text)

    assert (query.sqlite, query.postgres) == ("SELECT 1", "SELECT 2")


@pytest.mark.parametrize(
    ("text", "sqlite", "postgres"),
    [
        ("SELECT :a\nFOR UPDATE; -- @postgres", "SELECT :a", "SELECT $1\nFOR UPDATE"),
        ("SELECT :a\nFOR UPDATE; -- @postgres: it's why", "SELECT :a", "SELECT $1\nFOR UPDATE"),
        (
            "SELECT\n  :a -- @sqlite\n  :b -- @postgres\n  AS c;",
            "SELECT\n  :a\n  AS c",
            "SELECT\n  $1\n  AS c",
        ),
        ("SELECT 1 -- @mysql\nAS a", "SELECT 1 -- @mysql\nAS a", "SELECT 1 -- @mysql\nAS a"),
    ],
)
def test_an_engine_may_have_a_line_of_its_own(text: str, sqlite: str, postgres: str) -> None:
    """It says so at its end, perhaps with the reason; what names no engine is a comment."""
    query = only(f"-- a: x\n{text}")

    assert (query.sqlite, query.postgres) == (sqlite, postgres)


def test_parameters_are_numbered_in_order_of_appearance() -> None:
    """One that appears twice has one number."""
    query = only("-- a: x\nUPDATE t SET a = :b, c = :a WHERE d = :b AND e = :c_d")

    assert query.sqlite == "UPDATE t SET a = :b, c = :a WHERE d = :b AND e = :c_d"
    assert query.postgres == "UPDATE t SET a = $1, c = $2 WHERE d = $1 AND e = $3"
    assert query.order == ("b", "a", "c_d")
    assert query.arguments({"a": 1, "b": 2, "c_d": 3, "unused": 4}) == (2, 1, 3)


@pytest.mark.parametrize(
    "sql",
    ["SELECT ':a'", "SELECT 'it''s :a'", "SELECT 1 -- :a\nFROM t", "SELECT x::text", "SELECT '12:30'"],
)
def test_what_looks_like_a_parameter_and_is_none(sql: str) -> None:
    """Colons in texts, comments and casts stay."""
    query = only(f"-- a: x\n{sql}")

    assert (query.postgres, query.order) == (sql, ())


def test_parameters_behind_a_text_are_found() -> None:
    """A quote that ends a text does not begin one."""
    assert only("-- a: x\nSELECT 'x', :a, 'y', :b").postgres == "SELECT 'x', $1, 'y', $2"


def test_a_parameter_that_is_not_given_is_an_error() -> None:
    """Rather than NULL."""
    with pytest.raises(KeyError, match="a"):
        only("-- x: y\nSELECT :a").arguments({})


@pytest.mark.parametrize(
    "text",
    [
        "-- a: x\nSELECT 1;\n-- a: y\nSELECT 2;",
        "-- a @postgres: x\nSELECT 1;\n-- a @postgres: y\nSELECT 2;\n-- a: z\nSELECT 3;",
        "-- a: x\n\n-- b: y\nSELECT 1;",
    ],
)
def test_a_repeated_or_empty_statement_is_refused(text: str) -> None:
    """It would hide the other."""
    with pytest.raises(ValueError, match="statement a is repeated or empty"):
        parse(text)


def test_files_are_read_once() -> None:
    """Every module that loads a file has the same statements."""
    assert load("messages") is load("messages")


def test_an_unknown_name_is_an_error() -> None:
    """At once, not an empty statement."""
    with pytest.raises(KeyError, match="nothing"):
        load("messages")["nothing"]


def test_a_list_is_written_once_for_both_engines() -> None:
    """Numbers and texts part on PostgreSQL only, which is told what each item is."""
    query = parse("-- a: x\nSELECT 1 WHERE n IN NUMBERS(:seqs) OR t IN TEXTS(:ids);")["a"]
    assert query.sqlite == (
        "SELECT 1 WHERE n IN (SELECT value FROM json_each(:seqs)) OR t IN (SELECT value FROM json_each(:ids))"
    )
    assert query.postgres == (
        "SELECT 1 WHERE"
        " n = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($1 AS json))))"
        " OR t = ANY (ARRAY(SELECT value FROM json_array_elements_text(CAST($2 AS json))))"
    )
    assert query.order == ("seqs", "ids")
