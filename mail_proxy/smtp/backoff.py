"""When a deferred message is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

JITTER = 0.1
"""Share by which a delay may be longer or shorter: what failed together does not return together."""


def retry_at(
    now: float, attempt: int, delays: Sequence[float], max_retries: int, rng: Random
) -> float | None:
    """Tell when to try again after the `attempt`-th attempt (from 1) failed at `now`, in Unix seconds.

    `delays` are seconds after the first, second… failure, the last one repeating. None: no retry is left.
    """
    if attempt > max_retries or not delays:
        return None
    delay = delays[min(max(attempt, 1), len(delays)) - 1]
    return now + delay * rng.uniform(1 - JITTER, 1 + JITTER)
