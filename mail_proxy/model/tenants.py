"""A tenant: an organisation inside an instance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote

SECRETS = ("client_auth", "webhook_secret")

DEFAULT_SYNC_PATH = "/mail-proxy/sync"
DEFAULT_ATTACHMENT_PATH = "/mail-proxy/attachments"

_CLIMBING = re.compile(r"(?:^|[/\\])\.\.(?:$|[/\\;])")  # "..;" is ".." where path parameters are cut off


def climbs(path: str) -> bool:
    """Whether a path of a URL leads out of what it is put below."""
    return _CLIMBING.search(unquote(path)) is not None


class AuthMethod(StrEnum):
    NONE = "none"
    BEARER = "bearer"
    BASIC = "basic"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuth:
    """How mail-proxy identifies itself to the tenant's application."""

    method: AuthMethod = AuthMethod.NONE
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Messages a tenant may send; 0 is no limit."""

    hourly: int = 0
    daily: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Timestamps are Unix seconds. `by_tenant` tells that a tenant token gave `client_base_url`.

    `unreadable` names the secrets that are stored and cannot be decrypted; they are as if there were none.
    """

    id: str
    name: str | None = None
    client_base_url: str | None = None
    client_sync_path: str = DEFAULT_SYNC_PATH
    client_attachment_path: str = DEFAULT_ATTACHMENT_PATH
    client_auth: ClientAuth = ClientAuth()
    rate_limits: RateLimits = RateLimits()
    large_file_config: Mapping[str, object] | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    report_nulls: bool = True
    active: bool = True
    by_tenant: bool = False
    unreadable: frozenset[str] = frozenset()
    suspended_batches: tuple[str, ...] = ()
    has_api_key: bool = False
    api_key_expires_at: float | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
