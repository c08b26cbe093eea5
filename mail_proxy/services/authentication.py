"""Who shows a token: the admin, a tenant, or nobody we know."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy.clock import Clock
from mail_proxy.encryption import hash_token, same_token
from mail_proxy.errors import Unauthorized
from mail_proxy.services.standings import Standings


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks; `tenant_id` is None for the admin.

    A tenant's `key_hash` was good as of the `version` of the tenant.
    """

    tenant_id: str | None
    key_hash: str | None = None
    version: int | None = None

    @property
    def is_admin(self) -> bool:
        return self.tenant_id is None


ADMIN = Principal(None)


class AuthenticationService:
    def __init__(self, standings: Standings, clock: Clock, admin_token: str | None) -> None:
        self._standings = standings
        self._clock = clock
        self._admin_token = admin_token

    def set_admin_token(self, token: str) -> None:
        """Let this token open everything from now on, and no longer the one before."""
        self._admin_token = token

    async def identify(self, token: str) -> Principal:
        """Return who shows the token; raise `Unauthorized` for an unknown or expired one."""
        return await self._identified(token, anew=True)

    async def recall(self, token: str) -> Principal:
        """Return who shows the token, from memory if it was shown before.

        A key may be dead since: what is done for it has to confirm the version. Raises `Unauthorized`.
        """
        return await self._identified(token, anew=False)

    async def confirm(self, principal: Principal) -> Principal:
        """Return who that is by now; raise `Unauthorized` when the key has died meanwhile."""
        if principal.key_hash is None:
            return principal
        return await self._holder(principal.key_hash, anew=True)

    async def _identified(self, token: str, *, anew: bool) -> Principal:
        if self._admin_token is not None and same_token(token, self._admin_token):
            return ADMIN
        return await self._holder(hash_token(token), anew=anew)

    async def _holder(self, key_hash: str, *, anew: bool) -> Principal:
        holder = await self._standings.holder_of(key_hash, anew=anew)
        if holder is None or (holder.expires_at is not None and holder.expires_at <= self._clock.now()):
            raise Unauthorized("unknown or expired token in X-API-Token")
        return Principal(holder.tenant_id, key_hash, holder.version)
