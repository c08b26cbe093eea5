"""What an application answered to a delivery report (contract: reports.md)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus

from mail_proxy.clock import LAST_SECOND

MAX_REASON = 200

MAX_VALUES = 50_000
"""In an answer: a post has 500 entries, and nothing else is done while a million values are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostResult:
    """What became of one post. `failure` says in one line why it was not accepted.

    When it was, all entries are acknowledged but those of the messages in `error_ids`, which are to be sent
    again later. `not_found_ids` are messages the application does not know: done. `queued` is how many
    messages the tenant still has to submit; until `next_sync_after` (Unix seconds) it wants no heartbeat:
    a moment that has passed takes back what it said before.
    """

    failure: str | None = None
    error_ids: frozenset[str] = frozenset()
    not_found_ids: frozenset[str] = frozenset()
    queued: int = 0
    next_sync_after: float | None = None

    @property
    def accepted(self) -> bool:
        return self.failure is None


def parse_answer(status: int, body: bytes) -> PostResult:
    """Read an answer, whatever it holds: what is malformed is a failure or is ignored, never an exception."""
    if not 200 <= status < 300:
        return PostResult(failure=_describe(status))
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        return PostResult(failure=f"the application answered {status} with more than {MAX_VALUES} values")
    try:
        answer: object = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return PostResult(failure=f"the application answered {status} with something that is not JSON")
    if not isinstance(answer, dict):
        return PostResult(failure=f"the application answered {status} with JSON that is not an object")
    if answer.get("ok") is False:
        return PostResult(failure=f"the application answered ok: false{_complaint(answer.get('error'))}")
    return PostResult(
        error_ids=_ids(answer.get("error")),
        not_found_ids=_ids(answer.get("not_found")),
        queued=max(0, int(_number(answer.get("queued")) or 0)),
        next_sync_after=_moment(answer.get("next_sync_after")),
    )


def _describe(status: int) -> str:
    try:
        name = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        name = str(status)
    if 300 <= status < 400:
        return f"the application answered {name}; redirects are not followed, set the URL it leads to"
    if status in (401, 403):
        return f"the application answered {name}; check client_auth or client_sync_token"
    return f"the application answered {name}"


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON (RFC 8259)")


def _complaint(error: object) -> str:
    if not isinstance(error, str) or not error:
        return ""
    return ": " + "".join(char if char.isprintable() else " " for char in error[:MAX_REASON])


def _ids(value: object) -> frozenset[str]:
    """Message ids from a list, in which numbers stand for their digits; one id may come without a list."""
    several = value if isinstance(value, list) else [value]
    return frozenset(
        str(one)
        for one in several
        if isinstance(one, str) or (isinstance(one, int) and not isinstance(one, bool))
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _moment(value: object) -> float | None:
    seconds = _number(value)
    return seconds if seconds is not None and 0 <= seconds <= LAST_SECOND else None
