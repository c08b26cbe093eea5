"""Reading a request's body: its size while it arrives, its type, and JSON in the strict sense.

What other parsers let pass is refused with 422 (contract: security.md): duplicate keys, NaN and infinities,
numbers that overflow to one, deep nesting, anything but UTF-8, lone surrogates.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from mail_proxy.api.bodies import SMALL, Lease
from mail_proxy.api.headers import field
from mail_proxy.errors import MAX_FAULTS, Fault, InvalidInput, TooLarge

MAX_DEPTH = 32
"""How deep objects and lists may lie in each other; what the API takes needs 6."""

MAX_CONTAINERS = 250_000
"""How many objects and lists there may be in all: each takes many times the memory of its two bytes."""

MAX_VALUES = 2_000_000
"""How many members and items there may be in all, for the same reason."""

MAX_MEMBERS = 1000
"""How many members one object may have: of very many, each that nothing knows is a fault of its own."""

LARGE = 256 * 1024
"""Bytes from which on a body is parsed in a thread, so that the loop stays free."""

FEW = 500
"""Commas and brackets of a body that may be parsed at once; very many short values make a small one slow."""

BODY_TIMEOUT = 300.0
"""Seconds for the whole body to arrive."""

_JSON_TYPE = re.compile(r'application/json\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?;?', re.IGNORECASE)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")

Path = tuple[str | int, ...]


async def read_body(request: Request, limit: int, lease: Lease) -> bytearray:
    """Return the body, of at most `limit` bytes; one that is larger is given up as soon as that is known.

    Raises `TooLarge`, ClientDisconnect, HTTPException 408 when it does not arrive in time, or 503 when
    `lease` gets no memory for it.
    """
    declared = field(request.scope, b"content-length") or ""
    length = int(declared[:20]) if declared.isdecimal() else 0
    if length > limit:
        raise _too_large(limit)
    if length > SMALL:
        await lease.hold(length)
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk: bytes = message.get("body", b"")
                size = len(body) + len(chunk)
                if size > limit:
                    raise _too_large(limit)
                if size > SMALL:
                    await lease.hold(size)
                body += chunk
                more = message.get("more_body", False)
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_TIMEOUT:g} seconds") from None
    return body


async def read_object(
    request: Request, limit: int, lease: Lease, *, optional: bool = False
) -> dict[str, object]:
    """Return the JSON object that the body is; with `optional`, no body is an empty object.

    Raises `InvalidInput`, HTTPException 415, and what `read_body` raises.
    """
    data = await read_body(request, limit, lease)
    if not data and optional:
        return {}
    _check_type(request.scope)
    if len(data) < LARGE and _brackets(data) + data.count(b",") <= FEW:
        return parse_object(data)
    await lease.begin_work()
    return await asyncio.to_thread(parse_object, data)


def parse_object(data: bytes | bytearray) -> dict[str, object]:
    """Parse strictly; raise `InvalidInput` for what is not one JSON object in UTF-8.

    A bytearray is emptied on the way: it is not to be in memory beside what it becomes.
    """
    try:
        _check_count(data)
        may_be_deep, has_escapes = _brackets(data) > MAX_DEPTH, _SURROGATE_ESCAPE.search(data) is not None
        text = data.decode("utf-8")
        if isinstance(data, bytearray):
            data.clear()
        value = _DECODER.decode(text)
    except InvalidInput:
        raise
    except UnicodeDecodeError as error:
        raise _invalid(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # Python's limit on the digits of an integer
        raise _invalid("the body holds a number with too many digits") from None
    if not isinstance(value, dict):
        raise InvalidInput.of([Fault((), "the body must be a JSON object", "dict_type")])
    if may_be_deep:
        _check_depth(value)
    if has_escapes:
        _check_text(value)
    return value


def _check_type(scope: Scope) -> None:
    given = field(scope, b"content-type")
    if given not in (None, "application/json") and not _JSON_TYPE.fullmatch((given or "").strip()):
        raise HTTPException(415, "the body must be application/json in UTF-8")
    encoding = field(scope, b"content-encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise HTTPException(415, "the body must not be compressed")


def _check_count(data: bytes | bytearray) -> None:
    """Refuse very many values before they are made; brackets and commas in strings do not count."""
    if _brackets(data) <= MAX_CONTAINERS and data.count(b",") <= MAX_VALUES:
        return
    brackets = commas = 0
    for start, following in _gaps(data):
        brackets += _brackets(data, start, following)
        commas += data.count(b",", start, following)
        if brackets > MAX_CONTAINERS:
            raise _invalid(f"the body holds too many objects and lists: at most {MAX_CONTAINERS}")
        if commas > MAX_VALUES:
            raise _invalid(f"the body holds too many values: at most {MAX_VALUES}")


def _gaps(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Where there is no string: the start and the end of each such part."""
    end = 0
    for string in _STRING.finditer(data):
        yield end, string.start()
        end = string.end()
    yield end, len(data)


def _brackets(data: bytes | bytearray, start: int = 0, end: int = sys.maxsize) -> int:
    return data.count(b"{", start, end) + data.count(b"[", start, end)


def _check_depth(value: dict[str, object]) -> None:
    """Go down level by level."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
        if not level:
            return
    raise _too_deep()


def _children(parent: object) -> Iterable[object]:
    if isinstance(parent, dict):
        return parent.values()
    return parent if isinstance(parent, list) else ()


def _check_text(value: dict[str, object]) -> None:
    """Find halves of surrogate pairs, which only an escape can bring in: UTF-8 itself has none."""
    faults = (
        Fault(path, "holds a lone surrogate, which is not a character", "string_unicode")
        for path, text in _texts(value, ())
        if _SURROGATE.search(text)
    )
    if first := list(islice(faults, MAX_FAULTS)):
        raise InvalidInput.of(first)


def _texts(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Every string in `value` with the way to it; keys stand for themselves."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield (*path, name), name
            yield from _texts(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(each, (*path, index))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(pairs) > MAX_MEMBERS:
        raise _invalid(f"an object in the body has too many members: at most {MAX_MEMBERS}")
    fields = dict(pairs)
    if len(fields) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = (name for name, count in counted.items() if count > 1)
        raise InvalidInput.of(
            [
                Fault((name,), "is given twice in one object", "duplicate_key")
                for name in islice(twice, MAX_FAULTS)
            ]
        )
    return fields


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _invalid(f"the body holds a number that is too large: {text[:40]}")
    return number


def _refused(name: str) -> NoReturn:
    raise _invalid(f"the body is not JSON: {name} is not a number that JSON knows")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refused)


def _invalid(message: str) -> InvalidInput:
    return InvalidInput.of([Fault((), message, "json_invalid")])


def _too_deep() -> InvalidInput:
    return _invalid(f"the body is nested too deeply: at most {MAX_DEPTH} levels")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit // (1024 * 1024)} MB")
