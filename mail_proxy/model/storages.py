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
