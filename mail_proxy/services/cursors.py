"""Cursors: where a list goes on, as text that clients hand back and do not read."""

from __future__ import annotations

import base64
import binascii
import math
import struct
import zlib

from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.messages import Place

_PLACE = struct.Struct(">dq")
_SUM = struct.Struct(">I")
_LENGTH = 27
"""Characters of base64 for the bytes of both, which are 20, without padding."""


def cursor_of(place: Place) -> str:
    packed = _PLACE.pack(*place)
    return base64.urlsafe_b64encode(packed + _SUM.pack(zlib.crc32(packed))).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Raise `InvalidInput` for what `cursor_of` did not make."""
    refused = InvalidInput.of([Fault(("cursor",), "is not one that an earlier answer gave")])
    if len(cursor) != _LENGTH or not cursor.isascii():
        raise refused
    try:
        packed = base64.b64decode(cursor + "=", altchars=b"-_", validate=True)
    except binascii.Error:
        raise refused from None
    place = Place(*_PLACE.unpack_from(packed))
    if not math.isfinite(place.created_at) or cursor_of(place) != cursor:
        raise refused
    return place
