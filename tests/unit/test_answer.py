"""Reading what applications answer: the table of cases, and that no answer is too strange."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.callbacks.answer import PostResult, parse_answer

ACCEPTED = PostResult()
YEAR_9999 = 253402300799


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"ok": True}, ACCEPTED),
        ({}, ACCEPTED),
        ({"ok": None}, ACCEPTED),
        ({"ok": "false"}, ACCEPTED),
        ({"ok": 0}, ACCEPTED),
        ({"anything": [1, {}]}, ACCEPTED),
        ({"error": ["a", "b"]}, PostResult(error_ids=frozenset({"a", "b"}))),
        ({"error": ["a", 17, None, True, 1.5, {}, ["b"]]}, PostResult(error_ids=frozenset({"a", "17"}))),
        ({"error": "a"}, PostResult(error_ids=frozenset({"a"}))),
        ({"error": None}, ACCEPTED),
        ({"error": {"a": 1}}, ACCEPTED),
        ({"not_found": ["c", "c"]}, PostResult(not_found_ids=frozenset({"c"}))),
        ({"not_found": 3.5}, ACCEPTED),
        ({"queued": 3}, PostResult(queued=3)),
        ({"queued": 3.0}, PostResult(queued=3)),
        ({"queued": -3}, ACCEPTED),
        ({"queued": "3"}, ACCEPTED),
        ({"queued": True}, ACCEPTED),
        ({"queued": [3]}, ACCEPTED),
        ({"next_sync_after": 1735689600}, PostResult(next_sync_after=1735689600.0)),
        ({"next_sync_after": 1735689600.5}, PostResult(next_sync_after=1735689600.5)),
        ({"next_sync_after": None}, ACCEPTED),
        ({"next_sync_after": 0}, PostResult(next_sync_after=0.0)),
        ({"next_sync_after": -5}, ACCEPTED),
        ({"next_sync_after": "2025-01-01T00:00:00Z"}, ACCEPTED),
        ({"next_sync_after": True}, ACCEPTED),
        ({"next_sync_after": YEAR_9999}, PostResult(next_sync_after=YEAR_9999)),
        ({"next_sync_after": 1735689600000}, ACCEPTED),
        ({"next_sync_after": 10**400, "queued": 10**400}, ACCEPTED),
    ],
)
def test_accepted_answers(answer: dict[str, object], expected: PostResult) -> None:
    result = parse_answer(200, json.dumps(answer).encode())
    assert result == expected
    assert result.accepted


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_any_2xx_accepts(status: int) -> None:
    assert parse_answer(status, b'{"ok": true}').accepted


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (100, "the application answered 100 Continue"),
        (302, "the application answered 302 Found; redirects are not followed, set the URL it leads to"),
        (
            401,
            "the application answered 401 Unauthorized; check client_auth or client_sync_token",
        ),
        (404, "the application answered 404 Not Found"),
        (503, "the application answered 503 Service Unavailable"),
        (599, "the application answered 599"),
    ],
)
def test_other_statuses_fail_whatever_the_body_says(status: int, failure: str) -> None:
    assert parse_answer(status, b'{"ok": true}') == PostResult(failure=failure)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"<html>",
        b"{",
        b'{"ok": true} trailing',
        b'{"ok": NaN}',
        b'{"queued": Infinity}',
        b"\xff\xfe\x00",
        b'{"ok": "\xe9"}',
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b'{"queued": ' + b"9" * 5000 + b"}",
        b"\x00" * 100,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_not_json_fails(body: bytes) -> None:
    expected = "the application answered 200 with something that is not JSON"
    assert parse_answer(200, body).failure == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("piece", "times"), [("[]", 25_000), ("{}", 25_000), ("1", 50_000), ("[" * 500 + "]" * 500, 100)]
)
def test_what_takes_long_to_read_is_not_read(piece: str, times: int, encoding: str) -> None:
    """Reading JSON cannot be interrupted: for a MiB of nothing but brackets everybody would wait."""
    body = f'{{"error": [{",".join([piece] * times)}]}}'.encode(encoding)
    assert parse_answer(200, body).failure == "the application answered 200 with more than 50000 values"


def test_every_id_of_many_posts_is_read() -> None:
    ids = [f"order-{n}, [{n}]" for n in range(10_000)]
    assert len(parse_answer(200, json.dumps({"error": ids}).encode()).error_ids) == 10_000


@pytest.mark.parametrize("body", [b"[]", b"null", b"true", b'"ok"', b"1"])
def test_json_that_is_no_object_fails(body: bytes) -> None:
    assert parse_answer(200, body).failure == "the application answered 200 with JSON that is not an object"


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"ok": False}, "the application answered ok: false"),
        ({"ok": False, "error": ["a"]}, "the application answered ok: false"),
        ({"ok": False, "error": "database\r\naway"}, "the application answered ok: false: database  away"),
        ({"ok": False, "error": "x" * 5000}, "the application answered ok: false: " + "x" * 200),
    ],
)
def test_ok_false_fails(answer: dict[str, object], failure: str) -> None:
    assert parse_answer(200, json.dumps(answer).encode()) == PostResult(failure=failure)


def test_infinite_numbers_are_ignored() -> None:
    assert parse_answer(200, b'{"queued": 1e999, "next_sync_after": 1e999}') == ACCEPTED


TEXT = st.text(alphabet="ab1\n\x00é€\ud800", max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(
    status=st.integers(100, 599),
    answer=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("ok", "error", "not_found", "queued", "next_sync_after"), JSON)
    ),
)
def test_no_object_raises(status: int, answer: dict[str, object]) -> None:
    result = parse_answer(status, json.dumps(answer).encode())
    assert result.failure is None or "\n" not in result.failure
    assert result.queued >= 0


@given(body=st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    """What is not a JSON object is a failure, told in one line."""
    result = parse_answer(200, body)
    assert result.accepted or "\n" not in str(result.failure)
