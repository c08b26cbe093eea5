"""Keys of messages: time-ordered UUIDs (version 7, RFC 9562), so that an index grows at its end."""

from __future__ import annotations

import os
import time

_VERSION = 7 << 76
_VARIANT = 0b10 << 62
_RANDOM_A = ((1 << 12) - 1) << 64
_RANDOM_B = (1 << 62) - 1


def new_pk() -> str:
    """Return a new UUIDv7: milliseconds first, then 74 random bits."""
    random = int.from_bytes(os.urandom(10))
    stamp = time.time_ns() // 1_000_000 << 80
    digits = f"{stamp | _VERSION | (random & _RANDOM_A) | _VARIANT | (random & _RANDOM_B):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
