"""The entries of delivery reports, field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from mail_proxy.callbacks.report import entry
from mail_proxy.model.messages import EventType
from mail_proxy.model.reports import Reportable

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


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
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
            EventType.ERROR,
            {"error": "lost", "possible_duplicate": True},
            {"error_ts": 1735689600, "error": "lost", "possible_duplicate": True},
        ),
    ],
)
class TestStates:
    def test_the_four_fields_are_always_there(
        self, kind: EventType, data: Mapping[str, object], told: Mapping[str, object]
    ) -> None:
        expected = {**MESSAGE, "event": kind.value, "event_id": 8123, **NULLS, **told}
        assert entry(event(kind, data)) == expected

    def test_without_nulls_only_those_that_apply(
        self, kind: EventType, data: Mapping[str, object], told: Mapping[str, object]
    ) -> None:
        expected = {**MESSAGE, "event": kind.value, "event_id": 8123, **told}
        assert entry(event(kind, data), report_nulls=False) == expected


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind == "bounce" or kind.startswith("pec_")])
def test_bounces_and_receipts_leave_the_four_out(kind: EventType) -> None:
    assert entry(event(kind)) == {**MESSAGE, "event": kind.value, "event_id": 8123}


def test_metadata_is_returned_as_it_was_given() -> None:
    given = {"order": 42, "note": "città"}
    assert entry(event(EventType.SENT, metadata=json.dumps(given)))["metadata"] == given


def test_times_are_whole_seconds() -> None:
    told = entry(event(EventType.SENT))
    assert json.dumps(told["sent_ts"]) == "1735689600"
