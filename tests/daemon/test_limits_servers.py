"""Three real servers and one limit, for some seconds; for minutes: ``python -m tests.chaos.limits``."""

from __future__ import annotations

from tests.chaos import limits
from tests.support.postgres import PostgresServer


def test_three_servers_send_together_what_the_limit_allows_and_no_more(
    postgres_server: PostgresServer,
) -> None:
    """One of the three is killed in the middle of its conversations and started again."""
    outcome = limits.run(limit=30, seconds=6.0, postgres=postgres_server)

    assert outcome.broken_promises() == [], str(outcome)
    assert outcome.least == 26
