"""Signatures of posts, as Standard Webhooks has them (https://www.standardwebhooks.com).

For both sides: mail-proxy signs its delivery reports, and the Python client verifies them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Protocol

PREFIX = "whsec_"
SHORTEST_KEY = 24
LONGEST_KEY = 64
TOLERANCE = 300.0
"""Seconds that the clocks of sender and receiver may be apart, the way included."""

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

_VERSION = "v1"
_LONGEST_TIMESTAMP = 15  # digits; int() refuses very many, and there is no such time


class Headers(Protocol):
    """Headers as any framework has them: names in any case."""

    def items(self) -> Iterable[tuple[str, str]]: ...


def key_of(secret: str) -> bytes:
    """Return what a secret stands for: after ``whsec_`` comes a key in base64; other texts are the key.

    Raises ValueError for what cannot be a secret.
    """
    if not secret:
        raise ValueError("must not be empty")
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(f"must have {SHORTEST_KEY} to {LONGEST_KEY} bytes in base64 after {PREFIX}")
    return key


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Sign one post; raises ValueError for what cannot be a secret."""
    return _signature(key_of(secret), webhook_id, timestamp, body)


def signed_headers(secret: str, webhook_id: str, now: float, body: bytes) -> dict[str, str]:
    """Build the headers of a signed post; raises ValueError for what cannot be a secret."""
    timestamp = int(now)
    return {
        ID: webhook_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: sign(secret, webhook_id, timestamp, body),
    }


def disbelief(
    secret: str, headers: Headers, body: bytes, *, now: float, tolerance: float = TOLERANCE
) -> str | None:
    """Say why a post is not to be believed; None when it was signed with the secret, and lately.

    Raises ValueError for what cannot be a secret, and for no headers, whatever they hold.
    """
    key = key_of(secret)
    given = {str(name).lower(): str(value) for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not given.get(name)]
    if missing:
        return f"there is no header {missing[0]}"
    if "." in given[ID]:  # what is signed could then be split elsewhere: between parts of a body
        return f"{ID} holds a dot"
    timestamp = _seconds(given[TIMESTAMP])
    if timestamp is None:
        return f"{TIMESTAMP} is not a whole number of seconds"
    if abs(now - timestamp) > tolerance:
        return f"it was signed {abs(now - timestamp):.0f} s {'ago' if timestamp < now else 'from now'}"
    expected = _signature(key, _encodable(given[ID]), timestamp, body).encode()
    signatures = _encodable(given[SIGNATURE]).split(" ")
    if not any(hmac.compare_digest(expected, each.encode()) for each in signatures):
        return f"no signature in {SIGNATURE} is of this post with this secret"
    return None


def _signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    code = hmac.new(key, f"{webhook_id}.{timestamp}.".encode(), hashlib.sha256)
    code.update(body)
    return f"{_VERSION},{base64.b64encode(code.digest()).decode('ascii')}"


def _seconds(text: str) -> int | None:
    is_number = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_TIMESTAMP
    return int(text) if is_number else None


def _encodable(text: str) -> str:
    """Give what no header can hold a form that has bytes, and is no signature."""
    return text.encode("utf-8", "replace").decode()
