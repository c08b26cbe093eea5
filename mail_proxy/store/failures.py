"""Failures without an attempt: what is over a limit, lost its account, or waited for it for too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mail_proxy.model.messages import EventType, Recipient, RecipientStatus, Status, status_of
from mail_proxy.model.queue import NewEvent
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Many, Params, Row, Work
from mail_proxy.store.queries import load

SQL = load("failures")
MESSAGES = load("messages")


def fail(rows: Sequence[Row], error: str, now: float) -> Work[None]:
    """End messages (`seq`, `tenant_id`, `recipients`) that wait, and that nobody else can change now.

    Who has not got one will not, for this reason; it counts as sent if anybody has.
    """
    # In the order of the queue: two nodes that change what lies side by side wait for each other at most.
    line = sorted(rows, key=lambda row: int(row["seq"]))
    yield Many(SQL["fail"], [_failed(row, error, now) for row in line])
    yield Many(
        MESSAGES["insert_event"],
        [shape.event_params(row["seq"], row["tenant_id"], _event(row, error, now)) for row in line],
    )


def _failed(row: Row, error: str, now: float) -> Params:
    known = shape.recipients_of(row["recipients"])
    recipients = [_ended(each, error) if each.status.is_open else each for each in known]
    status = status_of(recipients)
    has_failed = status is Status.ERROR
    return {
        "place": row["seq"],
        "status": status,
        "recipients": shape.recipients_text(recipients),
        "error": error if has_failed else None,
        "error_ts": now if has_failed else None,
        "last_error": error,
        "now": now,
    }


def _event(row: Row, error: str, now: float) -> NewEvent:
    """When recipients fared differently, it tells whose it is."""
    recipients = shape.recipients_of(row["recipients"])
    data: dict[str, object] = {"error": error}
    if any(each.status is RecipientStatus.SENT for each in recipients):
        data["recipients"] = [_ended(each, error).told() for each in recipients if each.status.is_open]
    return NewEvent(event_type=EventType.ERROR, event_ts=now, description=error, event_data=data)


def _ended(recipient: Recipient, error: str) -> Recipient:
    """What a server said before is not why it fails."""
    return replace(recipient, status=RecipientStatus.ERROR, code=None, reply=error)
