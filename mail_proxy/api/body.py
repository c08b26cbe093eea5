"""Reading a request's body: its size while it arrives, its type, and JSON in the strict sense.

What other parsers let pass is refused with 422 (contract: security.md): duplicate keys, NaN and infinities,
numbers that overflow to one, deep nesting, anything but UTF-8, lone surrogates.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from mail_proxy.errors import MAX_FAULTS, Fault, InvalidInput, TooLarge

MAX_DEPTH = 32
"""How deep objects and lists may lie in each other; what the API takes needs 6."""

MAX_CONTAINERS = 250_000
"""How many objects and lists there may be in all: each takes many times the memory of its two bytes."""

BODY_TIMEOUT = 300.0
"""Seconds for the whole body to arrive."""

_JSON_TYPE = re.compile(r'application/json\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?;?', re.IGNORECASE)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")

Path = tuple[str | int, ...]


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body, of at most `limit` bytes; one that is larger is given up as soon as that is known.

    Raises `TooLarge`, ClientDisconnect, or HTTPException 408 when it does not arrive in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise _too_large(limit)
    chunks, size, more = [], 0, True
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
                more = message.get("more_body", False)
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_TIMEOUT:g} seconds") from None
    return b"".join(chunks)


async def read_object(request: Request, limit: int, *, optional: bool = False) -> dict[str, object]:
    """Return the JSON object that the body is; with `optional`, no body is an empty object.

    Raises `InvalidInput`, HTTPException 415, and what `read_body` raises.
    """
    data = await read_body(request, limit)
    if not data and optional:
        return {}
    _check_type(request.headers)
    return parse_object(data)


def parse_object(data: bytes) -> dict[str, object]:
    """Parse strictly; raise `InvalidInput` for what is not one JSON object in UTF-8."""
    try:
        text = data.decode("utf-8")
        _check_count(data)
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
    _check_depth(value, data)
    _check_text(value, data)
    return value


def _check_type(headers: Headers) -> None:
    given = headers.get("content-type", "application/json")
    if given != "application/json" and not _JSON_TYPE.fullmatch(given.strip()):
        raise HTTPException(415, "the body must be application/json in UTF-8")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "the body must not be compressed")


def _check_count(data: bytes) -> None:
    """Refuse very many objects and lists before they are made; brackets in strings do not count."""
    if _brackets(data) > MAX_CONTAINERS and _brackets(_STRING.sub(b"", data)) > MAX_CONTAINERS:
        raise _invalid(f"the body holds too many objects and lists: at most {MAX_CONTAINERS}")


def _brackets(data: bytes) -> int:
    return data.count(b"{") + data.count(b"[")


def _check_depth(value: dict[str, object], data: bytes) -> None:
    """Go down level by level, unless there are too few brackets for the depth to matter."""
    if _brackets(data) <= MAX_DEPTH:
        return
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


def _check_text(value: dict[str, object], data: bytes) -> None:
    """Find halves of surrogate pairs, which only an escape can bring in: UTF-8 itself has none."""
    if _SURROGATE_ESCAPE.search(data) is None:
        return
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
