"""How ``top`` looks: its colours, and moments of today."""

from __future__ import annotations

from mail_proxy_cli.output import when

BAD, WARNING, GOOD, FAINT, STRONG = "red", "yellow", "green", "dim", "bold"


def clock_time(moment: float, now: float | None = None) -> str:
    """Render a moment by the clock, or one of another day than `now` by its date."""
    date, time = when(moment).split()
    return time if now is None or when(now).split()[0] == date else date
