"""Two servers that share one PostgreSQL; the long run: tests/chaos/two_nodes.py."""

from __future__ import annotations

from tests.chaos import two_nodes
from tests.support.postgres import PostgresServer

MESSAGES = 500


def test_two_nodes_share_the_work_and_send_each_message_once(postgres_server: PostgresServer) -> None:
    """Each of the two sends at least a quarter, and nothing arrives twice."""
    outcome = two_nodes.run(messages=MESSAGES, postgres=postgres_server)

    assert outcome.broken_promises() == [], str(outcome)
    assert len(outcome.copies) == MESSAGES
