"""How soon an application is posted to again (contract: reports.md)."""

from __future__ import annotations

FIRST_PAUSE = 10.0
LONGEST_PAUSE = 300.0
DOUBLINGS = 5
"""After so many the longest pause is reached."""

FREE_ROUNDS = 10
"""Posts in a row to an application that says it has more to submit, and does not, before they become rare."""


def pause_after(failures: int) -> float:
    """Seconds until what did not work so many times in a row (1 or more) is tried again."""
    return min(FIRST_PAUSE * (1 << min(failures - 1, DOUBLINGS)), LONGEST_PAUSE)


def rounds_after(rounds: int, queued: int, *, has_submitted: bool) -> int:
    """How often in a row the application had more to submit and submitted nothing, after one more answer."""
    return rounds + 1 if queued and not has_submitted else 0


def pause_with_more(rounds: int) -> float:
    """Seconds until an application that has more to submit is posted to again."""
    return 0.0 if rounds < FREE_ROUNDS else pause_after(rounds - FREE_ROUNDS + 1)
