"""The entries of a delivery report, one for each event (contract: reports.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mail_proxy.model.messages import EventType
from mail_proxy.model.reports import Reportable

Fields = dict[str, object]


def entry(event: Reportable, *, report_nulls: bool = True) -> Fields:
    """Build the entry. Times are whole Unix seconds; `report_nulls` is the tenant's setting."""
    fields: Fields = {
        "id": event.id,
        "tenant_id": event.tenant_id,
        "pk": event.pk,
        "account_id": event.account_id,
        "priority": event.priority,
        "event": event.event_type.value,
        "event_id": event.event_id,
    }
    if event.event_type in (EventType.SENT, EventType.ERROR, EventType.DEFERRED):
        states = _states(event)
        fields |= (
            states if report_nulls else {name: value for name, value in states.items() if value is not None}
        )
    if event.event_type is EventType.DEFERRED:
        fields["deferred_reason"] = event.event_data.get("reason")
        fields["retry_count"] = event.event_data.get("retry_count", 0)
    if event.event_data.get("possible_duplicate"):
        fields["possible_duplicate"] = True
    if recipients := event.event_data.get("recipients"):
        fields["recipients"] = recipients
    if event.metadata is not None:
        fields["metadata"] = json.loads(event.metadata)
    return fields


def _states(event: Reportable) -> Fields:
    """The four fields that receivers test by value: null where they do not apply."""
    data = event.event_data
    happened = int(event.event_ts)
    is_error = event.event_type is EventType.ERROR
    return {
        "sent_ts": happened if event.event_type is EventType.SENT else None,
        "error_ts": happened if is_error else None,
        "error": data.get("error", "") if is_error else None,
        "deferred_ts": _until(data) if event.event_type is EventType.DEFERRED else None,
    }


def _until(data: Mapping[str, object]) -> int | None:
    """Until when the message waits; None for one that is held until a person decides."""
    until = data.get("deferred_ts")
    return int(until) if isinstance(until, (int, float)) else None
