"""The entries of delivery reports, field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from mail_proxy.callbacks.report import entry
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
NULLS = {"sent_ts": None, "error_ts": None, "error": None, "deferred_ts": None}
REFUSED = [{"address": "b@x.example", "status": "error", "code": "5.1.1", "reply": "550 no such user"}]


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


@pytest.mark.parametrize(("kind", "data", "told"), STATES)
class TestStates:
    def test_the_four_fields_are_always_there(
        self, kind: EventType, data: Mapping[str, object], told: Mapping[str, object]
    ) -> None:
        expected = {**MESSAGE, "event": kind.value, "event_id": 8123, **NULLS, **told}
        assert entry(event(kind, data)) == expected

    def test_without_nulls_only_those_that_apply(
        self, kind: EventType, data: Mapping[str, object], told: Mapping[str, object]
    ) -> None:
        known = {name: value for name, value in told.items() if value is not None}
        expected = {**MESSAGE, "event": kind.value, "event_id": 8123, **known}
        assert entry(event(kind, data), report_nulls=False) == expected


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


@pytest.mark.parametrize(("kind", "data", "told"), RETURNS)
class TestReturns:
    """Bounces and receipts leave the four fields out."""

    def test_what_is_not_known_is_null(
        self, kind: EventType, data: Mapping[str, object], told: Mapping[str, object]
    ) -> None:
        assert entry(event(kind, data)) == {**MESSAGE, "event": kind.value, "event_id": 8123, **told}

    def test_without_nulls_it_is_left_out(
        self, kind: EventType, data: Mapping[str, object], told: Mapping[str, object]
    ) -> None:
        known = {name: value for name, value in told.items() if value is not None}
        expected = {**MESSAGE, "event": kind.value, "event_id": 8123, **known}
        assert entry(event(kind, data), report_nulls=False) == expected


def test_every_event_that_is_told_has_an_example_here() -> None:
    assert {kind for kind, _, _ in STATES + RETURNS} == {kind for kind in EventType if kind.is_reported}


def test_metadata_is_returned_as_it_was_given() -> None:
    given = {"order": 42, "note": "città"}
    assert entry(event(EventType.SENT, metadata=json.dumps(given)))["metadata"] == given


def test_times_are_whole_seconds() -> None:
    told = entry(event(EventType.SENT))
    assert json.dumps(told["sent_ts"]) == "1735689600"
