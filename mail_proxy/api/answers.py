"""Answers: compact JSON in UTF-8."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.responses import Response

from mail_proxy.services.encoding import encoded

JSON = "application/json"

_LINE_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


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
