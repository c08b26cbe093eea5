"""For the application that is told what became of its messages: `receive` reads posts, `answer` answers them.

Any web framework will do: what is asked for are the headers and the body of a request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mail_proxy.client.answers import Json, Recipient
from mail_proxy.client.errors import InvalidPost, InvalidSignature
from mail_proxy.signing import TOLERANCE, Headers, disbelief

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEntry:
    """One event of a message; `event_id` never repeats, but the same event may be told more than once.

    Times are Unix seconds. None is what does not apply to this `event`, or is not known; fields that a newer
    server adds are passed over.
    """

    id: str
    tenant_id: str
    pk: str
    account_id: str
    priority: int
    event: str
    event_id: int
    sent_ts: int | None = None
    error_ts: int | None = None
    error: str | None = None
    deferred_ts: int | None = None
    deferred_reason: str | None = None
    retry_count: int | None = None
    possible_duplicate: bool = False
    bounce_ts: int | None = None
    bounce_type: str | None = None
    bounce_code: str | None = None
    bounce_reason: str | None = None
    bounce_recipient: str | None = None
    pec_event: str | None = None
    pec_ts: int | None = None
    pec_details: str | None = None
    pec_recipient: str | None = None
    pec_acceptance_ts: int | None = None
    pec_delivery_ts: int | None = None
    recipients: tuple[Recipient, ...] = ()
    metadata: Json | None = None


def receive(
    secret: str | None, headers: Headers, body: bytes, *, tolerance: float = TOLERANCE
) -> tuple[ReportEntry, ...]:
    """Read a post of delivery reports, its body as it came; a heartbeat has no entries.

    `secret` is the tenant's `webhook_secret`; with None, nobody is asked for a signature. `tolerance` is how
    many seconds may lie between signing and reading. Raises `InvalidSignature` for what the secret did not
    sign, `InvalidPost` for what is not a report, and ValueError for what cannot be a secret.
    """
    if secret is not None:
        reason = disbelief(secret, headers, body, now=time.time(), tolerance=tolerance)
        if reason is not None:
            raise InvalidSignature(reason)
    try:
        post: object = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidPost("the post is not JSON") from None
    report = post.get("delivery_report") if isinstance(post, Mapping) else None
    if not isinstance(report, list):
        raise InvalidPost("the post has no list 'delivery_report'")
    return tuple(_read(ReportEntry, each) for each in report)


def answer(
    *,
    error: str | Iterable[str] = (),
    not_found: str | Iterable[str] = (),
    queued: int = 0,
    next_sync_after: float | datetime | None = None,
) -> dict[str, object]:
    """Build the answer to a post, to be sent as JSON with status 200.

    It acknowledges all entries but those of the messages in `error`, which are posted again later.
    `not_found` are messages that the application does not know, `queued` is how many it has still to hand
    in, and until `next_sync_after` (Unix seconds, or a datetime) it wants no heartbeat.
    """
    said: dict[str, object] = {"ok": True}
    for name, ids in (("error", error), ("not_found", not_found)):
        if ids:
            said[name] = [ids] if isinstance(ids, str) else list(ids)
    if queued:
        said["queued"] = queued
    if next_sync_after is not None:
        said["next_sync_after"] = (
            next_sync_after.timestamp() if isinstance(next_sync_after, datetime) else next_sync_after
        )
    return said


def _read(kind: type[T], given: object) -> T:
    """Build a value of what a stranger wrote; raise `InvalidPost` for what is missing or of another type."""
    if not isinstance(given, Mapping):
        raise InvalidPost("the report holds something that is not an object")
    known = {}
    for name, (hint, is_needed) in _FIELDS[kind].items():
        if name in given:
            known[name] = _checked(name, hint, given[name])
        elif is_needed:
            raise InvalidPost(f"an entry of the report has no '{name}'")
    return kind(**known)


def _fields(kind: type[ReportEntry | Recipient]) -> Mapping[str, tuple[Any, bool]]:
    """The type of each field, and whether it must be there."""
    hints = get_type_hints(kind)
    return {each.name: (hints[each.name], each.default is MISSING) for each in fields(kind)}


_FIELDS: Mapping[type, Mapping[str, tuple[Any, bool]]] = {
    kind: _fields(kind) for kind in (ReportEntry, Recipient)
}


def _checked(name: str, hint: Any, value: object) -> object:
    is_list = get_origin(hint) is tuple
    kinds = (list,) if is_list else tuple(get_origin(each) or each for each in get_args(hint) or (hint,))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InvalidPost(f"'{name}' of an entry of the report is not of the kind expected")
    return tuple(_read(get_args(hint)[0], each) for each in value) if is_list else value
