"""What the daemon tells the API about this process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Vitals:
    """`started_at` is in Unix seconds; a draining node finishes its work and is not to get more."""

    started_at: float
    is_draining: bool = False
