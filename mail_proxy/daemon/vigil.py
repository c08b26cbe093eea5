"""Whether a node may take others for dead: only one that has been awake itself, and near the database, may.

When the database was away, the clock was set, or all machines slept together, every lease has run out and
every node lives: each needs a moment to renew its own before another takes it over.
"""

from __future__ import annotations

GRACE = 15.0
"""Seconds of unbroken watch before others' leases count as run out; who lives renews within 10."""

BREAK = 10.0
"""Seconds between two looks from on which a watch is not unbroken. A quiet node may look less often."""


class Vigil:
    """`grace` is in seconds; 0 where there are no others. Times are Unix seconds."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._since: float | None = None
        self._last = 0.0

    def look(self, now: float) -> bool:
        """Note that the database has answered; return whether the watch begins only now."""
        begins = self._since is None or not 0 <= now - self._last <= BREAK
        if begins:
            self._since = now
        self._last = now
        return begins

    def broken(self) -> None:
        """Note that the database did not answer."""
        self._since = None

    def may_judge(self, now: float) -> bool:
        """Whether a lease that has run out by now is that of a dead node."""
        return self._since is not None and now - self._since >= self._grace

    def next_look(self, expiry: float, now: float) -> float:
        """When to look after a lease that runs out then, and often enough for the watch to be unbroken."""
        if expiry > now or self._since is None:
            return expiry
        return min(self._since + self._grace, now + BREAK / 2)
