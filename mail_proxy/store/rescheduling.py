"""Rescheduling: a person decides when a message is tried, whatever was decided before."""

from __future__ import annotations

from dataclasses import replace

from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.messages import EventType, Recipient, RecipientStatus, Status
from mail_proxy.model.queue import NewEvent
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.queries import load
from mail_proxy.store.suspensions import hold_back

SQL = load("rescheduling")
MESSAGES = load("messages")

ASKED = "retry asked for"
RESCHEDULED = "rescheduled"


class Rescheduling:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def retry(self, tenant_id: str, message_id: str, at: float | None, now: float) -> None:
        """Let a message that waits or has failed be due now, or at a later time (Unix seconds).

        One that is parked stays in its place in line, to be parked again if it still cannot go. Raises
        `NotFound`, and `Conflict` for one that is being sent, was sent, or has lost its account.
        """
        await self._database.write(self._retry, tenant_id, message_id, at, now)

    def _retry(self, tenant_id: str, message_id: str, at: float | None, now: float) -> Work[None]:
        rows = yield Call(SQL["state"], {"tenant_id": tenant_id, "id": message_id})
        if not rows:
            raise NotFound("message", message_id)
        [row] = rows
        _refuse(row, message_id)
        later = at if at is not None and at > now else None
        is_due = row["status"] == Status.PENDING and row["parked_for"] is None
        if is_due and later is None:
            return
        has_failed = row["status"] == Status.ERROR
        recipients = shape.recipients_of(row["recipients"])
        retry_count = 0 if has_failed else row["retry_count"]
        event = _event(later, retry_count, now)
        yield Call(
            SQL["reschedule"],
            {
                "seq": row["seq"],
                "status": Status.PENDING if later is None else Status.DEFERRED,
                "deferred_ts": later,
                "lane": row["lane"],
                "recipients": shape.recipients_text(
                    [_opened(each) for each in recipients] if has_failed else recipients
                ),
                "retry_count": retry_count,
                "is_news": int(event.event_type.is_reported),
                "now": now,
            },
        )
        yield Call(MESSAGES["insert_event"], shape.event_params(row["seq"], tenant_id, event))
        yield from hold_back([row["seq"]], [tenant_id], now)


def _refuse(row: Row, message_id: str) -> None:
    if row["status"] == Status.SENDING:
        raise Conflict(f"message '{message_id}' is being sent")
    if row["status"] in (Status.SENT, Status.BOUNCED):
        raise Conflict(f"message '{message_id}' was sent already")
    if row["lane"] is None:
        raise Conflict(f"the account of message '{message_id}' was deleted")


def _opened(recipient: Recipient) -> Recipient:
    """Who has not got it is to be tried again."""
    if recipient.status is RecipientStatus.ERROR:
        return replace(recipient, status=RecipientStatus.PENDING)
    return recipient


def _event(later: float | None, retry_count: int, now: float) -> NewEvent:
    if later is None:
        return NewEvent(event_type=EventType.QUEUED, event_ts=now, description=ASKED)
    return NewEvent(
        event_type=EventType.DEFERRED,
        event_ts=now,
        description=RESCHEDULED,
        event_data={"reason": RESCHEDULED, "deferred_ts": later, "retry_count": retry_count},
    )
