"""An event of every kind, and what a delivery report tells of it."""

from __future__ import annotations

from collections.abc import Mapping

from mail_proxy.model.messages import EventType
from mail_proxy.model.reports import Reportable

Rows = list[tuple[EventType, Mapping[str, object], Mapping[str, object]]]
"""An event with its data, and what is told of it beside the fields of the message."""

MESSAGE = {
    "id": "MSG-001",
    "tenant_id": "acme",
    "pk": "7b0c6a1e-0000-4000-8000-000000000001",
    "account_id": "smtp-main",
    "priority": 1,
}


def event(
    kind: EventType, data: Mapping[str, object] | None = None, metadata: str | None = None
) -> Reportable:
    return Reportable(
        event_id=8123,
        event_type=kind,
        event_ts=1735689600.75,
        event_data=data or {},
        id="MSG-001",
        tenant_id="acme",
        pk="7b0c6a1e-0000-4000-8000-000000000001",
        account_id="smtp-main",
        priority=1,
        metadata=metadata,
    )


REFUSED = [{"address": "b@x.example", "status": "error", "code": "5.1.1", "reply": "550 no such user"}]

STATES: Rows = [
    (EventType.SENT, {}, {"sent_ts": 1735689600}),
    (EventType.SENT, {"recipients": REFUSED}, {"sent_ts": 1735689600, "recipients": REFUSED}),
    (EventType.ERROR, {"error": "550 no"}, {"error_ts": 1735689600, "error": "550 no"}),
    (
        EventType.ERROR,
        {"error": "550 no", "recipients": REFUSED},
        {"error_ts": 1735689600, "error": "550 no", "recipients": REFUSED},
    ),
    (
        EventType.DEFERRED,
        {"deferred_ts": 1735689660.9, "reason": "451 later", "retry_count": 2},
        {"deferred_ts": 1735689660, "deferred_reason": "451 later", "retry_count": 2},
    ),
    (
        EventType.DEFERRED,
        {"deferred_ts": None, "reason": "lost", "retry_count": 1, "possible_duplicate": True},
        {"deferred_reason": "lost", "retry_count": 1, "possible_duplicate": True},
    ),
    (
        EventType.DEFERRED,
        {"deferred_ts": 1735689660},
        {"deferred_ts": 1735689660, "deferred_reason": None, "retry_count": 0},
    ),
    (
        EventType.ERROR,
        {"error": "lost", "possible_duplicate": True},
        {"error_ts": 1735689600, "error": "lost", "possible_duplicate": True},
    ),
]

RETURNED = {"type": "hard", "code": "5.1.1", "reason": "550 no such user", "recipient": "b@x.example"}
RECEIPT = {"pec_ts": 1735689590.5, "details": "accettazione", "acceptance_ts": 1735689590.5}
CONSIGNED = {
    "pec_ts": 1735689595,
    "details": "avvenuta-consegna",
    "recipient": "b@pec.example",
    "acceptance_ts": 1735689590,
    "delivery_ts": 1735689595,
}

RETURNS: Rows = [
    (
        EventType.BOUNCE,
        RETURNED,
        {
            "bounce_ts": 1735689600,
            "bounce_type": "hard",
            "bounce_code": "5.1.1",
            "bounce_reason": "550 no such user",
            "bounce_recipient": "b@x.example",
        },
    ),
    (
        EventType.BOUNCE,
        {"type": "soft", "recipient": "b@x.example"},
        {
            "bounce_ts": 1735689600,
            "bounce_type": "soft",
            "bounce_code": None,
            "bounce_reason": None,
            "bounce_recipient": "b@x.example",
        },
    ),
    (
        EventType.PEC_ACCEPTANCE,
        RECEIPT,
        {
            "pec_event": "pec_acceptance",
            "pec_ts": 1735689590,
            "pec_details": "accettazione",
            "pec_recipient": None,
            "pec_acceptance_ts": 1735689590,
        },
    ),
    (
        EventType.PEC_DELIVERY,
        CONSIGNED,
        {
            "pec_event": "pec_delivery",
            "pec_ts": 1735689595,
            "pec_details": "avvenuta-consegna",
            "pec_recipient": "b@pec.example",
            "pec_acceptance_ts": 1735689590,
            "pec_delivery_ts": 1735689595,
        },
    ),
    *(
        (
            kind,
            RECEIPT | {"details": "…", "recipient": "b@pec.example"},
            {
                "pec_event": kind.value,
                "pec_ts": 1735689590,
                "pec_details": "…",
                "pec_recipient": "b@pec.example",
                "pec_acceptance_ts": 1735689590,
            },
        )
        for kind in (EventType.PEC_WARNING, EventType.PEC_ERROR, EventType.PEC_RELAY)
    ),
    (
        EventType.PEC_TIMEOUT,
        {"details": "no receipt within 24 h"},
        {
            "pec_event": "pec_timeout",
            "pec_ts": 1735689600,
            "pec_details": "no receipt within 24 h",
            "pec_recipient": None,
        },
    ),
]
