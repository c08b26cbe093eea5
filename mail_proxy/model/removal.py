"""What became of messages that were to be deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Kept(StrEnum):
    """Why a message was not deleted."""

    BEING_SENT = "being sent"
    NOT_REPORTED = "sent and not yet reported"
    AMBIGUOUS = "several tenants have a message of this id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A message that is no more."""

    tenant_id: str
    id: str
    pk: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Each id that was given is in one of these; `foreign` are those that only other tenants have."""

    removed: tuple[Deleted, ...] = ()
    not_found: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    kept: dict[str, Kept] = field(default_factory=dict)
