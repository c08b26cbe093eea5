"""What a check-up found: how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """In the order of how bad it is; a note is worth knowing, and needs nothing done."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"

    @property
    def rank(self) -> int:
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at, by a stable word; `subject` which one of several, if there are."""

    check: str
    level: Level
    found: str
    advice: str | None = None
    subject: str | None = None


def ok(check: str, found: str, subject: str | None = None) -> Finding:
    return Finding(check, Level.OK, found, subject=subject)


def note(check: str, found: str, advice: str | None = None, subject: str | None = None) -> Finding:
    return Finding(check, Level.NOTE, found, advice, subject)


def warning(check: str, found: str, advice: str | None = None, subject: str | None = None) -> Finding:
    return Finding(check, Level.WARNING, found, advice, subject)


def failure(check: str, found: str, advice: str | None = None, subject: str | None = None) -> Finding:
    return Finding(check, Level.FAILURE, found, advice, subject)
