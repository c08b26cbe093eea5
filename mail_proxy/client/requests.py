"""A request as a value, and what its answer says: everything but the sending."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from mail_proxy.client import answers
from mail_proxy.client.answers import Json, Rejection, as_object, many
from mail_proxy.client.errors import ApiError, UnexpectedAnswer, Unreachable

T = TypeVar("T")
A = TypeVar("A")

Moment = float | str | datetime
"""A time: Unix seconds, ISO 8601 (without a zone: UTC), or a datetime (without a zone: local time)."""


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """What to ask, and how to read the answer.

    `path` is percent-encoded; what is None in `query` is left out. `is_repeatable` says that asking twice
    comes to the same as asking once.
    """

    method: str
    path: str
    read: Callable[[object], T]
    query: Mapping[str, object] = field(default_factory=dict)
    body: object = field(default=None, repr=False)
    is_repeatable: bool = False

    @property
    def target(self) -> str:
        """Path and query."""
        given = {name: _in_query(value) for name, value in self.query.items() if value is not None}
        return f"{self.path}?{urlencode(given)}" if given else self.path

    @property
    def content(self) -> bytes | None:
        """The body as JSON; raises ValueError or TypeError for what JSON cannot hold."""
        if self.body is None:
            return None
        text = json.dumps(self.body, ensure_ascii=False, allow_nan=False, default=_in_json)
        return text.encode("utf-8", "backslashreplace")  # a lone surrogate is for the server to judge


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list; `cursor` asks for what comes after, None at the end."""

    items: tuple[T, ...]
    cursor: str | None = None


def following(request: Request[Page[T]], page: Page[T]) -> Request[Page[T]] | None:
    """Make the request for the page after this one."""
    if page.cursor is None:
        return None
    return replace(request, query={**request.query, "cursor": page.cursor})


def fetch(path: str, read: Callable[[object], T], **query: object) -> Request[T]:
    """Make a request that changes nothing."""
    return Request("GET", path, read, query, is_repeatable=True)


def to(*parts: str) -> str:
    """Build a path of these parts, of which any may hold whatever an id may."""
    return "".join(f"/{_segment(part)}" for part in parts)


def nothing(_answer: object) -> None:
    """Read an answer that says no more than that it was done."""


def value(name: str, kind: type[A]) -> Callable[[object], A]:
    """Make a reader of one plain value of an answer."""

    def read(answer: object) -> A:
        found = as_object(answer).get(name)
        if not isinstance(found, kind):
            raise UnexpectedAnswer(f"the answer has no '{name}', or not of the kind expected")
        return found

    return read


def one(kind: type[A]) -> Callable[[object], A]:
    """Make a reader of an answer that is one value."""
    return lambda answer: answers.read(kind, answer)


def listed(name: str, kind: type[A]) -> Callable[[object], tuple[A, ...]]:
    """Make a reader of an answer that lists values under a name."""
    read = many(kind)
    return lambda answer: read(value(name, list)(answer))


def paged(name: str, kind: type[A]) -> Callable[[object], Page[A]]:
    """Make a reader of an answer that is one page of a list under a name."""
    read = listed(name, kind)

    def page(answer: object) -> Page[A]:
        cursor = as_object(answer).get("next_cursor")
        return Page(read(answer), cursor if isinstance(cursor, str) else None)

    return page


def outcome(request: Request[T], status: int, content: bytes, retry_after: str | None = None) -> T:
    """Read an answer; raise `ApiError` for a refusal, `UnexpectedAnswer` for what makes no sense."""
    answer = _parsed(content)
    if status >= HTTPStatus.BAD_REQUEST:
        raise refusal(status, answer, retry_after)
    if status != HTTPStatus.OK:
        raise UnexpectedAnswer(
            f"the answer is HTTP {status}, which mail-proxy does not give: is the URL right?"
        )
    if as_object(answer).get("ok") is not True:
        raise UnexpectedAnswer("the answer is not what mail-proxy says: is the URL right?")
    return request.read(answer)


def line_read(request: Request[T], line: bytes) -> T:
    """Read one line of an answer in JSON lines; raise `Unreachable` for one that tells of a break."""
    answer = as_object(_parsed(line))
    if answer.get("ok") is False:
        raise Unreachable(f"the answer broke off: {answer.get('error')}")
    return request.read(answer)


def refusal(status: int, answer: object, retry_after: str | None = None) -> ApiError:
    """Read a refusal; one that is not mail-proxy's own, but of a proxy in between, is told by its status."""
    said: Json = answer if isinstance(answer, Mapping) else {}
    error, detail = said.get("error"), said.get("detail")
    rejected: tuple[Rejection, ...] = ()
    if isinstance(detail, Mapping):
        rejected = many(Rejection)(detail.get("rejected"))
    return ApiError(
        status,
        error if isinstance(error, str) else "the request was refused",
        detail,
        faults=answers.faults(detail) or [fault for each in rejected for fault in each.errors],
        rejected=rejected,
        retry_after=float(retry_after) if retry_after and retry_after.isdecimal() else None,
    )


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _segment(part: str) -> str:
    """Encode one part of a path, dots too if it has nothing else: ``..`` would lead upwards."""
    return part.replace(".", "%2E") if part in (".", "..") else quote(part, safe="")


def _in_query(given: object) -> object:
    if isinstance(given, bool):
        return "true" if given else "false"
    return given.timestamp() if isinstance(given, datetime) else given


def _in_json(given: object) -> object:
    """Say in JSON what it has no type for: times, and contents of files."""
    if isinstance(given, datetime):
        return given.timestamp()
    if isinstance(given, bytes | bytearray | memoryview):
        return "base64:" + base64.b64encode(given).decode("ascii")
    raise TypeError(f"{type(given).__name__} cannot be sent as JSON")
