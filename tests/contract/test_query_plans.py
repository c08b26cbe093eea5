"""No statement that runs for each message may read through the history."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.plans import explain, scans_history

PURPOSES = ("intake", "replacing", "claim", "content", "settle", "taking over", "report", "reading", "lists")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_hot_path_reaches_its_rows_by_index(sqlite_url: str, purpose: str) -> None:
    """SQLite's plans do not depend on the number of rows; PostgreSQL's are measured: tests/bench/plans.py."""
    plans = explain(Path(sqlite_url))[purpose]

    assert {name: plan for name, plan in plans.items() if scans_history(plan)} == {}


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("SCAN messages", True),
        ("SEARCH x\n  SCAN m USING INDEX sqlite_autoindex_messages_2", True),
        ("SCAN events USING COVERING INDEX events_of_message", True),
        ("Limit\n  ->  Seq Scan on messages m", True),
        ("SEARCH messages USING INDEX messages_ready (lane=?)", False),
        ("SCAN m USING INDEX messages_leased", False),
        ("RECURSIVE STEP\n  SCAN ready", False),
        ("SCAN tenants USING COVERING INDEX sqlite_autoindex_tenants_1", False),
        ("SCAN t USING COVERING INDEX messages_by_status", True),
        ("Seq Scan on suspensions s", False),
    ],
)
def test_a_scan_of_what_grows_is_recognised(plan: str, expected: bool) -> None:
    """Partial indexes of what waits are as small as the queue and may be read through."""
    assert scans_history(plan) is expected
