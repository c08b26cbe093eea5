"""Moments and lengths of time as people type them: ``+2h``, ``2026-03-01T09:00``, Unix seconds; ``30d``."""

from __future__ import annotations

import re
import time
from datetime import datetime

import click

from mail_proxy.clock import LAST_SECOND

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_RELATIVE = re.compile(r"([+-])((?:\d{1,9}[smhdw])+)", re.ASCII)
_LENGTH = re.compile(r"(?:\d{1,9}[smhdw])+", re.ASCII)
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_PART = re.compile(r"(\d+)([smhdw])", re.ASCII)
_UNIX = re.compile(r"\d{9,12}(\.\d{1,9})?", re.ASCII)


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Turn an option's value into Unix seconds: a callback for Click."""
    if value is None:
        return None
    try:
        return parse_moment(value, time.time())
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"'{value}' is no time: use +2h, -1d, 2026-03-01T09:00 or Unix seconds", ctx, param
        ) from None


def parse_moment(text: str, now: float) -> float:
    """Read a moment, local where it names no zone; ValueError for what is none, or not in 1970 to 9999."""
    text = text.strip()
    if match := _RELATIVE.fullmatch(text):
        seconds = _in_seconds(match[2])
        found = now - seconds if match[1] == "-" else now + seconds
    elif _UNIX.fullmatch(text):
        found = float(text)
    else:
        found = datetime.fromisoformat(text).timestamp()
    if not 0 <= found <= LAST_SECOND:
        raise ValueError(text)
    return found


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Turn an option's value into a number of seconds: a callback for Click."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError:
        raise click.BadParameter(f"'{value}' is no time: use 30d, 12h or seconds", ctx, param) from None


def parse_duration(text: str) -> float:
    """Read a length of time in seconds; ValueError for what is none, or longer than all time."""
    text = text.strip()
    if _LENGTH.fullmatch(text):
        found: float = _in_seconds(text)
    elif _SECONDS.fullmatch(text):
        found = float(text)
    else:
        raise ValueError(text)
    if found > LAST_SECOND:
        raise ValueError(text)
    return found


def _in_seconds(text: str) -> int:
    return sum(int(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
