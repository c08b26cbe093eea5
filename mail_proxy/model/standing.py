"""What intake has to know of a tenant: enough to judge its messages, and nothing secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EVERYTHING = "*"
"""The batch code that stands for all of a tenant's messages, in suspensions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """An account that messages may be sent by; `lane` is the number of its queue."""

    tenant_id: str
    id: str
    lane: int
    from_address: str | None = None
    is_pec_account: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A tenant as of one `version`, which every change of it, its accounts and suspensions raises."""

    tenant_id: str
    version: int
    active: bool = True
    suspended: frozenset[str] = frozenset()
    senders: Sequence[Sender] = ()

    def holds(self, batch_code: str | None) -> bool:
        """Whether a message of this batch waits until a suspension is lifted."""
        return bool(self.suspended) and (EVERYTHING in self.suspended or batch_code in self.suspended)
