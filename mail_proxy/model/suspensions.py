"""What is held back, as a person is told of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """`pending_messages` of the batch asked about, or of all the tenant, have still to leave."""

    tenant_id: str
    batch_code: str | None
    suspended_batches: tuple[str, ...]
    pending_messages: int
