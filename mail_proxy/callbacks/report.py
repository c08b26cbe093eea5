"""The entries of a delivery report, one for each event (contract: reports.md)."""

from __future__ import annotations

import json

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
    for name, value in _particulars(event).items():
        if report_nulls or value is not None:
            fields[name] = value
    if event.event_data.get("possible_duplicate"):
        fields["possible_duplicate"] = True
    if recipients := event.event_data.get("recipients"):
        fields["recipients"] = recipients
    if event.metadata is not None:
        fields["metadata"] = json.loads(event.metadata)
    return fields


def _particulars(event: Reportable) -> Fields:
    """What is told of events of this type: null where it does not apply, or is not known."""
    match event.event_type:
        case EventType.SENT | EventType.ERROR:
            return _states(event)
        case EventType.DEFERRED:
            data = event.event_data
            return _states(event) | {
                "deferred_reason": data.get("reason"),
                "retry_count": data.get("retry_count", 0),
            }
        case EventType.BOUNCE:
            return _bounce(event)
        case _:
            return _receipt(event)


def _states(event: Reportable) -> Fields:
    """The four fields that receivers test by value."""
    data = event.event_data
    happened = int(event.event_ts)
    is_error = event.event_type is EventType.ERROR
    return {
        "sent_ts": happened if event.event_type is EventType.SENT else None,
        "error_ts": happened if is_error else None,
        "error": data.get("error", "") if is_error else None,
        # None for a message that is held until a person decides
        "deferred_ts": _seconds(data.get("deferred_ts")) if event.event_type is EventType.DEFERRED else None,
    }


def _bounce(event: Reportable) -> Fields:
    return {
        "bounce_ts": int(event.event_ts),
        **{f"bounce_{name}": event.event_data.get(name) for name in ("type", "code", "reason", "recipient")},
    }


def _receipt(event: Reportable) -> Fields:
    """Of certified mail. When it was accepted and delivered is left out until it is known."""
    data = event.event_data
    receipt_ts = _seconds(data.get("pec_ts"))
    milestones = {f"pec_{name}": _seconds(data.get(name)) for name in ("acceptance_ts", "delivery_ts")}
    return {
        "pec_event": event.event_type.value,
        "pec_ts": int(event.event_ts) if receipt_ts is None else receipt_ts,
        "pec_details": data.get("details"),
        "pec_recipient": data.get("recipient"),
        **{name: moment for name, moment in milestones.items() if moment is not None},
    }


def _seconds(moment: object) -> int | None:
    return int(moment) if isinstance(moment, (int, float)) else None
