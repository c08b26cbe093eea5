"""What a killed server leaves behind, and what the next one makes of it; the long runs: tests/chaos."""

from __future__ import annotations

import pytest

from tests.chaos import intake_kill, kill9, three_nodes
from tests.chaos.disturbances import NODES, Disturbance, Kind
from tests.support.postgres import PostgresServer

KILLS, MESSAGES = 3, 200


def _postgres(database: str, request: pytest.FixtureRequest) -> PostgresServer | None:
    """The session's PostgreSQL, asked for only by those that use it."""
    if database == "sqlite":
        return None
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_kill_while_sending_loses_nothing_and_doubles_only_what_was_in_its_final_step(
    database: str, request: pytest.FixtureRequest
) -> None:
    """Every message arrives, doubled ones are flagged, and the events tell what happened."""
    outcome = kill9.run(database, kills=KILLS, messages=MESSAGES, postgres=_postgres(database, request))

    assert outcome.broken_promises() == [], str(outcome)
    assert outcome.kills == KILLS
    assert len(outcome.copies) == KILLS * MESSAGES


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_kill_during_intake_loses_no_message_that_was_answered(
    database: str, request: pytest.FixtureRequest
) -> None:
    """A 200 means that the message is on disk."""
    outcome = intake_kill.run(database, kills=KILLS, postgres=_postgres(database, request))

    assert outcome.missing == [], str(outcome)
    assert outcome.answered


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_node_killed_and_one_stopped_for_a_while_lose_and_double_nothing_else(
    database: str, request: pytest.FixtureRequest
) -> None:
    """Three nodes on PostgreSQL, one on SQLite; a stop shorter than a lease costs nothing but its time."""
    last = len(NODES[database]) - 1
    plan = [Disturbance(0.5, 0.5, Kind.KILL, 0), Disturbance(2.0, 1.0, Kind.STOP, last)]
    outcome = three_nodes.run(
        database, messages=MESSAGES, seconds=4, plan=plan, postgres=_postgres(database, request)
    )

    assert outcome.broken_promises() == [], str(outcome)
    assert (outcome.kills, outcome.stops, outcome.long_stops) == (1, 1, 0)
