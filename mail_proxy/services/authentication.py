"""Who shows a token: the admin, a tenant, or nobody we know."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy.clock import Clock
from mail_proxy.encryption import hash_token, same_token
from mail_proxy.errors import Unauthorized
from mail_proxy.store import Store


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks; `tenant_id` is None for the admin."""

    tenant_id: str | None

    @property
    def is_admin(self) -> bool:
        return self.tenant_id is None


class AuthenticationService:
    def __init__(self, store: Store, clock: Clock, admin_token: str | None) -> None:
        self._store = store
        self._clock = clock
        self._admin_token = admin_token

    def set_admin_token(self, token: str) -> None:
        """Let this token open everything from now on, and no longer the one before."""
        self._admin_token = token

    async def identify(self, token: str) -> Principal:
        """Return who shows the token; raise `Unauthorized` for an unknown or expired one."""
        if self._admin_token is not None and same_token(token, self._admin_token):
            return Principal(None)
        holder = await self._store.tenants.by_key(hash_token(token))
        if holder is None or (holder.expires_at is not None and holder.expires_at <= self._clock.now()):
            raise Unauthorized("unknown or expired token in X-API-Token")
        return Principal(holder.tenant_id)
