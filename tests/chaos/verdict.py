"""What a run ends with on the command line."""

from __future__ import annotations

from typing import Protocol

MOST_TOLD = 20


class Outcome(Protocol):
    """What was done and seen, in words as text."""

    def broken_promises(self) -> list[str]:
        """Everything that should not be so, in words; empty is the hoped-for answer."""
        ...


def verdict(outcome: Outcome, database: str | None = None) -> int:
    """Print it; the exit code is 1 if a promise was broken."""
    broken = outcome.broken_promises()
    print(outcome if database is None else f"{database}: {outcome}")
    print("\n".join(broken[:MOST_TOLD]) if broken else "every promise was kept")
    return 1 if broken else 0
