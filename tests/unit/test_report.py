"""The entries of delivery reports, field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from mail_proxy.callbacks.report import entry
from mail_proxy.model.messages import EventType
from tests.support.told import MESSAGE, RETURNS, STATES, event

NULLS = {"sent_ts": None, "error_ts": None, "error": None, "deferred_ts": None}


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
