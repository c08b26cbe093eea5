"""Answers: compact JSON in UTF-8."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pydantic_core import PydanticSerializationError, to_json
from starlette.responses import Response

JSON = "application/json"

_LINE_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encoded(value: object) -> bytes:
    """Encode as JSON; a lone surrogate, which UTF-8 cannot hold, is escaped instead of failing."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return _ENCODER.encode(value).encode("utf-8", "backslashreplace")


def ok(fields: Mapping[str, object] | None = None, /, **more: object) -> Response:
    """Answer 200 with ``"ok": true`` beside the given fields."""
    return Response(encoded({"ok": True, **(fields or {}), **more}), media_type=JSON)


def failed(
    status: int, error: str, detail: object = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer an error in one line, whatever that repeats; `detail` says more, or the same."""
    error = _LINE_BREAKING.sub(lambda char: char[0].encode("unicode_escape").decode(), error)
    content = encoded({"ok": False, "error": error, "detail": error if detail is None else detail})
    return Response(content, status, headers, JSON)
