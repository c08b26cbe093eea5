"""What a body may be: JSON in the strict sense, of a type and a size (contract: security.md, http-api.md)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.bodies import Bodies
from mail_proxy.api.body import MAX_CONTAINERS, MAX_DEPTH, MAX_MEMBERS, MAX_VALUES, parse_object, read_body
from mail_proxy.errors import MAX_FAULTS, InvalidInput, TooLarge
from tests.support.api import Api, open_api

MEGABYTE = 1024 * 1024


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    """The database has no part in this."""
    async with open_api(sqlite_url, {"GMP_MAX_BODY_MB": "1"}) as api:
        yield api


def nested(depth: int, opening: str, closing: str) -> bytes:
    """An object that holds values `depth` deep, itself counted."""
    inner = opening * (depth - 1) + "1" + closing * (depth - 1)
    return f'{{"messages": {inner}}}'.encode()


TRAPS: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"messages",
    "cut off": b'{"messages": [',
    "two values": b"{} {}",
    "a comment": b"{} // x",
    "a trailing comma": b'{"messages": [],}',
    "single quotes": b"{'messages': []}",
    "a list": b"[]",
    "a string": b'"messages"',
    "a number": b"1",
    "null": b"null",
    "duplicate key": b'{"messages": [], "messages": []}',
    "duplicate key, escaped": b'{"messages": [], "mess\\u0061ges": []}',
    "duplicate key, inner": b'{"messages": [{"id": "a", "id": "b"}]}',
    "NaN": b'{"messages": NaN}',
    "Infinity": b'{"messages": Infinity}',
    "-Infinity": b'{"messages": [-Infinity]}',
    "overflow": b'{"messages": 1e999}',
    "-overflow": b'{"messages": -1e999}',
    "endless integer": b'{"messages": ' + b"9" * 5000 + b"}",
    "nested objects": nested(MAX_DEPTH + 1, '{"a":', "}"),
    "nested lists": nested(MAX_DEPTH + 1, "[", "]"),
    "nested beyond any stack": b'{"messages":' + b"[" * 100_000,
    "nested and closed": nested(200_000, "[", "]"),
    "Latin-1": '{"messages": "é"}'.encode("latin-1"),
    "UTF-16": '{"messages": []}'.encode("utf-16"),
    "UTF-8 of a surrogate": b'{"messages": "\xed\xa0\x80"}',
    "overlong UTF-8": b'{"messages": "\xc0\xaf"}',
    "byte order mark": b'\xef\xbb\xbf{"messages": []}',
    "lone high surrogate": b'{"messages": "\\ud800"}',
    "lone low surrogate": b'{"messages": ["\\uDFFF"]}',
    "reversed surrogates": b'{"messages": "\\udc00\\ud800"}',
    "surrogate in a key": b'{"\\ud83d": 1}',
    "duplicate surrogate keys": b'{"\\ud83d": 1, "\\ud83d": 1}',
    "control character": b'{"messages": "a\x00b"}',
    "line break": b'{"messages": "a\nb"}',
    "bad escape": b'{"messages": "\\x41"}',
    "half an escape": b'{"messages": "\\u00"}',
}
"""What some parsers let pass, by what it is called."""


@pytest.mark.parametrize("name", TRAPS)
async def test_a_trap_is_422_at_every_endpoint_that_takes_a_body(api: Api, name: str) -> None:
    taking = [endpoint for endpoint in ENDPOINTS if endpoint.body is not None]
    for endpoint in taking:
        if not TRAPS[name] and endpoint.body_is_optional:
            continue
        answer = await api.call(endpoint.method, endpoint.path.format(id="default"), content=TRAPS[name])
        assert (answer.status, answer.body["ok"]) == (422, False), endpoint.path
        assert isinstance(answer.body["detail"][0]["msg"], str)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"a": 1, "b": 2, "b": 3, "a": 4}', ["a", "b"]),
        (b'{"messages": [{"subject": "x"}, {"subject": "\\ud800", "n": {"k": ["\\ud800"]}}]}',
         ["messages.1.subject", "messages.1.n.k.0"]),
    ],
)  # fmt: skip
async def test_the_place_of_a_trap_is_told(api: Api, body: bytes, fields: list[str]) -> None:
    answer = await api.call("POST", "/commands/add-messages", content=body)
    assert answer.fields == fields


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": "\\ud83d\\ude00"}',
        '{"a": "😀"}'.encode(),
        b'{"a": "\\\\ud800"}',
        b'{"a": 1e308, "b": 12345678901234567890}',
        nested(MAX_DEPTH, "[", "]"),
        nested(MAX_DEPTH, '{"a":', "}"),
        b'{"a": "' + b"[{" * 5000 + b'"}',
        b' \r\n\t{"a": [[], [], {}]} \n',
        b"{}",
    ],
)
def test_what_only_looks_like_a_trap_passes(body: bytes) -> None:
    assert parse_object(body) == json.loads(body)


def test_many_brackets_are_not_deep() -> None:
    """A batch has thousands of objects side by side."""
    batch = {"messages": [{"to": ["a"], "headers": {}} for _ in range(1000)]}
    assert parse_object(json.dumps(batch).encode()) == batch


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda children: st.lists(children) | st.dictionaries(st.text(), children),
            max_leaves=20,
        ),
    ),
    st.booleans(),
)
def test_any_proper_object_is_read_as_it_is(value: dict[str, object], ascii_only: bool) -> None:
    assert parse_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\u d8001eNa', max_size=60).map(str.encode))
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    """No other exception leaves the parser."""
    with contextlib.suppress(InvalidInput):
        json.dumps(parse_object(body), allow_nan=False).encode()


@pytest.mark.parametrize(
    "given_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json;",
    ],
)
async def test_json_is_recognised_by_its_type(api: Api, given_type: str) -> None:
    headers = {"Content-Type": given_type}
    answer = await api.call("POST", "/commands/add-messages", content=b'{"messages":[]}', headers=headers)
    assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_other_types_are_415(api: Api, headers: dict[str, str]) -> None:
    answer = await api.call("POST", "/commands/add-messages", content=b'{"messages":[]}', headers=headers)
    assert (answer.status, answer.body["ok"]) == (415, False)


async def test_a_declared_length_over_the_limit_is_refused_unread(api: Api) -> None:
    taken = []

    async def body() -> AsyncIterator[bytes]:
        taken.append("a piece")
        yield b" " * (MEGABYTE + 1)

    headers = {"Content-Length": str(MEGABYTE + 1)}
    answer = await api.call("POST", "/commands/add-messages", content=body(), headers=headers)
    assert (answer.status, answer.body["ok"], taken) == (413, False, [])


async def test_an_undeclared_body_is_read_up_to_the_limit() -> None:
    """The reading stops where the limit is passed, so memory does too."""
    taken = 0

    async def receive() -> dict[str, object]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    with pytest.raises(TooLarge):
        await read_body(Request({"type": "http", "headers": []}, receive), 10_000, Bodies(10_000).lease(None))
    assert taken == 11


async def test_a_chunked_body_over_the_limit_is_413(api: Api) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * (MEGABYTE // 10)

    answer = await api.call("POST", "/commands/add-messages", content=body())
    assert (answer.status, answer.body["ok"]) == (413, False)


async def test_a_body_of_the_limit_is_taken(api: Api) -> None:
    body = b'{"messages":[]}'.ljust(MEGABYTE)
    assert (await api.call("POST", "/commands/add-messages", content=body)).status == 200


def test_an_object_has_no_more_members_than_anything_needs() -> None:
    """In some places each one that nothing knows would be a fault of its own, and millions take minutes."""
    members = {f"k{n}": n for n in range(MAX_MEMBERS)}
    assert parse_object(json.dumps({"config": members}).encode()) == {"config": members}
    with pytest.raises(InvalidInput, match="too many members: at most 1000"):
        parse_object(json.dumps({"config": {**members, "one": "more"}}).encode())


def test_brackets_in_texts_are_no_objects() -> None:
    body = b'{"a": "' + b'{[\\"' * MAX_CONTAINERS + b'"}'
    assert parse_object(body) == json.loads(body)


def test_commas_in_texts_are_no_values() -> None:
    body = b'{"a": "' + b"," * (MAX_VALUES + 1) + b'"}'
    assert parse_object(body) == json.loads(body)


@pytest.mark.parametrize("one", [b"1,", b'"ab",', b'"\\\\",'])
def test_very_many_values_are_refused(one: bytes) -> None:
    """Two letters and a comma would take fourteen times their memory."""
    with pytest.raises(InvalidInput, match="too many values"):
        parse_object(b'{"a":[' + one * (MAX_VALUES + 1) + b"0]}")


@pytest.mark.parametrize("many", [b"[]", b"{}", b"[" * 20 + b"]" * 20])
def test_very_many_objects_and_lists_are_refused(many: bytes) -> None:
    """They would take many times the memory of the body."""
    body = b'{"a":[' + (many + b",") * MAX_CONTAINERS + b"0]}"
    with pytest.raises(InvalidInput, match="too many objects and lists"):
        parse_object(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b'"\\ud800",' * 5000 + b"0]}",
        b"{" + b",".join(b'"%d":1,"%d":1' % (n, n) for n in range(500)) + b"}",
    ],
)
def test_of_very_many_faults_the_first_are_told(body: bytes) -> None:
    """The answer does not grow to many times the request."""
    with pytest.raises(InvalidInput) as caught:
        parse_object(body)
    assert len(caught.value.faults) == MAX_FAULTS
