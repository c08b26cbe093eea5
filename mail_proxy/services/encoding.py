"""JSON as the API gives it: compact, in UTF-8."""

from __future__ import annotations

import json

from pydantic_core import PydanticSerializationError, to_json

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encoded(value: object) -> bytes:
    """Encode as JSON; a lone surrogate, which UTF-8 cannot hold, is escaped instead of failing."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return _ENCODER.encode(value).encode("utf-8", "backslashreplace")
