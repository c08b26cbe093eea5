"""A storage: a place for files, named by a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class StorageProtocol(StrEnum):
    LOCAL = "local"
    S3 = "s3"
    GCS = "gcs"
    AZURE = "azure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """`config` has the names that the protocol knows, secrets included, and only what was given.

    `by_tenant` tells that a tenant token, not the admin's, gave the address. `is_unreadable` tells that what
    is stored cannot be decrypted; `config` is empty then. Timestamps are Unix seconds.
    """

    tenant_id: str
    name: str
    protocol: StorageProtocol
    config: Mapping[str, str] = field(repr=False)
    by_tenant: bool = False
    is_unreadable: bool = False
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStep:
    """One step of trying a storage: `error` is None when it worked."""

    name: str
    error: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageTrial:
    """How a storage was tried, step by step: what cannot be written is not read.

    `left` names the object that was written for it and may still be there.
    """

    steps: tuple[TrialStep, ...]
    left: str | None = None

    @property
    def error(self) -> str | None:
        """Why it failed; None when everything worked."""
        return next((step.error for step in self.steps if step.error is not None), None)
